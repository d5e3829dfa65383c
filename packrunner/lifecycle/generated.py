"""What extensions generated: Dockerfiles, arguments and contexts, read where they were left (EXT-06, EXT-12)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, get_args

import msgspec

from packrunner.errors import GenerateError
from packrunner.formats import dockerfile
from packrunner.formats.extension import BuildArg, ExtendConfig, Kind, read_config
from packrunner.names import BuildpackId

if TYPE_CHECKING:
    from packrunner.confined import Root
    from packrunner.formats.dockerfile import Dockerfile
    from packrunner.formats.group import GroupMember

CONFIG = "extend-config.toml"
_CONTEXT = "context"


class Generated(msgspec.Struct, frozen=True, kw_only=True):
    """One Dockerfile: whose, its build arguments, and the host path of its context, "" for the application.

    `switches_to` is the image that a run.Dockerfile puts in the place of the run image, else ""; `ignored` is one that
    a later switch makes pointless.
    """

    extension: GroupMember
    kind: Kind
    file: Dockerfile
    args: tuple[BuildArg, ...] = ()
    context: str = ""
    switches_to: str = ""
    ignored: bool = False

    @property
    def extends(self) -> bool:
        """Whether it does more than to name an image."""
        return bool(self.file.instructions)


def read(generated: Root, member: GroupMember, *, flat: bool = True) -> list[Generated]:
    """The Dockerfiles of an extension below `generated`; before Platform API 0.13 its directories are not `flat`.

    Raises GenerateError (92) for those that cannot be used, UnsafeArchiveError.
    """
    escaped = BuildpackId(member.id).escaped
    contexts = _contexts(generated, escaped) if flat else {}
    config = _config(generated, escaped) if flat else ExtendConfig()
    found: list[Generated] = []
    for kind in reversed(get_args(Kind)):
        directory = escaped if flat else f"{kind}/{escaped}"
        name = f"{directory}/{kind}.Dockerfile" if flat else f"{directory}/Dockerfile"
        text = generated.read(name, limit=dockerfile.LIMIT)
        if text is None:
            continue
        file = dockerfile.parse(text, where=name)
        args = (config if flat else _config(generated, directory)).args(kind)
        switches_to = ""
        if kind == "build":
            dockerfile.check_build(file)
        else:
            switches_to = dockerfile.switched_base(file, {arg.name: arg.value for arg in args})
        found.append(
            Generated(
                extension=member,
                kind=kind,
                file=file,
                args=args,
                context=contexts.get(kind, ""),
                switches_to=switches_to,
            )
        )
    return found


def _config(generated: Root, directory: str) -> ExtendConfig:
    name = f"{directory}/{CONFIG}"
    data = generated.read(name)
    return read_config(data, where=name) if data is not None else ExtendConfig()


def _contexts(generated: Root, escaped: str) -> dict[str, str]:
    """The build contexts by kind, as host paths; none means the application (EXT-12)."""
    found: dict[str, str] = {}
    for kind in ("", *get_args(Kind)):
        name = f"{escaped}/{_CONTEXT}.{kind}" if kind else f"{escaped}/{_CONTEXT}"
        what = generated.kind(name)
        if what is None:
            continue
        if what != "dir":
            raise GenerateError(f"{name} is not a directory", slug="extend-context", at=name)
        found[kind] = os.path.join(generated.path, name)
    if "" in found and len(found) > 1:
        raise GenerateError(
            f"{escaped} has {_CONTEXT} together with {_CONTEXT}.build or {_CONTEXT}.run",
            slug="extend-context",
            cause="the first is for both images, the others are each for one",
            tries=(f"remove {_CONTEXT}, or the others",),
        )
    return dict.fromkeys(get_args(Kind), found[""]) if "" in found else found
