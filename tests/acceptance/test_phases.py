"""A platform that drives the phases one by one in a builder's container gets what `packrunner build` makes (EXC-06).

The container is a sandbox on the default build image, laid out as a builder: buildpacks in /cnb/buildpacks, order.toml,
run.toml, the run image in a directory of layouts. In it packrunner runs buildpacks with engine `inline`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import tomllib
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import packrunner
from packrunner.bases import BaseSettings, open_base
from packrunner.catalog.select import CatalogSettings, select
from packrunner.cli import wiring
from packrunner.engines.base import Command, Mount, SandboxSpec
from packrunner.formats import toml
from packrunner.formats.run import RunFile, RunImageEntry
from packrunner.images.layout_write import write_layout
from packrunner.images.reference import Reference
from tests.acceptance.probe import probe_buildpack
from tests.fakes import FakeReporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from packrunner.engines.base import Engine
    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

PYTHON = os.path.realpath(sys.executable)
START = "from packrunner.start import main; raise SystemExit(main())"
RUN_DOCKERFILE = """\
ARG base_image
FROM ${base_image}
ARG word
USER root
RUN echo $word > /opt/made && rm /etc/issue
COPY --chmod=640 data /opt/
ENV GREETING=hello
LABEL io.buildpacks.rebasable=true
ARG user_id
ARG group_id
USER ${user_id}:${group_id}
"""
CACHED = """#!/bin/sh
set -eu
layer="$CNB_LAYERS_DIR/probe"
echo "layers dir: $(ls "$CNB_LAYERS_DIR" | tr '\\n' ' ')"
mkdir -p "$layer"
echo constant > "$layer/content"
printf '[types]\\nlaunch = true\\ncache = true\\n[metadata]\\nn = 1\\n' > "$layer.toml"
echo '{"bomFormat":"CycloneDX"}' > "$layer.sbom.cdx.json"
printf '[metadata]\\nruns = 1\\n' > "$CNB_LAYERS_DIR/store.toml"
printf '[[processes]]\\ntype = "probe"\\ncommand = ["cat", "hello"]\\n' > "$CNB_LAYERS_DIR/launch.toml"
"""


@dataclass
class Builder:
    """A builder's container: `inside` maps its paths to host directories that outlive each command."""

    engine: Engine
    rootfs: tuple[str, ...]
    env: dict[str, str]
    mounts: tuple[Mount, ...]
    inside: dict[str, Path]
    run_image: str
    said: list[str] = field(default_factory=list)

    def run(self, phase: str, *args: str, **env: str) -> tuple[int, str]:
        """Run one phase in a container of its own, as a pipeline's step; its exit code and result."""
        own = tuple(Mount(source=str(host), target=path, writable=True) for path, host in self.inside.items())
        spec = SandboxSpec(rootfs=self.rootfs, mounts=(*self.mounts, *own))
        variables = {"PYTHONPATH": "/opt/packrunner:/opt/site", "CNB_PLATFORM_API": "0.15", **self.env, **env}
        out: list[bytes] = []
        err: list[bytes] = []
        with self.engine.open(spec) as sandbox:
            ended = sandbox.run(
                Command(argv=(PYTHON, "-c", START, "lifecycle", phase, *args), env=variables),
                lambda stream, data: (out if stream == "stdout" else err).append(data),
            )
        self.said.append(b"".join(err).decode(errors="replace"))
        assert ended.error is None
        return ended.code, b"".join(out).decode()

    def ok(self, phase: str, *args: str, **env: str) -> str:
        """Run a phase that must succeed; its result."""
        code, out = self.run(phase, *args, **env)
        assert code == 0, self.said[-1]
        return out

    def phases(self, image: str, *, extend: Callable[[], None] | None = None) -> str:
        """The phases of a pipeline; the digest of the image."""
        layout = ("-layout", "-layout-dir", "/layout")
        self.ok("analyze", *layout, image)
        self.ok("detect")
        self.ok("restore", *layout, "-cache-dir", "/cache")
        if extend:
            extend()
        self.ok("build")
        return self.ok("export", *layout, "-cache-dir", "/cache", image).strip().rpartition("@")[2]

    def create(self, image: str) -> str:
        """The same in one call."""
        out = self.ok("create", "-layout", "-layout-dir=/layout", "-cache-dir", "/cache", image)
        return out.strip().rpartition("@")[2]

    def reset(self, *paths: str) -> None:
        """Empty directories, as new volumes are."""
        for path in paths:
            shutil.rmtree(self.inside[path])
            self.inside[path].mkdir()
            self.own(self.inside[path])

    @staticmethod
    def own(top: Path) -> None:
        """Give a tree to the build's user, where it is root who prepares it."""
        if os.geteuid() == 0:
            for path in (top, *top.rglob("*")):
                os.chown(path, 1000, 1000, follow_symlinks=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An application for the buildpack `procfile` and the probe, which need nothing from a network."""
    path = tmp_path / "shop"
    (path / "static").mkdir(parents=True)
    (path / "Procfile").write_text("web: cat hello\n")
    (path / "hello").write_text("hello\n")
    (path / "static" / "style.css").write_text("a {}\n")
    return path


def cached_probe(path: Path, **programs: str) -> Path:
    """A probe with a cached layer, store.toml and an SBOM."""
    probe_buildpack(path, build=CACHED, **programs)
    descriptor = path / "buildpack.toml"
    text = descriptor.read_text().replace(
        "[[targets]]", 'sbom-formats = ["application/vnd.cyclonedx+json"]\n[[targets]]'
    )
    descriptor.write_text(text)
    return path


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    return cached_probe(tmp_path / "probe")


@pytest.fixture
def built(cli: Cli, source: Path, probe: Path) -> str:
    """The digest of what `packrunner build` makes of the application."""
    return cli.ok("build", "phases", "-p", str(source), "-b", "procfile", "-b", str(probe), "--rebuild").digest


@pytest.fixture
def extensions() -> tuple[str, ...]:
    """The directories of the builder's image extensions."""
    return ()


@pytest.fixture
def builder(
    cli: Cli,
    source: Path,
    probe: Path,
    built: str,
    extensions: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Builder]:
    """A builder of the same base and buildpacks; it comes after the build, which has made both."""
    monkeypatch.setenv("PACKRUNNER_HOME", cli.home)
    selection = select(
        ("procfile", str(probe)),
        settings=CatalogSettings(stage_dir=os.path.join(cli.home, "cache", "stage")),
        extensions=extensions,
    )
    files = tmp_path / "cnb"
    files.mkdir()
    inside = {path: tmp_path / f"volume{path.replace('/', '-')}" for path in ("/layers", "/layout", "/cache")}
    for path in inside.values():
        path.mkdir()
    inside["/workspace"] = tmp_path / "volume-workspace"
    shutil.copytree(source, inside["/workspace"])
    for path in inside.values():
        Builder.own(path)
    (tmp_path / "platform" / "env").mkdir(parents=True)
    with ExitStack() as stack:
        store, snapshots, engine = wiring.store(), wiring.snapshots(), wiring.engine()
        stack.callback(snapshots.close)
        base = open_base(
            "debian:13",
            settings=BaseSettings(
                data_dir=os.path.join(cli.home, "data"), mirror=None, architecture=wiring.architecture()
            ),
            store=store,
            snapshots=snapshots,
            engine=engine,
            reporter=FakeReporter(),
            images=("build", "python"),
        )
        stack.callback(base.close)
        image = base.run_image()
        name = base.run_image_name()
        reference = Reference.parse(name)
        write_layout(str(inside["/layout"] / reference.layout_path), image, store, reference.tag)
        Builder.own(inside["/layout"])
        (files / "order.toml").write_bytes(toml.encode(selection.order))
        (files / "system.toml").write_bytes(toml.encode(selection.system))
        (files / "run.toml").write_bytes(toml.encode(RunFile(images=(RunImageEntry(image=name),))))
        package = Path(packrunner.__file__).parent
        mounts = [
            Mount(source=selection.root, target="/cnb/buildpacks"),
            *([Mount(source=selection.extensions_root, target="/cnb/extensions")] if extensions else []),
            *(Mount(source=str(files / n), target=f"/cnb/{n}") for n in ("order.toml", "system.toml", "run.toml")),
            Mount(source=str(tmp_path / "platform"), target="/platform"),
            Mount(source=str(package), target="/opt/packrunner/packrunner"),
            Mount(source=sysconfig.get_path("purelib"), target="/opt/site"),
        ]
        mounts += [Mount(source=place, target=place) for place in interpreter()]
        yield Builder(
            engine=engine,
            rootfs=base.build_rootfs(),
            env={**base.build_env, "CNB_EXPERIMENTAL_MODE": "silent"},
            mounts=tuple(mounts),
            inside=inside,
            run_image=name,
        )


def interpreter() -> list[str]:
    """What the Python that runs the tests is made of: a tree of its own, or two places in the system's."""
    prefix = os.path.realpath(sys.base_prefix)
    if not prefix.startswith("/usr"):
        return [prefix]
    return [os.path.realpath(sys.executable), os.path.realpath(sysconfig.get_path("stdlib"))]


@pytest.mark.cnb("EXC-06", "RES-04", "EXP-31", "EXP-35", "RES-03", "DET-24", "DET-25")
def test_phase_by_phase_gives_the_digest_of_a_build_and_so_does_create(builder: Builder, built: str) -> None:
    assert builder.phases("acme/shop:2") == built
    place = builder.inside["/layout"] / "index.docker.io/acme/shop/2"
    (entry,) = json.loads((place / "index.json").read_text())["manifests"]
    assert entry["digest"] == built
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "2"}
    layers = builder.inside["/layers"]
    report = tomllib.loads((layers / "report.toml").read_text())["image"]
    assert (report["tags"], report["digest"]) == (["acme/shop:2"], built)
    analyzed = tomllib.loads((layers / "analyzed.toml").read_text())
    run_place = f"/layout/{Reference.parse(builder.run_image).layout_path}"
    assert analyzed["run-image"]["reference"].partition("@")[0] == run_place
    assert analyzed["run-image"]["image"] == builder.run_image
    assert "image" not in analyzed

    builder.reset("/layers", "/cache")
    assert builder.create("example.com/other:3") == built


@pytest.mark.cnb("EXC-06", "RES-08", "RES-12", "RES-16", "EXP-06")
def test_a_second_round_restores_and_gives_the_same_digest(builder: Builder, built: str) -> None:
    assert builder.phases("shop") == built
    builder.reset("/layers")
    assert builder.phases("shop") == built
    (found,) = [line for said in builder.said[-2:-1] for line in said.splitlines() if "layers dir:" in line]
    for name in ("probe", "probe.sbom.cdx.json", "probe.toml", "store.toml"):
        assert f" {name} " in found
    builder.reset("/layers")
    assert builder.create("shop") == built


class TestExtended:
    """A run image that an extension changes, on its way through the phases."""

    @pytest.fixture
    def probe(self, tmp_path: Path) -> Path:
        """One that requires what the extension provides."""
        detect = '#!/bin/sh\nprintf \'[[requires]]\\nname = "x"\\n\' > "$CNB_BUILD_PLAN_PATH"\n'
        return cached_probe(tmp_path / "probe", detect=detect)

    @pytest.fixture
    def extensions(self, tmp_path: Path) -> tuple[str, ...]:
        place = tmp_path / "runs"
        for name, content in {
            "extension.toml": 'api = "0.12"\n[extension]\nid = "acme/runs"\nversion = "1.0.0"\n',
            "detect/plan.toml": '[[provides]]\nname = "x"\n',
            "generate/run.Dockerfile": RUN_DOCKERFILE,
            "generate/context.run/data": "data\n",
            "generate/extend-config.toml": '[[run.args]]\nname = "word"\nvalue = "given"\n',
        }.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(content)
        return (str(place),)

    @pytest.fixture
    def built(self, cli: Cli, source: Path, probe: Path, extensions: tuple[str, ...]) -> str:
        words = ("-p", str(source), "-b", "procfile", "-b", str(probe), "--extension", extensions[0])
        return cli.ok("build", "extended", *words, "--rebuild").digest

    @pytest.mark.cnb("EXC-06", "EXT-11", "EXT-12", "EXT-15", "EXP-01", "EXP-22", "EXP-26")
    def test_the_phases_give_the_digest_of_a_build(
        self, builder: Builder, built: str, cli: Cli, extensions: tuple[str, ...], tmp_path: Path
    ) -> None:
        assert extensions
        layers = builder.inside["/layers"]
        extend = partial(self.extend, builder, cli, tmp_path)
        assert builder.phases("shop", extend=extend) == built
        (place,) = (layers / "extended" / "run").iterdir()
        assert {path.name for path in place.iterdir()} == {"blobs", "index.json", "oci-layout"}
        # Its configuration, its manifest and its one layer: what is below is not copied.
        assert len(list((place / "blobs" / "sha256").iterdir())) == 3
        again = (place / "index.json").read_bytes()
        self.extend(builder, cli, tmp_path)
        assert (place / "index.json").read_bytes() == again

        shutil.rmtree(layers / "extended")
        code, _ = builder.run("export", "-layout", "-layout-dir", "/layout", "shop")
        assert code == 62
        assert "error[extended-image]" in builder.said[-1]

    @staticmethod
    def extend(builder: Builder, cli: Cli, tmp_path: Path) -> None:
        """Run `extend` beside the container, as it needs namespaces of its own: paths are those of this host."""
        layers = builder.inside["/layers"]
        analyzed = (layers / "analyzed.toml").read_text().replace('"/layout/', f'"{builder.inside["/layout"]}/')
        (tmp_path / "analyzed.toml").write_text(analyzed)
        cli.ok(
            *("lifecycle", "extend", "-kind", "run", "-layers", str(layers), "-app", str(builder.inside["/workspace"])),
            *("-analyzed", str(tmp_path / "analyzed.toml"), "-uid", "1000", "-gid", "1000"),
            CNB_PLATFORM_API="0.15",
        )
