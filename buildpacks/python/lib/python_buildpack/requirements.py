"""requirements.txt and what it includes: enough of the format to know when an installed layer is out of date.

The installers parse the file; this follows `-r` and `-c`, sees whether hashes are given, and finds local paths, whose
content belongs to the key of the layer as much as the file itself.
"""

from __future__ import annotations

import os

from packrunner.sdk.digest import files_digest, tree_files
from packrunner.sdk.report import Failure

NAME = "requirements.txt"
_LIMIT = 16 << 20
_SKIPPED = frozenset({".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache", ".pytest_cache"})
_PROJECT = ("pyproject.toml", "setup.cfg", "setup.py", "MANIFEST.in")
_CONFIG = ("uv.toml",)


class Requirement:
    """A logical line: comments gone, continuations joined."""

    __slots__ = ("line", "path", "text")

    def __init__(self, path: str, line: int, text: str) -> None:
        self.path = path
        self.line = line
        self.text = text

    @property
    def at(self) -> str:
        """The place, as people and editors read it."""
        return f"{self.path}:{self.line}   {self.text.partition(' --hash')[0][:120]}"

    @property
    def name(self) -> str:
        """The project's name in normal form; empty for options, paths and addresses."""
        return name_of(self.text)


class Requirements:
    """All requirement files of an application, their lines in order."""

    def __init__(self, app_dir: str) -> None:
        self._app_dir = app_dir
        self._files: list[str] = []
        self.lines: list[Requirement] = []
        self.hashed = False
        self._read(NAME, None)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to install."""
        return not self.lines

    @property
    def projects(self) -> list[str]:
        """Paths in the application, relative to it, that are installed as packages."""
        found = [_local(line.text, self._app_dir, os.path.dirname(line.path)) for line in self.lines]
        return [path for path, _ in (pair for pair in found if pair)]

    def find(self, name: str) -> Requirement | None:
        """The line that asks for the project `name`."""
        wanted = normal(name)
        return next((line for line in self.lines if line.name == wanted), None)

    def digest(self) -> str:
        """Of the files, of what they refer to in the application, and of the installer's settings there."""
        paths = [os.path.join(self._app_dir, path) for path in self._files]
        for line in self.lines:
            local = _local(line.text, self._app_dir, os.path.dirname(line.path))
            if local:
                paths.extend(_content(os.path.join(self._app_dir, local[0]), editable=local[1]))
        paths.extend(path for path in (os.path.join(self._app_dir, name) for name in _CONFIG) if os.path.isfile(path))
        project = os.path.join(self._app_dir, "pyproject.toml")
        if project not in paths and _configures_uv(project):
            paths.append(project)
        return files_digest(paths, relative_to=self._app_dir)

    def _read(self, path: str, origin: Requirement | None) -> None:
        if path in self._files:
            return
        self._files.append(path)
        data = self._load(path, origin)
        self.hashed = self.hashed or b"--hash" in data
        for line in _logical_lines(path, data):
            included = _option(line.text, ("-r", "--requirement", "-c", "--constraint"))
            if included is None:
                self.lines.append(line)
            elif "://" not in included:
                self._read(os.path.normpath(os.path.join(os.path.dirname(path), included)), line)

    def _load(self, path: str, origin: Requirement | None) -> bytes:
        try:
            with open(os.path.join(self._app_dir, path), "rb") as file:
                data = file.read(_LIMIT)
        except OSError as e:
            raise Failure(
                f"cannot read {path}: {e.strerror}",
                at=origin.at if origin else path,
                tries=("correct the name, or check that no ignore file keeps it out of the build",),
            ) from e
        if data[:2] in {b"\xff\xfe", b"\xfe\xff"} or b"\0" in data:
            raise Failure(
                f"cannot read {path}: it is UTF-16, not UTF-8",
                at=f"{path}:1",
                tries=(f"in PowerShell: pip freeze | Out-File -Encoding utf8 {path}",),
            )
        return data


def name_of(text: str) -> str:
    """The normal form of the project's name that a requirement begins with; empty when it begins with none."""
    end = 0
    while end < len(text) and (text[end].isalnum() or text[end] in "._-"):
        end += 1
    rest = text[end:].lstrip()
    is_name = end and text[0].isalnum() and (not rest or rest[0] in "=<>!~;@[,(-")
    return normal(text[:end]) if is_name else ""


def normal(name: str) -> str:
    """A project's name as indexes compare it."""
    return "-".join(part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part)


def _logical_lines(path: str, data: bytes) -> list[Requirement]:
    found: list[Requirement] = []
    pending, first = "", 0
    text = data.decode("utf-8-sig", "replace")
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.rstrip("\r")
        first = first if pending else number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        whole = _without_comment(pending + line)
        pending = ""
        if whole:
            found.append(Requirement(path, first, whole))
    last = _without_comment(pending)
    return [*found, Requirement(path, first, last)] if last else found


def _without_comment(line: str) -> str:
    if line.lstrip().startswith("#"):
        return ""
    return " ".join(line.partition(" #")[0].split())


def _option(text: str, names: tuple[str, ...]) -> str | None:
    """The value of one of these options, if the line is one; short ones may stick to it."""
    for name in names:
        if not text.startswith(name):
            continue
        rest = text[len(name) :]
        long = name.startswith("--")
        if rest[:1] in {" ", "="} or (rest and not long):
            return rest.lstrip(" =").strip("\"'")
    return None


def _local(text: str, app_dir: str, beside: str) -> tuple[str, bool] | None:
    """A path in the application that the line refers to, and whether it is editable."""
    editable = _option(text, ("-e", "--editable"))
    target = editable or _option(text, ("-f", "--find-links")) or text
    name, at, address = target.partition(" @ ")
    if at and name_of(name):
        target = address
    target = target.partition(" ;")[0].partition(" --")[0].removeprefix("file://").removeprefix("file:").strip()
    if "://" in target or target.startswith("-"):
        return None
    target = target.partition("[")[0] or "."
    for base in ("", beside):
        path = os.path.join(base, target)
        looks_like_path = "/" in path or target.startswith(".") or target.endswith((".whl", ".gz", ".zip"))
        if looks_like_path and os.path.exists(os.path.join(app_dir, path)):
            return path, editable is not None
    return None


def _content(path: str, *, editable: bool) -> list[str]:
    """The files that decide what a local path installs; an editable project's own code is not among them."""
    if os.path.isfile(path):
        return [path]
    if editable:
        return [file for file in (os.path.join(path, name) for name in _PROJECT) if os.path.isfile(file)]
    return tree_files(path, skip=_SKIPPED)


def _configures_uv(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return b"[tool.uv" in file.read(_LIMIT)
    except FileNotFoundError:
        return False
