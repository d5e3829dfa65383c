"""project.toml: what an application says about its own build (project descriptor 0.1 - 0.3; PRJ-01 - PRJ-08).

Read so far: the builder, variables for the build, which files take part. Keys that mean something to other platforms
and nothing yet to this one are listed in `ignored`; keys that mean nothing to anyone, in `unknown`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from packrunner.errors import UsageError
from packrunner.formats import toml

SCHEMAS = ("0.1", "0.2", "0.3")
_DESCRIPTIVE = frozenset(
    {
        "schema-version",
        "id",
        "name",
        "version",
        "authors",
        "documentation-url",
        "source-url",
        "licenses",
        "metadata",
    }
)


class BuildVariable(msgspec.Struct, frozen=True, rename="kebab"):
    """A variable for bin/detect and bin/build, in every execution environment or the listed ones."""

    name: str
    value: str
    exec_env: tuple[str, ...] = ()


class Project(msgspec.Struct, frozen=True):
    """What packrunner takes from the file, whatever its schema; `warnings` are sentences, the others key names."""

    builder: str = ""
    env: tuple[BuildVariable, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def variables(self, exec_env: str = "production") -> dict[str, str]:
        """The variables of one execution environment; of two with one name the later counts."""
        return {v.name: v.value for v in self.env if not v.exec_env or {"*", exec_env} & set(v.exec_env)}


class _EnvTable(msgspec.Struct, frozen=True):
    env: tuple[BuildVariable, ...] = ()


class _BuildAlias(msgspec.Struct, frozen=True):
    build: tuple[BuildVariable, ...] = ()


class _Buildpacks(msgspec.Struct, frozen=True):
    """`[io.buildpacks]` of 0.2 and 0.3."""

    builder: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    build: _EnvTable = _EnvTable()
    env: _BuildAlias = _BuildAlias()


class _Build(msgspec.Struct, frozen=True):
    """`[build]` of 0.1."""

    builder: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    env: tuple[BuildVariable, ...] = ()


def read(data: bytes, *, where: str) -> Project:
    """Read a project.toml of any schema.

    Raises UsageError: `toml`, `project-schema` (PRJ-02), `project-files` for include beside exclude (PRJ-03),
    `project-env` for what cannot be a variable.
    """
    document = toml.decode(data, dict, where=where, error=UsageError)
    schema = _schema(document, where)
    project = _read_first(document, where) if schema in {None, "0.1"} else _read_later(document, where)
    if schema is None:
        project = msgspec.structs.replace(project, warnings=(_no_schema(document, where),))
    if project.include and project.exclude:
        raise UsageError(
            f"{where} has both include and exclude",
            slug="project-files",
            cause="either the listed files take part in the build, or all others",
            tries=('keep one of them; `include = ["*", "!name"]` leaves something out as well',),
        )
    _check_variables(project.env, where)
    return project


def _schema(document: dict[str, Any], where: str) -> str | None:
    own = document.get("_", {})
    schema = own.get("schema-version") if isinstance(own, dict) else None
    if schema is not None and schema not in SCHEMAS:
        raise UsageError(
            f"{where} has the schema version {schema}, which packrunner does not read",
            slug="project-schema",
            cause=f"it reads {', '.join(SCHEMAS)}",
            at=f"{where}, key _.schema-version",
            tries=('[_] schema-version = "0.2"',),
        )
    return schema


def _no_schema(document: dict[str, Any], where: str) -> str:
    text = f"{where} names no schema version and is read as 0.1"
    if "io" in document:
        text += ", in which [io.buildpacks] means nothing"
    return f'{text}; add: [_] schema-version = "0.2"'


def _read_first(document: dict[str, Any], where: str) -> Project:
    table = _table(document, where, "build")
    build = toml.convert(table, _Build, where=where, error=UsageError)
    known = {"builder", "include", "exclude", "env"}
    return Project(
        builder=build.builder,
        env=build.env,
        include=build.include,
        exclude=build.exclude,
        ignored=tuple(f"build.{key}" for key in sorted(table) if key == "buildpacks"),
        unknown=tuple(f"build.{key}" for key in sorted(set(table) - known - {"buildpacks"})),
    )


def _read_later(document: dict[str, Any], where: str) -> Project:
    table = _table(document, where, "io", "buildpacks")
    found = toml.convert(table, _Buildpacks, where=where, error=UsageError)
    later = {"group", "pre", "post"}
    known = {"builder", "include", "exclude", "build", "env"}
    unknown = [f"io.buildpacks.{key}" for key in sorted(set(table) - known - later)]
    unknown += [f"io.buildpacks.build.{key}" for key in sorted(set(table.get("build", {})) - {"env"})]
    unknown += [f"_.{key}" for key in sorted(set(_table(document, where, "_")) - _DESCRIPTIVE)]
    return Project(
        builder=found.builder,
        env=(*found.env.build, *found.build.env),
        include=found.include,
        exclude=found.exclude,
        ignored=tuple(f"io.buildpacks.{key}" for key in sorted(later & set(table))),
        unknown=tuple(unknown),
    )


def _table(document: dict[str, Any], where: str, *keys: str) -> dict[str, Any]:
    table: Any = document
    for i, key in enumerate(keys):
        table = table.get(key, {})
        if not isinstance(table, dict):
            name = ".".join(keys[: i + 1])
            raise UsageError(f"{where}: {name} is not a table", slug="toml", at=f"{where}, key {name}")
    assert isinstance(table, dict)
    return table


def _check_variables(env: tuple[BuildVariable, ...], where: str) -> None:
    for variable in env:
        if not variable.name or any(c in variable.name for c in "=/\0") or variable.name in {".", ".."}:
            raise UsageError(
                f"{variable.name!r} cannot be the name of a variable",
                slug="project-env",
                cause="a name is not empty and has no `=` and no `/`",
                at=f"{where}, key build.env.name",
            )
        if "\0" in variable.value:
            raise UsageError(
                f"the value of {variable.name} has a NUL character, which no variable can hold",
                slug="project-env",
                at=f"{where}, key build.env.value",
            )
