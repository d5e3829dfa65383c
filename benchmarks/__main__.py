"""`make bench [CASES="start detect launch flask rebase many large push engine reload builder"]`: a table with goals.

Peers (docker, pack, ko) are measured when they are on this machine and work; what is missing is said.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import composed, orders, registries, reloads, trees
from benchmarks.timing import Timing, bare_start, measure, measure_in_turn

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
PACKRUNNER = os.path.join(os.path.dirname(sys.executable), "packrunner")
DOCKERFILE = """FROM packrunner-bench-base
WORKDIR /workspace
COPY requirements.txt .
RUN true
COPY . .
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; `peer` is what the goal is compared with, `goal` in seconds."""

    what: str
    ours: Timing
    goal: float | None = None
    peer: str = ""
    theirs: Timing | None = None


class Bench:
    """The cases, over one scratch directory that holds all state."""

    def __init__(self, scratch: str, runs: int) -> None:
        self.scratch = scratch
        self.runs = runs
        self.rows: list[Row] = []
        self.env = {**os.environ, "PACKRUNNER_HOME": os.path.join(scratch, "home")}
        self.unit = bare_start(15)

    def build(self, name: str, path: str, *more: str) -> list[str]:
        """The command line of a build."""
        return [PACKRUNNER, "build", name, "-p", path, *more]

    def start(self) -> None:
        """Start-up."""
        runs = self.runs * 3
        self.rows.append(Row(what="packrunner --version", ours=self._time([PACKRUNNER, "--version"], runs), goal=0.05))
        self.rows.append(
            Row(what="packrunner build --help", ours=self._time([PACKRUNNER, "build", "--help"], runs), goal=0.15)
        )

    def launch(self) -> None:
        """A process through the launcher: 5 buildpacks, 10 layers, 20 env files; beside the same process directly."""
        image = os.path.join(self.scratch, "image")
        container = trees.launch_image(image)
        launcher = os.path.join(
            trees.REPOSITORY, "packrunner", "_bin", f"linux-{MACHINES[platform.machine()]}", "launcher"
        )
        web = os.path.join(image, "web")
        os.symlink(launcher, web)
        # Directly, but with the variables that it has in the image: they cost the dynamic loader half a millisecond.
        printed = subprocess.run([launcher, "--", "env", "-0"], env=container, capture_output=True, check=True).stdout
        inside = dict(pair.split("=", 1) for pair in printed.decode().split("\0") if pair)
        direct, ours = measure_in_turn([(["/bin/true"], inside), ([web], container)], runs=self.runs * 60)
        self.rows.append(
            Row(
                what="a process through the launcher",
                ours=ours,
                goal=direct.median + 0.003,
                peer="directly",
                theirs=direct,
            )
        )

    def flask(self) -> None:
        """The sample: base from nothing, cold, unchanged, rebuilt, one line changed."""
        app = os.path.join(self.scratch, "flask")
        edited = trees.flask(app)
        command = self.build("bench-flask", app, "--buildpack", "python")
        self.rows.append(
            Row(what="first build ever: base, tools, dependencies", ours=self._time(command, 1), goal=60 + 15)
        )
        self.rows.append(Row(what="cold build (--clear-cache)", ours=self._time([*command, "--clear-cache"], 3)))
        self._time(command, 1)
        docker = Docker.probe(self.scratch)
        theirs = docker.unchanged(app, self.runs) if docker else None
        self.rows.append(
            Row(
                what="nothing changed",
                ours=self._time(command, self.runs),
                goal=0.1,
                peer="docker build",
                theirs=theirs,
            )
        )
        self.rows.append(
            Row(what="nothing changed, --rebuild", ours=self._time([*command, "--rebuild"], self.runs), goal=0.4)
        )
        self._time(command, 1)
        edit = lambda: trees.append_line(edited)  # noqa: E731 (a name for the only thing done before each run)
        theirs = docker.changed(app, self.runs, edited) if docker else None
        ours = measure(command, runs=self.runs, env=self.env, before=edit)
        self.rows.append(Row(what="one line changed", ours=ours, goal=0.4, peer="docker build", theirs=theirs))

    def rebase(self) -> None:
        """An image on another base of the same name, and on the one that it is on."""
        app = os.path.join(self.scratch, "rebased")
        trees.flask(app)
        below = "localhost/packrunner/debian:13-python"
        self._time(self.build("bench-rebase", app, "--buildpack", "python"), 1)
        # A newer base with as many packages: the application's own image serves as one.
        self._time(self.build("bench-newer", app, "--buildpack", "python", "--run-image", below), 1)
        command = [PACKRUNNER, "rebase", "bench-rebase", "--force", "-t", "bench-rebased", "--run-image"]
        ours = self._time([*command, "bench-newer"], self.runs)
        self.rows.append(Row(what="rebase in the local store", ours=ours, goal=0.3))
        self.rows.append(
            Row(what="rebase, nothing newer", ours=self._time([PACKRUNNER, "rebase", "bench-rebase"], self.runs))
        )

    def many(self) -> None:
        """100,000 small files."""
        app = os.path.join(self.scratch, "many")
        edited = trees.many_files(app, 100_000)
        pipe = ["sh", "-c", f"tar -C {app} -cf - . | openssl dgst -sha256"]
        ours, theirs = self._write_layer(app, 4), measure(pipe, runs=4)
        self.rows.append(Row(what="100k files: layer writer alone", ours=ours, peer="tar | openssl", theirs=theirs))
        command = self._warm("bench-many", app)
        self.rows.append(Row(what="100k files: first build", ours=self._time(command, 1)))
        self._time(command, 1)
        edit = lambda: trees.append_line(edited)  # noqa: E731 (as above)
        ours = measure(command, runs=self.runs, env=self.env, before=edit)
        self.rows.append(Row(what="100k files: one line changed", ours=ours, goal=1.5))
        self._time(command, 1)
        self.rows.append(Row(what="100k files: nothing changed", ours=self._time(command, self.runs)))

    def large(self) -> None:
        """A layer of 1 GB."""
        app = os.path.join(self.scratch, "large")
        trees.large_file(app, 1 << 30)
        self.rows.append(Row(what="1 GB layer: first build", ours=self._time(self._warm("bench-large", app), 1)))

    def detect(self) -> None:
        """Detection alone: the sample, and an order of 200 groups naming 500 buildpacks, beside its programs alone."""
        app = os.path.join(self.scratch, "detect-flask")
        trees.flask(app)
        self._warm("bench-detect", app)
        command = [PACKRUNNER, "detect", "-p", app]
        self._time(command, 1)
        self.rows.append(Row(what="detect on the sample", ours=self._time(command, self.runs), goal=0.25))
        place = os.path.join(self.scratch, "order")
        command = [PACKRUNNER, "detect", *orders.large_order(place, groups=200, buildpacks=500)]
        self._time(command, 1)
        alone = measure(["sh", "-c", orders.programs(place)], runs=self.runs)
        ours = self._time(command, self.runs)
        self.rows.append(
            Row(
                what="detect: 200 groups, 500 buildpacks",
                ours=ours,
                goal=round(alone.median + 0.5, 2),
                peer="the 500 programs alone",
                theirs=alone,
            )
        )

    def push(self) -> None:
        """The sample's image into an empty registry on loopback, and once more; beside skopeo with the same image."""
        if not shutil.which("docker-registry"):
            return
        app = os.path.join(self.scratch, "push-flask")
        trees.flask(app)
        self._time(self.build("bench-push", app, "--buildpack", "python"), 1)
        home = self.env["PACKRUNNER_HOME"]
        store = os.path.join(home, "data", "store")
        registry = registries.LocalRegistry(Path(self.scratch) / "registry")
        registry.root.mkdir()
        with registry.running():
            target = f"{registry.host}/bench/flask:1"
            ours = [PACKRUNNER, "push", "bench-push", target]
            copy = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false"]
            theirs = [*copy, f"oci:{store}:bench-push:latest", f"docker://{target}"]
            empty = lambda: registry.clear(os.path.join(home, "cache", "registry"))  # noqa: E731 (as above)
            peer = measure(theirs, runs=self.runs, before=empty) if shutil.which("skopeo") else None
            self.rows.append(
                Row(
                    what="push into an empty registry",
                    ours=measure(ours, runs=self.runs, env=self.env, before=empty),
                    goal=round(peer.median / 0.8, 2) if peer else None,
                    peer="skopeo copy",
                    theirs=peer,
                )
            )
            again = measure(theirs, runs=self.runs) if peer else None
            self._time(ours, 1)
            row = Row(what="push, nothing new", ours=self._time(ours, self.runs), peer="skopeo copy", theirs=again)
            self.rows.append(row)

    def composing(self) -> None:
        """The same application with 20 more buildpacks of local directories: what they add, in turn with none."""
        place, app = os.path.join(self.scratch, "composing"), os.path.join(self.scratch, "composed")
        composed.write(place, 0)
        trees.large_file(app, 0)
        few = self._warm("bench-few", app)
        many = [*few, *composed.flags(place, 20)]
        many[2] = "bench-20"
        for what, *more in (("nothing changed",), ("buildpacks run", "--rebuild"), ("plan",)):
            commands = [[*words, *more] for words in (few, many)]
            if what == "plan":
                commands = [[PACKRUNNER, "plan", *words[2:]] for words in commands]
            for command in commands:
                self._time(command, 2)
            before, after = measure_in_turn([(command, self.env) for command in commands], runs=self.runs)
            # Running them costs what it costs; finding and showing them must not.
            goal = None if more else before.median + 0.05
            self.rows.append(
                Row(what=f"20 more buildpacks: {what}", ours=after, goal=goal, peer="without", theirs=before)
            )

    def builder(self) -> None:
        """A builder of 50 buildpacks: all of them new, one changed, nothing changed."""
        place = os.path.join(self.scratch, "builder")
        versions = itertools.count()

        def write() -> None:
            composed.write(place, next(versions))

        command = [PACKRUNNER, "builder", "create", "bench/builder", "-c", os.path.join(place, "builder.toml")]
        write()
        self._time(command, 1)
        ours = measure(command, runs=self.runs, env=self.env, before=write)
        self.rows.append(Row(what=f"builder: {composed.BUILDPACKS} new buildpacks", ours=ours, goal=5))
        edit = lambda: trees.append_line(os.path.join(place, "b7", "file0"))  # noqa: E731 (as elsewhere)
        ours = measure(command, runs=self.runs, env=self.env, before=edit)
        self.rows.append(Row(what="builder: one buildpack changed", ours=ours))
        self._time(command, 1)
        self.rows.append(Row(what="builder: nothing changed", ours=self._time(command, self.runs), goal=0.5))

    def engine(self) -> None:
        """The sample through a Docker engine; beside pack, where BENCH_PACK has its command, run in the sample."""
        if Docker.probe(self.scratch) is None:
            return
        app = os.path.join(self.scratch, "engine-flask")
        edited = trees.flask(app)
        command = [*self.build("bench-engine", app, "--buildpack", "python"), "--engine", "docker", "--load"]
        pack = ["sh", "-c", f"cd {app} && exec $BENCH_PACK"] if os.environ.get("BENCH_PACK") else None
        for argv in (command, pack):
            if argv:
                self._time(argv, 2)
        peer = self._time(pack, self.runs) if pack else None
        ours = self._time([*command, "--rebuild"], self.runs)
        what = "Docker engine: --rebuild --load"
        self.rows.append(Row(what=what, ours=ours, goal=1.2, peer="pack build", theirs=peer))
        edit = lambda: trees.append_line(edited)  # noqa: E731 (as above)
        peer = measure(pack, runs=self.runs, env=self.env, before=edit) if pack else None
        ours = measure(command, runs=self.runs, env=self.env, before=edit)
        what = "Docker engine: one line changed, loaded"
        self.rows.append(Row(what=what, ours=ours, goal=1.5, peer="pack build", theirs=peer))

    def reload(self) -> None:
        """A saved file until the running application shows it, in each engine that is there."""
        engines = ["sandbox", *(["docker"] if Docker.probe(self.scratch) else [])]
        for app in reloads.APPS:
            place = reloads.copied(self.scratch, app)
            for engine in engines:
                with reloads.running(PACKRUNNER, place, self.env, "--engine", engine, *app.flags) as address:
                    for edit in app.edits:
                        ours = reloads.edits(address, place, edit, self.runs * 2)
                        what = f"saved {edit.what} of {app.name} until shown, {engine}"
                        self.rows.append(Row(what=what, ours=ours, goal=0.6 if app.name == "flask" else None))

    def _warm(self, name: str, app: str) -> list[str]:
        """The command that builds `app`, with the base image made before."""
        empty = os.path.join(self.scratch, "empty")
        if not os.path.isdir(empty):
            trees.large_file(empty, 0)
        self._time(self.build("bench-empty", empty, "--buildpack", "procfile"), 1)
        return self.build(name, app, "--buildpack", "procfile")

    def _write_layer(self, app: str, runs: int) -> Timing:
        store = os.path.join(self.scratch, "layer-store")
        argv = [sys.executable, "-m", "benchmarks.write_layer", app, store]
        return measure(argv, runs=runs, before=lambda: shutil.rmtree(store, ignore_errors=True))

    def _time(self, argv: list[str], runs: int) -> Timing:
        return measure(argv, runs=runs, env=self.env)

    def print(self) -> None:
        """The table, in bare interpreter starts (B) too."""
        unit = self.unit.median
        print(
            f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; B = {unit * 1000:.0f} ms"
        )
        print(f"{'what':46}{'median':>9}{'best':>9}{'B':>7}{'peak MB':>9}{'goal':>8}   peer")
        for row in self.rows:
            goal = f"{row.goal:.{2 if row.goal >= 0.01 else 4}f}s" if row.goal else ""
            peer = ""
            if row.theirs:
                peer = f"{row.peer} {row.theirs.median:.2f}s, ratio {row.ours.median / row.theirs.median:.2f}"
                if row.theirs.median < 0.01:
                    added = (row.ours.median - row.theirs.median) * 1000
                    peer = f"{row.peer} {row.theirs.median * 1000:.1f} ms, added {added:.1f} ms"
            elif row.peer:
                peer = f"{row.peer}: not on this machine"
            print(
                f"{row.what:46}{row.ours.median:8.3f}s{row.ours.best:8.3f}s{row.ours.median / unit:7.1f}"
                f"{row.ours.peak / 1e6:9.0f}{goal:>8}   {peer}"
            )


class Docker:
    """`docker build` of the same source: two COPY layers over a base that needs no download."""

    @classmethod
    def probe(cls, scratch: str) -> Docker | None:
        """The peer, when there is a daemon to talk to."""
        if not shutil.which("docker"):
            return None
        if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
            return None
        empty = os.path.join(scratch, "empty.tar")
        subprocess.run(["tar", "-cf", empty, "-T", "/dev/null"], check=True)
        subprocess.run(["docker", "import", empty, "packrunner-bench-base"], check=True, capture_output=True)
        return cls(scratch)

    def __init__(self, scratch: str) -> None:
        self.dockerfile = os.path.join(scratch, "Dockerfile")
        with open(self.dockerfile, "w") as file:
            file.write(DOCKERFILE.replace("RUN true\n", ""))

    def _argv(self, app: str) -> list[str]:
        return ["docker", "build", "-q", "-t", "packrunner-bench", "-f", self.dockerfile, app]

    def unchanged(self, app: str, runs: int) -> Timing:
        """Everything cached."""
        measure(self._argv(app), runs=1)
        return measure(self._argv(app), runs=runs)

    def changed(self, app: str, runs: int, edited: str) -> Timing:
        """The last COPY anew."""
        return measure(self._argv(app), runs=runs, before=lambda: trees.append_line(edited))


def main() -> None:
    """Run the chosen cases."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument(
        "cases",
        nargs="*",
        default=[
            *(
                "start",
                "detect",
                "launch",
                "flask",
                "rebase",
                "many",
                "large",
                "push",
                "engine",
                "reload",
                "builder",
                "composing",
            ),
        ],
    )
    parser.add_argument("--runs", type=int, default=7)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="packrunner-bench-") as scratch:
        bench = Bench(scratch, chosen.runs)
        for case in chosen.cases:
            {
                "start": bench.start,
                "detect": bench.detect,
                "launch": bench.launch,
                "flask": bench.flask,
                "rebase": bench.rebase,
                "many": bench.many,
                "large": bench.large,
                "push": bench.push,
                "engine": bench.engine,
                "reload": bench.reload,
                "builder": bench.builder,
                "composing": bench.composing,
            }[case]()
        bench.print()
    missing = [name for name in ("pack", "ko") if not shutil.which(name)]
    if missing:
        print(f"Not on this machine, so not measured: {', '.join(missing)}.")


if __name__ == "__main__":
    main()
