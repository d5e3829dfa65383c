"""The selection: which buildpacks take part in a build, in what order, staged and ready to be mounted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from packrunner.catalog import inline
from packrunner.catalog.gather import Gathering, no_extension, ref_to
from packrunner.catalog.locate import Located
from packrunner.catalog.ordering import OrderFile, read_order
from packrunner.catalog.selection import AS_IT_IS, Around, CatalogSettings, Selection
from packrunner.catalog.shelf import Shelf
from packrunner.catalog.wanted import NOTHING, Groups
from packrunner.disk import disk_error
from packrunner.errors import UsageError
from packrunner.formats import toml
from packrunner.formats.buildpack import GroupRef, OrderGroup
from packrunner.formats.group import Order, System, SystemRefs, SystemTable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeVar

    from packrunner.catalog.carried import Carried
    from packrunner.catalog.stage import StagedBuildpack
    from packrunner.catalog.wanted import Wanted

    T = TypeVar("T", Order, System)

FROM_BUILDER = "from=builder"
"""What stands for the builder's whole order among the buildpacks that are asked for."""

__all__ = ["AS_IT_IS", "FROM_BUILDER", "Around", "CatalogSettings", "Selection", "select", "select_order"]


def select(
    requested: tuple[str, ...],
    *,
    settings: CatalogSettings,
    project: Groups = NOTHING,
    extensions: tuple[str, ...] = (),
    around: Around = AS_IT_IS,
    carried: Carried | None = None,
) -> Selection:
    """Select the buildpacks `requested`, as one group in that order; without any the project's group, else the
    builder's order with what the project puts before and after each group (PRJ-05, PRJ-07). What `around` names stands
    at the ends of each group instead of what the project puts there, and without its system buildpacks none join.

    `carried` is what the builder's image has: its order, system buildpacks and names then come before the built-in
    ones, which join only where they are asked for. `extensions` are directories of image extensions: one group, in
    front of every group of buildpacks (BPD-12).

    Each text may name several, divided by commas; `from=builder` stands for the builder's order. System buildpacks
    otherwise join either way (BPD-11). Raises UsageError (`unknown-buildpack`, `buildpack-locator`,
    `buildpack-descriptor`, `buildpack-program`, `toml`, `not-a-builder`), BuildpackApiError before anything runs
    (BPD-02), UnsafeArchiveError (`buildpack-tree`) and StoreError.
    """
    return _Selecting(Gathering(settings, carried=carried)).run(requested, project, extensions, around)


def select_order(
    path: str,
    directories: tuple[str, ...],
    *,
    settings: CatalogSettings,
    extensions: tuple[str, ...] = (),
    carried: Carried | None = None,
) -> Selection:
    """Select what an order.toml names, from these directories, else the builder's image, else the built-in ones.

    Extensions are found among `extensions`, else in the directories; where the order names none, the former are a group
    of their own, as in a build. The order is the whole of it: no system buildpacks join. Raises what `select` and
    `ordering.read_order` raise.
    """
    return _Selecting(Gathering(settings, Shelf(directories), carried)).run_order(path, extensions, directories)


class _Selecting:
    def __init__(self, gathering: Gathering) -> None:
        self._all = gathering

    def run(
        self, requested: tuple[str, ...], project: Groups, extensions: tuple[str, ...], around: Around
    ) -> Selection:
        texts = _split(requested)
        first, last = self._named(_split(around.before)), self._named(_split(around.after))
        if texts:
            order = self._requested(texts)
        elif project.group:
            order = Order(order=(OrderGroup(group=self._wanted(project.group)),))
        else:
            order = self._builder_order()
            first, last = first or self._wanted(project.pre), last or self._wanted(project.post)
        order = _around(order, first, last)
        system = self._system() if around.system else System()
        staged = self._all.extensions(extensions)
        if self._all.carried and not staged:
            order, staged = self._all.carried_extensions(order, self._all.carried)
        return self._all.selection(order, system, staged)

    def _requested(self, texts: list[str]) -> Order:
        if FROM_BUILDER not in texts:
            return Order(order=(OrderGroup(group=tuple(dict.fromkeys(self._named(texts)))),))
        if texts.count(FROM_BUILDER) > 1:
            raise UsageError(f"--buildpack {FROM_BUILDER} is given twice", slug="unknown-buildpack")
        at = texts.index(FROM_BUILDER)
        first, last = self._named(texts[:at]), self._named(texts[at + 1 :])
        return _around(self._builder_order(), first, last)

    def _named(self, texts: list[str]) -> tuple[GroupRef, ...]:
        """References to what --buildpack and its like name, each staged."""
        return tuple(ref_to(self._all.named(text)) for text in texts)

    def run_order(self, path: str, extensions: tuple[str, ...], directories: tuple[str, ...]) -> Selection:
        file = read_order(path)
        self._all.inputs[path] = None
        groups: list[OrderGroup] = []
        for i, group in enumerate(file.order.order):
            pinned: list[GroupRef] = []
            for j, ref in enumerate(group.group):
                try:
                    pinned += self._all.pin([ref])
                except UsageError as error:
                    error.at = error.at or file.at(i, j)
                    raise
            groups.append(OrderGroup(group=tuple(pinned)))
        named = self._all.extensions(extensions)
        if not file.order.order_extensions:
            return self._all.selection(Order(order=tuple(groups)), System(), named)
        found, staged = self._ordered_extensions(file, named, Shelf(directories, descriptor="extension.toml"))
        return self._all.selection(Order(order=tuple(groups), order_extensions=found), System(), staged)

    def _ordered_extensions(
        self, file: OrderFile, named: Mapping[tuple[str, str], StagedBuildpack], shelf: Shelf
    ) -> tuple[tuple[OrderGroup, ...], dict[tuple[str, str], StagedBuildpack]]:
        """The order's groups of extensions with their versions, each staged."""
        staged: dict[tuple[str, str], StagedBuildpack] = {}
        groups: list[OrderGroup] = []
        for i, group in enumerate(file.order.order_extensions):
            pinned: list[GroupRef] = []
            for j, ref in enumerate(group.group):
                one = next((e for e in named.values() if e.id == ref.id and ref.version in {"", e.version}), None)
                try:
                    source = None if one else shelf.find(ref)
                    if one is None and source is None:
                        raise no_extension(ref)
                except UsageError as error:
                    error.at = error.at or file.at(i, j, "order-extensions")
                    raise
                one = one or next(iter(self._all.extensions((str(source),)).values()))
                staged[one.id, one.version] = one
                pinned.append(GroupRef(id=one.id, version=one.version, optional=True, exec_env=ref.exec_env))
            groups.append(OrderGroup(group=tuple(pinned)))
        return tuple(groups), staged

    def _wanted(self, entries: tuple[Wanted, ...]) -> tuple[GroupRef, ...]:
        """References to what a group of project.toml names, each staged."""
        refs = []
        for entry in entries:
            if entry.inline:
                place = inline.write(self._all.settings.stage_dir, entry)
                staged = self._all.add(Located(asked=entry.text, source=place, kind="inline"))
                # The project file, which is an input of its own, decides about it.
                self._all.inputs.pop(place)
            else:
                staged = self._all.named(entry.text)
            refs.append(
                GroupRef(id=staged.id, version=staged.version, optional=entry.optional, exec_env=entry.exec_env)
            )
        return tuple(refs)

    def _builder_order(self) -> Order:
        if self._all.carried is not None:
            if not any(group.group for group in self._all.carried.order.order):
                raise UsageError(
                    f"{self._all.carried.builder} has no order of buildpacks",
                    slug="not-a-builder",
                    cause="neither the label io.buildpacks.buildpack.order nor /cnb/order.toml names any",
                    tries=("name the buildpacks: --buildpack ID",),
                )
            return Order(
                order=tuple(OrderGroup(group=self._all.pin(group.group)) for group in self._all.carried.order.order)
            )
        file = self._builtin_file("order.toml", Order)
        if file is None:
            raise UsageError(
                "this installation of packrunner has no built-in buildpacks",
                slug="unknown-buildpack",
                tries=("name one of your own: --buildpack ./DIR",),
            )
        return Order(order=tuple(OrderGroup(group=self._all.pin(group.group)) for group in file.order))

    def _system(self) -> System:
        file = self._all.carried.system if self._all.carried else self._builtin_file("system.toml", System)
        if file is None:
            return System()
        pre, post = self._all.pin(file.system.pre.buildpacks), self._all.pin(file.system.post.buildpacks)
        return System(system=SystemTable(pre=SystemRefs(buildpacks=pre), post=SystemRefs(buildpacks=post)))

    def _builtin_file(self, name: str, kind: type[T]) -> T | None:
        path = os.path.join(self._all.settings.builtin_dir, name)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error(error, path) from error
        self._all.inputs[path] = None
        return toml.decode(data, kind, where=path, error=UsageError)


def _around(order: Order, first: tuple[GroupRef, ...], last: tuple[GroupRef, ...]) -> Order:
    """The order with others before and after each group (PRJ-07)."""
    groups = tuple(OrderGroup(group=(*first, *g.group, *last)) for g in order.order)
    return Order(order=groups, order_extensions=order.order_extensions)


def _split(requested: tuple[str, ...]) -> list[str]:
    """Texts divided at commas, but for a path that has one in its name."""
    texts: list[str] = []
    for text in requested:
        texts += [text] if os.path.exists(text) else [part.strip() for part in text.split(",") if part.strip()]
    if requested and not texts:
        raise UsageError("--buildpack names nothing", slug="unknown-buildpack", tries=("--buildpack python",))
    return texts
