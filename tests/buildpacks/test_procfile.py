"""Procfile: the grammars in use, the warnings, with or without a shell, the default process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from packrunner.formats import api, layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.buildpacks.builtin import Buildpack


@pytest.fixture
def procfile(stage: Callable[[str], Buildpack]) -> Buildpack:
    """The buildpack, with an empty application."""
    return stage("procfile")


def test_detect_declines_without_a_procfile(procfile: Buildpack) -> None:
    ran = procfile.detect()
    assert (ran.code, ran.lines) == (100, ["needs a Procfile"])


def test_detect_names_a_misspelt_procfile(procfile: Buildpack) -> None:
    procfile.write("procfile", "web: x\n")
    ran = procfile.detect()
    assert ran.code == 100
    assert ran.lines == ["try: mv procfile Procfile", "needs a Procfile of exactly this name. There is procfile"]


@pytest.mark.parametrize("by", ["file", "setting"])
def test_detect_accepts(procfile: Buildpack, by: str) -> None:
    if by == "file":
        procfile.write("Procfile", "web: x\n")
    else:
        procfile.set("BP_PROCFILE_DEFAULT_PROCESS", "x")
    assert procfile.detect().code == 0
    assert 'name = "procfile"' in procfile.plan.read_text()


GRAMMAR = [
    ("web: a b", {"web": ["a", "b"]}, ""),
    ("web:a", {"web": ["a"]}, ""),
    ("web: a: b", {"web": ["a:", "b"]}, ""),
    ("web_1-x: a", {"web_1-x": ["a"]}, ""),
    ("Web: a", {"Web": ["a"]}, ""),
    ("# c\n\n  # d\nweb: a", {"web": ["a"]}, ""),
    ("\ufeffweb: a", {"web": ["a"]}, ""),
    ("web: a\r\nworker: b\r\n", {"web": ["a"], "worker": ["b"]}, ""),
    ("web: a   \t", {"web": ["a"]}, ""),
    ("  web: a", {"web": ["a"]}, "Procfile:1: spaces around the name web; other platforms refuse them"),
    ("web : a", {"web": ["a"]}, "Procfile:1: spaces around the name web; other platforms refuse them"),
    ("web: a\nweb: b", {"web": ["b"]}, "Procfile:2: web is there twice; this line wins"),
    ("web: a\nworker:", {"web": ["a"]}, "Procfile:2: worker has no command, left out"),
    ("web: a\nnonsense", {"web": ["a"]}, "Procfile:2: not `name: command`, left out"),
    ("web: a\na.b: c", {"web": ["a"]}, "Procfile:2: not `name: command`, left out"),
    ("web: a\n: c", {"web": ["a"]}, "Procfile:2: not `name: command`, left out"),
]


@pytest.mark.parametrize(("text", "processes", "warning"), GRAMMAR)
def test_grammar(procfile: Buildpack, text: str, processes: dict[str, list[str]], warning: str) -> None:
    procfile.write("Procfile", text)
    ran = procfile.build()
    assert ran.code == 0, ran.output
    assert procfile.processes == processes
    warnings = [line for line in ran.lines if line.startswith("warning: ")]
    assert len(warnings) == bool(warning)
    assert f"warning: {warning}" in f"{ran.output}warning: "


COMMANDS = [
    ("python -m worker 'a b' \"c d\" e\\ f", ["python", "-m", "worker", "a b", "c d", "e f"]),
    ("env FOO=bar cmd", ["env", "FOO=bar", "cmd"]),
    ("gunicorn app:app --bind 0.0.0.0:$PORT", ["bash", "-c", "exec gunicorn app:app --bind 0.0.0.0:$PORT"]),
    ("A=1 B=2 cmd", ["bash", "-c", "A=1 B=2 exec cmd"]),
    ('A="1 2" cmd', ["bash", "-c", 'A="1 2" cmd']),
    ("a && b", ["bash", "-c", "a && b"]),
    ("cd src", ["bash", "-c", "cd src"]),
    ("exec cmd $X", ["bash", "-c", "exec cmd $X"]),
    ("a | b", ["bash", "-c", "a | b"]),
    ("a > log", ["bash", "-c", "exec a > log"]),
    ("echo \"$X\" '$Y'", ["bash", "-c", "exec echo \"$X\" '$Y'"]),
    ("echo '$Y' \"it's\"", ["echo", "$Y", "it's"]),
    ("while true; do a; done", ["bash", "-c", "while true; do a; done"]),
    ("ls *.py", ["bash", "-c", "exec ls *.py"]),
    ("echo é", ["echo", "é"]),
]


@pytest.mark.parametrize(("command", "argv"), COMMANDS)
@pytest.mark.cnb("BLD-10")
def test_with_or_without_a_shell(procfile: Buildpack, command: str, argv: list[str]) -> None:
    procfile.write("Procfile", f"web: {command}\n")
    ran = procfile.build()
    assert ran.code == 0, ran.output
    assert procfile.processes == {"web": argv}


@pytest.mark.parametrize(
    ("wish", "command", "argv", "warned"),
    [
        ("true", "a $PORT && b", ["a", "$PORT", "&&", "b"], True),
        ("true", "a b", ["a", "b"], False),
        ("false", "a b", ["bash", "-c", "exec a b"], False),
        ("", "a b", ["a", "b"], False),
    ],
)
def test_bp_direct_process_overrules(
    procfile: Buildpack, wish: str, command: str, argv: list[str], *, warned: bool
) -> None:
    procfile.set("BP_DIRECT_PROCESS", wish)
    procfile.write("Procfile", f"web: {command}\n")
    ran = procfile.build()
    assert procfile.processes == {"web": argv}
    assert ("takes literally" in ran.output) is warned


@pytest.mark.parametrize(
    ("text", "default"),
    [
        ("web: a\nworker: b", "web"),
        ("worker: b\nWEB: a", "WEB"),
        ("worker: b\nclock: c", "worker"),
        ("release: a", "release"),
        ("clock: a\nrelease: b", None),
    ],
)
@pytest.mark.cnb("BLD-13")
def test_default_process(procfile: Buildpack, text: str, default: str | None) -> None:
    procfile.write("Procfile", text)
    ran = procfile.build()
    assert procfile.default == default
    assert ("starts by default" in ran.output) is (default is None)


def test_the_setting_is_web_unless_the_file_has_one(procfile: Buildpack) -> None:
    procfile.set("BP_PROCFILE_DEFAULT_PROCESS", "from setting")
    procfile.write("Procfile", "worker: w\n")
    procfile.build()
    assert procfile.processes == {"web": ["from", "setting"], "worker": ["w"]}
    procfile.write("Procfile", "web: from file\n")
    procfile.build()
    assert procfile.processes == {"web": ["from", "file"]}


@pytest.mark.parametrize(
    ("content", "at"),
    [(b"", "Procfile:1"), (b"# nothing\n", "Procfile:1"), (b"web: a\n\xff\xfe: b\n", "Procfile:2")],
)
def test_an_unusable_procfile_fails_with_a_place(procfile: Buildpack, content: bytes, at: str) -> None:
    procfile.write("Procfile", content)
    ran = procfile.build()
    assert ran.code == 1
    assert procfile.failure["at"] == at
    assert procfile.failure["try"]
    assert procfile.toml("launch.toml") == {}


def test_what_is_written_is_read_by_the_lifecycle(procfile: Buildpack) -> None:
    procfile.write("Procfile", 'web: echo "a \\" b" \\\\ \'\t\'\nworker: echo "$X"\n')
    assert procfile.build().code == 0
    features = api.buildpack_features("0.12")
    file = layer.read_launch((procfile.layers / "launch.toml").read_bytes(), where="launch.toml", features=features)
    assert [p.command for p in file.processes] == [
        ("echo", 'a " b', "\\", "\t"),
        ("bash", "-c", 'exec echo "$X"'),
    ]
    assert procfile.step.startswith("web: echo")
