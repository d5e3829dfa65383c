"""What commands ask of the rest of packrunner: the doors of wiring, so that tests can put others in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from packrunner.bases.installed import Change
    from packrunner.catalog.validate import Verdict
    from packrunner.cli.builder_page import BuilderFacts
    from packrunner.cli.builder_wish import BuilderWish
    from packrunner.cli.locking import Locked, LockWish
    from packrunner.cli.package_page import Looked
    from packrunner.cli.package_wish import PackageWish
    from packrunner.cli.telling import Telling
    from packrunner.engines.base import Engine
    from packrunner.errors import PackrunnerError
    from packrunner.events import Reporter
    from packrunner.formats.sync import SyncRules
    from packrunner.images.compress import Compression
    from packrunner.images.image import Image
    from packrunner.images.registry.keeping import Kept
    from packrunner.images.snapshot import Snapshots
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.bindings import Held
    from packrunner.lifecycle.detect_only import Answer
    from packrunner.lifecycle.extend import ExtendTools
    from packrunner.lifecycle.outline import Outline
    from packrunner.lifecycle.repository import Repository
    from packrunner.lifecycle.request import BuildRequest
    from packrunner.names import Digest
    from packrunner.record import Record, Scan


class Known(Protocol):
    """What the start module found out before the command line was loaded."""

    @property
    def record(self) -> Record:
        """The record of builds with the same arguments in the same directory."""

    @property
    def scan(self) -> Scan | None:
        """The fingerprints of the recorded inputs, taken just now."""

    @property
    def request(self) -> Mapping[str, Any] | None:
        """The parsed request of the same arguments, where it was kept and no setting has changed."""

    @property
    def unchanged(self) -> bool:
        """Whether nothing changed here; what was sent elsewhere is still to be looked at."""


class BuildOutcome(Protocol):
    """A finished build."""

    @property
    def line(self) -> str:
        """The result: `name@sha256:...`."""


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of thing that `prune` removes, and its size in bytes."""

    what: str
    size: int


class Rebased(msgspec.Struct, frozen=True, kw_only=True):
    """A rebased image; `before` is its digest before. `packages` is None where a base does not say what is in it."""

    digest: Digest
    before: Digest
    base: str
    old_base: str
    new_base: str
    replaced: int
    kept: int
    packages: Sequence[Change] | None

    @property
    def changed(self) -> bool:
        """Whether the base was another one."""
        return self.digest != self.before


class BaseUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """A base by the digests of its locks, which packages differ in each image, and which applications are behind.

    `builder` is the digest of the builder that was made of it, if any.
    """

    reference: str
    before: str | None
    after: str
    images: Mapping[str, Sequence[Change]]
    behind: Sequence[str]
    builder: Digest | None = None

    @property
    def changed(self) -> bool:
        """Whether anything is newer."""
        return self.before != self.after


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What `dev` was asked for beyond a build; `name` is how the application is called.

    `poll` are the seconds between looks at the source where it cannot be watched; `keys` gives what is pressed.
    """

    name: str
    processes: tuple[str, ...] = ()
    port: int | None = None
    env: tuple[tuple[str, str], ...] = ()
    poll: float | None = None
    container: str = ""
    opens: bool = False
    keys: Callable[[Callable[[str], object]], AbstractContextManager[None]] | None = None


class ComposePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What Docker Compose is to run: a service of these files, whose image was just built and has these rules."""

    rules: SyncRules
    files: tuple[str, ...]
    service: str


class Shown(Protocol):
    """How `dev` tells its story."""

    @property
    def first(self) -> Reporter:
        """For the build that it begins with."""

    @property
    def reporter(self) -> Reporter:
        """For everything else, once it has begun."""

    def begin(self) -> None:
        """The first build is done."""

    def problem(self, error: PackrunnerError) -> None:
        """Show an error that does not end it."""

    def logged(self, reporter: Reporter) -> AbstractContextManager[Reporter]:
        """The reporter, and a log of its own, for one more build."""

    def explained(self, error: PackrunnerError) -> PackrunnerError:
        """The error of such a build, with where its log is."""


class Packaged(msgspec.Struct, frozen=True, kw_only=True):
    """A package that was made: each place of it with its digest there, and what is in it as `id@version`."""

    made: tuple[tuple[str, Digest], ...]
    contents: tuple[str, ...]


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """A builder that was made: on which base, with how many buildpacks and extensions."""

    digest: Digest
    modules: int
    base: str


class Services(Protocol):
    """The composition root."""

    def build(
        self,
        request: BuildRequest,
        reporter: Reporter,
        known: Known | None = None,
        held: Held | None = None,
        telling: Telling | None = None,
    ) -> BuildOutcome:
        """Build, store and put out an image; `held` are the contents of its bindings, `telling` writes its report."""

    def detect(
        self,
        request: BuildRequest,
        reporter: Reporter,
        held: Held | None = None,
        *,
        order: str | None = None,
        directories: tuple[str, ...] = (),
    ) -> Answer:
        """Ask which buildpacks would build the application."""

    def plan(self, request: BuildRequest, reporter: Reporter, kept: Record) -> Outline:
        """What a build would do; `kept` is the record of builds with the same arguments."""

    def develop(self, request: BuildRequest, wish: Wish, shown: Shown, held: Held | None = None) -> None:
        """Build, run, and keep what runs like its source, until it is told to stop."""

    def compose_version(self, request: BuildRequest) -> tuple[str, ...]:
        """How Docker Compose is called here."""

    def compose(
        self, request: BuildRequest, first: Callable[[], ComposePlan], *, again: Callable[[], bool], reporter: Reporter
    ) -> int:
        """Build, run Docker Compose with its watch, and build again when a change needs it; its exit code."""

    def store(self) -> LocalStore:
        """The local image store."""

    def snapshots(self) -> Snapshots:
        """The unpacked layers."""

    def engine(self) -> Engine:
        """Where commands run."""

    def inline_engine(self) -> Engine:
        """Where commands run in a builder's container."""

    def extending(self, reporter: Reporter) -> AbstractContextManager[ExtendTools]:
        """What images are extended with."""

    def layouts(self, directory: str) -> Repository:
        """Images in a directory of OCI layouts."""

    def registry(self, reporter: Reporter, *, insecure: Sequence[str] = ()) -> AbstractContextManager[Repository]:
        """Images in registries."""

    def launcher(self) -> str:
        """The program that goes into every image."""

    def run_app(
        self,
        image_name: str,
        *,
        env: tuple[tuple[str, str], ...],
        process: str | None,
        args: tuple[str, ...],
        publish: tuple[tuple[int, int], ...],
        network: Literal["host", "none"],
        command: bool = False,
    ) -> int:
        """Run an image in the foreground; the application's exit code."""

    def prune(self, *, everything: bool, dry_run: bool) -> Sequence[Pruned]:
        """Remove what nothing needs; with `everything` also caches and bases that the next build would use."""

    def rebase(
        self,
        image: str,
        *,
        name: str,
        run_image: str | None,
        outputs: tuple[str, ...],
        force: bool,
        ca_certs: Sequence[str],
        reporter: Reporter,
    ) -> Rebased:
        """Put an image on the newest version of its base, or on `run_image`; in its place, or into `outputs`."""

    def inspect_builder(self, reference: str, *, reporter: Reporter) -> BuilderFacts:
        """What a builder is made of; nothing of it is run."""

    def package(
        self, wish: PackageWish, *, insecure: Sequence[str], ca_certs: Sequence[str], reporter: Reporter
    ) -> Packaged:
        """Package a buildpack or an extension, with what it names."""

    def validate(self, directories: Sequence[str]) -> list[Verdict]:
        """Look over buildpacks and extensions."""

    def create_builder(
        self,
        wish: BuilderWish,
        *,
        insecure: Sequence[str],
        ca_certs: Sequence[str],
        reporter: Reporter,
        known: Known | None = None,
    ) -> Created:
        """Make a builder from a builder.toml; `known` is where it is remembered."""

    def lock_builder(self, wish: LockWish, *, ca_certs: Sequence[str], reporter: Reporter) -> Locked:
        """Write, look over or take the lock of a builder's recipe, or of a base."""

    def look_into(
        self, reference: str, *, insecure: Sequence[str], ca_certs: Sequence[str], reporter: Reporter
    ) -> Looked:
        """What a package says of itself; of one in a registry no layer is fetched."""

    def update_base(
        self,
        builder: str,
        *,
        dry_run: bool,
        reporter: Reporter,
        ca_certs: tuple[str, ...] = (),
    ) -> BaseUpdate:
        """Take newer packages into a base; with `dry_run` only look."""

    def update_recipe(
        self, wish: BuilderWish, *, dry_run: bool, ca_certs: Sequence[str], reporter: Reporter
    ) -> BaseUpdate:
        """Take newer packages into a builder's recipe, and make it anew; with `dry_run` only look."""

    def push(
        self,
        image: str,
        names: Sequence[str],
        *,
        compression: Compression,
        insecure: Sequence[str],
        ca_certs: Sequence[str],
        reporter: Reporter,
    ) -> Digest:
        """Send an image that is here to its registry under `names`; its digest there."""

    def pull(
        self,
        name: str,
        *,
        insecure: Sequence[str],
        ca_certs: Sequence[str],
        docker_host: str = "",
        reporter: Reporter,
    ) -> Digest:
        """Bring an image of a registry, or of a Docker engine, into the store; its digest."""

    def load(self, image: str, names: Sequence[str], *, docker_host: str = "", reporter: Reporter) -> Digest:
        """Give an image that is here to the Docker engine under `names`; its digest here."""

    def save(self, image: str, output: str, name: str, *, reporter: Reporter) -> Digest:
        """Write an image that is here to a file or directory, under `name`; its digest."""

    def look(self, reference: str, *, insecure: Sequence[str], ca_certs: Sequence[str], reporter: Reporter) -> Image:
        """An image of a registry, or of a Docker engine, to be described."""

    def rebase_there(
        self,
        name: str,
        *,
        run_image: str | None,
        tags: tuple[str, ...],
        force: bool,
        insecure: Sequence[str],
        ca_certs: Sequence[str],
        reporter: Reporter,
    ) -> Rebased:
        """Put an image of a registry on the newest version of its base; no layer is pulled."""

    def fetch_builder(
        self, builder: str, directory: str, *, ca_certs: tuple[str, ...], reporter: Reporter
    ) -> Sequence[str]:
        """Put everything that builds with a builder need into a directory; the names of what is there now."""

    def take_builders(self, directory: str, *, reporter: Reporter) -> Sequence[str]:
        """Take everything from such a directory; the names of it."""

    def log_in(
        self,
        registry: str,
        user: str,
        secret: str,
        *,
        insecure: bool,
        ca_certs: tuple[str, ...],
        reporter: Reporter,
    ) -> Kept:
        """Try a login to a registry and keep it."""

    def log_out(self, registry: str) -> Sequence[str]:
        """Forget a login; says where it was."""

    def logins(self) -> Iterable[Kept]:
        """The logins that are kept, without what is secret of them."""
