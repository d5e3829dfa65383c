"""One Dockerfile, instruction by instruction: commands run on a workbench, the configuration changes as a value.

The workbench is opened when the first instruction needs it, so a Dockerfile of ENV and LABEL alone opens none.
"""

from __future__ import annotations

import json
import posixpath
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from packrunner.engines.base import Command, SandboxSpec
from packrunner.engines.skeleton import AGENT
from packrunner.errors import ExtendError
from packrunner.events import Warned
from packrunner.formats import dockerfile
from packrunner.formats.dockerfile_words import split
from packrunner.images.image import Layer
from packrunner.lifecycle.build import Tail, how_it_ended

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from packrunner.engines.base import Extender, Mount, Network, Overlay, Sandbox, Stream, Workbench
    from packrunner.events import Reporter
    from packrunner.formats.dockerfile import Dockerfile, Instruction
    from packrunner.images.image import Image
    from packrunner.images.store import LocalStore

CONTEXT_DIR = "/run/packrunner/context"
"""Where the build context is on a workbench."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """What commands run on: a stack of directories with what is shown on it, and who it all belongs to.

    `below` are the owners of the image's files that are not root's, by path, for where the directories cannot say.
    """

    engine: Extender
    rootfs: tuple[str, ...]
    mounts: tuple[Mount, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    network: Network = "host"
    below: Callable[[], Mapping[str, tuple[int, int]]] = msgspec.field(default=dict)


class Applying:
    """A Dockerfile under way; a context manager. `image` is what it has made so far, without its layer."""

    def __init__(
        self, file: Dockerfile, image: Image, args: Mapping[str, str], *, bench: Bench, source: str, reporter: Reporter
    ) -> None:
        self.image = image
        self._file = file
        self._given = dict(args)
        self._args: dict[str, str] = {}
        self._defaults: dict[str, str] = {}
        self._bench = bench
        self._source = source
        self._reporter = reporter
        self._shell: tuple[str, ...] = ("/bin/sh", "-c")
        self._stack = ExitStack()
        self._sandbox_stack = ExitStack()
        self._workbench: Workbench | None = None
        self._sandbox: Sandbox | None = None
        self._identity: tuple[str, tuple[int, int] | None, str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._sandbox_stack.close()
        self._stack.close()

    def run(self) -> None:
        """Carry out every instruction. Raises ExtendError and EngineError."""
        before = self._file.args
        self._defaults = {
            name: self._file.expander(one).expand(default, self._given)
            for one in before
            for name, default in dockerfile.arguments(self._file, one)
            if default is not None
        }
        for one in self._file.instructions:
            self._carry_out(one)

    def layer(self, store: LocalStore, *, created_by: str) -> Layer | None:
        """What the commands changed, as a layer in the store; None where they changed nothing."""
        if self._workbench is None:
            return None
        if self._sandbox:
            self._sandbox.sweep()
        self._sandbox_stack.close()
        with store.new_blob() as blob:
            below = {} if self._workbench.shows_owners else self._bench.below()
            packed = self._workbench.pack(blob.write, below)
            for text in packed.warnings:
                self._reporter.emit(Warned(text=f"{self._file.where}: {text}"))
            if not packed.entries:
                return None
            descriptor = blob.commit()
        return Layer(diff_id=descriptor.digest, blob=descriptor, created_by=created_by)

    def _carry_out(self, one: Instruction) -> None:
        match one.name:
            case "ARG":
                self._arg(one)
            case "RUN":
                self._run(one)
            case "COPY" | "ADD":
                self._copy(one)
            case "WORKDIR":
                path = posixpath.normpath(posixpath.join(self._cwd, self._expand(one, one.text)))
                self.image = self.image.with_working_dir(path)
                self._tool(one, "mkdir", "--", path)
            case "SHELL":
                if not one.words:
                    raise self._error(one, 'SHELL needs its JSON form, such as ["/bin/bash", "-c"]')
                self._shell = one.words
            case _:
                self._configure(one)

    def _configure(self, one: Instruction) -> None:
        """What changes nothing but the configuration; HEALTHCHECK, MAINTAINER and ONBUILD do nothing."""
        if one.name in {"ENV", "LABEL"}:
            pairs = [(self._expand(one, n), self._expand(one, v)) for n, v in dockerfile.assignments(self._file, one)]
            if one.name == "LABEL":
                self.image = self.image.with_labels(dict(pairs))
            else:
                for name, value in pairs:
                    self.image = self.image.with_env(name, value)
            return
        words = one.words if one.words is not None else tuple(split(one.text, self._file.escape))
        values = tuple(self._expand(one, word) for word in words)
        program = one.words if one.words is not None else (*self._shell, one.text)
        match one.name:
            case "USER":
                self.image = self.image.with_user(self._expand(one, one.text))
            case "CMD":
                self.image = self.image.with_cmd(*program)
            case "ENTRYPOINT":
                self.image = self.image.with_entrypoint(*program)
            case "EXPOSE":
                self.image = self.image.with_ports(*(v if "/" in v else f"{v}/tcp" for v in values))
            case "VOLUME":
                self.image = self.image.with_volumes(*values)
            case "STOPSIGNAL":
                self.image = self.image.with_stop_signal(values[0])
            case _:
                pass

    def _arg(self, one: Instruction) -> None:
        for name, default in dockerfile.arguments(self._file, one):
            if name in self._given:
                self._args[name] = self._given[name]
            elif default is not None:
                self._args[name] = self._expand(one, default)
            elif name in self._defaults:
                self._args[name] = self._defaults[name]

    def _run(self, one: Instruction) -> None:
        user, home = self._user(one)
        sandbox = self._open()
        env = {**self._args, **dict(self.image.env)}
        env = {"PATH": _PATH, "HOME": home, **sandbox.trust_env, **env}
        # The agent finds programs of the JSON form; a shell is named by its path.
        argv = (AGENT, "exec", "--", *(one.words or (*self._shell, one.text)))
        tail = Tail(self._source, self._reporter)
        ended = sandbox.run(Command(argv=argv, env=env, cwd=self._cwd, user=user), tail)
        sandbox.sweep()
        if ended.code or ended.error:
            alone = self._bench.engine.ids == 1
            raise ExtendError(
                f"{self._file.where}:{one.line}: RUN {how_it_ended(ended)}",
                slug="extend-run",
                cause=ended.error
                or ("files can only be root's here, as you have no subordinate ids" if alone else None),
                at=f"{self._file.where}:{one.line}",
                tries=ALONE if alone else (),
                foreign=tail.lines(),
            )

    def _copy(self, one: Instruction) -> None:
        words = one.words if one.words is not None else tuple(split(one.text, self._file.escape))
        *sources, target = (self._expand(one, word) for word in words)
        if not sources:
            raise self._error(one, f"{one.name} needs a source and a target")
        for source in sources:
            if "://" in source or source.startswith("git@"):
                raise self._error(
                    one,
                    f"{one.name} of {source}: only files of the build context can be added",
                    tries=("RUN curl --fail --location --output FILE URL",),
                )
        path = posixpath.join(self._cwd, target)
        path = posixpath.normpath(path) + ("/" if target.endswith(("/", "/.")) and path != "/" else "")
        options = ["--context", CONTEXT_DIR, *self._owner(one), *self._mode(one)]
        self._tool(one, "copy", *options, *(["--unpack"] if one.name == "ADD" else []), "--", path, *sources)

    def _owner(self, one: Instruction) -> list[str]:
        wanted = self._expand(one, one.flags.get("chown", ""))
        if not wanted:
            return []
        uid, gid, _ = self._look_up(one, wanted)
        if (uid, gid) != (0, 0):
            self._need_ids(one)
        return ["--uid", str(uid), "--gid", str(gid)]

    def _mode(self, one: Instruction) -> list[str]:
        wanted = self._expand(one, one.flags.get("chmod", ""))
        try:
            return ["--mode", str(int(wanted, 8))] if wanted else []
        except ValueError:
            raise self._error(one, f"--chmod={wanted} is not an octal number") from None

    def _user(self, one: Instruction) -> tuple[tuple[int, int] | None, str]:
        """The ids for a command, None for root's own, and the home that goes with them."""
        wanted = self.image.user
        if self._identity is None or self._identity[0] != wanted or not wanted.replace(":", "").isdigit():
            uid, gid, home = self._look_up(one, wanted) if wanted else (0, 0, "/root")
            if (uid, gid) != (0, 0):
                self._need_ids(one)
            self._identity = (wanted, None if (uid, gid) == (0, 0) else (uid, gid), home)
        return self._identity[1:]

    def _look_up(self, one: Instruction, name: str) -> tuple[int, int, str]:
        """The ids and home of `user[:group]`, by the files in the image as they are now."""
        said = self._tool(one, "user", "--", name).decode(errors="replace").split("\n")
        return int(said[0]), int(said[1]), said[2]

    def _need_ids(self, one: Instruction) -> None:
        if self._bench.engine.ids == 1:
            raise ExtendError(
                f"{self._file.where}:{one.line}: {one.name} needs more users than root, and there are none here",
                slug="subordinate-ids",
                cause="you have no subordinate ids, so everything in the image can only be root's",
                at=f"{self._file.where}:{one.line}",
                tries=ALONE,
            )

    def _tool(self, one: Instruction, *words: str) -> bytes:
        """Run one of the agent's own tools as root; what it printed."""
        out: list[bytes] = []
        said: list[bytes] = []

        def sink(stream: Stream, data: bytes) -> None:
            (out if stream == "stdout" else said).append(data)

        ended = self._open().run(Command(argv=(AGENT, *words), env={}), sink)
        if ended.code or ended.error:
            text = b"".join(said).decode(errors="replace").strip().removeprefix("packrunner agent: ")
            raise self._error(one, f"{one.name}: {text or how_it_ended(ended)}")
        return b"".join(out)

    def _open(self) -> Sandbox:
        if self._sandbox is None:
            bench = self._bench
            spec = SandboxSpec(rootfs=bench.rootfs, mounts=bench.mounts, overlays=bench.overlays, network=bench.network)
            self._workbench = self._stack.enter_context(bench.engine.workbench(spec))
            self._sandbox = self._sandbox_stack.enter_context(self._workbench.open())
        return self._sandbox

    @property
    def _cwd(self) -> str:
        return self.image.working_dir or "/"

    def _expand(self, one: Instruction, word: str) -> str:
        return self._file.expander(one).expand(word, {**self._args, **dict(self.image.env)})

    def _error(self, one: Instruction, brief: str, *, tries: Sequence[str] = ()) -> ExtendError:
        where = f"{self._file.where}:{one.line}"
        return ExtendError(f"{where}: {brief}", slug="extend", at=where, tries=tuple(tries))


ALONE = ("packrunner doctor, which says how to get subordinate ids", "packrunner build --engine docker")


def fingerprint(file: Dockerfile, args: Mapping[str, str]) -> str:
    """What a Dockerfile and the arguments that it asks for come to, for the key of its result."""
    asked = {name: value for name, value in args.items() if file.declares(name)}
    return json.dumps([file.text, sorted(asked.items())])
