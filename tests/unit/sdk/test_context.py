"""What the SDK tells a buildpack of the target, of the user's variables and of bindings; rules for live reload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from packrunner.dev.rules import decide, of_plan
from packrunner.formats.plan import Entry, Plan, read_detect_plan
from packrunner.sdk.bindings import read
from tests.unit.sdk.programs import building, detecting

if TYPE_CHECKING:
    from pathlib import Path

    from tests.buildpacks.harness import Buildpack


def said(made: Buildpack) -> list[str]:
    ran = made.build()
    assert ran.code == 0, ran.output
    return ran.lines


def test_the_target_is_what_the_platform_says(tmp_path: Path) -> None:
    body = "t = c.target\nfor one in (t.os, t.arch, t.variant, t.distro, t.distro_version): say(one)\n"
    made = building(tmp_path, f"{body}say(t.platform)\nsay(t.distribution)")
    made.env |= {"CNB_TARGET_ARCH_VARIANT": "v8", "CNB_TARGET_DISTRO_VERSION": "13"}
    assert said(made) == ["linux", "amd64", "v8", "debian", "13", "linux/amd64/v8", "debian 13"]


def test_detect_knows_the_target_too(tmp_path: Path) -> None:
    made = detecting(tmp_path, "say(c.target.platform + c.target.distribution)")
    made.env["CNB_TARGET_ARCH"] = "arm64"
    assert made.detect().lines == ["linux/arm64"]


@pytest.mark.cnb("DET-06", "DET-08")
def test_the_users_variables_come_from_the_platform(tmp_path: Path) -> None:
    made = building(tmp_path, "say(repr(c.user_env))\nsay(c.setting('BP_A', 'no') + c.setting('BP_B', 'none'))")
    made.env["BP_B"] = "operator"
    assert said(made) == ["{}", "nooperator"]
    made.set("BP_A", " 1\n")
    made.set("BP_B", "user")
    (made.platform_env / "directory").mkdir()
    # As with `clear-env`, the file alone says it.
    made.env.pop("BP_A")
    made.env["BP_B"] = "operator"
    assert said(made) == ["{'BP_A': ' 1\\n', 'BP_B': 'user'}", "1user"]


def test_a_setting_outside_of_its_options_fails_naming_them(tmp_path: Path) -> None:
    made = building(tmp_path, "say(c.setting('BP_TOOL', 'uv', options=('uv', 'pip')))")
    assert said(made) == ["uv"]
    made.set("BP_TOOL", "conda")
    assert made.build().code == 1
    assert made.failure == {
        "brief": "does not know BP_TOOL=conda",
        "at": "BP_TOOL",
        "try": ["BP_TOOL is one of uv, pip"],
    }


@pytest.mark.parametrize(
    ("value", "default", "shown"),
    [("true", False, "True"), ("ON", False, "True"), ("0", True, "False"), ("", True, "True"), ("", False, "False")],
)
def test_a_flag_is_true_or_false(tmp_path: Path, value: str, shown: str, *, default: bool) -> None:
    made = building(tmp_path, f"say(str(c.flag('BP_X', default={default})))")
    made.set("BP_X", value)
    assert said(made) == [shown]


def test_a_flag_that_is_neither_fails(tmp_path: Path) -> None:
    made = building(tmp_path, "c.flag('BP_X')")
    made.set("BP_X", "maybe")
    assert made.build().code == 1
    assert made.failure["try"] == ["BP_X is true or false"]


def bind(root: Path, name: str, **keys: str) -> Path:
    for key, text in keys.items():
        path = root / name / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_bindings_are_found_by_type_and_provider(tmp_path: Path) -> None:
    body = """
for one in c.bindings('MAVEN'):
    say(f"{one.name} {one.type} {one.provider} {one['url']} {one.get('x', '-')} {one.keys()}")
say(str([one.name for one in c.bindings()]))
say(str([c.binding('maven', provider='B'), c.binding('none')]))
"""
    made = building(tmp_path, body)
    root = made.platform / "bindings"
    bind(root, "one", type="maven\n", provider="a", url=" https://a \n")
    bind(root, "two", type="Maven", provider="b", url="https://b")
    bind(root, "other", type="npm")
    assert said(made) == [
        "one maven a https://a - ['url']",
        "two Maven b https://b - ['url']",
        "['one', 'other', 'two']",
        "[Binding('two', type='Maven'), None]",
    ]


def test_several_bindings_where_one_is_meant_fail(tmp_path: Path) -> None:
    made = building(tmp_path, "c.binding('maven')")
    bind(bind(made.platform / "bindings", "b", type="maven"), "a", type="maven")
    assert made.build().code == 1
    assert made.failure["brief"] == "found 2 bindings of the type maven: a, b"


def test_a_key_that_a_binding_lacks_is_named(tmp_path: Path) -> None:
    made = building(tmp_path, "c.binding('maven')['password']")
    bind(made.platform / "bindings", "db", type="maven", user="me")
    assert made.build().code == 1
    assert made.failure["brief"] == "found no password in the binding db"


def test_service_binding_root_says_where_they_are(tmp_path: Path) -> None:
    made = building(tmp_path, "say(c.binding('npm').get('token'))")
    made.env["SERVICE_BINDING_ROOT"] = str(bind(tmp_path / "elsewhere", "x", type="npm", token="t"))
    assert said(made) == ["t"]


def test_the_layout_from_before_servicebinding_io_is_read(tmp_path: Path) -> None:
    bind(tmp_path / "b", "old", **{"metadata/kind": "npm", "metadata/provider": "p", "secret/token": "t"})
    (old,) = read(str(tmp_path / "b"))
    assert (old.type, old.provider, old.keys(), old["token"]) == ("npm", "p", ["token"], "t")


def test_what_kubernetes_keeps_beside_is_no_key(tmp_path: Path) -> None:
    bind(tmp_path / "b/x", "..2026", token="t")
    bind(tmp_path / "b", "x", type="npm")
    (tmp_path / "b/x/..data").symlink_to("..2026")
    (tmp_path / "b/x/token").symlink_to("..data/token")
    (found,) = read(str(tmp_path / "b"))
    assert (found.keys(), found["token"]) == (["token"], "t")


@pytest.mark.parametrize("key", ["../x", "a/b", "..data", ""])
def test_a_key_is_a_name(tmp_path: Path, key: str) -> None:
    (found,) = read(str(bind(tmp_path / "b", "x", type="npm")))
    with pytest.raises(ValueError, match="no key"):
        found.path(key)


def test_bindings_are_shown_without_what_they_hold(tmp_path: Path) -> None:
    (found,) = read(str(bind(tmp_path / "b", "x", type="npm", token="secret-token")))
    assert "secret-token" not in f"{found} {found!r}"


def test_what_buildpack_toml_says_of_itself(tmp_path: Path) -> None:
    made = building(tmp_path, "say(c.about('id') + c.about('version') + c.about('nothing'))\nsay(c.descriptor['api'])")
    assert said(made) == ["test/own1.0.0", "0.12"]


LIVE = """
c.provide('a')
c.require('a')
c.alternative()
c.require('b')
c.live_reload(rule('rebuild', 'a.lock', why='installed'), rule('restart', '**/*.a', exec=('make',), dest='/srv'))
"""


@pytest.mark.cnb("DET-18")
def test_rules_are_offered_before_the_plan_without_them(tmp_path: Path) -> None:
    made = detecting(tmp_path, LIVE)
    made.env["CNB_EXEC_ENV"] = "development"
    assert made.detect().code == 0
    pairs = read_detect_plan(made.plan.read_bytes(), where="plan").all
    required = [[r.name for r in pair.requires] for pair in pairs]
    assert required == [["a", "live-reload"], ["a"], ["b", "live-reload"], ["b"]]
    assert [[p.name for p in pair.provides] for pair in pairs] == [["a"], ["a"], [], []]
    warnings: list[str] = []
    rules = of_plan(Plan(entries=(Entry(requires=pairs[0].requires),)), warn=warnings.append)
    assert (warnings, rules.buildpacks) == ([], {"test/own": "1.0.0"})
    first, second = decide(rules, "a.lock"), decide(rules, "x/y.a")
    assert first is not None
    assert (first.action, first.why) == ("rebuild", "installed")
    assert second is not None
    assert (second.action, second.exec, second.dest) == ("restart", ("make",), "/srv")


def test_rules_change_nothing_for_production(tmp_path: Path) -> None:
    made = detecting(tmp_path, LIVE)
    assert made.detect().code == 0
    with_call = made.plan.read_bytes()
    plain = detecting(tmp_path, "\n".join(LIVE.splitlines()[:-1]))
    assert plain.detect().code == 0
    assert with_call == plain.plan.read_bytes()


def test_a_rule_that_cannot_be_meant_is_the_authors_to_see(tmp_path: Path) -> None:
    made = detecting(tmp_path, "c.live_reload(rule('sync', 'a/**'), rule('sync', '/etc/x'))")
    made.env["CNB_EXEC_ENV"] = "development"
    ran = made.detect()
    assert ran.code == 1
    assert "sync rule 2: pattern `/etc/x`: absolute" in ran.output
