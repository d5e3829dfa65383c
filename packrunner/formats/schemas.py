"""JSON schemas of the files that people write, for editors: made from the very types that read them."""

from __future__ import annotations

from typing import Any

import msgspec

from packrunner.formats.builder_file import BuilderFile
from packrunner.formats.package import PackageFile
from packrunner.formats.project import ProjectFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"

KINDS: dict[str, tuple[str, type[msgspec.Struct]]] = {
    "project": ("project.toml", ProjectFile),
    "builder": ("builder.toml", BuilderFile),
    "package": ("package.toml", PackageFile),
}


def schema(kind: str) -> dict[str, Any]:
    """The schema of one kind of file, of KINDS."""
    title, described = KINDS[kind]
    (top,), definitions = msgspec.json.schema_components([described], ref_template="#/$defs/{name}")
    found: dict[str, Any] = {"$schema": DIALECT, "title": title, **top}
    found["$defs"] = {name: _plain(one) for name, one in sorted(definitions.items())}
    return found


def _plain(definition: Any) -> Any:
    """Without what was only written for the readers of the code, and without names of its types."""
    definition.pop("title", None)
    definition.pop("description", None)
    return definition
