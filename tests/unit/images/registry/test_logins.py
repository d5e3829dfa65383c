"""Where logins are found, and what becomes of files and helpers that are no good."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from packrunner.console.redact import Redactor
from packrunner.errors import UsageError
from packrunner.events import Hidden, Warned
from packrunner.images.registry.logins import StoredLogins
from tests.fakes import FakeReporter

if TYPE_CHECKING:
    from pathlib import Path

    from packrunner.images.registry.credentials import Login

HUB = "index.docker.io"


def pair(user: str, secret: str) -> str:
    return base64.b64encode(f"{user}:{secret}".encode()).decode()


class Home:
    """A user's home with the files and helpers that a test puts there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reporter = FakeReporter()
        (root / "bin").mkdir()
        self.environ = {
            "HOME": str(root),
            "XDG_RUNTIME_DIR": str(root / "run"),
            "PATH": f"{root}/bin:{os.environ['PATH']}",
        }

    def write(self, path: str, content: Any) -> str:
        """A file below the home; tables become JSON."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(target)

    def docker(self, content: Any) -> str:
        return self.write(".docker/config.json", content)

    def podman(self, content: Any) -> str:
        return self.write("run/containers/auth.json", content)

    def helper(self, name: str, script: str) -> None:
        path = self.root / "bin" / f"docker-credential-{name}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def logins(self, seconds: float = 20.0) -> StoredLogins:
        return StoredLogins(self.environ, self.reporter, seconds=seconds)

    def find(self, registry: str, repository: str = "team/app") -> Login | None:
        return self.logins().of(registry, repository)

    def user(self, registry: str, repository: str = "team/app") -> str | None:
        found = self.find(registry, repository)
        return found.user if found else None


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.cnb("RES-07")
def test_the_variable_comes_first_then_docker_then_podman_then_nobody(home: Home) -> None:
    assert home.find("reg.example") is None
    home.podman({"auths": {"reg.example": {"auth": pair("podman", "secret")}}})
    assert home.user("reg.example") == "podman"
    home.docker({"auths": {"reg.example": {"auth": pair("docker", "secret")}}})
    assert home.user("reg.example") == "docker"
    home.environ["CNB_REGISTRY_AUTH"] = json.dumps({"reg.example": f"Basic {pair('variable', 's:e:cret')}"})
    found = home.find("reg.example")
    assert found is not None
    assert (found.kind, found.user, found.secret) == ("basic", "variable", "s:e:cret")
    assert found.source == "the variable CNB_REGISTRY_AUTH"
    assert home.user("other.example") is None


@pytest.mark.cnb("RES-07")
@pytest.mark.parametrize(
    ("header", "kind", "secret"),
    [
        ("Bearer ey.J.x", "header", "Bearer ey.J.x"),
        ("bearer  ey.J.x", "header", "Bearer ey.J.x"),
        ("X-Identity id", "identity-token", "id"),
    ],
)
def test_tokens_in_the_variable(home: Home, header: str, kind: str, secret: str) -> None:
    home.environ["CNB_REGISTRY_AUTH"] = json.dumps({"https://index.docker.io/v1/": header})
    found = home.find(HUB)
    assert found is not None
    assert (found.kind, found.user, found.secret) == (kind, "", secret)


@pytest.mark.cnb("RES-07")
@pytest.mark.parametrize("text", ["no json", "[]", '{"r.example": "hunter2hunter2"}', '{"r.example": 3}'])
def test_a_variable_that_is_wrong_is_named_and_not_shown(home: Home, text: str) -> None:
    home.environ["CNB_REGISTRY_AUTH"] = text
    with pytest.raises(UsageError) as caught:
        home.find("r.example")
    error = caught.value
    assert error.slug == "registry-config"
    assert "CNB_REGISTRY_AUTH" in error.brief
    assert "hunter2" not in f"{error.brief}{error.cause}{error.tries}"
    assert error.__cause__ is None


@pytest.mark.parametrize(
    ("entry", "kind", "user", "secret"),
    [
        ({"auth": pair("u", "p")}, "basic", "u", "p"),
        ({"auth": base64.b64encode(b"u:p\0\0").decode()}, "basic", "u", "p"),
        ({"username": "u", "password": "p"}, "basic", "u", "p"),
        ({"auth": pair("u", ""), "identitytoken": "id"}, "identity-token", "u", "id"),
        ({"registrytoken": "tok", "auth": pair("u", "p")}, "header", "", "Bearer tok"),
    ],
)
def test_shapes_of_an_entry(home: Home, entry: dict[str, str], kind: str, user: str, secret: str) -> None:
    home.docker({"auths": {"reg.example": entry}})
    found = home.find("reg.example")
    assert found is not None
    assert (found.kind, found.user, found.secret) == (kind, user, secret)
    assert found.source.endswith("config.json")


@pytest.mark.parametrize("entry", [{}, None, {"auth": ""}, {"email": "x"}])
def test_an_entry_without_a_login_is_none(home: Home, entry: object) -> None:
    home.docker({"auths": {"reg.example": entry}})
    home.podman({"auths": {"reg.example": {"auth": pair("podman", "p")}}})
    assert home.user("reg.example") == "podman"


@pytest.mark.fault("REG-35")
@pytest.mark.parametrize(
    ("stored", "asked", "found"),
    [
        ("reg.example", "reg.example", True),
        ("REG.Example", "reg.example", True),
        ("https://reg.example", "reg.example", True),
        ("https://reg.example/v2/", "reg.example", True),
        ("http://reg.example/any/path", "reg.example", True),
        ("reg.example:5000", "reg.example:5000", True),
        ("reg.example", "reg.example.evil", False),
        ("reg.example", "evil-reg.example", False),
        ("reg.example", "reg.example:444", False),
        ("reg.example:444", "reg.example", False),
        ("reg.example:5000", "reg.example:50000", False),
        ("sub.reg.example", "reg.example", False),
        ("reg.example", "sub.reg.example", False),
        ("https://index.docker.io/v1/", HUB, True),
        ("index.docker.io/v1/", HUB, True),
        ("docker.io", HUB, True),
        ("registry-1.docker.io", HUB, True),
        ("index.docker.io.evil.example", HUB, False),
    ],
)
def test_a_login_is_for_its_own_host_and_port(home: Home, stored: str, asked: str, found: bool) -> None:
    home.docker({"auths": {stored: {"auth": pair("u", "p")}}})
    assert (home.find(asked) is not None) is found
    home.environ["CNB_REGISTRY_AUTH"] = json.dumps({stored: f"Basic {pair('v', 'p')}"})
    assert home.user(asked) == ("v" if found else None)


@pytest.mark.parametrize(
    ("repository", "user"),
    [("team/app", "app"), ("team/app/part", "app"), ("team/apple", "team"), ("teams/app", "all"), ("x", "all")],
)
def test_the_key_that_says_most_about_a_repository_wins(home: Home, repository: str, user: str) -> None:
    keys = {"quay.io": "all", "quay.io/team": "team", "quay.io/team/app": "app", "quay.io/other": "other"}
    home.podman({"auths": {key: {"auth": pair(name, "p")} for key, name in keys.items()}})
    assert home.user("quay.io", repository) == user


def test_where_files_are(home: Home) -> None:
    def auths(user: str) -> dict[str, Any]:
        return {"auths": {"r.example": {"auth": pair(user, "p")}}}

    home.write(".config/containers/auth.json", auths("settings"))
    assert home.user("r.example") == "settings"
    home.environ["XDG_CONFIG_HOME"] = str(home.root / "xdg")
    home.write("xdg/containers/auth.json", auths("xdg"))
    assert home.user("r.example") == "xdg"
    home.podman(auths("runtime"))
    assert home.user("r.example") == "runtime"
    home.environ["REGISTRY_AUTH_FILE"] = home.write("named.json", auths("named"))
    assert home.user("r.example") == "named"
    home.environ["DOCKER_CONFIG"] = str(home.root / "elsewhere")
    home.write("elsewhere/config.json", auths("docker"))
    assert home.user("r.example") == "docker"
    home.docker(auths("not looked at"))
    assert home.user("r.example") == "docker"


@pytest.mark.fault("REG-34")
@pytest.mark.parametrize(
    "content",
    [
        "{",
        "<html>hunter2hunter2</html>",
        "[1]",
        '{"auths": 3}',
        '{"auths": {"r.example": "hunter2hunter2"}}',
        '{"auths": {"r.example": {"auth": "hunter2hunter2!"}}}',
        '{"auths": {"r.example": {"auth": "aHVudGVyMmh1bnRlcjI="}}}',
        '{"auths": {"r.example": {"username": 1}}}',
        '{"credsStore": {"a": 1}}',
        "[" * 200_000,
    ],
)
def test_a_file_that_is_wrong_is_named_and_its_content_is_not(home: Home, content: str) -> None:
    path = home.docker(content)
    with pytest.raises(UsageError) as caught:
        home.find("r.example")
    error = caught.value
    assert error.slug == "registry-config"
    assert path in f"{error.at}"
    assert "hunter2" not in f"{error.brief}{error.cause}{error.tries}"
    assert error.__cause__ is None


@pytest.mark.fault("REG-34")
def test_a_directory_in_place_of_the_file(home: Home) -> None:
    (home.root / ".docker/config.json").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"config\.json cannot be read") as caught:
        home.find("r.example")
    assert caught.value.cause == "Is a directory"


@pytest.mark.fault("REG-34")
def test_a_file_of_100_megabytes_is_not_read(home: Home) -> None:
    path = home.docker("{}")
    os.truncate(path, 100_000_000)
    with pytest.raises(UsageError) as caught:
        home.find("r.example")
    assert caught.value.cause == "it is larger than 4 MiB"


def test_an_empty_file_and_one_with_a_mark_at_its_beginning(home: Home) -> None:
    home.docker("\n")
    assert home.find("r.example") is None
    home.docker("\ufeff" + json.dumps({"auths": {"r.example": {"auth": pair("u", "p")}}}))
    assert home.user("r.example") == "u"


ANSWER = """read server
case $1:$server in get:{server}) echo '{{"ServerURL": "'$server'", "Username": "{user}", "Secret": "{secret}"}}';;
*) echo credentials not found in native keychain; exit 1;; esac"""


def test_a_helper_of_one_registry_and_the_store_of_all_others(home: Home) -> None:
    home.docker({"credHelpers": {"gcr.io": "own"}, "credsStore": "all"})
    home.helper("own", ANSWER.format(server="gcr.io", user="_token", secret="of own"))
    home.helper("all", ANSWER.format(server="https://index.docker.io/v1/", user="<token>", secret="of all"))
    found = home.find("gcr.io")
    assert found is not None
    assert (found.kind, found.user, found.secret) == ("basic", "_token", "of own")
    assert found.source.startswith("docker-credential-own, by ")
    found = home.find(HUB)
    assert found is not None
    assert (found.kind, found.user, found.secret) == ("identity-token", "", "of all")
    assert home.find("third.example") is None
    assert not home.reporter.of(Warned), "that a helper has no login is no fault"


def test_podmans_helpers_know_docker_hub_by_another_name(home: Home) -> None:
    home.podman({"credHelpers": {"docker.io": "own"}})
    home.helper("own", ANSWER.format(server="docker.io", user="u", secret="s"))
    assert home.user(HUB) == "u"


def test_a_login_in_the_file_counts_where_the_helper_has_none(home: Home) -> None:
    home.docker({"auths": {"r.example": {"auth": pair("file", "p")}}, "credsStore": "all"})
    home.helper("all", ANSWER.format(server="other", user="u", secret="s"))
    assert home.user("r.example") == "file"


def test_a_helper_is_asked_once(home: Home) -> None:
    home.docker({"credsStore": "all"})
    home.helper("all", "echo x >> $HOME/asked; " + ANSWER.format(server="r.example", user="u", secret="s"))
    logins = home.logins()
    for repository in ("a", "b", "c"):
        assert logins.of("r.example", repository) is not None
    assert (home.root / "asked").read_text() == "x\n"


@pytest.mark.fault("REG-34")
@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, "is not installed"),
        ("echo '<html>hunter2hunter2</html>'", "answered something that is no login"),
        ("echo hunter2hunter2; echo hunter2hunter2 >&2; exit 1", "ended with 1"),
        ("""echo '{"Username": "u", "Secret": 5}'""", "answered something that is no login"),
        ("echo '[]'", "answered something that is no login"),
        ("yes hunter2hunter2", "printed more than a login can be"),
        ("sleep 30", "gave no answer within 0.3 s"),
        ("trap '' INT; read server; kill -9 $$", "ended with 137"),
    ],
)
def test_a_helper_that_fails_is_passed_over_with_a_warning(home: Home, script: str | None, said: str) -> None:
    home.docker({"credsStore": "bad"})
    home.podman({"auths": {"r.example": {"auth": pair("podman", "p")}}})
    if script is not None:
        home.helper("bad", script)
    found = home.logins(seconds=0.3 if "sleep" in str(script) else 20.0).of("r.example", "x")
    assert found is not None
    assert found.user == "podman"
    (warning,) = home.reporter.of(Warned)
    assert warning.text.startswith("docker-credential-bad, which keeps the logins of ")
    assert warning.text.endswith(said)
    assert "packrunner login r.example" in warning.hint
    assert "hunter2" not in f"{warning}"


@pytest.mark.fault("REG-34")
@pytest.mark.parametrize("name", ["../../bin/sh", "a/b", "-x", "a b"])
def test_a_helper_is_a_program_of_that_name_only(home: Home, name: str) -> None:
    home.docker({"credsStore": name})
    assert home.find("r.example") is None
    assert home.reporter.of(Warned)[0].text.endswith("is not the name of a program")


def test_secrets_are_told_to_the_console_and_in_no_representation(home: Home) -> None:
    home.docker({"auths": {"r.example": {"auth": pair("ana", "hunter2hunter2")}}})
    logins = home.logins()
    found = logins.of("r.example", "x")
    assert "hunter2" not in f"{found!r}{logins!r}{vars(logins)!r}{home.reporter.events!r}"
    redact = Redactor()
    for event in home.reporter.of(Hidden):
        redact.learn(event.secrets)
    text = f"a header {pair('ana', 'hunter2hunter2')} for hunter2hunter2"
    assert redact(text) == "a header (hidden) for (hidden)"
