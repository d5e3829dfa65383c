"""Byte-compiling an image's Python with the image's own interpreter, in a sandbox.

The sandbox sees the tree read-only and writes to a scratch directory of its own; the host then moves the results beside
their sources, believing nothing of it but the content. So it is the same for root and others, and no file of the
tree ever belongs to a sandbox. One process does it all: two give other bytes from one run to the next.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from packrunner.confined import Root
from packrunner.disk import disk_error
from packrunner.engines.base import Command, Mount, SandboxSpec
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from packrunner.engines.base import Engine, Stream

_TARGET = "/compiled"
_LIMIT = 32 << 20
_PLACES = ("usr/lib/python3", "usr/lib/{python}")


def compile_python(tree: str, scratch: str, engine: Engine, *, newest: int) -> int:
    """Byte-compile the standard library and Debian's modules in `tree`; says how many files there are now.

    `scratch` is an empty directory. 0 where the tree has no Python. Raises EngineError (`base-bytecode` where the
    interpreter failed).
    """
    with Root.open(tree) as root:
        interpreters = [
            e.name for e in root.names("usr/bin") if re.fullmatch(r"python3\.\d+", e.name) and e.kind == "file"
        ]
        if not interpreters:
            return 0
        python = interpreters[-1]
        places = [place for place in (p.format(python=python) for p in _PLACES) if root.kind(place) == "dir"]
        _run(tree, scratch, engine, python, places)
        with Root.open(scratch) as compiled:
            return sum(_move(compiled, root, place, python, newest) for place in places)


def _run(tree: str, scratch: str, engine: Engine, python: str, places: list[str]) -> None:
    spec = SandboxSpec(
        rootfs=(tree,),
        mounts=(Mount(source=scratch, target=_TARGET, writable=True),),
        network="none",
        trust=False,
    )
    if os.geteuid() == 0:
        os.chown(scratch, spec.user.uid, spec.user.gid)
    # -S, and a fixed seed: nothing but the interpreter and the sources may decide a byte.
    flags = ("-S", "-s", "-X", f"pycache_prefix={_TARGET}", "-m", "compileall", "-q")
    command = Command(
        argv=(
            f"/usr/bin/{python}",
            *flags,
            "--invalidation-mode",
            "unchecked-hash",
            *(f"/{place}" for place in places),
        ),
        env={"PATH": "/usr/bin:/bin", "HOME": spec.user.home, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"},
    )
    said: list[bytes] = []

    def output(_: Stream, data: bytes) -> None:
        said.append(data[:4096])
        del said[:-20]

    with engine.open(spec) as sandbox:
        ended = sandbox.run(command, output)
    if ended.code:
        text = b"".join(said).decode("utf-8", "replace").splitlines()
        raise EngineError(
            "the base image's Python could not be byte-compiled",
            slug="base-bytecode",
            cause=ended.error or f"compileall ended with exit code {ended.code}",
            foreign=tuple(text[-10:]),
        )


def _move(compiled: Root, tree: Root, place: str, python: str, newest: int) -> int:
    """Put the results for the sources below `place` into `__pycache__` directories; others are left behind."""
    tag = python.replace("python", "cpython-").replace(".", "")
    count = 0
    pending = [place]
    while pending:
        directory = pending.pop()
        for entry in tree.names(directory):
            if entry.kind == "dir" and entry.name != "__pycache__":
                pending.append(f"{directory}/{entry.name}")
            elif entry.kind == "file" and entry.name.endswith(".py"):
                name = f"{entry.name.removesuffix('.py')}.{tag}.pyc"
                content = compiled.read(f"{directory}/{name}", limit=_LIMIT)
                if content is not None:
                    _put(tree, f"{directory}/__pycache__", name, content, newest)
                    count += 1
    return count


def _put(tree: Root, cache: str, name: str, content: bytes, newest: int) -> None:
    tree.makedirs(cache)
    tree.write(f"{cache}/{name}", content)
    path = os.path.join(tree.path, cache, name)
    try:
        os.utime(path, (newest, newest), follow_symlinks=False)
    except OSError as error:
        raise disk_error(error, path) from error
