"""The selection: which buildpacks take part in a build, in what order, staged and ready to be mounted."""

from __future__ import annotations

import os
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from packrunner.catalog import builtin, inline
from packrunner.catalog.locate import Located, check_version, locate, locate_extension, unknown
from packrunner.catalog.ordering import OrderFile, read_order
from packrunner.catalog.shelf import Shelf
from packrunner.catalog.stage import Stage, StagedBuildpack
from packrunner.catalog.wanted import NOTHING, Groups
from packrunner.disk import disk_error
from packrunner.errors import UsageError
from packrunner.formats import toml
from packrunner.formats.buildpack import GroupRef, OrderGroup
from packrunner.formats.group import Order, System, SystemRefs, SystemTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeVar

    from packrunner.catalog.wanted import Wanted

    T = TypeVar("T", Order, System)


class CatalogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where things are: the built-in buildpacks, the stage directory, the SDK that is copied into buildpacks."""

    stage_dir: str
    builtin_dir: str = msgspec.field(default_factory=builtin.builtin_dir)
    sdk_dir: str = msgspec.field(default_factory=builtin.sdk_dir)


class Around(msgspec.Struct, frozen=True, kw_only=True):
    """What stands at the ends of every group: names as --buildpack takes them, and the builder's system buildpacks."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    system: bool = True


AS_IT_IS = Around()


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What takes part in a build.

    Every version in `order` and `system` is explicit. `root` is the host directory to show at /cnb/buildpacks, read
    only; `extensions_root` the one for /cnb/extensions, "" without any. `inputs` are host files and directories: as
    long as their fingerprints stay the same, so does the selection.
    """

    order: Order
    system: System
    buildpacks: Mapping[tuple[str, str], StagedBuildpack]
    root: str
    inputs: tuple[str, ...]
    extensions: Mapping[tuple[str, str], StagedBuildpack] = msgspec.field(default_factory=dict)
    extensions_root: str = ""


def select(
    requested: tuple[str, ...],
    *,
    settings: CatalogSettings,
    project: Groups = NOTHING,
    extensions: tuple[str, ...] = (),
    around: Around = AS_IT_IS,
) -> Selection:
    """Select the buildpacks `requested`, as one group in that order; without any the project's group, else the
    built-in order with what the project puts before and after each group (PRJ-05, PRJ-07). What `around` names stands
    at the ends of each group instead of what the project puts there, and without its system buildpacks none join.

    `extensions` are directories of image extensions: one group, in front of every group of buildpacks (BPD-12).

    Each text may name several, divided by commas. Otherwise system buildpacks join either way (BPD-11). Raises
    UsageError (`unknown-buildpack`, `buildpack-locator`, `buildpack-descriptor`, `buildpack-program`, `toml`),
    BuildpackApiError before anything runs (BPD-02), UnsafeArchiveError (`buildpack-tree`) and StoreError.
    """
    return _Selecting(settings).run(requested, project, extensions, around)


def select_order(
    path: str, directories: tuple[str, ...], *, settings: CatalogSettings, extensions: tuple[str, ...] = ()
) -> Selection:
    """Select what an order.toml names, from these directories of buildpacks, else from the built-in ones.

    Extensions are found among `extensions`, else in the directories; where the order names none, the former are a group
    of their own, as in a build. The order is the whole of it: no system buildpacks join. Raises what `select` and
    `ordering.read_order` raise.
    """
    return _Selecting(settings, Shelf(directories)).run_order(path, extensions, directories)


class _Selecting:
    def __init__(self, settings: CatalogSettings, shelf: Shelf | None = None) -> None:
        self._settings = settings
        self._shelf = shelf or Shelf(())
        self._stage = Stage(settings.stage_dir, sdk_dir=settings.sdk_dir)
        self._found: dict[tuple[str, str], StagedBuildpack] = {}
        self._inputs: dict[str, None] = {}
        self._sources: dict[str, StagedBuildpack] = {}

    def run(
        self, requested: tuple[str, ...], project: Groups, extensions: tuple[str, ...], around: Around
    ) -> Selection:
        asked = self._named(requested)
        first, last = self._named(around.before), self._named(around.after)
        if asked:
            order = Order(order=(OrderGroup(group=tuple(dict.fromkeys(asked))),))
        elif project.group:
            order = Order(order=(OrderGroup(group=self._wanted(project.group)),))
        else:
            order = self._builtin_order()
            first, last = first or self._wanted(project.pre), last or self._wanted(project.post)
        groups = tuple(OrderGroup(group=(*first, *g.group, *last)) for g in order.order)
        order = Order(order=groups, order_extensions=order.order_extensions)
        return self._selection(order, self._system() if around.system else System(), self._extensions(extensions))

    def _named(self, texts: tuple[str, ...]) -> tuple[GroupRef, ...]:
        """References to what --buildpack and its like name, each staged."""
        found = [locate(text, builtin_dir=self._settings.builtin_dir) for text in _split(texts)]
        return tuple(_ref(self._add(one)) for one in found)

    def run_order(self, path: str, extensions: tuple[str, ...], directories: tuple[str, ...]) -> Selection:
        file = read_order(path)
        self._inputs[path] = None
        groups: list[OrderGroup] = []
        for i, group in enumerate(file.order.order):
            pinned: list[GroupRef] = []
            for j, ref in enumerate(group.group):
                try:
                    pinned += self._pin([ref])
                except UsageError as error:
                    error.at = error.at or file.at(i, j)
                    raise
            groups.append(OrderGroup(group=tuple(pinned)))
        named = self._extensions(extensions)
        if not file.order.order_extensions:
            return self._selection(Order(order=tuple(groups)), System(), named)
        found, staged = self._ordered_extensions(file, named, Shelf(directories, descriptor="extension.toml"))
        return self._selection(Order(order=tuple(groups), order_extensions=found), System(), staged)

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
                        raise _no_extension(ref)
                except UsageError as error:
                    error.at = error.at or file.at(i, j, "order-extensions")
                    raise
                one = one or next(iter(self._extensions((str(source),)).values()))
                staged[one.id, one.version] = one
                pinned.append(GroupRef(id=one.id, version=one.version, optional=True, exec_env=ref.exec_env))
            groups.append(OrderGroup(group=tuple(pinned)))
        return tuple(groups), staged

    def _selection(
        self, order: Order, system: System, staged: Mapping[tuple[str, str], StagedBuildpack] = MappingProxyType({})
    ) -> Selection:
        if staged and not order.order_extensions:
            group = OrderGroup(group=tuple(_ref(e) for e in staged.values()))
            order = Order(order=order.order, order_extensions=(group,))
        if any(b.sdk for b in (*self._found.values(), *staged.values())):
            self._inputs[self._settings.sdk_dir] = None
        return Selection(
            order=order,
            system=system,
            buildpacks=_distinct(self._found),
            root=self._stage.combine(self._found.values()),
            inputs=tuple(self._inputs),
            extensions=_distinct(staged),
            extensions_root=self._stage.combine(staged.values()) if staged else "",
        )

    def _extensions(self, directories: tuple[str, ...]) -> dict[tuple[str, str], StagedBuildpack]:
        self._complete()
        staged: dict[tuple[str, str], StagedBuildpack] = {}
        for directory in directories:
            found = self._stage.add(locate_extension(directory).source, "extension")
            _refuse_twin(staged | self._found, found)
            staged[found.id, found.version] = found
            self._inputs[found.source] = None
        return staged

    def _add(self, located: Located) -> StagedBuildpack:
        staged = self._sources.get(located.source)
        if staged is None:
            staged = self._sources[located.source] = self._stage.add(located.source)
        check_version(located, staged.version)
        _refuse_twin(self._found, staged)
        self._found[staged.id, staged.version] = staged
        self._inputs[located.source] = None
        return staged

    def _wanted(self, entries: tuple[Wanted, ...]) -> tuple[GroupRef, ...]:
        """References to what a group of project.toml names, each staged."""
        refs = []
        for entry in entries:
            if entry.inline:
                place = inline.write(self._settings.stage_dir, entry)
                staged = self._add(Located(asked=entry.text, source=place))
                # The project file, which is an input of its own, decides about it.
                self._inputs.pop(place)
            else:
                staged = self._add(locate(entry.text, builtin_dir=self._settings.builtin_dir))
            refs.append(
                GroupRef(id=staged.id, version=staged.version, optional=entry.optional, exec_env=entry.exec_env)
            )
        return tuple(refs)

    def _builtin_order(self) -> Order:
        file = self._builtin_file("order.toml", Order)
        if file is None:
            raise UsageError(
                "this installation of packrunner has no built-in buildpacks",
                slug="unknown-buildpack",
                tries=("name one of your own: --buildpack ./DIR",),
            )
        return Order(order=tuple(OrderGroup(group=self._pin(group.group)) for group in file.order))

    def _system(self) -> System:
        file = self._builtin_file("system.toml", System)
        if file is None:
            return System()
        pre, post = self._pin(file.system.pre.buildpacks), self._pin(file.system.post.buildpacks)
        return System(system=SystemTable(pre=SystemRefs(buildpacks=pre), post=SystemRefs(buildpacks=post)))

    def _builtin_file(self, name: str, kind: type[T]) -> T | None:
        path = os.path.join(self._settings.builtin_dir, name)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error(error, path) from error
        self._inputs[path] = None
        return toml.decode(data, kind, where=path, error=UsageError)

    def _pin(self, refs: Iterable[GroupRef]) -> tuple[GroupRef, ...]:
        """The same references with their versions, each staged."""
        return tuple(
            GroupRef(id=ref.id, version=self._find(ref).version, optional=ref.optional, exec_env=ref.exec_env)
            for ref in refs
        )

    def _find(self, ref: GroupRef) -> StagedBuildpack:
        """A buildpack that an order names: one that was asked for, else a built-in one (BPD-05)."""
        known = self._known(ref)
        if known is not None and ref.version:
            return known
        source = self._shelf.find(ref)
        if source is not None:
            return self._add(Located(asked=ref.id, source=source, version=ref.version))
        if known is not None:
            return known
        name = ref.id.removeprefix(builtin.NAMESPACE)
        asked = f"{ref.id}@{ref.version}" if ref.version else ref.id
        if name == ref.id or name not in builtin.short_names(self._settings.builtin_dir):
            raise self._shelf.lacks(asked) or unknown(ref.id, self._settings.builtin_dir)
        source = os.path.join(self._settings.builtin_dir, name)
        return self._add(Located(asked=asked, source=source, version=ref.version, builtin=True))

    def _known(self, ref: GroupRef) -> StagedBuildpack | None:
        if ref.version:
            return self._found.get((ref.id, ref.version))
        return next((b for (identity, _), b in self._found.items() if identity == ref.id), None)

    def _complete(self) -> None:
        """Stage whatever composites name, and what that names."""
        pending = list(self._found.values())
        seen = set(self._found)
        while pending:
            owner = pending.pop()
            for ref in (ref for group in owner.descriptor.order for ref in group.group):
                try:
                    found = self._find(ref)
                except UsageError as error:
                    error.at = f"named by the order of {owner.id}@{owner.version}"
                    raise
                if (found.id, found.version) not in seen:
                    seen.add((found.id, found.version))
                    pending.append(found)


def _no_extension(ref: GroupRef) -> UsageError:
    return UsageError(
        f"there is no image extension {ref.id}{f'@{ref.version}' if ref.version else ''}",
        slug="unknown-extension",
        tries=("--extension DIR, for the directory that holds extension.toml", "--buildpacks DIR, for one of several"),
    )


def _refuse_twin(known: Mapping[tuple[str, str], StagedBuildpack], staged: StagedBuildpack) -> None:
    twin = known.get((staged.id, staged.version))
    if twin is not None and (twin.kind, twin.digest) != (staged.kind, staged.digest):
        what = f"different {staged.kind}s" if twin.kind == staged.kind else "things, a buildpack and an extension,"
        raise UsageError(
            f"two {what} call themselves {staged.id}@{staged.version}",
            slug="buildpack-descriptor",
            cause=f"{twin.source} and {staged.source}",
            tries=("give one of them another version",),
        )


def _split(requested: tuple[str, ...]) -> list[str]:
    """Texts divided at commas, but for a directory that has one in its name."""
    texts: list[str] = []
    for text in requested:
        texts += [text] if os.path.isdir(text) else [part.strip() for part in text.split(",") if part.strip()]
    if requested and not texts:
        raise UsageError("--buildpack names nothing", slug="unknown-buildpack", tries=("--buildpack python",))
    return texts


def _ref(buildpack: StagedBuildpack) -> GroupRef:
    return GroupRef(id=buildpack.id, version=buildpack.version)


def _distinct(found: Mapping[tuple[str, str], StagedBuildpack]) -> dict[tuple[str, str], StagedBuildpack]:
    """Short names are for telling buildpacks apart: where two are the same, both are called by their ids."""
    count = Counter(short for _, short in {(b.id, b.short) for b in found.values()})
    return {key: msgspec.structs.replace(b, short=b.id) if count[b.short] > 1 else b for key, b in found.items()}
