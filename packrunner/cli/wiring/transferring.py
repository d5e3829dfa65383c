"""Images of the store to and from registries and Docker engines, composed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from packrunner.cli.wiring import delivering, engines, places, reach
from packrunner.cli.wiring.finding import DAEMON, Finder, is_name
from packrunner.cli.wiring.registries import Registries
from packrunner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.events import Reporter
    from packrunner.images.compress import Compression
    from packrunner.images.image import Image
    from packrunner.images.several import Several
    from packrunner.lifecycle.wishes import PullPolicy
    from packrunner.names import Digest


class Transfer:
    """One command: its store, registries and engine, ended with the context.

    Of images for several platforms it takes that for `platform`, this machine's where that is "".
    """

    def __init__(
        self,
        stack: ExitStack,
        reporter: Reporter,
        *,
        insecure: Sequence[str] = (),
        ca_certs: Sequence[str] = (),
        docker_host: str = "",
        platform: str = "",
    ) -> None:
        self.images = places.store()
        self.reporter = reporter
        self.platform = platform
        self._daemon = engines.daemons(stack, docker_host)
        self.registries = Registries(stack, reporter, reach.configured(ca_certs), insecure=insecure, platform=platform)
        stack.enter_context(self.images.lease())

    def daemon(self) -> delivering.DaemonImages:
        """The Docker engine's images."""
        return self._daemon()

    def push(self, image: Image | Several, names: Sequence[str], compression: Compression) -> Digest:
        """Send an image to its registry under `names`; its digest there."""
        return delivering.push(
            self.registries, image, names, self.images, compression=compression, reporter=self.reporter
        ).digest

    def finder(self, policy: PullPolicy, *, here_only: str = "packrunner images") -> Finder:
        """What finds images under a policy; `here_only` as in Finder."""
        return Finder(
            self.images,
            self.registries,
            self.reporter,
            policy=policy,
            daemon=self.daemon,
            here_only=here_only,
            platform=self.platform,
        )

    def all(self, reference: str) -> Image | Several:
        """What a name or locator means, for every platform; of what only a registry has no layer is fetched.

        Raises UsageError (`unknown-image`).
        """
        if reference.startswith(DAEMON):
            return self.find(reference, "never")
        if not is_name(reference):
            from packrunner.images.transfer import parse_locator, read_all

            return read_all(parse_locator(reference), self.images)
        here = self.images.read_all(reference)
        found = here or self.registries.client.read_all(reference)
        return found or self.find(reference, "never")

    def find(self, reference: str, policy: PullPolicy) -> Image:
        """An image, wherever it is. Raises UsageError (`unknown-image`)."""
        return self.finder(policy, here_only=f"packrunner images, or first: packrunner pull {reference}").read(
            reference
        )


def push(
    image: str,
    names: Sequence[str],
    *,
    compression: Compression,
    insecure: Sequence[str],
    ca_certs: Sequence[str],
    reporter: Reporter,
) -> Digest:
    """Send an image that is here to its registry under `names`; its digest there."""
    with ExitStack() as stack:
        transfer = Transfer(stack, reporter, insecure=insecure, ca_certs=ca_certs)
        found = transfer.images.read_all(image) if is_name(image) else transfer.find(image, "never")
        found = found or transfer.find(image, "never")
        delivering.check(transfer.registries, names, nothing="nothing was sent")
        return transfer.push(found, names, compression)


def pull(
    name: str, *, insecure: Sequence[str], ca_certs: Sequence[str], docker_host: str = "", reporter: Reporter
) -> Digest:
    """Bring an image of a registry, or of a Docker engine (`docker:NAME`), into the store; its digest."""
    with ExitStack() as stack:
        transfer = Transfer(stack, reporter, insecure=insecure, ca_certs=ca_certs, docker_host=docker_host)
        found = transfer.find(name, "always")
        if name.startswith(DAEMON):
            transfer.images.write(found, (name.removeprefix(DAEMON).partition("@")[0],))
        return found.digest


def load(image: str, names: Sequence[str], *, docker_host: str = "", reporter: Reporter) -> Digest:
    """Give an image that is here to the Docker engine under `names`; its digest here."""
    with ExitStack() as stack:
        transfer = Transfer(stack, reporter, docker_host=docker_host)
        found = transfer.find(image, "never")
        delivering.load(transfer.daemon(), found, names, transfer.images, reporter)
        return found.digest


def save(image: str, output: str, name: str, *, reporter: Reporter) -> Digest:
    """Write an image that is here to `output`, a locator, under `name`; its digest."""
    from packrunner.images.transfer import parse_locator, write_output

    with ExitStack() as stack:
        transfer = Transfer(stack, reporter)
        found = transfer.images.read_all(image) if is_name(image) else transfer.find(image, "never")
        found = found or transfer.find(image, "never")
        locator = parse_locator(output)
        write_output(locator, found, transfer.images, name)
        return found.digest


def look(reference: str, *, insecure: Sequence[str], ca_certs: Sequence[str], reporter: Reporter) -> Image:
    """An image of a registry, or of a Docker engine, to be described; of a registry's no layer is fetched."""
    with ExitStack() as stack:
        transfer = Transfer(stack, reporter, insecure=insecure, ca_certs=ca_certs)
        if not is_name(reference):
            return transfer.find(reference, "never")
        found = transfer.registries.client.read(reference)
        if found is None:
            raise UsageError(f"there is no image {reference} in its registry", slug="unknown-image")
        return found
