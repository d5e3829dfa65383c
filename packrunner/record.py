"""What the last build with the same arguments was made from, so that "nothing changed" needs no build.

One record per (directory, arguments), under <state>/records/:

    <key>.json     version, environment digest, the request, image and blobs, input paths, the result's lines
    <key>.tables   the inputs' stat fingerprints, joined; the application's comes first

Loaded by the start module: imports `json` and next to nothing else. A record is only ever an optimisation: whatever
is missing, torn or doubtful means "build".
"""

from __future__ import annotations

import json
import os
import time

from packrunner import fingerprint, paths
from packrunner._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

FORMAT = 2
KEPT = 200
"""Records kept; the oldest go when a new one is written."""

# Everything in the environment that can change what is built, where state lives, or what is shown.
_NAMED = ("HOME", "SOURCE_DATE_EPOCH", "CI", "NO_COLOR", "TERM")
_PREFIXES = ("PACKRUNNER_", "CNB_", "XDG_")


class Scan:
    """The fingerprints of some paths at one moment; a path that does not exist has the fingerprint b"".

    `replaced` are files that packrunner itself only ever replaces by new ones, so that their inodes tell.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        *,
        app_skip: frozenset[str],
        began_ns: int = 0,
        replaced: frozenset[str] = frozenset(),
    ) -> None:
        self.inputs = tuple(inputs)
        self._replaced = replaced
        self.app_skip = app_skip
        # The moment the first input was read, here or by whoever gives it.
        self.began_ns = began_ns or time.time_ns()
        self.tables = [_scan(path, app_skip if i == 0 else frozenset()) for i, path in enumerate(inputs)]

    @property
    def joined(self) -> bytes:
        """All tables, each preceded by its length."""
        return b"".join(b"%d\n%s" % (len(t), t) for t in self.tables)

    @property
    def settled(self) -> bool:
        """Whether every entry is older than the scan, so that a later change must show (racy entries do not)."""
        doubtful = (t for path, t in zip(self.inputs, self.tables, strict=True) if t and path not in self._replaced)
        return all(fingerprint.settled(table, self.began_ns) for table in doubtful)


def _scan(path: str, skip: frozenset[str]) -> bytes:
    try:
        return fingerprint.scan(path, skip=skip)
    except FileNotFoundError:
        return b""
    except NotADirectoryError:
        return _file_table(path)


def _file_table(path: str) -> bytes:
    try:
        st = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    line = f"{st.st_mode:o} {st.st_size} {st.st_mtime_ns} {st.st_ctime_ns} {st.st_ino} {path}"
    return fingerprint.join([line], st.st_ctime_ns)


def environment_digest(environ: Mapping[str, str], names: Sequence[str]) -> str:
    """A digest over the variables that matter; values may be secret and are never stored."""
    chosen = sorted(n for n in environ if n in _NAMED or n in names or n.startswith(_PREFIXES))
    return fingerprint.digest(b"".join(b"%s=%s\0" % (os.fsencode(n), os.fsencode(environ[n])) for n in chosen))


def output_digest(path: str) -> str:
    """A digest over the fingerprint of one output; of nothing when it is gone."""
    return fingerprint.digest(_scan(path, frozenset()))


def _split(joined: bytes) -> list[bytes]:
    tables = []
    at = 0
    while at < len(joined):
        end = joined.find(b"\n", at)
        length = joined[at:end]
        if end < 0 or not length.isdigit():
            return []
        at = end + 1 + int(length)
        tables.append(joined[end + 1 : at])
    return tables


class Record:
    """The record of a directory and argument list, present or not."""

    def __init__(self, directory: str, argv: Sequence[str]) -> None:
        key = fingerprint.digest(b"\0".join(os.fsencode(a) for a in (directory, *argv)))[:32]
        self._stem = os.path.join(paths.state_dir(), "records", key)
        self.facts: dict[str, Any] = {}

    def load(self) -> bool:
        """Read the facts; false when there are none to trust."""
        try:
            with open(self._stem + ".json", "rb") as file:
                facts = json.load(file)
        except (OSError, ValueError):
            return False
        if not isinstance(facts, dict) or facts.get("format") != FORMAT or facts.get("version") != __version__:
            return False
        self.facts = facts
        return True

    def tables(self) -> bytes:
        """The joined tables of the recorded inputs; empty when they are gone."""
        try:
            with open(self._stem + ".tables", "rb") as file:
                return file.read()
        except OSError:
            return b""

    def app_table(self) -> bytes:
        """The recorded table of the application alone."""
        return next(iter(_split(self.tables())), b"")

    def settings_equal(self, scan: Scan) -> bool:
        """Whether the files that arguments are parsed with (all inputs marked as settings) are as recorded."""
        recorded = _split(self.tables())
        chosen = self.facts["settings"]
        return len(recorded) == len(scan.tables) and all(recorded[i] == scan.tables[i] for i in chosen)

    def differences(self, scan: Scan) -> list[tuple[str, bytes, bytes]]:
        """The inputs that are not as recorded, with their tables then and now; all where the record is torn."""
        recorded = _split(self.tables())
        if len(recorded) != len(scan.tables):
            return [(path, b"", now) for path, now in zip(scan.inputs, scan.tables, strict=True)]
        both = zip(scan.inputs, recorded, scan.tables, strict=True)
        return [(path, then, now) for path, then, now in both if then != now]

    def outputs_changed(self) -> list[str]:
        """The files and directories put out by the build that are not as it left them."""
        return [path for path, digest in self.facts["outputs"] if output_digest(path) != digest]

    def image_present(self) -> bool:
        """Whether the names still mean what they did, and every blob of the image is there at its size."""
        image = self.facts["image"]
        try:
            with open(image["index"], "rb") as file:
                manifests = json.load(file)["manifests"]
            named = {m["annotations"]["org.opencontainers.image.ref.name"]: m["digest"] for m in manifests}
            sizes = [os.stat(path).st_size for path, _ in image["blobs"]]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        same = all(named.get(name) == digest for name, digest in image["names"].items())
        return same and sizes == [size for _, size in image["blobs"]]

    def outputs_present(self) -> bool:
        """Whether every file and directory the build put out is as it was left."""
        return not self.outputs_changed()

    def save(self, facts: Mapping[str, Any], scan: Scan) -> None:
        """Write the record anew. The facts name their tables, so that a death between the two writes is seen."""
        folder = os.path.dirname(self._stem)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        joined = scan.joined
        whole = {"format": FORMAT, "version": __version__, "inputs": scan.inputs, "size": len(joined), **facts}
        _replace(self._stem + ".tables", joined)
        _replace(self._stem + ".json", json.dumps(whole).encode())
        _thin(folder)

    def forget(self) -> None:
        """Remove the record."""
        for suffix in (".json", ".tables"):
            if os.path.exists(self._stem + suffix):
                os.unlink(self._stem + suffix)


def _replace(path: str, data: bytes) -> None:
    new = f"{path}.{os.getpid()}"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(data)
    os.replace(new, path)


def _thin(folder: str) -> None:
    entries = sorted((e for e in os.scandir(folder) if e.is_file()), key=lambda e: e.stat().st_mtime_ns)
    for entry in entries[: max(0, len(entries) - 2 * KEPT)]:
        os.unlink(entry.path)
