"""Service bindings: credentials and certificates that the user gives to buildpacks, one directory for each.

<root>/<name>/type        what kind of thing it is
<root>/<name>/provider    optional
<root>/<name>/<key>       anything else: bytes

Of the layout from before servicebinding.io the same is read: metadata/kind, metadata/provider, secret/<key>.
What a binding holds must not get into a layer, a label or a line of output: it would be in the image, or in a log.
"""

from __future__ import annotations

import os

from .report import Failure


class Binding:
    """One binding. It is shown without what it holds."""

    def __init__(self, path: str) -> None:
        self.name = os.path.basename(path)
        metadata = os.path.join(path, "metadata")
        old = not os.path.exists(os.path.join(path, "type")) and os.path.exists(os.path.join(metadata, "kind"))
        described = metadata if old else path
        self.type = _text(os.path.join(described, "kind" if old else "type"))
        self.provider = _text(os.path.join(described, "provider"))
        self._directory = os.path.join(path, "secret") if old else path

    def __repr__(self) -> str:
        """Its name and type."""
        return f"Binding({self.name!r}, type={self.type!r})"

    def fits(self, kind: str, provider: str) -> bool:
        """Whether it has this type and this provider; empty ones are those of any."""
        return kind.lower() in {"", self.type.lower()} and provider.lower() in {"", self.provider.lower()}

    def keys(self) -> list[str]:
        """The names of what it holds, sorted."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        # Kubernetes keeps `..data` beside links into it.
        return sorted({one for one in names if not one.startswith("..")} - {"type", "provider", "metadata"})

    def get(self, key: str, default: str = "") -> str:
        """The text of a key without the white space around it, or `default` when there is no such key."""
        try:
            return _text(self.path(key), needed=True)
        except FileNotFoundError:
            return default

    def __getitem__(self, key: str) -> str:
        """The text of a key; raises Failure naming what is missing."""
        if key not in self.keys():
            raise Failure(
                f"found no {key} in the binding {self.name}",
                at=f"{self.name}/{key}",
                tries=(f"add a file {key} to the binding's directory",),
            )
        return self.get(key)

    def path(self, key: str) -> str:
        """The file of a key, for programs that read files and for what is no text."""
        if not key or os.path.basename(key) != key or key.startswith(".."):
            raise ValueError(f"{key!r} is no key of a binding")
        return os.path.join(self._directory, key)


def read(root: str) -> list[Binding]:
    """All bindings below a directory, by name; none where it does not exist."""
    if not os.path.isdir(root):
        return []
    found = (os.path.join(root, name) for name in sorted(os.listdir(root)) if not name.startswith("."))
    return [Binding(path) for path in found if os.path.isdir(path)]


def _text(path: str, *, needed: bool = False) -> str:
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.read()).strip()
    except FileNotFoundError:
        if needed:
            raise
        return ""
