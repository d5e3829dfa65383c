"""project.toml: what an application says about its own build (project descriptor 0.1 - 0.3; PRJ-01 - PRJ-08).

Keys that mean nothing to anyone are listed in `unknown`; tables of other organisations may hold anything.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from packrunner.errors import UsageError
from packrunner.formats import project_members, toml
from packrunner.formats.positions import Document
from packrunner.formats.project_members import Member

SCHEMAS = ("0.1", "0.2", "0.3")
T = TypeVar("T")


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
    group: tuple[Member, ...] = ()
    pre: tuple[Member, ...] = ()
    post: tuple[Member, ...] = ()
    version: str = ""
    source_url: str = ""
    unknown: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def metadata(self) -> dict[str, Any]:
        """What project-metadata.toml and the project label say of the source (EXP-24); empty when nothing is known."""
        if not (self.version or self.source_url):
            return {}
        return {
            "source": {
                "type": "project",
                "version": {"declared": self.version},
                "metadata": {"url": self.source_url},
            }
        }

    def variables(self, exec_env: str = "production") -> dict[str, str]:
        """The variables of one execution environment; of two with one name the later counts."""
        return {v.name: v.value for v in self.env if not v.exec_env or {"*", exec_env} & set(v.exec_env)}


class _EnvTable(msgspec.Struct, frozen=True):
    env: tuple[BuildVariable, ...] = ()


class _BuildAlias(msgspec.Struct, frozen=True):
    build: tuple[BuildVariable, ...] = ()


class _Group(msgspec.Struct, frozen=True):
    """`[io.buildpacks.pre]` and `[io.buildpacks.post]`."""

    group: tuple[Member, ...] = ()


class _License(msgspec.Struct, frozen=True):
    type: str = ""
    uri: str = ""


class _Descriptive(msgspec.Struct, frozen=True, rename="kebab"):
    """`[_]` of 0.2 and 0.3, `[project]` of 0.1."""

    id: str = ""
    name: str = ""
    version: str = ""
    authors: tuple[str, ...] = ()
    documentation_url: str = ""
    source_url: str = ""
    licenses: tuple[_License, ...] = ()
    metadata: dict[str, Any] = {}


class _Buildpacks(msgspec.Struct, frozen=True):
    """`[io.buildpacks]` of 0.2 and 0.3."""

    builder: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    group: tuple[Member, ...] = ()
    pre: _Group = _Group()
    post: _Group = _Group()
    build: _EnvTable = _EnvTable()
    env: _BuildAlias = _BuildAlias()


class _Own(_Descriptive, frozen=True, rename="kebab"):
    schema_version: str = ""


class _Io(msgspec.Struct, frozen=True):
    buildpacks: _Buildpacks = _Buildpacks()


class ProjectFile(msgspec.Struct, frozen=True):
    """The file of 0.2 and 0.3 as it is written; tables of other organisations are beside these."""

    own: _Own = msgspec.field(default=_Own(), name="_")
    io: _Io = _Io()


class _Build(msgspec.Struct, frozen=True):
    """`[build]` of 0.1."""

    builder: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    env: tuple[BuildVariable, ...] = ()
    buildpacks: tuple[Member, ...] = ()


def read(data: bytes, *, where: str) -> Project:
    """Read a project.toml of any schema.

    Raises UsageError: `toml`, `project-schema` (PRJ-02), `project-files` for include beside exclude (PRJ-03),
    `project-env` for what cannot be a variable, `project-group` for what names no buildpack (PRJ-05, PRJ-06).
    """
    document = toml.decode(data, dict, where=where, error=UsageError)
    source = Document(data.decode(), where)
    schema = _schema(document, source)
    first = schema in {None, "0.1"}
    project = _read_first(document, source) if first else _read_later(document, source)
    if schema is None:
        project = msgspec.structs.replace(project, warnings=(_no_schema(document, where),))
    elif schema != SCHEMAS[-1] and (early := _exec_envs(project)):
        text = f"{where} restricts {early} to execution environments, which is of schema {SCHEMAS[-1]}"
        text += f": other platforms do not heed it at {schema}"
        project = msgspec.structs.replace(project, warnings=(*project.warnings, text))
    if project.include and project.exclude:
        raise UsageError(
            f"{where} has both include and exclude",
            slug="project-files",
            cause="either the listed files take part in the build, or all others",
            at=source.at("build.exclude" if first else "io.buildpacks.exclude"),
            tries=('keep one of them; `include = ["*", "!name"]` leaves something out as well',),
        )
    return project


def _schema(document: dict[str, Any], source: Document) -> str | None:
    own = document.get("_", {})
    schema = own.get("schema-version") if isinstance(own, dict) else None
    if schema is not None and schema not in SCHEMAS:
        raise UsageError(
            f"{source.where} has the schema version {schema}, which packrunner does not read",
            slug="project-schema",
            cause=f"it reads {', '.join(SCHEMAS)}",
            at=source.at("_.schema-version"),
            tries=('[_] schema-version = "0.2"',),
        )
    return schema


def _exec_envs(project: Project) -> str:
    """What is for some execution environments only, by its name; "" where nothing is."""
    members = (*project.group, *project.pre, *project.post)
    named = [one.name for one in project.env if one.exec_env]
    return next(iter([*named, *(one.id or one.uri for one in members if one.exec_env)]), "")


def _no_schema(document: dict[str, Any], where: str) -> str:
    text = f"{where} names no schema version and is read as 0.1"
    if "io" in document:
        text += ", in which [io.buildpacks] means nothing"
    return f'{text}; add: [_] schema-version = "0.2"'


def _read_first(document: dict[str, Any], source: Document) -> Project:
    table = _table(document, source, "build")
    build = _converted(table, _Build, "build", source)
    about = _descriptive(_table(document, source, "project"), source, "project")
    _check_variables(build.env, "build.env", source)
    project_members.check(build.buildpacks, "build.buildpacks", source)
    unknown = [f"build.{key}" for key in _others(table, _Build)]
    unknown += [f"build.buildpacks.{key}" for key in project_members.others(table.get("buildpacks", ()))]
    return Project(
        builder=build.builder,
        env=build.env,
        include=build.include,
        exclude=build.exclude,
        group=build.buildpacks,
        version=about.version,
        source_url=about.source_url,
        unknown=tuple(unknown),
    )


def _read_later(document: dict[str, Any], source: Document) -> Project:
    table = _table(document, source, "io", "buildpacks")
    found = _converted(table, _Buildpacks, "io.buildpacks", source)
    own = _table(document, source, "_")
    about = _descriptive(own, source, "_")
    _check_variables(found.env.build, "io.buildpacks.env.build", source)
    _check_variables(found.build.env, "io.buildpacks.build.env", source)
    for key, members in (("group", found.group), ("pre.group", found.pre.group), ("post.group", found.post.group)):
        project_members.check(members, f"io.buildpacks.{key}", source)
    unknown = [f"io.buildpacks.{key}" for key in _others(table, _Buildpacks)]
    unknown += [f"io.buildpacks.build.{key}" for key in _others(table.get("build", {}), _EnvTable)]
    for name, above in (("", table), ("pre.", table.get("pre", {})), ("post.", table.get("post", {}))):
        others = project_members.others(above.get("group", ()))
        unknown += [f"io.buildpacks.{name}group.{key}" for key in others]
    unknown += [f"_.{key}" for key in _others(own, _Descriptive) if key != "schema-version"]
    return Project(
        builder=found.builder,
        env=(*found.env.build, *found.build.env),
        include=found.include,
        exclude=found.exclude,
        group=found.group,
        pre=found.pre.group,
        post=found.post.group,
        version=about.version,
        source_url=about.source_url,
        unknown=tuple(unknown),
    )


def _converted(table: dict[str, Any], kind: type[T], key: str, source: Document) -> T:
    return toml.convert(table, kind, where=source.where, error=UsageError, text=source.text, above=key)


def _descriptive(table: dict[str, Any], source: Document, key: str) -> _Descriptive:
    found = _converted(table, _Descriptive, key, source)
    for i, one in enumerate(found.licenses):
        if not (one.type or one.uri):
            brief = f"{source.where}: a license has neither type nor uri"
            raise UsageError(brief, slug="toml", at=source.at(f"{key}.licenses[{i}]"))
    return found


def _others(table: dict[str, Any], known: type[msgspec.Struct]) -> list[str]:
    return sorted(set(table) - set(known.__struct_encode_fields__))


def _table(document: dict[str, Any], source: Document, *keys: str) -> dict[str, Any]:
    table: Any = document
    for i, key in enumerate(keys):
        table = table.get(key, {})
        if not isinstance(table, dict):
            name = ".".join(keys[: i + 1])
            raise UsageError(f"{source.where}: {name} is not a table", slug="toml", at=source.at(name))
    assert isinstance(table, dict)
    return table


def _check_variables(env: tuple[BuildVariable, ...], key: str, source: Document) -> None:
    for i, variable in enumerate(env):
        if not variable.name or any(c in variable.name for c in "=/\0") or variable.name in {".", ".."}:
            raise UsageError(
                f"{variable.name!r} cannot be the name of a variable",
                slug="project-env",
                cause="a name is not empty and has no `=` and no `/`",
                at=source.at(f"{key}[{i}].name"),
            )
        if "\0" in variable.value:
            raise UsageError(
                f"the value of {variable.name} has a NUL character, which no variable can hold",
                slug="project-env",
                at=source.at(f"{key}[{i}].value"),
            )
