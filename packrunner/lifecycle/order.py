"""Order resolution: what an order, its composites and the system buildpacks expand to, group by group.

Pure and lazy: everything named is checked first (BPD-02, BPD-05, BPD-10), then groups come one at a time, in the
order in which the specification tries them, so an order whose cross product is huge costs what is tried of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from packrunner.errors import BuildpackApiError, UsageError
from packrunner.formats import api
from packrunner.formats.buildpack import OrderGroup
from packrunner.formats.group import Order, System

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from packrunner.formats.buildpack import BuildpackDescriptor, GroupRef

Key = tuple[str, str]
"""Id and version."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One buildpack or extension of an expanded group; `system` when only the system order named it (BPD-11)."""

    id: str
    version: str
    descriptor: BuildpackDescriptor
    optional: bool = False
    extension: bool = False
    system: bool = False

    @property
    def key(self) -> Key:
        return (self.id, self.version)


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A member that this execution environment leaves out, and why (BPD-13, BPD-14)."""

    id: str
    version: str
    why: str


class ExpandedGroup(msgspec.Struct, frozen=True, kw_only=True):
    """One group to try, composites replaced by what they stand for."""

    members: tuple[Member, ...]
    skipped: tuple[Skipped, ...] = ()


def expand(
    order: Order,
    *,
    descriptors: Mapping[Key, BuildpackDescriptor],
    system: System | None = None,
    extensions: Mapping[Key, BuildpackDescriptor] | None = None,
    exec_env: str | None = "production",
) -> Iterator[ExpandedGroup]:
    """Check the whole order, then give its groups one at a time (BPD-02, BPD-04 - BPD-14).

    Without an `exec_env` no member is left out for its execution environments (DET-26).

    Raises BuildpackApiError for an unsupported API anywhere in the order, reached or not; UsageError for an unknown
    or ambiguous reference (`unknown-buildpack`), a composite that holds itself (`buildpack-cycle`) and an extension
    with an order of its own (`extension-order`).
    """
    system = system or System()
    buildpacks = Index(descriptors, "buildpack")
    known_extensions = Index(extensions or {}, "extension")
    pre, post = system.system.pre.buildpacks, system.system.post.buildpacks
    _check_buildpacks([*pre, *post, *(ref for group in order.order for ref in group.group)], buildpacks)
    _check_extensions(order.order_extensions, known_extensions)
    return _Expansion(buildpacks, known_extensions, order.order_extensions, exec_env).groups(order.order, pre, post)


class Index:
    """Descriptors by reference: a missing version means the only one there is (IMG-10)."""

    def __init__(self, descriptors: Mapping[Key, BuildpackDescriptor], what: str) -> None:
        self._descriptors = descriptors
        self._what = what
        self._versions: dict[str, list[str]] = {}
        for identity, version in descriptors:
            self._versions.setdefault(identity, []).append(version)

    def find(self, ref: GroupRef, *, named_by: str = "the order") -> tuple[Key, BuildpackDescriptor]:
        """The one descriptor that `ref` means; raises UsageError, slug `unknown-buildpack` (BPD-05)."""
        versions = self._versions.get(ref.id, [])
        key = (ref.id, versions[0]) if not ref.version and len(versions) == 1 else (ref.id, ref.version)
        found = self._descriptors.get(key)
        if found is None:
            raise self._unknown(ref, versions, named_by)
        return key, found

    def _unknown(self, ref: GroupRef, versions: list[str], named_by: str) -> UsageError:
        have = ", ".join(sorted(versions))
        if versions and not ref.version:
            brief = f"{named_by} names {ref.id} without a version, and there are {len(versions)}"
        else:
            named = f"{ref.id}@{ref.version}" if ref.version else ref.id
            brief = f"{named_by} names the {self._what} {named}, which is not there"
        return UsageError(
            brief,
            slug="unknown-buildpack",
            cause=f"there is {ref.id} {have}" if have else None,
            tries=(f"name one of its versions, as in {ref.id}@{max(versions)}",) if have else (),
        )


def _check_buildpacks(refs: Iterable[GroupRef], index: Index) -> None:
    """Visit everything that the references lead to, each buildpack once: APIs, unknown ones, cycles."""
    done: set[Key] = set()
    path: dict[Key, None] = {}
    stack: list[tuple[Key | None, Iterator[GroupRef]]] = [(None, iter(refs))]
    while stack:
        owner, rest = stack[-1]
        ref = next(rest, None)
        if ref is None:
            stack.pop()
            if owner is not None:
                del path[owner]
                done.add(owner)
            continue
        key, descriptor = index.find(ref, named_by="@".join(owner) if owner else "the order")
        if key in path:
            raise _cycle([*path], key)
        if key not in done:
            _check_api(descriptor)
            path[key] = None
            stack.append((key, (inner for group in descriptor.order for inner in group.group)))


def _check_extensions(groups: Iterable[OrderGroup], index: Index) -> None:
    for group in groups:
        for ref in group.group:
            _, descriptor = index.find(ref)
            _check_api(descriptor)
            if descriptor.is_composite:
                raise UsageError(
                    f"the extension {ref.id} has an order of its own, which extensions cannot have",
                    slug="extension-order",
                )


def _check_api(descriptor: BuildpackDescriptor) -> None:
    if not api.supports_buildpack(descriptor.api):
        raise BuildpackApiError(
            f"{descriptor.buildpack.id} needs Buildpack API {descriptor.api}, which packrunner does not have",
            slug="buildpack-api",
            cause=f"packrunner supports {', '.join(api.BUILDPACK_APIS)}",
        )


def _cycle(path: list[Key], again: Key) -> UsageError:
    circle = [*path[path.index(again) :], again]
    return UsageError(
        f"the composite {again[0]} is part of itself",
        slug="buildpack-cycle",
        cause=" -> ".join("@".join(key) for key in circle),
        tries=("take one of these out of the order of the one before it",),
    )


class _Item(msgspec.Struct, frozen=True):
    ref: GroupRef
    extension: bool = False
    system: bool = False


_Alternatives = tuple[OrderGroup, ...]
# What is left to expand: a linked list, so that alternatives share their tails.
_Pending = tuple[_Item | _Alternatives, "_Pending"] | None


class _State(msgspec.Struct, frozen=True):
    done: tuple[Member, ...]
    skipped: tuple[Skipped, ...]
    pending: _Pending


class _Expansion:
    """The depth-first walk, on a stack of its own: nesting as deep as you like."""

    def __init__(self, buildpacks: Index, extensions: Index, orders: _Alternatives, exec_env: str | None) -> None:
        self._buildpacks = buildpacks
        self._extensions = extensions
        self._extension_orders = orders
        self._exec_env = exec_env

    def groups(
        self, order: Iterable[OrderGroup], pre: tuple[GroupRef, ...], post: tuple[GroupRef, ...]
    ) -> Iterator[ExpandedGroup]:
        for group in order:
            stack = [_State((), (), self._top(group, pre, post))]
            while stack:
                step = self._advance(stack.pop())
                if isinstance(step, ExpandedGroup):
                    yield step
                else:
                    stack.extend(reversed(step))

    def _top(self, group: OrderGroup, pre: tuple[GroupRef, ...], post: tuple[GroupRef, ...]) -> _Pending:
        named = {ref.id for ref in group.group}
        items: list[_Item | _Alternatives] = [_Item(ref, system=True) for ref in pre if ref.id not in named]
        items += [_Item(ref) for ref in group.group]
        items += [_Item(ref, system=True) for ref in post if ref.id not in named]
        if self._extension_orders:
            items.insert(0, self._extension_orders)
        return _chain(items, None)

    def _advance(self, state: _State) -> ExpandedGroup | list[_State]:
        """Go on until a composite offers alternatives, or the group is complete."""
        done, skipped, pending = list(state.done), list(state.skipped), state.pending
        while pending is not None:
            item, pending = pending
            if not isinstance(item, _Item):
                heads = [[_Item(ref, extension=True) for ref in group.group] for group in item]
                return _fork(done, skipped, [*heads, []], pending)
            key, descriptor = (self._extensions if item.extension else self._buildpacks).find(item.ref)
            why = _excluded(item.ref, descriptor, self._exec_env)
            if why:
                skipped.append(Skipped(id=key[0], version=key[1], why=why))
            elif descriptor.is_composite:
                heads = [[_Item(ref, system=item.system) for ref in group.group] for group in descriptor.order]
                return _fork(done, skipped, [*heads, []] if item.ref.optional else heads, pending)
            else:
                _join(
                    done,
                    Member(
                        id=key[0],
                        version=key[1],
                        descriptor=descriptor,
                        optional=item.ref.optional or item.extension,
                        extension=item.extension,
                        system=item.system,
                    ),
                )
        return ExpandedGroup(members=tuple(done), skipped=tuple(skipped))


def _chain(items: Iterable[_Item | _Alternatives], tail: _Pending) -> _Pending:
    for item in reversed(list(items)):
        tail = (item, tail)
    return tail


def _fork(done: list[Member], skipped: list[Skipped], heads: Iterable[Iterable[_Item]], tail: _Pending) -> list[_State]:
    return [_State(tuple(done), tuple(skipped), _chain(head, tail)) for head in heads]


def _join(done: list[Member], member: Member) -> None:
    """Of two with one id the first counts (BPD-09), but a group's own member before the system's (BPD-11)."""
    for i, earlier in enumerate(done):
        if earlier.id == member.id and earlier.extension == member.extension:
            if not earlier.system or member.system:
                return
            del done[i]
            break
    done.append(member)


def _excluded(ref: GroupRef, descriptor: BuildpackDescriptor, exec_env: str | None) -> str:
    if exec_env is None:
        return ""
    if not _runs_in(ref.exec_env, exec_env):
        return f"the order names it for {', '.join(ref.exec_env)} only, this is {exec_env}"
    envs = descriptor.buildpack.exec_envs
    if api.buildpack_features(descriptor.api).exec_env and not _runs_in(envs, exec_env):
        return f"it is made for {', '.join(envs)} only, this is {exec_env}"
    return ""


def _runs_in(envs: tuple[str, ...], exec_env: str) -> bool:
    return not envs or "*" in envs or exec_env in envs
