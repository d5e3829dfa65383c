"""order.toml, group.toml and plan.toml as the lifecycle reads and writes them."""

from __future__ import annotations

import tomllib

import pytest

from packrunner.formats import toml
from packrunner.formats.buildpack import GroupRef, OrderGroup, read
from packrunner.formats.group import Group, GroupMember, Order
from packrunner.formats.plan import Entry, Plan, Provider, Require

ORDER = """
[[order]]
[[order.group]]
id = "a/b"
version = "1.0.0"
[[order.group]]
id = "c"
optional = true
exec-env = ["test"]
[[order]]
group = [{ id = "d", version = "2.0.0", optional = false }]
[[order-extensions]]
[[order-extensions.group]]
id = "e"
version = "1.0.0"
"""


@pytest.mark.cnb("IMG-05")
def test_an_order_is_read_and_written() -> None:
    order = toml.decode(ORDER.encode(), Order, where="order.toml")
    assert order == Order(
        order=(
            OrderGroup(
                group=(
                    GroupRef(id="a/b", version="1.0.0"),
                    GroupRef(id="c", optional=True, exec_env=("test",)),
                )
            ),
            OrderGroup(group=(GroupRef(id="d", version="2.0.0"),)),
        ),
        order_extensions=(OrderGroup(group=(GroupRef(id="e", version="1.0.0"),)),),
    )
    assert toml.decode(toml.encode(order), Order, where="order.toml") == order


@pytest.mark.cnb("DET-24")
def test_a_group_file_has_no_optional() -> None:
    group = Group(
        group=(
            GroupMember(id="a", version="1", api="0.12", homepage="https://a"),
            GroupMember(id="b", version="2", api="0.7"),
        ),
        group_extensions=(GroupMember(id="e", version="3", api="0.10"),),
    )
    assert tomllib.loads(toml.encode(group).decode()) == {
        "group": [
            {"id": "a", "version": "1", "api": "0.12", "homepage": "https://a"},
            {"id": "b", "version": "2", "api": "0.7"},
        ],
        "group-extensions": [{"id": "e", "version": "3", "api": "0.10"}],
    }


@pytest.mark.cnb("DET-25")
def test_a_plan_file() -> None:
    plan = Plan(
        entries=(
            Entry(
                providers=(Provider(id="e", version="1", extension=True), Provider(id="a", version="2")),
                requires=(Require(name="x", metadata={"n": 1}), Require(name="x")),
            ),
        )
    )
    written = toml.encode(plan)
    assert written == toml.encode(plan)
    assert tomllib.loads(written.decode()) == {
        "entries": [
            {
                "providers": [{"id": "e", "version": "1", "extension": True}, {"id": "a", "version": "2"}],
                "requires": [{"name": "x", "metadata": {"n": 1}}, {"name": "x", "metadata": {}}],
            }
        ]
    }


@pytest.mark.cnb("BPD-13")
@pytest.mark.parametrize(
    "listed",
    ['exec-env = ["test", "ci"]', '[[buildpack.exec-env]]\nname = "test"\n[[buildpack.exec-env]]\nname = "ci"'],
)
def test_both_spellings_of_execution_environments(listed: str) -> None:
    text = f'api = "0.12"\n[buildpack]\nid = "a"\nversion = "1.0.0"\n{listed}\n'
    assert read(text.encode(), where="buildpack.toml").buildpack.exec_envs == ("test", "ci")
