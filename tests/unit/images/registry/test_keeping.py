"""Logins kept and forgotten: what is not ours in the files stays, and nobody else can read them."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from packrunner.errors import UsageError
from packrunner.images.registry.keeping import Keeper, registry_name
from packrunner.images.registry.logins import StoredLogins
from tests.fakes import FakeReporter

if TYPE_CHECKING:
    from pathlib import Path

HUB = "index.docker.io"
STORE = """case $1 in
store) cat > $HOME/kept;;
erase) cat > $HOME/erased; rm -f $HOME/kept;;
get) cat $HOME/kept 2>/dev/null || { echo credentials not found in native keychain; exit 1; };;
esac"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "bin").mkdir()
    return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": "/none", "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}


def helper(home: Path, name: str, script: str) -> None:
    path = home / "bin" / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def docker(home: Path, content: object) -> Path:
    path = home / ".docker" / "config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    path.chmod(0o644)
    return path


def found(environ: dict[str, str], registry: str) -> tuple[str, str] | None:
    login = StoredLogins(environ, FakeReporter()).of(registry, "x")
    return (login.user, login.secret) if login else None


def test_a_login_is_kept_in_dockers_file_and_found_again(tmp_path: Path, environ: dict[str, str]) -> None:
    kept = Keeper(environ).keep("r.example:5000", "ana", "se:cret")
    assert kept.plain
    assert kept.where.endswith(".docker/config.json")
    assert found(environ, "r.example:5000") == ("ana", "se:cret")
    path = tmp_path / ".docker/config.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["config.json"]
    assert "se:cret" not in repr(kept)


def test_what_else_is_in_the_file_stays(tmp_path: Path, environ: dict[str, str]) -> None:
    other = {"auth": "b3RoZXI6eA==", "email": "x"}
    path = docker(
        tmp_path, {"detachKeys": "ctrl-e", "auths": {"https://r.example/v1/": {"auth": "old"}, "o.example": other}}
    )
    Keeper(environ).keep("r.example", "ana", "new")
    content = json.loads(path.read_text())
    assert content == {"detachKeys": "ctrl-e", "auths": {"o.example": other, "r.example": {"auth": "YW5hOm5ldw=="}}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_to_the_file_stays_one(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").symlink_to("../dotfiles/docker.json")
    Keeper(environ).keep("r.example", "ana", "new")
    assert (tmp_path / ".docker/config.json").is_symlink()
    assert found(environ, "r.example") == ("ana", "new")


def test_docker_hub_is_kept_as_docker_calls_it(tmp_path: Path, environ: dict[str, str]) -> None:
    Keeper(environ).keep(HUB, "ana", "s")
    assert list(json.loads((tmp_path / ".docker/config.json").read_text())["auths"]) == ["https://index.docker.io/v1/"]
    named = environ | {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    Keeper(named).keep(HUB, "bea", "s")
    assert list(json.loads((tmp_path / "auth.json").read_text())["auths"]) == ["docker.io"]


def test_a_helper_keeps_it_in_place_of_the_file(tmp_path: Path, environ: dict[str, str]) -> None:
    path = docker(tmp_path, {"credsStore": "test", "auths": {"r.example": {"auth": "YW5hOm9sZA=="}}})
    helper(tmp_path, "test", STORE)
    kept = Keeper(environ).keep("r.example", "ana", "new")
    assert (kept.where, kept.plain) == ("docker-credential-test", False)
    assert json.loads((tmp_path / "kept").read_text()) == {
        "ServerURL": "r.example",
        "Username": "ana",
        "Secret": "new",
    }
    assert json.loads(path.read_text())["auths"] == {"r.example": {}}
    assert found(environ, "r.example") == ("ana", "new")
    assert Keeper(environ).forget("r.example") == ["docker-credential-test"]
    assert (tmp_path / "erased").read_text() == "r.example"
    assert json.loads(path.read_text())["auths"] == {}


@pytest.mark.fault("REG-34")
@pytest.mark.parametrize(("script", "cause"), [(None, "it is not installed"), ("cat; exit 1", "it ended with 1")])
def test_a_helper_that_does_not_keep_it_leaves_the_file_alone(
    tmp_path: Path, environ: dict[str, str], script: str | None, cause: str
) -> None:
    path = docker(tmp_path, {"credsStore": "test", "auths": {"r.example": {"auth": "YW5hOm9sZA=="}}})
    before = path.read_bytes()
    if script:
        helper(tmp_path, "test", script)
    with pytest.raises(UsageError) as caught:
        Keeper(environ).keep("r.example", "ana", "hunter2hunter2")
    error = caught.value
    assert (error.slug, error.cause) == ("registry-helper", cause)
    assert "hunter2" not in f"{error.brief}{error.tries}{error.foreign}"
    assert path.read_bytes() == before


def test_forgetting(tmp_path: Path, environ: dict[str, str]) -> None:
    keys = ["r.example", "https://r.example/v2/", "r.example:444", "r.example/team", "o.example"]
    path = docker(tmp_path, {"auths": {key: {"auth": "YW5hOm9sZA=="} for key in keys}})
    assert [name.rpartition("/")[2] for name in Keeper(environ).forget("r.example")] == ["config.json"]
    assert list(json.loads(path.read_text())["auths"]) == ["r.example:444", "r.example/team", "o.example"]
    assert Keeper(environ).forget("r.example") == []


def test_what_is_kept(tmp_path: Path, environ: dict[str, str]) -> None:
    helper(tmp_path, "test", STORE)
    docker(
        tmp_path,
        {
            "credHelpers": {"gcr.io": "test"},
            "auths": {"r.example/team": {"auth": "YW5hOm9sZA=="}, "gcr.io": {}, "x.example": {}},
        },
    )
    listed = [(one.registry, one.user, one.where.rpartition("/")[2]) for one in Keeper(environ).listed()]
    assert listed == [("r.example/team", "ana", "config.json"), ("gcr.io", "", "docker-credential-test")]


@pytest.mark.parametrize(
    ("text", "registry"),
    [
        ("docker.io", HUB),
        ("https://index.docker.io/v1/", HUB),
        ("ghcr.io", "ghcr.io"),
        ("https://GHCR.io/", "ghcr.io"),
        ("localhost", "localhost"),
        ("localhost:5000", "localhost:5000"),
        ("[::1]:5000", "[::1]:5000"),
    ],
)
def test_registries_as_people_type_them(text: str, registry: str) -> None:
    assert registry_name(text) == registry


@pytest.mark.parametrize("text", ["", "ghcr", "ghcr.io/acme", "a b.c", "ana@ghcr.io", "-x.y"])
def test_what_is_no_registry(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        registry_name(text)
    assert caught.value.slug == "name"
