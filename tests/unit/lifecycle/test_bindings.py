"""Bindings and secrets: what is taken, what is refused, and what must not be shown."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from packrunner import workspace
from packrunner.errors import UsageError
from packrunner.lifecycle.bindings import Held, hold, parse_binding, parse_secret, variables, watched
from packrunner.record import Scan

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return str(root)


@pytest.mark.cnb("BND-01")
def test_a_binding_is_its_files(tmp_path: Path) -> None:
    place = write(tmp_path / "db", {"type": "mysql", "provider": "acme", "password": "tiger\n", "a.b-c_d": "x"})
    held = hold((("db", place),), (), {})
    assert held.bindings == {"db": {"a.b-c_d": b"x", "password": b"tiger\n", "provider": b"acme", "type": b"mysql"}}


@pytest.mark.cnb("BND-01")
def test_mounted_secrets_of_kubernetes_are_read_through_their_links(tmp_path: Path) -> None:
    write(tmp_path / "db/..2026", {"type": "mysql", "password": "tiger"})
    (tmp_path / "db/..data").symlink_to("..2026")
    for key in ("type", "password"):
        (tmp_path / "db" / key).symlink_to(f"..data/{key}")
    assert hold((("db", str(tmp_path / "db")),), (), {}).bindings == {"db": {"password": b"tiger", "type": b"mysql"}}


@pytest.mark.cnb("BND-01")
def test_a_binding_without_type_is_refused_by_the_files_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        hold((("db", write(tmp_path / "db", {"password": "tiger"})),), (), {})
    assert (caught.value.slug, caught.value.exit_code) == ("binding", 2)
    assert "db/type" in caught.value.brief
    assert "tiger" not in repr(vars(caught.value))


@pytest.mark.fault("PRO-08")
def test_values_in_a_workspace_whose_removal_was_killed_go_with_the_next_build(tmp_path: Path) -> None:
    write(tmp_path / "w", {".packrunner-0123-removed/0/env/API_TOKEN": "tiger", "layers/a/f": "kept"})
    (tmp_path / "w/.packrunner-0123-removed").chmod(0o700)
    with workspace.opened(str(tmp_path / "w"), "/app", owner=None, env={}, bindings={}, waiting=lambda: None):
        assert (tmp_path / "w/layers/a/f").exists()
        assert not [name for name in os.listdir(tmp_path / "w") if name.startswith(".")]


@pytest.mark.cnb("BND-04")
def test_the_legacy_layout_passes_through_untouched(tmp_path: Path) -> None:
    files = {"metadata/kind": "mysql", "metadata/provider": "acme", "secret/password": "tiger"}
    held = hold((("db", write(tmp_path / "db", files)),), (), {})
    assert held.bindings == {"db": {name: text.encode() for name, text in files.items()}}


@pytest.mark.cnb("BND-02")
def test_where_bindings_are_is_told_only_if_there_are_any() -> None:
    assert Held().variables == {}
    assert Held({"x": {}}).variables == {"SERVICE_BINDING_ROOT": "/platform/bindings"}


def test_secrets_from_files_and_variables(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"s3cret\xff\n")
    places = [parse_secret(text, str(tmp_path)) for text in ("a=token", "B=env", "c=env:OTHER")]
    held = hold((), tuple(places), {"B": "b-value", "OTHER": "other"})
    assert {name: files["value"] for name, files in held.bindings.items()} == {
        "a": b"s3cret\xff\n",
        "B": b"b-value",
        "c": b"other",
    }
    assert {files["type"] for files in held.bindings.values()} == {b"secret"}
    assert variables(tuple(places)) == ("B", "OTHER")


@pytest.mark.parametrize("text", ["", "x", "x=", "=./f", "../x=./f", "a/b=./f", "..=./f", "x=env:"])
def test_what_names_no_secret_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_secret(text + "", "/")
    assert caught.value.slug == "binding"


@pytest.mark.fault("SBX-19")
@pytest.mark.parametrize("text", ["", "db", "db=", "=db", "../db=db", "a/b=db", ".=db", "a,b=db", "a:b=db", "a\nb=db"])
def test_names_of_bindings_are_checked_before_a_path_is_made_of_them(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_binding(text, "/")
    assert caught.value.slug == "binding"


def test_paths_are_relative_to_where_the_command_runs() -> None:
    assert parse_binding("db=../x", "/a/b") == ("db", "/a/x")
    assert parse_secret("t=./env", "/a") == ("t", "/a/env")


def test_what_links_lead_to_is_watched_too(tmp_path: Path) -> None:
    place = write(tmp_path / "db", {"type": "mysql"})
    (tmp_path / "elsewhere").write_text("tiger")
    (tmp_path / "db/password").symlink_to("../elsewhere")
    (tmp_path / "db/gone").symlink_to("../gone")
    watched_paths = watched((("db", place),), (("t", "/t"), ("e", "env:E")))
    assert watched_paths == [place, str(tmp_path / "elsewhere"), str(tmp_path / "gone"), "/t"]
    scans = [Scan(watched_paths[:2], app_skip=frozenset()).joined]
    (tmp_path / "elsewhere").write_text("lion!")
    scans.append(Scan(watched_paths[:2], app_skip=frozenset()).joined)
    assert scans[0] != scans[1]


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(UsageError, match="NPM_TOKEN"):
        hold((), (("t", "env:NPM_TOKEN"),), {})


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    place = write(tmp_path / "db", {"type": "x"})
    with pytest.raises(UsageError, match="two"):
        hold((("t", place),), (("t", "env:A"),), {"A": "x"})


@pytest.mark.parametrize("kind", ["gone", "fifo", "huge", "directory", "name"])
def test_what_cannot_be_a_key_is_named(tmp_path: Path, kind: str) -> None:
    place = write(tmp_path / "db", {"type": "x"})
    key = tmp_path / "db" / ("a b" if kind == "name" else "key")
    match kind:
        case "gone":
            key.symlink_to("nowhere")
        case "fifo":
            os.mkfifo(key)
        case "huge":
            key.touch()
            os.truncate(key, (1 << 20) + 1)
        case "directory":
            place = str(tmp_path / "absent")
        case _:
            key.touch()
    with pytest.raises(UsageError) as caught:
        hold((("db", place),), (), {})
    assert caught.value.slug == "binding"
    assert ("absent" if kind == "directory" else key.name) in caught.value.brief


@pytest.mark.cnb("BND-03")
def test_what_is_hidden_and_what_is_not() -> None:
    pem = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nshort\n"
    held = Held({"db": {"type": b"postgresql", "provider": b"acme", "password": b"tiger\n", "key": pem.encode()}})
    hidden = set(held.texts())
    assert {"tiger", pem.strip(), "MIIEvQIBADANBg"} <= hidden
    assert not {"postgresql", "acme", "short"} & hidden
    assert "tiger" not in repr(held)


@pytest.mark.cnb("BND-03")
def test_the_workspace_has_them_only_while_it_is_open(tmp_path: Path) -> None:
    place = str(tmp_path / "work")
    contents = {"db": {"type": b"mysql", "secret/password": b"tiger"}}
    with workspace.opened(place, "/app", owner=None, env={"A": "1"}, bindings=contents, waiting=lambda: None) as opened:
        shown = tmp_path / "work/platform"
        assert opened.platform == str(shown)
        assert (shown / "bindings/db/type").read_text() == "mysql"
        assert (shown / "bindings/db/secret/password").read_text() == "tiger"
        assert (shown / "env/A").read_text() == "1"
    assert not shown.exists()
    assert not [p for p in (tmp_path / "work").rglob("*") if p.is_file() and b"tiger" in p.read_bytes()]
