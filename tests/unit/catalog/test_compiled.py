"""Compiled modules: made by what the image says, for that image and those buildpacks only; whole or not at all."""

from __future__ import annotations

import importlib.machinery
import os
import sys
from typing import TYPE_CHECKING

import pytest

from packrunner.catalog import compiler
from packrunner.catalog.compiled import NOTHING, TARGET, CompiledModules, _files
from packrunner.catalog.selection import Selection
from packrunner.catalog.stage import Stage, StagedBuildpack
from packrunner.engines.base import Exit
from packrunner.formats.buildpack import BuildpackDescriptor, BuildpackInfo
from packrunner.formats.group import Order, System
from tests.fakes import FakeSandbox

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes import Call

TAG = sys.implementation.cache_tag
PYC = f"m.{TAG}.pyc"


def buildpack(name: str, *, sdk: bool = True, digest: str = "sha256:0") -> StagedBuildpack:
    descriptor = BuildpackDescriptor(api="0.12", buildpack=BuildpackInfo(id=f"acme/{name}"))
    return StagedBuildpack(
        id=f"acme/{name}",
        version="1.0",
        digest=digest,
        path="",
        source="",
        descriptor=descriptor,
        short=name,
        sdk=sdk,
    )


def modules(
    stage: Path,
    *buildpacks: StagedBuildpack,
    selection: str = "s",
    rootfs: tuple[str, ...] = ("/base",),
    path: str = "",
) -> CompiledModules:
    (stage / "new").mkdir(parents=True, exist_ok=True)
    chosen = {(b.id, b.version): b for b in buildpacks or (buildpack("a"),)}
    found = Selection(
        order=Order(), system=System(), buildpacks=chosen, root=str(stage / "selections" / selection), inputs=()
    )
    return CompiledModules(found, rootfs, path=path)


def new(place: str, content: bytes = b"code") -> bytes:
    return f"new {len(content)} {place}".encode() + b"\0" + content


def own(place: str) -> bytes:
    return f"own {place}".encode() + b"\0"


def saying(said: bytes, code: int = 0) -> FakeSandbox:
    def run(call: Call) -> Exit:
        call.output("stdout", said)
        return Exit(code=code)

    return FakeSandbox(programs={"/bin/sh": run})


def make_twice(one: CompiledModules, sandbox: FakeSandbox) -> None:
    one.make(sandbox, at_once=False)
    one.make(sandbox, at_once=False)


def files(stage: Path) -> dict[str, str]:
    """What was made, below its key: contents of files, targets of links."""
    found = {}
    for place in (stage / "compiled").rglob("*"):
        rel = str(place.relative_to(stage / "compiled")).partition("/")[2]
        if place.is_symlink():
            found[rel] = f"-> {place.readlink()}"
        elif rel and place.is_file():
            found[rel] = place.read_text()
    return found


def notes(stage: Path) -> list[bytes]:
    return [place.read_bytes() for place in (stage / "compiled").glob("*.note")]


def test_the_second_build_makes_them_and_the_third_shows_them(tmp_path: Path) -> None:
    places = [
        new(f"cnb/buildpacks/acme_a/1.0/{PYC}"),
        own(f"usr/lib/python3.13/{PYC}"),
        b"all usr/lib/python3.13/json\0",
    ]
    sandbox = saying(b"".join(places))
    one = modules(tmp_path, path="/opt/bin")
    one.make(sandbox, at_once=False)
    assert (sandbox.commands, one.mounts()) == ([], ())
    one.make(sandbox, at_once=False)
    [command] = sandbox.commands
    assert command.argv[:3] == ("/bin/sh", "-c", 'exec python3 -I -S -B -c "$0" "$@"')
    assert command.argv[4:] == ("/cnb/buildpacks/acme_a/1.0",)
    assert command.env["PATH"] == "/opt/bin"
    assert files(tmp_path) == {
        f"cnb/buildpacks/acme_a/1.0/{PYC}": "code",
        f"usr/lib/python3.13/{PYC}": f"-> /usr/lib/python3.13/__pycache__/{PYC}",
        "usr/lib/python3.13/json": "-> /usr/lib/python3.13/json/__pycache__",
    }
    [mount] = modules(tmp_path, path="/opt/bin").mounts()
    assert (mount.target, mount.writable) == (TARGET, False)
    assert mount.content
    assert mount.content in mount.source
    one.make(sandbox, at_once=False)
    assert len(sandbox.commands) == 1
    assert os.listdir(tmp_path / "new") == []


def test_at_once_the_first_build_makes_them(tmp_path: Path) -> None:
    sandbox = saying(new(f"cnb/buildpacks/acme_a/1.0/{PYC}"))
    one = modules(tmp_path)
    one.make(sandbox, at_once=True)
    assert len(one.mounts()) == 1
    one.make(sandbox, at_once=True)
    assert len(sandbox.commands) == 1


def test_at_once_what_failed_is_not_tried_again(tmp_path: Path) -> None:
    sandbox = saying(b"", code=1)
    one = modules(tmp_path)
    one.make(sandbox, at_once=True)
    one.make(sandbox, at_once=True)
    assert len(sandbox.commands) == 1
    assert notes(tmp_path) == [b"nothing"]


@pytest.mark.fault("SBX-26")
def test_no_process_of_the_compiler_is_there_when_buildpacks_run(tmp_path: Path) -> None:
    sandbox = saying(new(f"a/{PYC}"))
    make_twice(modules(tmp_path), sandbox)
    assert sandbox.sweeps == 1


@pytest.mark.parametrize(
    "other",
    [{"selection": "t"}, {"rootfs": ("/other",)}, {"rootfs": ("/base", "/more")}],
    ids=["selection", "image", "layers"],
)
def test_nothing_is_shown_to_other_buildpacks_or_in_other_images(tmp_path: Path, other: dict[str, str]) -> None:
    make_twice(modules(tmp_path), saying(new(f"a/{PYC}")))
    assert modules(tmp_path).mounts()
    assert modules(tmp_path, **other).mounts() == ()  # type: ignore[arg-type]  # one keyword of several types


@pytest.mark.parametrize(
    "one", [buildpack("a", sdk=False), buildpack("a", digest="")], ids=["without the SDK", "the builder's"]
)
def test_what_is_not_staged_for_the_sdk_is_left_alone(tmp_path: Path, one: StagedBuildpack) -> None:
    sandbox = saying(new(f"a/{PYC}"))
    make_twice(modules(tmp_path, one), sandbox)
    assert sandbox.commands == []
    assert not (tmp_path / "compiled").exists()


def test_an_order_of_hundreds_is_not_compiled_whole(tmp_path: Path) -> None:
    sandbox = saying(new(f"a/{PYC}"))
    make_twice(modules(tmp_path, *(buildpack(f"b{i:03}") for i in range(300))), sandbox)
    assert len(sandbox.commands[0].argv) == 4 + 20


@pytest.mark.parametrize(
    ("said", "code"),
    [(b"", 127), (b"", 0), (new(f"a/{PYC}"), 1)],
    ids=["no python3", "nothing to compile", "failed half-way"],
)
def test_what_fails_is_not_tried_again(tmp_path: Path, said: bytes, code: int) -> None:
    sandbox = saying(said, code)
    one = modules(tmp_path)
    make_twice(one, sandbox)
    one.make(sandbox, at_once=False)
    assert len(sandbox.commands) == 1
    assert notes(tmp_path) == [NOTHING]
    assert one.mounts() == ()


@pytest.mark.fault("SBX-04", "SBX-30")
@pytest.mark.parametrize(
    "said",
    [
        new(f"../{PYC}"),
        new(f"/a/{PYC}"),
        new(f"a/./{PYC}"),
        own(f"../../{PYC}"),
        own(f"a/{PYC}") + new(f"a/{PYC}/{PYC}"),
        own(f"a/{PYC}") + own(f"a/{PYC}/{PYC}"),
        own(PYC),
        new(f"a/{PYC}") + new(f"a/{PYC}/{PYC}"),
        b"all a/b\0" + new(f"a/b/{PYC}"),
        b"all a/b\0" + own(f"a/b/c/{PYC}"),
        b"all a/../b\0",
        new(f"a/{PYC}")[:-1],
        b"new x a/a.pyc\0code",
        b"new -4 a/a.pyc\0code",
        b"new 99999999999999999999 a/a.pyc\0code",
        b"old a/a.pyc\0",
        b"new 4 a/a.pyc",
        b"own",
        b"".join(own(f"a/{i}.pyc") for i in range(10_001)),
        new(f"a/{PYC}", b"x" * (9 << 20)),
    ],
    ids=lambda said: repr(said[:40]).translate(str.maketrans("\\/", "||")),
)
def test_what_the_image_says_makes_nothing_else(tmp_path: Path, said: bytes) -> None:
    stage = tmp_path / "outer" / "stage"
    one = modules(stage)
    make_twice(one, saying(said))
    assert notes(stage) == [NOTHING]
    assert one.mounts() == ()
    assert os.listdir(stage / "new") == []
    assert [p.name for p in (stage / "compiled").iterdir() if p.suffix != ".note"] == []
    assert os.listdir(tmp_path) == ["outer"]
    assert os.listdir(tmp_path / "outer") == ["stage"]


@pytest.mark.fault("SBX-38")
def test_what_is_too_much_is_not_taken_in_part(tmp_path: Path) -> None:
    def run(call: Call) -> None:
        call.output("stdout", new(f"a/{PYC}"))
        call.output("stdout", new(f"b/{PYC}", b"x" * (9 << 20)))

    make_twice(modules(tmp_path), FakeSandbox(programs={"/bin/sh": run}))
    assert files(tmp_path) == {}
    assert notes(tmp_path) == [NOTHING]


@pytest.mark.fault("STO-07")
def test_a_disk_that_refuses_costs_time_only(tmp_path: Path) -> None:
    one = modules(tmp_path)
    (tmp_path / "compiled").write_text("in the way")
    make_twice(one, saying(new(f"a/{PYC}")))
    assert (tmp_path / "compiled").read_text() == "in the way"


@pytest.mark.fault("STO-06")
def test_of_two_builds_at_once_one_makes_them(tmp_path: Path) -> None:
    one = modules(tmp_path)
    one.make(saying(b""), at_once=False)

    def run(call: Call) -> None:
        modules(tmp_path).make(saying(new(f"a/{PYC}", b"first")), at_once=False)
        call.output("stdout", new(f"a/{PYC}", b"second"))

    one.make(FakeSandbox(programs={"/bin/sh": run}), at_once=False)
    assert files(tmp_path) == {f"a/{PYC}": "first"}
    assert os.listdir(tmp_path / "new") == []
    assert notes(tmp_path) == [b""]


def test_prune_takes_what_no_build_has_used_for_long(tmp_path: Path) -> None:
    stage = Stage(str(tmp_path), sdk_dir=str(tmp_path))
    old, used = modules(tmp_path, selection="old"), modules(tmp_path, selection="used")
    for one in (old, used):
        make_twice(one, saying(new(f"a/{PYC}") + own(f"b/{PYC}")))
    for place in (tmp_path / "compiled").iterdir():
        os.utime(place, (0, 0))
    assert used.mounts()
    assert stage.prune(unused_for=3600) >= 4
    assert old.mounts() == ()
    assert used.mounts()


def compiled(*directories: Path, library: tuple[Path, ...] = ()) -> dict[str, bytes | str]:
    """What the compiler says, run here: by place."""
    said: list[bytes] = []
    compiler.main([*map(str, directories)], [*map(str, library)], said.append)
    return _files(b"".join(said))


def test_the_interpreter_takes_them_for_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "bp" / "lib" / "own" / "m.py"
    source.parent.mkdir(parents=True)
    source.write_text("X = 'as staged'\n")
    for place, content in compiled(tmp_path / "bp").items():
        path = tmp_path / "prefix" / place
        path.parent.mkdir(parents=True)
        assert isinstance(content, bytes)
        path.write_bytes(content)
    source.write_text("X = 'not looked at'\n")
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "prefix"))
    code = importlib.machinery.SourceFileLoader("m", str(source)).get_code("m")
    assert code
    assert "as staged" in code.co_consts
    assert code.co_filename == str(source)


def test_nothing_of_what_is_compiled_runs(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert len(compiled(tmp_path)) == 1
    assert not (tmp_path / "ran").exists()


def test_what_is_not_python_of_this_version_stays_a_source(tmp_path: Path) -> None:
    for name, text in (("old.py", b"print 'two'\n"), ("nul.py", b"\0"), ("latin.py", b"x = '\xe9'\n"), ("ok.py", b"")):
        (tmp_path / name).write_bytes(text)
    (tmp_path / "away.py").symlink_to("nowhere")
    assert [place.rpartition("/")[2] for place in compiled(tmp_path)] == [f"ok.{TAG}.pyc"]


def test_equal_modules_of_several_buildpacks_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sdk.py").write_text("x = 1\n" * 20)
    monkeypatch.setattr(compiler, "MOST", 200)
    first, second = compiled(tmp_path / "a", tmp_path / "b").values()
    assert first == second


def test_it_does_not_compile_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.py").write_text(f"{name} = 1\n" * 10)
    monkeypatch.setattr(compiler, "MOST", 130)
    assert [place[-len(f"a.{TAG}.pyc") :] for place in compiled(tmp_path)] == [f"a.{TAG}.pyc", f"b.{TAG}.pyc"]


def test_of_the_interpreters_library_it_names_what_is_compiled(tmp_path: Path) -> None:
    library = tmp_path / "lib"
    for place in (
        f"__pycache__/{PYC}",
        f"json/__pycache__/{PYC}",
        f"xml/__pycache__/{PYC}",
        f"xml/dom/__pycache__/{PYC}",
        "__pycache__/m.cpython-27.pyc",
        f"site-packages/x/__pycache__/{PYC}",
        "data/table.txt",
    ):
        (library / place).parent.mkdir(parents=True, exist_ok=True)
        (library / place).write_text("")
    top = str(library)
    assert compiled(library=(library, tmp_path / "python313.zip")) == {
        f"{top[1:]}/{PYC}": f"{top}/__pycache__/{PYC}",
        f"{top[1:]}/json": f"{top}/json/__pycache__",
        f"{top[1:]}/xml/{PYC}": f"{top}/xml/__pycache__/{PYC}",
        f"{top[1:]}/xml/dom": f"{top}/xml/dom/__pycache__",
    }
