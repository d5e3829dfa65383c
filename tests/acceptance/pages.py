"""Pages of the documentation that are executed: what is typed, what is shown, and files that the reader writes."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

HOME = "/home/me"
"""What pages call the directory that the reader begins in."""

_BLOCK = re.compile(r"^```(?P<language>\w+)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command with the output that the page shows below it; or, with `file`, a file and its text."""

    command: str = ""
    output: str = ""
    file: str = ""


def steps(text: str) -> Iterator[Step]:
    """Every command of the blocks called `console`, and every block with a file's name behind its language."""
    for block in _BLOCK.finditer(text):
        if block["file"]:
            yield Step(file=block["file"], output=block["text"])
        elif block["language"] == "console":
            for part in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                while command.endswith("\\"):
                    line, _, output = output.partition("\n")
                    command += f"\n{line.removeprefix('> ')}"
                yield Step(command=command, output=output)


def plain(output: str) -> list[str]:
    """Output without what differs from run to run: numbers, units, digests, layout and signs of slowness.

    Where a text is broken into lines depends on how wide the time beside it is.
    """
    lines = [line for line in output.splitlines() if line.strip() and "still running" not in line]
    text = re.sub(r"(?: {2,}\d\S*)?\n {20,}", " ", "\n".join(lines))
    text = re.sub(r"\b(?=[a-f]*\d)[0-9a-f]{12,64}\b", "HEX", text)
    text = re.sub(r"\d+([.,:-]\d+)*", "N", text)
    text = re.sub(r"\bNm Ns\b", "N", text)
    text = re.sub(r"\bN ?(ms|s|kB|MB|GB)\b|<Nms|just now|N min ago", "N", text)
    return [" ".join(line.split()) for line in text.splitlines()]


class Reader:
    """Somebody who does what a page says; a `cd` holds for what follows."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self.directory = self._home = directory
        self._environ = dict(environ)
        self._note = directory.with_name(f"{directory.name}.where")

    def type(self, command: str) -> str:
        """Run a command; what it printed, on both streams."""
        script = f"trap 'pwd >{shlex.quote(str(self._note))}' EXIT\n{command}"
        ran = subprocess.run(
            ["bash", "-c", script],
            cwd=self.directory,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        self.directory = self._note.parent / self._note.read_text().rstrip("\n")
        return ran.stdout.decode().replace(str(self._home), HOME)

    def write(self, file: str, text: str) -> None:
        """Write a file; one that is there keeps its mode."""
        path = self.directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def follow(self, text: str) -> None:
        """Do everything that the page says, and find what it shows."""
        for step in steps(text):
            if step.file:
                self.write(step.file, step.output)
            else:
                printed = self.type(step.command)
                assert plain(printed) == plain(step.output), f"{step.command}\n{printed}"
