"""What cannot be put together is found before anything runs, whatever command it is put together with.

Each fault is made once as files, and met by a build, a package, a builder, a project file and `buildpack validate`. All
of them name the file, and its line where it has lines; nothing is made, and no program of a buildpack is started.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]

USAGE = 2
API = 12


def buildpack(root: Path, name: str, identity: str = "", version: str = "1.0.0", more: str = "") -> None:
    """A buildpack whose programs tell that they were started."""
    place = root / name
    (place / "bin").mkdir(parents=True)
    text = f'api = "0.12"\n[buildpack]\nid = "{identity or f"acme/{name}"}"\nversion = "{version}"\n{more}'
    (place / "buildpack.toml").write_text(text)
    for program in ("detect", "build"):
        (place / "bin" / program).write_text(f"#!/bin/sh\n# {name}\necho STARTED\n")
        (place / "bin" / program).chmod(0o755)


def composite(root: Path, name: str, *refs: str, packages: tuple[str, ...] = ()) -> None:
    """A composite, and the package.toml that says where its members are."""
    place = root / name
    place.mkdir()
    members = "".join(
        f'[[order.group]]\nid = "{ref.partition("@")[0]}"\n'
        + (f'version = "{ref.partition("@")[2]}"\n' if "@" in ref else "")
        for ref in refs
    )
    head = f'api = "0.12"\n[buildpack]\nid = "acme/{name}"\nversion = "1.0.0"\n'
    (place / "buildpack.toml").write_text(f"{head}[[order]]\n{members}")
    needs = "".join(f'[[dependencies]]\nuri = "{place}"\n' for place in packages)
    (place / "package.toml").write_text(f'[buildpack]\nuri = "."\n{needs}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is made; where it is met: `uris` are put together, `entry` is packaged and ordered; what is said.

    `say` is in every message, `at` too: a file, with its line. `own` are other places, by command: where the fault is
    in a file of that command's own. `skip` are commands that do not meet it.
    """

    make: Callable[[Path], None]
    uris: tuple[str, ...]
    entry: str
    say: str
    at: str
    code: int = USAGE
    own: tuple[tuple[str, str], ...] = ()
    skip: frozenset[str] = frozenset()


def two_alike(root: Path) -> None:
    buildpack(root, "a")
    buildpack(root, "b", "acme/a")
    composite(root, "entry", "acme/a@1.0.0", packages=("../a", "../b"))


def two_versions(root: Path) -> None:
    buildpack(root, "a")
    buildpack(root, "b", "acme/a", "2.0.0")
    composite(root, "entry", "acme/a", packages=("../a", "../b"))


def member_missing(root: Path) -> None:
    composite(root, "entry", "acme/gone@1.0.0")


def circle(root: Path) -> None:
    composite(root, "entry", "acme/inner@1.0.0", packages=("../inner",))
    composite(root, "inner", "acme/entry@1.0.0")


def itself(root: Path) -> None:
    composite(root, "entry", "acme/entry@1.0.0")


def bad_id(root: Path) -> None:
    buildpack(root, "entry", "Acme App")


def reserved_id(root: Path) -> None:
    buildpack(root, "entry", "sbom")


def bad_version(root: Path) -> None:
    buildpack(root, "entry", version="01.0")


def bad_api(root: Path) -> None:
    buildpack(root, "entry")
    path = root / "entry" / "buildpack.toml"
    path.write_text(path.read_text().replace("0.12", "9.9"))


def no_detect(root: Path) -> None:
    buildpack(root, "entry")
    (root / "entry" / "bin" / "detect").unlink()


def no_program(root: Path) -> None:
    buildpack(root, "entry")
    (root / "entry" / "bin" / "build").write_text("echo without a first line\n")


def order_and_targets(root: Path) -> None:
    buildpack(root, "entry", more='[[targets]]\nos = "linux"\n[[order]]\n[[order.group]]\nid = "acme/a"\n')


def link_out(root: Path) -> None:
    buildpack(root, "entry")
    (root / "entry" / "secrets").symlink_to("../../outside")


def other_platform(root: Path) -> None:
    buildpack(root, "entry")
    (root / "entry" / "linux" / "s390x").mkdir(parents=True)
    (root / "entry" / "bin").rename(root / "entry" / "linux" / "s390x" / "bin")


def archive(path: Path, *entries: tuple[str, str]) -> None:
    with tarfile.open(path, "w:gz") as made:
        for name, content in entries:
            found = tarfile.TarInfo(name)
            found.size = len(content)
            if content.startswith("-> "):
                found.type, found.linkname, found.size = tarfile.SYMTYPE, content[3:], 0
            made.addfile(found, io.BytesIO(content.encode()) if found.isreg() else None)


def archive_out(root: Path) -> None:
    archive(root / "tool.tgz", ("buildpack.toml", 'api = "0.12"\n'), ("../evil", "x"))
    composite(root, "entry", "acme/a@1.0.0", packages=("../tool.tgz",))


def archive_through_link(root: Path) -> None:
    archive(root / "tool.tgz", ("buildpack.toml", 'api = "0.12"\n'), ("etc", "-> /etc"), ("etc/evil", "x"))
    composite(root, "entry", "acme/a@1.0.0", packages=("../tool.tgz",))


def empty_archive(root: Path) -> None:
    archive(root / "tool.tgz", ("README", "x"))
    composite(root, "entry", "acme/a@1.0.0", packages=("../tool.tgz",))


VALIDATE = frozenset({"validate"})
FAULTS = {
    "two alike": Fault(
        make=two_alike,
        uris=("./a", "./b"),
        entry="entry",
        say="two different buildpacks call themselves acme/a@1.0.0",
        at="b/buildpack.toml:3, key buildpack.id",
        own=(("package", "package.toml:5, key dependencies[1]"), ("builder", "builder.toml:3, key buildpacks[1]")),
        skip=VALIDATE,
    ),
    "two versions": Fault(
        make=two_versions,
        uris=("./a", "./b", "./entry"),
        entry="entry",
        say="acme/entry@1.0.0 names acme/a without a version",
        at="entry/buildpack.toml:7, key order[0].group[0].id",
        skip=VALIDATE,
    ),
    "a member that is missing": Fault(
        make=member_missing,
        uris=("./entry",),
        entry="entry",
        say="acme/gone",
        at="entry/buildpack.toml:7, key order[0].group[0].id",
        skip=VALIDATE,
    ),
    "a circle": Fault(
        make=circle,
        uris=("./entry", "./inner"),
        entry="entry",
        say="is part of itself",
        at="/buildpack.toml:7, key order[0].group[0].id",
        skip=VALIDATE,
    ),
    "itself": Fault(
        make=itself,
        uris=("./entry",),
        entry="entry",
        say="is part of itself",
        at="entry/buildpack.toml:7, key order[0].group[0].id",
    ),
    "a bad id": Fault(
        make=bad_id, uris=("./entry",), entry="entry", say="is not a buildpack id", at="entry/buildpack.toml:3"
    ),
    "a reserved id": Fault(
        make=reserved_id, uris=("./entry",), entry="entry", say="is reserved", at="entry/buildpack.toml:3"
    ),
    "a bad version": Fault(
        make=bad_version, uris=("./entry",), entry="entry", say="is not a version", at="entry/buildpack.toml:4"
    ),
    "an unknown API": Fault(
        make=bad_api, uris=("./entry",), entry="entry", say="Buildpack API 9.9", at="entry/buildpack.toml:1", code=API
    ),
    "no bin/detect": Fault(
        make=no_detect, uris=("./entry",), entry="entry", say="bin/detect is missing", at="entry/bin/detect"
    ),
    "no program": Fault(
        make=no_program, uris=("./entry",), entry="entry", say="bin/build is not executable", at="entry/bin/build"
    ),
    "an order beside targets": Fault(
        make=order_and_targets, uris=("./entry",), entry="entry", say="stands for others", at="entry/buildpack.toml:5"
    ),
    "a link that leads out": Fault(
        make=link_out, uris=("./entry",), entry="entry", say="may leave the buildpack", at="entry/secrets", code=0
    ),
    "another platform": Fault(
        make=other_platform,
        uris=("./entry",),
        entry="entry",
        say="has nothing for linux/",
        at="entry/linux/",
        skip=VALIDATE,
    ),
    "an archive that escapes": Fault(
        make=archive_out, uris=("./tool.tgz",), entry="entry", say="evil", at="tool.tgz", code=0, skip=VALIDATE
    ),
    "an archive that escapes by a link": Fault(
        make=archive_through_link,
        uris=("./tool.tgz",),
        entry="entry",
        say="etc",
        at="tool.tgz",
        code=0,
        skip=VALIDATE,
    ),
    "an archive of no buildpack": Fault(
        make=empty_archive,
        uris=("./tool.tgz",),
        entry="entry",
        say="holds no buildpack",
        at="",
        skip=VALIDATE,
    ),
}
COMMANDS = ("build", "project", "package", "builder", "validate")


def arguments(command: str, fault: Fault, root: Path, name: str = "bad") -> list[str]:
    """Meet the fault by a command, which would make `name`."""
    match command:
        case "build":
            return ["build", name, "-p", "app", *(word for uri in fault.uris for word in ("-b", uri))]
        case "project":
            entries = "".join(f'[[io.buildpacks.group]]\nuri = ".{uri}"\n' for uri in fault.uris)
            (root / "app" / "project.toml").write_text(f'[_]\nschema-version = "0.2"\n{entries}')
            return ["build", name, "-p", "app"]
        case "package":
            return ["buildpack", "package", "made.cnb", "-p", fault.entry]
        case "builder":
            modules = "".join(f'[[buildpacks]]\nuri = "{uri}"\n' for uri in fault.uris)
            identity = "acme/a" if fault.entry.endswith("a") else f"acme/{fault.entry}"
            order = f'[[order]]\n[[order.group]]\nid = "{identity}"\n[build]\nimage = "debian:13"\n'
            (root / "builder.toml").write_text(modules + order)
            return ["builder", "create", f"{name}/builder"]
        case _:
            return ["buildpack", "validate", fault.entry]


@pytest.mark.cnb("BPD-02", "BPD-03", "BPD-04", "BPD-05", "BPD-10", "DST-06", "IMG-10")
@pytest.mark.parametrize(
    ("name", "command"),
    [(name, command) for name, fault in FAULTS.items() for command in COMMANDS if command not in fault.skip],
)
def test_a_fault_is_found_before_anything_runs(cli: Cli, tmp_path: Path, name: str, command: str) -> None:
    fault = FAULTS[name]
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "file").write_text("of the application")
    fault.make(tmp_path)
    ended = cli(*arguments(command, fault, tmp_path), cwd=tmp_path)
    told = " ".join((ended.err + ended.out).split())
    assert ended.code == (USAGE if command == "validate" else fault.code or ended.code)
    assert ended.code not in {0, 1}
    assert "Traceback" not in told
    assert "STARTED" not in told
    assert fault.say in told
    assert dict(fault.own).get(command, fault.at) in told
    assert not (tmp_path / "made.cnb").exists()
    assert not (tmp_path / "evil").exists()
    index = Path(cli.home) / "data" / "store" / "index.json"
    assert not index.exists() or '"bad' not in index.read_text()


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where a good buildpack's archive is."""
    buildpack(tmp_path, "served", "acme/a")
    with tarfile.open(tmp_path / "served.tgz", "w:gz") as made:
        made.add(tmp_path / "served", "served")
    data = (tmp_path / "served.tgz").read_bytes()

    class Serving(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Serving)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/served.tgz"
    server.shutdown()
    server.server_close()


@pytest.mark.cnb("DST-09")
@pytest.mark.parametrize("command", ["build", "project", "package", "builder"])
def test_bytes_of_another_checksum_are_refused(cli: Cli, tmp_path: Path, address: str, command: str) -> None:
    (tmp_path / "app").mkdir()
    wrong = f"{address}#sha256={'0' * 64}"
    composite(tmp_path, "entry", "acme/a@1.0.0", packages=(wrong,))
    fault = Fault(make=two_alike, uris=(wrong,), entry="entry", say="", at="")
    words = arguments(command, fault, tmp_path)
    if command == "project":
        path = tmp_path / "app" / "project.toml"
        path.write_text(path.read_text().replace('".http', '"http'))
    ended = cli(*words, cwd=tmp_path)
    assert ended.code == USAGE
    assert "error[buildpack-checksum]" in ended.err
    assert "STARTED" not in ended.err
    assert not (tmp_path / "made.cnb").exists()


OURS = {
    "package.toml": ('[buildpack]\nuri = "."\n[[dependencys]]\nuri = "x"\n', "'dependencies'", 3),
    "builder.toml": ('[build]\nimge = "debian:13"\n', "'image'", 2),
}


@pytest.mark.parametrize("file", OURS)
def test_a_misspelt_key_of_our_files_is_an_error(cli: Cli, tmp_path: Path, file: str) -> None:
    text, meant, line = OURS[file]
    buildpack(tmp_path, "tool")
    place = tmp_path / "tool" / file if file == "package.toml" else tmp_path / file
    place.write_text(text)
    words = {
        "package.toml": ["buildpack", "package", "made.cnb", "-p", "tool"],
        "builder.toml": ["builder", "create", "bad/builder"],
    }[file]
    ended = cli(*words, cwd=tmp_path)
    assert ended.code == USAGE
    assert f"did you mean {meant}" in ended.err
    assert f"{file}:{line}" in ended.err


@pytest.mark.cnb("PRJ-02")
def test_a_misspelt_key_of_project_toml_is_warned_about(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "project.toml").write_text('[_]\nschema-version = "0.2"\n[io.buildpacks]\nexlude = ["x"]\n')
    ended = cli("build", "bad", "-p", ".", cwd=tmp_path)
    assert "project.toml: io.buildpacks.exlude is not a key of its schema" in ended.err
    assert "perhaps exclude was meant" in ended.err


@pytest.mark.parametrize("command", ["build", "package", "builder", "validate"])
def test_a_misspelt_key_of_a_buildpack_is_a_note(cli: Cli, tmp_path: Path, command: str) -> None:
    (tmp_path / "app").mkdir()
    buildpack(tmp_path, "entry", more='homepge = "https://example.com"\n')
    fault = Fault(make=two_alike, uris=("./entry",), entry="entry", say="", at="")
    more = ["-v"] if command in {"build", "builder"} else []
    ended = cli(*arguments(command, fault, tmp_path, "noted"), *more, cwd=tmp_path)
    assert ended.code == 0
    assert "there is no key 'homepge': did you mean 'homepage'" in ended.err + ended.out
    assert "entry/buildpack.toml:5" in ended.err + ended.out
