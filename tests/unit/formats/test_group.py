"""order.toml, as builders have it."""

from __future__ import annotations

import pytest

from packrunner.formats import toml
from packrunner.formats.buildpack import GroupRef, OrderGroup
from packrunner.formats.group import Order

TEXT = """
[[order]]
[[order.group]]
id = "acme/a"
version = "1.0.0"
[[order.group]]
id = "acme/b"
version = "2.0.0"
optional = true
[[order]]
[[order.group]]
id = "acme/c"
[[order-extensions]]
[[order-extensions.group]]
id = "acme/ext"
version = "3.0.0"
"""


@pytest.mark.cnb("IMG-05")
def test_an_order_and_its_extensions_round_trip() -> None:
    order = toml.decode(TEXT.encode(), Order, where="order.toml")
    assert order == Order(
        order=(
            OrderGroup(
                group=(
                    GroupRef(id="acme/a", version="1.0.0"),
                    GroupRef(id="acme/b", version="2.0.0", optional=True),
                )
            ),
            OrderGroup(group=(GroupRef(id="acme/c"),)),
        ),
        order_extensions=(OrderGroup(group=(GroupRef(id="acme/ext", version="3.0.0"),)),),
    )
    assert [ref.optional for group in order.order for ref in group.group] == [False, True, False]
    assert toml.decode(toml.encode(order), Order, where="again") == order
