"""`login` and `logout` on the command line."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.errors import RefusedError
from packrunner.images.registry.keeping import Kept
from tests.unit.cli.cli_fakes import FakeServices, call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Typed(io.StringIO):
    """What somebody types at a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass
class Accounts(FakeServices):
    """Keeps logins; the password `wrong` is none."""

    kept: list[tuple[str, str, str, dict[str, Any]]] = field(default_factory=list)
    gone: list[str] = field(default_factory=lambda: ["~/.docker/config.json"])
    plain: bool = True

    def log_in(self, registry: str, user: str, secret: str, *, reporter: object, **wishes: Any) -> Kept:
        if secret == "hunter2hunter2":
            raise RefusedError(f"{registry} does not know you", slug="registry-auth", cause=f"not {secret}")
        self.kept.append((registry, user, secret, wishes))
        return Kept(registry=registry, user=user, where="~/.docker/config.json", plain=self.plain)

    def log_out(self, registry: str) -> list[str]:
        self.kept.append((registry, "", "", {}))
        return self.gone

    def logins(self) -> Iterable[Kept]:
        yield Kept(registry="ghcr.io", user="ana", where="~/.docker/config.json", plain=True)
        yield Kept(registry="gcr.io", user="", where="docker-credential-gcloud", plain=False)


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[[io.StringIO], None]:
    return lambda text: monkeypatch.setattr(sys, "stdin", text)


def test_a_password_from_stdin(says: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fake = Accounts()
    says(io.StringIO("se cret\r\n"))
    assert call("login", "ghcr.io", "-u", "ana", "--password-stdin", "--ca-cert", "c.pem", fake=fake) == 0
    assert fake.kept == [("ghcr.io", "ana", "se cret", {"insecure": False, "ca_certs": ("c.pem",)})]
    out, err = capsys.readouterr()
    assert out == ""
    assert "Logged in to ghcr.io as ana. The login is kept in ~/.docker/config.json." in err
    assert "whoever reads this file can use the login" in err
    assert "se cret" not in err


def test_kept_by_a_helper_nothing_is_to_be_noted(says: Any, capsys: pytest.CaptureFixture[str]) -> None:
    says(io.StringIO("secret"))
    assert call("login", "-u", "ana", "--password-stdin", fake=Accounts(plain=False)) == 0
    err = capsys.readouterr().err
    assert "Logged in to docker.io" in err
    assert "note:" not in err


def test_a_terminal_is_asked(says: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import getpass

    fake = Accounts()
    says(Typed("ana\n"))
    monkeypatch.setattr(getpass, "getpass", lambda prompt, stream: "typed secret")
    assert call("login", "ghcr.io", "--insecure", fake=fake) == 0
    assert fake.kept == [("ghcr.io", "ana", "typed secret", {"insecure": True, "ca_certs": ()})]
    assert "User of ghcr.io: " in capsys.readouterr().err


def test_a_refused_login_is_not_shown_anywhere(says: Any, capsys: pytest.CaptureFixture[str]) -> None:
    says(io.StringIO("hunter2hunter2\n"))
    assert call("login", "ghcr.io", "-u", "ana", "--password-stdin", fake=Accounts()) == 14
    out, err = capsys.readouterr()
    assert "error[registry-auth]: ghcr.io does not know you" in err
    assert "hunter2" not in out + err


@pytest.mark.parametrize(
    ("words", "stdin", "slug"),
    [
        (["ghcr.io", "--password-stdin"], "x", "usage"),
        (["ghcr.io", "-u", "ana", "--password-stdin"], "\n", "login"),
        (["ghcr.io", "-u", "ana"], "x", "login"),
    ],
)
def test_what_is_missing_is_asked_for(
    words: list[str], stdin: str, slug: str, says: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    says(io.StringIO(stdin))
    assert call("login", *words, fake=Accounts()) == 2
    err = capsys.readouterr().err
    assert f"error[{slug}]" in err
    assert "--password-stdin" in err


def test_logging_out(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Accounts()
    assert call("logout", "ghcr.io", fake=fake) == 0
    assert "Logged out of ghcr.io: removed from ~/.docker/config.json." in capsys.readouterr().err
    fake.gone = []
    monkeypatch.setenv("CNB_REGISTRY_AUTH", "{}")
    assert call("logout", fake=fake) == 0
    err = capsys.readouterr().err
    assert "There was no login to docker.io." in err
    assert "CNB_REGISTRY_AUTH is set" in err


def test_what_is_kept_is_listed_without_its_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("login", "--list", fake=Accounts()) == 0
    assert capsys.readouterr().out == "ghcr.io\tana\t~/.docker/config.json\ngcr.io\t-\tdocker-credential-gcloud\n"
