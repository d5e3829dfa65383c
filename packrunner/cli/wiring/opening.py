"""What builds, plans and questions about detection have in common: they open the same things for a request."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from packrunner import paths
from packrunner.cli.wiring import bases, engines, places, reach
from packrunner.cli.wiring.bringing import Bringing, stage_dir, tell_strangers
from packrunner.cli.wiring.finding import Finder
from packrunner.cli.wiring.registries import Registries
from packrunner.events import Warned

if TYPE_CHECKING:
    from contextlib import ExitStack

    from packrunner.bases.recipes import ImageName
    from packrunner.catalog.builder import Builder
    from packrunner.catalog.select import Selection
    from packrunner.cli.wiring.engines import Where
    from packrunner.engines.base import User
    from packrunner.events import Reporter
    from packrunner.images.image import Image
    from packrunner.lifecycle.analyze import RunImage
    from packrunner.lifecycle.request import BuildRequest


class Opening:
    """Stores, registries and engines for one request; the stack lets go of them.

    Nothing is connected to, and no image read, before it is asked for.
    """

    def __init__(self, request: BuildRequest, reporter: Reporter, stack: ExitStack) -> None:
        self.request = request
        within = reach.of(request)
        self.certificates = within.certificates
        self.images = places.store()
        self.unpacked = places.snapshots()
        stack.callback(self.unpacked.close)
        wanted = request.delivery
        self.registries = Registries(stack, reporter, within, insecure=wanted.insecure, platform=request.shape.platform)
        self.daemon = engines.daemons(stack, request.docker_host, offline=request.offline)
        self.finder = Finder(self.images, self.registries, reporter, policy=wanted.pull_policy, daemon=self.daemon)
        self._reporter = reporter
        self._stack = stack

    def start(self, wanted: tuple[ImageName, ...] = ("build", "python")) -> tuple[Where, Builder]:
        """The engine, and the builder with what is `wanted` of a recipe's images. From here on nothing is pruned.

        Raises as `bases.opened` and `engines.chosen` do.
        """
        where = engines.chosen(self.request, self.certificates, self.daemon, self._stack)
        builder = bases.opened(
            self.request, self.images, self.unpacked, where.maker, self._reporter, finder=self.finder, wanted=wanted
        )
        self._stack.callback(builder.close)
        self._stack.enter_context(self.images.lease())
        return where, builder

    def run_image(self, builder: Builder) -> RunImage:
        """What the application's layers go on. Raises UsageError (`image-platform`)."""
        found = bases.run_image(self.request, builder, self.finder)
        bases.check_platform(self.request, builder, found)
        return found

    def suited(self, builder: Builder, run_image: RunImage) -> Selection:
        """The buildpacks to try; raises where they do not suit the images, warns where the images may not."""
        from packrunner.lifecycle import suiting

        selection = self.select(builder)
        suitable = suiting.Suit(builder.labels, run_image.image.labels, builder.platform_api)
        suiting.check_mixins(suitable, ((b.id, b.descriptor.stacks) for b in selection.buildpacks.values()))
        for doubt in suiting.doubts(suitable, builder.target, run_image.target):
            self._reporter.emit(Warned(text=doubt))
        # Others' buildpacks are their authors' business: a key that means nothing is a note (-v) and no more.
        tell_strangers((*selection.buildpacks.values(), *selection.extensions.values()), self._reporter)
        return selection

    def select(self, builder: Builder, order: str | None = None, directories: tuple[str, ...] = ()) -> Selection:
        """The buildpacks to try, brought here and staged; of an `order` file and its `directories` if given."""
        from packrunner.catalog.select import Around, CatalogSettings, select, select_order
        from packrunner.formats.buildpack import Distro
        from packrunner.formats.target import Platform

        request = self.request
        system, architecture, variant, distro, version = builder.target
        platform = Platform(
            os=system, architecture=architecture, variant=variant, distro=Distro(name=distro, version=version)
        )
        settings = CatalogSettings(
            stage_dir=stage_dir(),
            reach=Bringing(self.finder, self.registries, self.unpacked, self._reporter),
            platform=platform.folder,
        )
        if order is not None:
            found = select_order(
                order, directories, settings=settings, extensions=request.extensions, carried=builder.carried
            )
        else:
            wanted = request.shape
            found = select(
                request.buildpacks,
                settings=settings,
                project=request.groups,
                extensions=request.extensions,
                around=Around(before=wanted.before, after=wanted.after, system=not wanted.without_system),
                carried=builder.carried,
            )
        bases.check_python(found, builder)
        return found

    def previous(self) -> tuple[str, Image | None]:
        """The image whose metadata and layers are reused; of one that only a registry has, not its layers (RES-01)."""
        request, asked = self.request, self.request.delivery.previous
        if asked or request.delivery.push:
            return asked or request.name, self.finder.peek(asked or request.name)
        return request.name, self.finder.here(request.name)


def place(request: BuildRequest, builder: Builder) -> str:
    """The workspace; what is made for another user, place of the application or purpose has one of its own."""
    from packrunner import workspace

    key, user = builder.reference, user_of(request, builder)
    if user != builder.user:
        key += f" {user.uid}:{user.gid}"
    if request.shape.app_dir != workspace.APP_DIR:
        key += f" {request.shape.app_dir}"
    if request.shape.exec_env != "production":
        key += f" for {request.shape.exec_env}"
    # Whatever link leads there, it is one application.
    return workspace.location(paths.cache_dir(), os.path.realpath(request.source), key)


def user_of(request: BuildRequest, builder: Builder) -> User:
    """Who builds."""
    uid, gid = request.shape.uid, request.shape.gid
    return msgspec.structs.replace(
        builder.user, uid=builder.user.uid if uid is None else uid, gid=builder.user.gid if gid is None else gid
    )
