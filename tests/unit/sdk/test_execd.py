"""Programs that set variables at each start, made of a function and of lines for the shell."""

from __future__ import annotations

import os
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest

from packrunner.sdk.execd import of_function, of_shell
from tests.unit.sdk.programs import building

if TYPE_CHECKING:
    from pathlib import Path

VALUES = [
    "",
    "plain",
    'say "hi"',
    "a\\b\\",
    '"',
    '\\"\\\\""',
    "two\nlines\n",
    "\nfirst",
    "tab\there",
    "ünï 🎉",
    "$(id) `x`",
]


def printed(tmp_path: Path, program: str, env: dict[str, str]) -> dict[str, object]:
    path = tmp_path / "program"
    path.write_text(program)
    path.chmod(0o755)
    out = tmp_path / "out"
    run = ["sh", "-c", f"exec {path} 3>{out}"]
    assert subprocess.run(run, env={"PATH": os.environ["PATH"], **env}, check=False).returncode == 0
    return tomllib.loads(out.read_bytes().decode())


@pytest.mark.cnb("LAU-15")
def test_a_shells_values_arrive(tmp_path: Path) -> None:
    values = {f"V{number}": value for number, value in enumerate(VALUES)}
    found = printed(tmp_path, of_shell("\n".join(f'set_env {name} "${name}"' for name in values)), values)
    assert found == values


def test_a_command_that_fails_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        printed(tmp_path, of_shell("false\nset_env A b"), {})


def echo() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if name.startswith("V")}


@pytest.mark.cnb("LAU-15")
def test_a_functions_values_arrive(tmp_path: Path) -> None:
    values = {f"V{number}": value for number, value in enumerate([*VALUES, "cr\r\nlf"])}
    assert printed(tmp_path, of_function(echo), values) == values


def needy() -> dict[str, str]:
    return {"A": os.environ["A"], "B": [subprocess for _ in ""] and "x"}  # type: ignore[dict-item]


def test_a_function_runs_by_itself() -> None:
    with pytest.raises(TypeError, match="needy runs by itself, at each start, where there is no os, subprocess"):
        of_function(needy)
    outer = "x"

    def closing() -> dict[str, str]:
        return {"A": outer}

    with pytest.raises(TypeError, match="there is no outer"):
        of_function(closing)


def test_a_layer_takes_all_kinds(tmp_path: Path) -> None:
    before = "def port():\n    return {'PORT': '1'}\n"
    body = """
l = c.layer('x', launch=True)
l.clear()
l.exec_d('function', port)
l.exec_d('shell', 'set_env A b')
l.exec_d('script', '#!/bin/bash\\n', process='web')
l.exec_d('program', b'\\x7fELF')
"""
    made = building(tmp_path, body, before=before)
    ran = made.build()
    assert ran.code == 0, ran.output
    files = made.files("x")
    assert files["exec.d/web/script"] == b"755 #!/bin/bash\n"
    assert files["exec.d/program"] == b"755 \x7fELF"
    assert printed(tmp_path, files["exec.d/function"][4:].decode(), {}) == {"PORT": "1"}
    assert printed(tmp_path, files["exec.d/shell"][4:].decode(), {}) == {"A": "b"}
