"""Digests of files, for the keys of layers."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from hashlib import _Hash as Hash


def sha256() -> Hash:
    """A new SHA-256. The interpreter's own: hashlib would load OpenSSL first, for a few kilobytes."""
    for module in ("_sha2", "_sha256"):  # Python >= 3.12; 3.11
        try:
            digest: Hash = __import__(module).sha256()
        except ImportError:  # both are private to the interpreter, so neither has to be there
            continue
        return digest
    import hashlib

    return hashlib.sha256()


def files_digest(paths: Iterable[str], *, relative_to: str) -> str:
    """One digest of the names and contents of files, in the order given; raises OSError for one that is not there."""
    total = sha256()
    for path in paths:
        with open(path, "rb") as file:
            content = file.read()
        name = os.fsencode(os.path.relpath(path, relative_to))
        # Lengths keep (`a`, `bc`) and (`ab`, `c`) apart.
        total.update(b"%d %d\n%b%b" % (len(name), len(content), name, content))
    return total.hexdigest()


def tree_files(root: str, *, skip: frozenset[str] = frozenset()) -> list[str]:
    """Every regular file below a directory, sorted; links are not followed; `skip` are names left out anywhere."""
    found: list[str] = []
    for directory, names, files in os.walk(root):
        names[:] = sorted(set(names) - skip)
        found.extend(os.path.join(directory, name) for name in sorted(set(files) - skip))
    return [path for path in found if os.path.isfile(path) and not os.path.islink(path)]
