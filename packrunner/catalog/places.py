"""What kind of place a text means, where a buildpack is asked for (DST-09). Looks at this machine, opens nothing."""

from __future__ import annotations

import os
import re
from typing import Literal

import msgspec

from packrunner.errors import UsageError
from packrunner.names import Digest

Kind = Literal["name", "directory", "file", "image", "address", "git"]

_FILES = (".cnb", ".tgz", ".tar.gz", ".tar", ".zip")
_IMAGES = ("oci:", "oci-archive:", "docker-archive:", "docker:")
_REGISTRY = "urn:cnb:registry:"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A place of a kind: `text` is what was typed, without a login, `path` what is meant by it.

    `digest` is the SHA-256 that an address must have, `commit` that of git, `below` a directory in its repository.
    """

    kind: Kind
    text: str
    path: str
    digest: str = ""
    commit: str = ""
    below: str = ""


def classify(text: str) -> Place:
    """The place that `text` means. Raises UsageError, slug `buildpack-locator`."""
    if text.startswith(_REGISTRY):
        raise _refused(
            text,
            "packrunner asks no public index of buildpacks",
            "docker://REGISTRY/NAME:VERSION, the address that the index has for it",
        )
    if text.startswith("git+"):
        return _git(text)
    if text.startswith("docker://"):
        return Place(kind="image", text=text, path=text.removeprefix("docker://"))
    if text.startswith(_IMAGES):
        return Place(kind="image", text=text, path=_absolute(text))
    if text.startswith(("http://", "https://")):
        address, mark, digest = text.partition("#")
        return Place(kind="address", text=plain(address), path=address, digest=_checksum(text, digest) if mark else "")
    scheme, found, rest = text.partition("://")
    if found and scheme != "file":
        raise _refused(text, f"{scheme}:// is nothing that packrunner reads", "https://, docker://, git+https://")
    return _local(text, rest if found else text)


def seen_from(uri: str, directory: str) -> str:
    """A `uri` of a file in `directory`: its path, where it has one, is relative to that."""
    if uri.startswith("file://"):
        from urllib.parse import unquote, urlsplit

        return unquote(urlsplit(uri).path)
    if "://" in uri or uri.startswith(("urn:", "docker:")):
        return uri
    kind, colon, path = uri.partition(":")
    if colon and kind in {"oci", "oci-archive", "docker-archive"}:
        return f"{kind}:{os.path.normpath(os.path.join(directory, path))}"
    return os.path.normpath(os.path.join(directory, uri))


def plain(address: str) -> str:
    """An address for people: without a login, and without what may be one."""
    scheme, found, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}" if found else address


def _local(text: str, path: str) -> Place:
    """A path begins with `/`, `./` or `../`; others are names, unless a file of that name can be one."""
    is_path = path in {".", ".."} or path.startswith(("/", "./", "../"))
    if is_path and os.path.isfile(path):
        return Place(kind="file", text=text, path=path)
    if is_path:
        return Place(kind="directory", text=text, path=path)
    if path.endswith(_FILES) and os.path.isfile(path):
        return Place(kind="file", text=text, path=path)
    if path.endswith(_FILES):
        if os.path.isdir(path):
            raise _refused(text, f"{path} is a directory", f"./{path}")
        raise _refused(text, f"there is no file {path}", f"./{path}, if it is a directory")
    return Place(kind="name", text=text, path=text)


def _git(text: str) -> Place:
    address, _, below = text.removeprefix("git+").partition("#")
    address, at, commit = address.rpartition("@")
    if not at or not _COMMIT.fullmatch(commit):
        raise _refused(
            text, "a buildpack of a git repository is named with its whole commit", "git+https://HOST/REPO@COMMIT#DIR"
        )
    if not re.match(r"(https|ssh|file)://", address):
        raise _refused(text, "a git repository is at https://, ssh:// or file://", "git+https://HOST/REPO@COMMIT")
    parts = below.split("/")
    if below and (below.startswith("/") or not {"", ".", ".."}.isdisjoint(parts)):
        raise _refused(text, f"{below!r} is no directory in a repository", "#buildpacks/NAME")
    shown = f"git+{plain(address)}@{commit}{'#' if below else ''}{below}"
    return Place(kind="git", text=shown, path=address, commit=commit, below=below)


def _checksum(text: str, digest: str) -> str:
    name, equals, value = digest.partition("=")
    found = f"sha256:{value}" if equals and name == "sha256" else digest
    try:
        return Digest.parse(found)
    except UsageError as error:
        raise _refused(text, "what follows # is not a checksum", "https://HOST/FILE#sha256=HEX") from error


def _absolute(text: str) -> str:
    kind, _, path = text.partition(":")
    return text if kind == "docker" or path.startswith("/") else f"{kind}:{os.path.abspath(path)}"


def _refused(text: str, why: str, instead: str) -> UsageError:
    return UsageError(f"{plain(text)} names no buildpack", slug="buildpack-locator", cause=why, tries=(instead,))
