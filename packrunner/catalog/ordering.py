"""An order in a file: what it names, checked before anything is looked for (IMG-05)."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import msgspec

from packrunner.errors import UsageError
from packrunner.formats import toml
from packrunner.formats.group import Order
from packrunner.formats.positions import place
from packrunner.names import BuildpackId
from packrunner.paths import readable

if TYPE_CHECKING:
    from packrunner.formats.buildpack import OrderGroup

_LIMIT = 4 << 20
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")


class OrderFile(msgspec.Struct, frozen=True, kw_only=True):
    """An order with its text, for messages about what it names."""

    order: Order
    text: str
    where: str

    def at(self, group: int, member: int, key: str = "order") -> str:
        """Where a reference stands."""
        return place(self.text, f"{key}[{group}].group[{member}].id", self.where)


def read_order(path: str) -> OrderFile:
    """Read and check an order.toml.

    Raises UsageError: `order` for a file that cannot be read, has no group or names what cannot be a buildpack, `toml`.
    """
    where = readable(path)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise UsageError(f"{where} cannot be read: {error.strerror}", slug="order", tries=("--order FILE",)) from error
    if len(data) > _LIMIT:
        raise UsageError(f"{where} is larger than 4 MB", slug="order")
    order = toml.decode(data, Order, where=where, error=UsageError)
    if not any(group.group for group in order.order):
        raise UsageError(
            f"{where} names no buildpack",
            slug="order",
            at=f"{where}, key order",
            tries=("[[order]] with [[order.group]]",),
        )
    text = data.decode()
    _check("order", order.order, where, text)
    _check("order-extensions", order.order_extensions, where, text)
    return OrderFile(order=order, text=text, where=where)


def _check(key: str, groups: tuple[OrderGroup, ...], where: str, text: str) -> None:
    for i, group in enumerate(groups):
        for j, ref in enumerate(group.group):
            at = f"{key}[{i}].group[{j}]"
            try:
                BuildpackId.parse(ref.id)
            except UsageError as error:
                raise _wrong(error.brief, error.cause, place(text, f"{at}.id", where)) from error
            if ref.version and not _VERSION.fullmatch(ref.version):
                raise _wrong(f"{ref.version!r} is not a version", None, place(text, f"{at}.version", where))


def _wrong(brief: str, cause: str | None, at: str) -> UsageError:
    return UsageError(brief, slug="order", cause=cause, at=at)
