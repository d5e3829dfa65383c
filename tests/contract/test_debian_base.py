"""Base images from the real Debian archive: what is promised of them, tried inside.

The mirror is the host's own, or PACKRUNNER_DEBIAN_MIRROR; where there is neither, these tests are skipped.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from packrunner.bases import Base, BaseSettings, open_base
from packrunner.bases.accounts import USER
from packrunner.bases.apt_sources import find_archives
from packrunner.bases.bytecode import compile_python
from packrunner.bases.download import Network, fetch
from packrunner.bases.fixups import fix_up
from packrunner.bases.lock import lock_path, read_lock
from packrunner.bases.resolving import wanted
from packrunner.bases.unpack import Source, finish, unpack
from packrunner.engines.base import Command, SandboxSpec
from packrunner.engines.sandbox import SandboxEngine
from packrunner.errors import UsageError
from packrunner.images.snapshot import Snapshots
from packrunner.images.store import LocalStore
from packrunner.proxies import Proxies
from tests.unit.bases.archive import tree_table

if TYPE_CHECKING:
    from pathlib import Path

    from packrunner.events import Event

pytestmark = [pytest.mark.network, pytest.mark.sandbox]

HERE = {"aarch64": "arm64"}.get(platform.machine(), "amd64")
MIRROR = os.environ.get("PACKRUNNER_DEBIAN_MIRROR")


class Quiet:
    """A reporter that counts."""

    def __init__(self) -> None:
        self.events = 0

    def emit(self, event: Event) -> None:
        self.events += 1


class Home:
    """One data directory with everything that a base is made with."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.engine = SandboxEngine(str(root / "state"), environ=os.environ)
        self.store = LocalStore(str(root / "store"))
        self.snapshots = Snapshots(str(root / "snapshots"), self.store)
        self.reporter = Quiet()

    def open(self, *images: str, architecture: str = HERE) -> Base:
        return open_base(
            "debian:13",
            settings=BaseSettings(data_dir=str(self.root), mirror=MIRROR, architecture=architecture),
            store=self.store,
            snapshots=self.snapshots,
            engine=self.engine,
            reporter=self.reporter,
            images=images,  # type: ignore[arg-type] # names of images, checked inside
        )

    def run(self, rootfs: tuple[str, ...], script: str, *, shell: str = "/bin/sh") -> str:
        written: list[bytes] = []
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/home/cnb"}
        with self.engine.open(SandboxSpec(rootfs=rootfs, network="none")) as sandbox:
            ended = sandbox.run(
                Command(argv=(shell, "-c", script), env=env, cwd="/tmp"), lambda _, data: written.append(data)
            )
        output = b"".join(written).decode()
        assert ended.code == 0, output
        return output


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    try:
        find_archives(MIRROR)
    except UsageError as error:
        pytest.skip(f"no Debian mirror: {error.cause}")
    return Home(tmp_path_factory.mktemp("debian"))


@pytest.fixture(scope="module")
def base(home: Home) -> Base:
    began = time.monotonic()
    made = home.open("build", "python", "static", "base")
    assert time.monotonic() - began < 120
    return made


def rootfs(home: Home, base: Base, variant: str) -> tuple[str, ...]:
    if variant == "build":
        return base.build_rootfs()
    return home.snapshots.lowers(base.run_image(variant))  # type: ignore[arg-type] # the rest are run images


@pytest.mark.parametrize("variant", ["build", "python"])
def test_python_is_whole_and_compiled(home: Home, base: Base, variant: str) -> None:
    script = """python3 -c '
import asyncio, ctypes, bz2, http.client, lzma, pwd, readline, sqlite3, ssl, sys, zlib, zoneinfo
assert ssl.create_default_context().get_ca_certs(), "no certificates"
assert pwd.getpwuid(1000).pw_name == "cnb"
assert zoneinfo.ZoneInfo("Europe/Berlin")
sqlite3.connect(":memory:").execute("select 1")
assert asyncio.__cached__.startswith("/usr/lib/python3"), asyncio.__cached__
import os; print(os.path.exists(asyncio.__cached__))'"""
    assert home.run(rootfs(home, base, variant), script).splitlines()[-1] == "True"


def test_the_build_image_builds(home: Home, base: Base) -> None:
    script = """set -e
id; getent passwd cnb; getent hosts localhost
printf '#include <Python.h>\\nint main(void){return 0;}' > a.c
cc $(python3-config --includes) a.c -o a && ./a
printf '#include <string>\\nint main(){return std::string().size();}' > b.cc && c++ b.cc -o b && ./b
python3 -m venv v && v/bin/pip --version
git init -q g && git -C g -c user.name=a -c user.email=a@example.org commit -q --allow-empty -m x
curl --version; make --version; pkg-config --version; awk 'BEGIN{print 1}'; which awk; perl -e 1
tar czf x.tar.gz a && tar cJf x.tar.xz a && tar xf x.tar.xz; TZ=Asia/Tokyo date"""
    output = home.run(base.build_rootfs(), script)
    assert "uid=1000(cnb) gid=1000(cnb)" in output
    assert "JST" in output


@pytest.mark.parametrize("variant", ["base", "python"])
def test_run_images_have_a_shell(home: Home, base: Base, variant: str) -> None:
    lowers = rootfs(home, base, variant)
    assert home.run(lowers, "cat /etc/os-release | head -1 && ls / > /dev/null && echo $0", shell="/bin/bash")
    assert home.run(lowers, "id -u && whoami") == "1000\ncnb\n"


def test_no_library_is_missing(home: Home, base: Base) -> None:
    """Cut edges must not cut what a program needs to start."""
    for variant in ("base", "python"):
        script = """
            for f in /usr/bin/* /usr/lib/*-linux-gnu/*.so*; do
                [ -f "$f" ] || continue
                LD_TRACE_LOADED_OBJECTS=1 /lib64/ld-linux-*.so.* "$f" 2> /dev/null |
                    while read -r line; do case "$line" in *"not found"*) echo "$f: $line";; esac; done
            done
            exit 0
        """
        missing = home.run(rootfs(home, base, variant), script, shell="/bin/bash").splitlines()
        assert missing == []


def test_the_static_image_is_small_and_complete(home: Home, base: Base) -> None:
    (tree,) = rootfs(home, base, "static")
    assert os.path.exists(f"{tree}/etc/ssl/certs/ca-certificates.crt")
    assert os.path.exists(f"{tree}/usr/share/zoneinfo/Europe/Berlin")
    assert os.path.exists(f"{tree}/etc/mime.types")
    assert not os.listdir(f"{tree}/usr/bin")
    assert base.run_image("static").size < 6_000_000


@pytest.mark.parametrize("variant", ["build", "python", "base", "static"])
def test_the_tree_is_as_described(home: Home, base: Base, variant: str) -> None:
    (tree,) = rootfs(home, base, variant)
    status = open_text(f"{tree}/var/lib/dpkg/status")
    names = re.findall(r"(?m)^Package: (\S+)$", status)
    assert names == sorted(base.packages(variant))  # type: ignore[arg-type] # as above
    assert status.count("Status: install ok installed") == len(names)
    for name in names:
        path = f"{tree}/usr/share/doc/{name}"
        assert os.path.exists(f"{path}/copyright") or os.path.islink(path), f"{name} has no copyright file"
    set_id = [name for name, (mode, _, _) in tree_table(tree).items() if mode & 0o6000]
    assert set_id == []
    for name, target in (("bin", "usr/bin"), ("var/run", "/run"), ("etc/localtime", "/usr/share/zoneinfo/Etc/UTC")):
        assert os.readlink(f"{tree}/{name}") == target


def open_text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def test_the_certificates_are_those_of_the_package(home: Home, base: Base) -> None:
    (tree,) = base.build_rootfs()
    place = f"{tree}/usr/share/ca-certificates/mozilla"
    bundle = open_text(f"{tree}/etc/ssl/certs/ca-certificates.crt")
    assert bundle.count("BEGIN CERTIFICATE") == len(os.listdir(place)) > 100


def test_the_second_use_costs_nothing(home: Home, base: Base) -> None:
    before = home.reporter.events
    worked, waited = [], []
    for _ in range(5):
        began = (time.process_time(), time.monotonic())
        again = home.open("build")
        assert again.build_rootfs() == base.build_rootfs()
        worked.append(time.process_time() - began[0])
        waited.append(time.monotonic() - began[1])
    assert min(worked) < 0.02
    assert min(waited) < 1  # on a machine that does other things too
    assert home.reporter.events == before


def test_made_twice_from_one_lock_it_is_the_same(home: Home, base: Base, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    target = lock_path(str(other.root), "debian:13", HERE)
    os.makedirs(os.path.dirname(target))
    shutil.copy(lock_path(str(home.root), "debian:13", HERE), target)
    shutil.copytree(home.root / "bases/downloads", other.root / "bases/downloads")
    second = other.open("python")
    assert second.digest == base.digest
    assert second.run_image("python").digest == base.run_image("python").digest
    assert [layer.diff_id for layer in second.run_image("python").layers] == [
        layer.diff_id for layer in base.run_image("python").layers
    ]


def test_compiling_again_gives_the_same_bytes(home: Home, base: Base, tmp_path: Path) -> None:
    (tree,) = rootfs(home, base, "python")
    copy = tmp_path / "tree"
    shutil.copytree(tree, copy, symlinks=True)
    before = tree_table(str(copy))
    for path in copy.rglob("__pycache__"):
        shutil.rmtree(path)
    (tmp_path / "scratch").mkdir()
    newest = max(int(mtime) for *_, mtime in before.values())
    assert compile_python(str(copy), str(tmp_path / "scratch"), home.engine, newest=newest) > 500
    assert {name: facts[1] for name, facts in tree_table(str(copy)).items()} == {
        name: facts[1] for name, facts in before.items()
    }


def test_arm64_resolves_and_unpacks(home: Home, tmp_path: Path) -> None:
    home.open(architecture="arm64")
    lock = read_lock(lock_path(str(home.root), "debian:13", "arm64"))
    assert lock
    assert set(lock.images) == {"build", "static", "base", "python"}
    packages = lock.of("python")
    assert {package.architecture for package in packages} == {"arm64", "all"}
    downloads = str(tmp_path / "downloads")
    network = Network(proxies=Proxies.find(os.environ))
    fetch(wanted(packages, find_archives(MIRROR)), downloads, network, lambda files, size: None)
    tree = tmp_path / "tree"
    tree.mkdir()
    sources = [Source(name=p.name, path=f"{downloads}/{p.sha256}", size=p.size) for p in packages]
    installed = unpack(sources, str(tree), done=lambda size: None)
    fix_up(str(tree), installed, user=USER, newest=1)
    finish(str(tree), installed, newest=1)
    header = (tree / "usr/bin/python3.13").read_bytes()[:20]
    assert struct.unpack_from("<H", header, 18) == (183,), "a program for aarch64"
    assert os.readlink(tree / "usr/bin/python3") == "python3.13"


@pytest.mark.fault("PRO-08")
@pytest.mark.fault("STO-22")
def test_killed_while_the_sandbox_compiles(home: Home, base: Base, tmp_path: Path, repository: Path) -> None:
    """Kill -9 in the last step: no process stays, and the next run makes the same image."""
    other = Home(tmp_path / "other")
    target = lock_path(str(other.root), "debian:13", HERE)
    os.makedirs(os.path.dirname(target))
    shutil.copy(lock_path(str(home.root), "debian:13", HERE), target)
    os.symlink(home.root / "bases/downloads", other.root / "bases/downloads")
    code = f"""
import sys, time
sys.path.insert(0, {str(repository)!r})
from pathlib import Path
from tests.contract.test_debian_base import Home
import packrunner.events as events
home = Home(Path({str(other.root)!r}))
home.reporter.emit = lambda event: print(getattr(event, "detail", ""), flush=True)
home.open("python")
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ})
    assert child.stdout
    with child.stdout as lines:
        for line in lines:
            if line.startswith("byte-compiling"):
                time.sleep(0.7)
                child.kill()
                break
    child.wait()
    assert other.open("python").run_image("python").digest == base.run_image("python").digest
    left = [name for name in os.listdir(os.path.dirname(target)) if name.startswith("making-")]
    assert left == []
