"""The composition root: which store, engine, base and workspace a command works with. Nothing else knows them all."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Literal

import msgspec

from packrunner import paths
from packrunner.events import BuildStarted, Finished, Warned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packrunner.bases import Base, BaseSettings
    from packrunner.bases.recipes import ImageName as BaseImage
    from packrunner.catalog.select import Selection
    from packrunner.cli.run_images import RunImages
    from packrunner.cli.services import BaseUpdate, Known, Pruned, Rebased
    from packrunner.engines.base import User
    from packrunner.engines.inline import InlineEngine
    from packrunner.engines.sandbox import SandboxEngine
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.images.layouts import Layouts
    from packrunner.images.snapshot import Snapshots
    from packrunner.images.store import LocalStore
    from packrunner.lifecycle.analyze import RunImage
    from packrunner.lifecycle.bindings import Held
    from packrunner.lifecycle.detect_only import Answer
    from packrunner.lifecycle.extend import ExtendTools
    from packrunner.lifecycle.request import BuildRequest
    from packrunner.lifecycle.runner import Tools
    from packrunner.lifecycle.targets import RunTarget


class BuildOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A finished build's one line for stdout."""

    line: str


def store() -> LocalStore:
    """The local image store."""
    from packrunner.images.store import LocalStore

    return LocalStore(os.path.join(paths.data_dir(), "store"))


def snapshots() -> Snapshots:
    """The unpacked layers of the store's images."""
    from packrunner.images.snapshot import Snapshots

    return Snapshots(os.path.join(paths.data_dir(), "snapshots"), store())


def engine() -> SandboxEngine:
    """Where commands run."""
    from packrunner.engines.sandbox import SandboxEngine

    return SandboxEngine(os.path.join(paths.cache_dir(), "engine"), environ=os.environ)


def inline_engine() -> InlineEngine:
    """Where commands run in a builder's container."""
    from packrunner.engines.inline import InlineEngine

    return InlineEngine()


@contextmanager
def extending(reporter: Reporter) -> Iterator[ExtendTools]:
    """What images are extended with; the store keeps what is new as long as the context is open."""
    from packrunner.lifecycle import extended
    from packrunner.lifecycle.extend import ExtendTools

    unpacked = snapshots()
    with ExitStack() as stack:
        stack.callback(unpacked.close)
        images = store()
        stack.enter_context(images.lease())
        records = os.path.join(paths.cache_dir(), extended.DIRECTORY)
        yield ExtendTools(engine=engine(), store=images, snapshots=unpacked, reporter=reporter, records=records)


def layouts(directory: str) -> Layouts:
    """Images in a directory of OCI layouts."""
    from packrunner.images.layouts import Layouts

    return Layouts(directory)


def build(
    request: BuildRequest, reporter: Reporter, known: Known | None = None, held: Held | None = None
) -> BuildOutcome:
    """Build, store and put out an image; leave a record for the next time."""
    from packrunner.cli import remembering
    from packrunner.console.units import duration
    from packrunner.lifecycle import extended, runner, suiting
    from packrunner.lifecycle.application import Rules

    began_ns, began = time.time_ns(), time.monotonic()
    where = engine()
    source = paths.readable(request.source)
    reporter.emit(BuildStarted(name=request.name, source=source, builder=request.builder, engine=where.name))
    images, unpacked = store(), snapshots()
    with ExitStack() as stack:
        stack.callback(unpacked.close)
        base = _base(request, images, unpacked, where, reporter)
        stack.callback(base.close)
        run_image = _run_image(request, base, images)
        doubt = suiting.distributions(_own_target(base), run_image.target)
        if doubt:
            reporter.emit(Warned(text=doubt))
        selection = _select(request)
        rules = Rules(include=request.include, exclude=request.exclude)
        inputs = remembering.inputs(request, launcher(), base, selection)
        scan = remembering.scan(inputs, rules, known, began_ns)
        report = runner.run(
            runner.Job(
                name=request.name,
                source=request.source,
                table=scan.tables[0],
                before=known.record.app_table() if known and known.record.facts else b"",
                rules=rules,
                env={**(held.variables if held else {}), **dict(request.env)},
                bindings=held.bindings if held else {},
                place=_place(request, base),
                selection=selection,
                build_image=runner.BuildImage(
                    rootfs=base.build_rootfs(), env=base.build_env, user=base.user, reference=base.full_reference
                ),
                run_image=run_image,
                run_images=_run_images(base, images),
                records=os.path.join(paths.cache_dir(), extended.DIRECTORY),
                network=request.network,
                clear_cache=request.clear_cache,
                source_date_epoch=os.environ.get("SOURCE_DATE_EPOCH"),
                project=request.project,
            ),
            _tools(where, images, unpacked, reporter),
        )
    _put_out(request, report.image, images)
    line = f"{request.name}@{report.image.digest}"
    if known is not None:
        remembering.remember(request, known.record, scan, report, builder=base.reference, store=images)
    hint = f"Start it: packrunner run {request.name}" if report.first else ""
    reporter.emit(Finished(text=f"Built in {duration(time.monotonic() - began)}.", hint=hint))
    return BuildOutcome(line=line)


def detect(
    request: BuildRequest,
    reporter: Reporter,
    held: Held | None = None,
    *,
    order: str | None = None,
    directories: tuple[str, ...] = (),
) -> Answer:
    """Ask which buildpacks would build the application; no run image is made for it."""
    from packrunner.lifecycle import detect_only
    from packrunner.lifecycle.application import Rules

    where, images, unpacked = engine(), store(), snapshots()
    with ExitStack() as stack:
        stack.callback(unpacked.close)
        base = _base(request, images, unpacked, where, reporter, wanted=("build",))
        stack.callback(base.close)
        inquiry = detect_only.Inquiry(
            source=request.source,
            rules=Rules(include=request.include, exclude=request.exclude),
            env={**(held.variables if held else {}), **dict(request.env)},
            bindings=held.bindings if held else {},
            place=_place(request, base),
            selection=_select(request, order, directories),
            rootfs=base.build_rootfs(),
            image_env=base.build_env,
            user=base.user,
            target=_target(request, base, images),
            network=request.network,
        )
        return detect_only.ask(
            inquiry, engine=where, reporter=reporter, overlays=_overlays(where), owner=_owner(base.user)
        )


def _base(
    request: BuildRequest,
    images: LocalStore,
    unpacked: Snapshots,
    where: SandboxEngine,
    reporter: Reporter,
    *,
    wanted: tuple[BaseImage, ...] = ("build", "python"),
) -> Base:
    from packrunner.bases import open_base

    return open_base(
        request.builder,
        settings=_base_settings(),
        store=images,
        snapshots=unpacked,
        engine=where,
        reporter=reporter,
        images=("build",) if request.run_image else wanted,
    )


def _base_settings() -> BaseSettings:
    from packrunner import config
    from packrunner.bases import BaseSettings

    mirror = config.resolve("debian-mirror", environ=os.environ, config=config.load()).value
    return BaseSettings(data_dir=paths.data_dir(), mirror=mirror or None, architecture=architecture())


def architecture() -> str:
    """The machine's architecture, as OCI and Debian call it."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def launcher() -> str:
    """The program that goes into every image."""
    # Resolved, because the layer writer follows no links and installers may leave one.
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    return os.path.realpath(os.path.join(package, "_bin", f"linux-{architecture()}", "launcher"))


def _select(request: BuildRequest, order: str | None = None, directories: tuple[str, ...] = ()) -> Selection:
    from packrunner.catalog.select import CatalogSettings, select, select_order

    settings = CatalogSettings(stage_dir=os.path.join(paths.cache_dir(), "stage"))
    if order is not None:
        return select_order(order, directories, settings=settings, extensions=request.extensions)
    return select(request.buildpacks, settings=settings, project=request.groups, extensions=request.extensions)


def _place(request: BuildRequest, base: Base) -> str:
    from packrunner import workspace

    return workspace.location(paths.cache_dir(), request.source, base.reference)


def _run_image(request: BuildRequest, base: Base, images: LocalStore) -> RunImage:
    known = _run_images(base, images)
    if request.run_image is None:
        return known.described(base.run_image(), base.run_image_name())
    return known.described(read_image(request.run_image, images), request.run_image)


def _run_images(base: Base, images: LocalStore) -> RunImages:
    from packrunner.cli.run_images import RunImages

    return RunImages(base, images, own=_own_target(base), os_release=lambda: _os_release(base.build_rootfs()))


def _target(request: BuildRequest, base: Base, images: LocalStore) -> RunTarget:
    """What the run image is for; of the base it is known without the image."""
    own = _own_target(base)
    if request.run_image is None:
        return own
    return _run_images(base, images).target_of(read_image(request.run_image, images), request.run_image)


def _own_target(base: Base) -> RunTarget:
    from packrunner.lifecycle.targets import RunTarget

    own = base.target
    return RunTarget(own.os, own.arch, own.variant, own.distro_name, own.distro_version)


def _os_release(rootfs: Sequence[str]) -> bytes:
    """/etc/os-release of the build image, whose /etc has a link to it (TGT-07)."""
    from packrunner.confined import Root

    for directory in reversed(rootfs):
        with Root.open(directory) as root:
            data = root.read("usr/lib/os-release")
        if data is not None:
            return data
    return b""


def read_image(reference: str, images: LocalStore) -> Image:
    """An image by name, digest or locator. Raises UsageError where there is none."""
    from packrunner.images.transfer import parse_locator, read_image

    return read_image(parse_locator(reference), images)


def _tools(where: SandboxEngine, images: LocalStore, unpacked: Snapshots, reporter: Reporter) -> Tools:
    from packrunner.engines.base import User
    from packrunner.lifecycle.runner import Tools

    user = User()
    return Tools(
        engine=where,
        extender=where,
        store=images,
        snapshots=unpacked,
        reporter=reporter,
        launcher=launcher(),
        overlays=_overlays(where),
        owner=_owner(user),
    )


def _owner(user: User) -> tuple[int, int] | None:
    """Who must own what a sandbox writes, where that is not the caller."""
    return (user.uid, user.gid) if os.geteuid() == 0 else None


def _overlays(where: SandboxEngine) -> bool:
    """Whether overlays work in the cache directory: tried once per kernel and file system, then remembered."""
    from packrunner.confined import write_atomic

    folder = paths.cache_dir()
    os.makedirs(folder, mode=0o700, exist_ok=True)
    fact = os.path.join(folder, f"overlay-{os.stat(folder).st_dev}-{os.geteuid()}-{os.uname().release}")
    try:
        with open(fact, "rb") as file:
            return file.read() == b"yes"
    except FileNotFoundError:
        works = where.overlay_supported(folder)
        write_atomic(fact, b"yes" if works else b"no")
        return works


def _put_out(request: BuildRequest, image: Image, images: LocalStore) -> None:
    from packrunner.images.transfer import parse_locator, write_output

    for output in request.outputs:
        write_output(parse_locator(output), image, images, request.name)


def run_app(
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
    from packrunner.engines.app import run_app
    from packrunner.engines.base import SandboxSpec
    from packrunner.lifecycle import launching

    images, unpacked = store(), snapshots()
    with ExitStack() as stack:
        stack.callback(unpacked.close)
        with images.lease():
            image = read_image(image_name, images)
            # From here on the trees are held, and the store may be pruned while the application runs.
            lowers = unpacked.lowers(image)
        start = launching.start(image, lowers, env=dict(env), process=process, args=args, command=command)
        spec = SandboxSpec(rootfs=lowers, user=start.user, network=network, trust=False)
        return run_app(engine(), spec, start.argv, env=start.env, cwd=start.cwd, publish=publish)


def rebase(
    image: str, *, name: str, run_image: str | None, outputs: tuple[str, ...], force: bool, reporter: Reporter
) -> Rebased:
    """Put an image on the newest version of its base, or on `run_image`; in its place, or into `outputs`."""
    from packrunner.cli.services import Rebased
    from packrunner.images.transfer import parse_locator
    from packrunner.lifecycle import rebasing
    from packrunner.lifecycle.created import created_at

    images = store()
    with ExitStack() as stack:
        done = rebasing.run(
            rebasing.Job(
                image=parse_locator(image),
                name=name,
                run_image=run_image,
                force=force,
                outputs=tuple(map(parse_locator, outputs)),
                created=created_at(os.environ.get("SOURCE_DATE_EPOCH"), reporter),
            ),
            store=images,
            find=lambda wanted: _find_run_image(wanted, images, reporter, stack),
            reporter=reporter,
        )
    return Rebased(
        digest=done.image.digest,
        before=done.before,
        base=rebasing.shown(done.base.name),
        old_base=f"sha256:{done.old_base}",
        new_base=done.base.image.digest,
        replaced=done.replaced,
        kept=len(done.image.layers) - len(done.base.image.layers),
        packages=done.changes,
    )


def _find_run_image(name: str, images: LocalStore, reporter: Reporter, stack: ExitStack) -> Image | None:
    """A run image; one of our own bases as its lock has it, made if need be. None where there is none."""
    from packrunner.bases.recipes import parse_image_name
    from packrunner.errors import UsageError

    own = parse_image_name(name)
    if own:
        from packrunner.bases.base import find_run_image, open_base

        suite, variant = own
        settings = _base_settings()
        found = find_run_image(suite, variant, settings=settings, store=images, reporter=reporter)
        if found:
            return found
        unpacked = snapshots()
        stack.callback(unpacked.close)
        base = open_base(
            suite.reference,
            settings=settings,
            store=images,
            snapshots=unpacked,
            engine=engine(),
            reporter=reporter,
            images=(variant,),
        )
        return base.run_image(variant)
    try:
        return read_image(name, images)
    except UsageError as e:
        if e.slug != "unknown-image":
            raise
        return None


def update_base(builder: str, *, dry_run: bool, reporter: Reporter) -> BaseUpdate:
    """Take newer packages into a base; with `dry_run` only look."""
    from packrunner.bases import debian, parse_reference
    from packrunner.bases.base import Tools
    from packrunner.cli.services import BaseUpdate
    from packrunner.lifecycle.rebasing import behind

    suite, images = parse_reference(builder), store()
    with ExitStack() as stack:
        unpacked = snapshots()
        stack.callback(unpacked.close)
        tools = Tools(store=images, snapshots=unpacked, engine=engine(), reporter=reporter)
        done = debian.update(suite, _base_settings(), tools, dry_run=dry_run)
    return BaseUpdate(
        reference=suite.reference,
        before=done.old.digest if done.old else None,
        after=done.new.digest,
        images={image: done.changes(image) for image in done.images},
        behind=behind(images.list(), suite),
    )


def prune(*, everything: bool, dry_run: bool) -> Sequence[Pruned]:
    """Remove what nothing needs; with `everything` also caches and bases that the next build would use."""
    from packrunner.cli.services import Pruned
    from packrunner.lifecycle import housekeeping

    with ExitStack() as stack:
        unpacked = snapshots()
        stack.callback(unpacked.close)
        state = housekeeping.State(
            data_dir=paths.data_dir(), cache_dir=paths.cache_dir(), store=store(), snapshots=unpacked
        )
        freed = housekeeping.clean(state, everything=everything, dry_run=dry_run)
    return [Pruned(what=f.what, size=f.size) for f in freed]
