"""`make stops [CASES="build dev docker"]`: every long command, stopped at random moments, and what it leaves behind.

Each command is run once for its duration, then once a round: it gets SIGINT, SIGTERM or SIGHUP at any moment between
its start and its end, sometimes two of them, sometimes SIGKILL. Afterwards its answer, its processes, containers,
mounts and temporary files are looked at, and now and then whether the same command still works and leaves the same.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services import DockerService, RegistryService, docker_engine, missing_docker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).parents[1]
COMMAND = os.path.join(os.path.dirname(sys.executable), "packrunner")
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DOCKER = {"docker", "load"}
_PR_SET_CHILD_SUBREAPER = 36
_STARTED = 0.5
"""By then every start has come to our code."""
_OTHERS = ("/logs", "/blobs/sha256", "/snapshots", "/skeletons")
"""Where each run may leave something under a name of its own, until it is pruned."""
_OURS = re.compile(r'start\.py", line \d+, in main')
"""In tracebacks from here on; before it the interpreter has not come to our code, and nobody can answer a signal."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command to stop; `endless` ones run until they are told to end, and `codes` are other good answers."""

    name: str
    argv: tuple[str, ...]
    again: float = 0.25
    """How often the whole command is run after it was stopped."""
    endless: float = 0.0
    before: Callable[[], None] = lambda: None
    codes: tuple[int, ...] = ()


@dataclass
class Ground:
    """Where the commands run: a home, an application, a temporary directory that must stay empty."""

    scratch: Path
    env: dict[str, str] = field(default_factory=dict)
    docker: DockerService | None = None

    def __post_init__(self) -> None:
        self.tmp.mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PACKRUNNER_", "CNB_", "BP_", "BPE_"))}
        self.env = {**kept, "PACKRUNNER_HOME": str(self.home), "TMPDIR": str(self.tmp)}
        shutil.copytree(ROOT / "samples" / "flask", self.app)

    @property
    def home(self) -> Path:
        return self.scratch / "home"

    @property
    def tmp(self) -> Path:
        return self.scratch / "tmp"

    @property
    def app(self) -> Path:
        return self.scratch / "shop"

    def start(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Start the command; whatever it leaves becomes a child of ours."""
        return subprocess.Popen(
            [COMMAND, *argv], env=self.env, cwd=self.scratch, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip

    def ok(self, *argv: str) -> None:
        """Run a command, which must succeed."""
        child = self.start(argv)
        out, err = child.communicate()
        if child.returncode:
            raise SystemExit(f"packrunner {' '.join(argv)}: {child.returncode}\n{out}{err}")


@dataclass
class Round:
    """One try: what was sent and when, and all that was wrong afterwards."""

    sent: list[tuple[float, signal.Signals]]
    code: int = 0
    said: str = ""
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        sent = ", ".join(f"{number.name} at {when:.3f}s" for when, number in self.sent)
        return f"{sent}: exit {self.code}; {'; '.join(self.wrong)}"


class Stress:
    """The rounds of all cases."""

    def __init__(self, ground: Ground, seed: int, rounds: int) -> None:
        self._ground = ground
        self._random = random.Random(seed)
        self._rounds = rounds
        self._mounts = self._mounted()
        self._services = set(_children())
        self.early = 0

    def case(self, case: Case) -> int:
        """Run one case; the number of rounds after which something was wrong."""
        case.before()
        took = case.endless or self._whole(case)
        before = self._names()
        bad = ended = self.early = 0
        for number in range(self._rounds):
            case.before()
            one = self._round(case, took)
            ended += bool(one.code in {0, *case.codes})
            if not one.wrong and not case.endless and self._random.random() < case.again:
                try:
                    case.before()
                    self._whole(case)
                except SystemExit as error:
                    one.wrong.append(f"then the command fails: {error}")
            if one.wrong:
                bad += 1
                _say(f"{case.name} {number}: {one}\n{one.said}")
        if not case.endless:
            case.before()
            self._whole(case)
            if left := self._names() - before:
                bad += 1
                _say(f"{case.name}: left behind: {sorted(left)[:20]}")
        _say(f"{case.name}: {took:.2f}s, {self._rounds} rounds, {ended} had ended before, {bad} bad")
        if self.early:
            _say(f"{case.name}: in {self.early} the interpreter had not come to our code, with what it says then")
        return bad

    def _whole(self, case: Case) -> float:
        began = time.monotonic()
        self._ground.ok(*case.argv)
        return time.monotonic() - began

    def _round(self, case: Case, took: float) -> Round:
        first = self._random.choice(
            [self._random.uniform(0, took), self._random.uniform(0, took), self._random.uniform(0, 0.3)]
        )
        number = signal.SIGKILL if self._random.random() < 0.15 else self._random.choice(STOPS)
        one = Round(sent=[(first, number)])
        if number != signal.SIGKILL and self._random.random() < 0.25:
            one.sent.append((first + self._random.uniform(0, 0.3), self._random.choice(STOPS)))
        began = time.monotonic()
        child = self._ground.start(case.argv)
        for when, each in one.sent:
            try:
                child.wait(max(0.0, began + when - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.send_signal(each)
        try:
            out, err = child.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            one.wrong.append("it did not end within 30 s")
            child.kill()
            out, err = child.communicate()
        one.code, one.said = child.returncode, out + err
        if "KeyboardInterrupt" in err and "Stop" not in err and not _OURS.search(err):
            self.early += 1
        else:
            self._answer(case, one, out, err)
        self._left(one)
        return one

    def _answer(self, case: Case, one: Round, out: str, err: str) -> None:
        for word in ("Traceback", "Exception ignored", "[bug]", "KeyboardInterrupt", "StoppedError", "Fatal Python"):
            if word in err:
                one.wrong.append(f"it says {word}")
        numbers = [number for _, number in one.sent]
        good = {0, *case.codes, *(128 + number for number in numbers), *(-number for number in numbers)}
        if one.code not in good:
            one.wrong.append("wrong exit code")
        if len(one.sent) == 1 and one.code == 128 + one.sent[0][1] and err.count("Stopped.") != 1:
            one.wrong.append("not one `Stopped.`")
        said = out or "Stopped." in err
        if one.code < 0 and one.code != -signal.SIGKILL and one.sent[0][0] > _STARTED and not said:
            one.wrong.append("ended by the signal itself before all was said")

    def _left(self, one: Round) -> None:
        killed = one.sent[0][1] == signal.SIGKILL or len(one.sent) > 1
        patience = 5.0 if killed else 0.5
        until = time.monotonic() + patience
        while (left := self._strays()) and time.monotonic() < until:
            time.sleep(0.02)
        if left:
            one.wrong.append(f"processes: {left}")
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        if mounts := self._mounted() - self._mounts:
            one.wrong.append(f"mounts: {sorted(mounts)}")
        files = sorted(str(path) for path in self._ground.tmp.iterdir())
        if files and not killed:
            one.wrong.append(f"temporary files: {files}")
        for path in self._ground.tmp.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not killed and (containers := self._containers()):
            one.wrong.append(f"containers: {containers}")

    def _mounted(self) -> set[str]:
        """What is mounted below our directory; an engine's own comes and goes."""
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        ours = f"{self._ground.scratch}/"
        return {place for place in mounts if place.startswith(ours) and not place.startswith(f"{ours}docker/")}

    def _containers(self) -> list[str]:
        if not self._ground.docker:
            return []
        words = ["docker", "-H", self._ground.docker.host, "ps", "-aq"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()

    def _strays(self) -> dict[int, str]:
        """Children of ours that we did not start, reaped if they are dead."""
        strays = {}
        for pid in _children():
            if pid in self._services:
                continue
            try:
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    strays[pid] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
            except (ChildProcessError, FileNotFoundError):
                continue
        return strays

    def _names(self) -> set[str]:
        """All that is in the home, without what is in layers and root file systems."""
        found = set()
        for top, folders, files in os.walk(self._ground.home):
            depth = len(Path(top).relative_to(self._ground.home).parts)
            if depth >= 5 or top.endswith(_OTHERS):
                folders.clear()
                continue
            found |= {os.path.join(top, name) for name in [*folders, *files]}
        return found


def _children() -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{name}/stat").read_bytes()
        except OSError:
            continue
        if int(stat.rpartition(b")")[2].split()[1]) == os.getpid():
            found.append(int(name))
    return found


def _say(text: str) -> None:
    sys.stdout.write(f"{text.rstrip()}\n")
    sys.stdout.flush()


@contextmanager
def _ground(home: str | None, *, docker: bool) -> Iterator[Ground]:
    with tempfile.TemporaryDirectory(prefix="stops-", ignore_cleanup_errors=True) as scratch, ExitStack() as stack:
        ground = Ground(Path(scratch))
        if home:
            subprocess.run(["cp", "-a", home, str(ground.home)], check=True)
        if docker:
            (root := ground.scratch / "docker").mkdir()
            ground.docker = stack.enter_context(docker_engine(root))
            ground.env["DOCKER_HOST"] = ground.docker.host
        (root := ground.scratch / "registry").mkdir()
        ground.env["REGISTRY"] = stack.enter_context(RegistryService(root).running()).host
        yield ground


def cases(ground: Ground) -> list[Case]:
    """All that can be stopped here."""
    app = ("-p", str(ground.app), "-b", "python")
    remote = ground.env["REGISTRY"]
    out = ground.scratch / "out"
    recipe = ground.scratch / "builder.toml"
    tool = str(ROOT / "samples" / "version-buildpack")
    recipe.write_text(
        f'[[buildpacks]]\nuri = "{tool}"\n'
        '[[order]]\n[[order.group]]\nid = "sample/version"\n[build]\nimage = "debian:13"\n[run]\n'
        '[[run.images]]\nimage = "debian:13"\n'
    )

    def fresh_out() -> None:
        shutil.rmtree(out, ignore_errors=True)

    def unknown() -> None:
        shutil.rmtree(ground.home / "state" / "records", ignore_errors=True)

    def no_base() -> None:
        for name in ("snapshots", "store", "bases/debian-13-amd64"):
            subprocess.run(["chmod", "-R", "u+w", str(ground.home / "data" / name)], check=False, capture_output=True)
            shutil.rmtree(ground.home / "data" / name, ignore_errors=True)

    def no_packages() -> None:
        no_base()
        shutil.rmtree(ground.home / "data" / "bases", ignore_errors=True)

    found = [
        Case(name="version", argv=("images",)),
        Case(name="same", argv=("build", "shop", *app)),
        Case(name="build", argv=("build", "shop", *app, "--rebuild"), again=0.5),
        Case(name="first", argv=("build", "first", *app, "--clear-cache", "--rebuild")),
        Case(name="layout", argv=("build", "shop", *app, "--rebuild", "--output", f"oci:{out}"), before=fresh_out),
        Case(name="archive", argv=("build", "shop", *app, "--rebuild", "--output", f"oci-archive:{out}.tar")),
        Case(name="plan", argv=("plan", "shop", *app)),
        Case(name="detect", argv=("detect", *app)),
        Case(name="push", argv=("push", "shop", f"{remote}/shop")),
        Case(name="registry", argv=("build", f"{remote}/shop", *app, "--rebuild", "--push")),
        Case(name="pull", argv=("pull", f"{remote}/shop")),
        Case(name="rebase", argv=("rebase", "shop", "-t", "shop:rebased")),
        Case(name="save", argv=("save", "shop", "-o", f"oci-archive:{out}.saved.tar")),
        Case(name="package", argv=("buildpack", "package", f"{remote}/tool", "-p", tool, "--push"), again=0.5),
        Case(name="tool", argv=("buildpack", "pull", f"{remote}/tool")),
        Case(name="builder", argv=("builder", "create", "acme/builder", "-c", str(recipe)), before=unknown),
        Case(name="run", argv=("run", "shop"), endless=1.5, codes=(1,)),
        Case(name="dev", argv=("dev", *app), endless=4.0),
        Case(name="update", argv=("builder", "update")),
        Case(name="base", argv=("build", "shop", *app), before=no_base),
        Case(name="packages", argv=("build", "shop", *app), before=no_packages),
    ]
    if ground.docker:
        found += [
            Case(name="docker", argv=("build", "docked", *app, "--rebuild", "--engine", "docker")),
            Case(name="load", argv=("build", "shop", *app, "--rebuild", "--load")),
        ]
    return found


def main(arguments: Sequence[str]) -> int:
    """The cases named, or all; 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.stops", description=__doc__)
    parser.add_argument("cases", nargs="*", help="all of them unless given")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--home", help="a home to copy, so that no base image is made first")
    wishes = parser.parse_args(arguments)
    if not shutil.which("docker-registry"):
        parser.error("it needs a registry: apt install docker-registry")
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    docker = not wishes.cases or bool(_DOCKER.intersection(wishes.cases))
    with _ground(wishes.home, docker=docker and not missing_docker()) as ground:
        ground.ok("build", "shop", "-p", str(ground.app), "-b", "python")
        stress = Stress(ground, wishes.seed, wishes.rounds)
        chosen = [case for case in cases(ground) if not wishes.cases or case.name in wishes.cases]
        bad = sum(stress.case(case) for case in chosen)
    _say(f"{bad} bad")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
