"""What every engine that extends images must do: root inside, nobody outside, changes packed as they were made."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from packrunner.engines.base import Command, Exit, Mount, SandboxSpec
from packrunner.engines.sandbox import SandboxEngine
from packrunner.engines.skeleton import AGENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from packrunner.engines.base import Changes, Extender, Sandbox, Workbench

pytestmark = pytest.mark.sandbox

AS_ROOT = os.geteuid() == 0
PATH = {"PATH": "/usr/bin:/bin", "HOME": "/root"}
CONTEXT = "/run/packrunner/context"
EXTENDERS: dict[str, Callable[[str, Mapping[str, str]], SandboxEngine]] = {
    "sandbox": lambda state, environ: SandboxEngine(state, environ=environ),
}


@dataclass
class Place:
    """An engine that extends, a root made of the host's programs and some files, and a build context."""

    extender: Extender
    spec: SandboxSpec
    directory: Path

    @property
    def root(self) -> Path:
        return self.directory / "base"

    @property
    def context(self) -> Path:
        return self.directory / "context"

    def change(self, *scripts: str) -> tuple[str, Layer]:
        """Run shell scripts; what they wrote, and what was packed."""
        with self.extender.workbench(self.spec) as bench:
            with bench.open() as sandbox:
                said = [run(sandbox, "/bin/sh", "-c", textwrap.dedent(script))[1] for script in scripts]
            return "".join(said), packed(bench)

    def copy(self, *words: str) -> tuple[Exit, str, Layer]:
        """Run the agent's copy from the context."""
        with self.extender.workbench(self.spec) as bench:
            with bench.open() as sandbox:
                ended, said = run(sandbox, AGENT, "copy", "--context", CONTEXT, *words)
            return ended, said, packed(bench)


@dataclass
class Layer:
    """A packed layer: its bytes, entries and report."""

    data: bytes
    changes: Changes

    @property
    def entries(self) -> dict[str, tarfile.TarInfo]:
        with tarfile.open(fileobj=io.BytesIO(self.data)) as archive:
            return {member.name: member for member in archive}

    def facts(self) -> dict[str, tuple[str, int, int]]:
        """Mode, owner and group by name."""
        return {name: (f"{m.mode:o}", m.uid, m.gid) for name, m in self.entries.items()}

    def text(self, name: str) -> str:
        with tarfile.open(fileobj=io.BytesIO(self.data)) as archive:
            file = archive.extractfile(name)
            assert file
            return file.read().decode()


def packed(bench: Workbench, below: Mapping[str, tuple[int, int]] | None = None) -> Layer:
    out = io.BytesIO()
    changes = bench.pack(out.write, below or {})
    return Layer(out.getvalue(), changes)


def run(sandbox: Sandbox, *argv: str, user: tuple[int, int] | None = None) -> tuple[Exit, str]:
    parts: list[bytes] = []
    ended = sandbox.run(Command(argv=argv, env=PATH, user=user), lambda _, data: parts.append(data))
    return ended, b"".join(parts).decode(errors="surrogateescape")


@pytest.fixture(params=sorted(EXTENDERS))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    base = tmp_path / "base"
    for name in ("usr", "etc", "proc", "opt", "root", "run", "tmp"):
        (base / name).mkdir(parents=True)
    (base / "tmp").chmod(0o1777)
    (base / "root").chmod(0o700)
    (base / "etc" / "motd").write_text("welcome\n")
    (base / "etc" / "issue").write_text("hello\n")
    (base / "opt" / "old").mkdir()
    (base / "opt" / "old" / "file").write_text("1")
    mounts = [Mount(source="/usr", target="/usr")]
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink(f"/{name}"):
            (base / name).symlink_to(os.readlink(f"/{name}"))
        elif os.path.isdir(f"/{name}"):
            mounts.append(Mount(source=f"/{name}", target=f"/{name}"))
    context = tmp_path / "context"
    context.mkdir()
    mounts.append(Mount(source=str(context), target=CONTEXT))
    yield Place(
        extender=EXTENDERS[request.param](str(tmp_path / "state"), os.environ),
        spec=SandboxSpec(rootfs=(str(base),), mounts=tuple(mounts)),
        directory=tmp_path,
    )
    benches = tmp_path / "state" / "benches"
    assert not benches.is_dir() or list(benches.iterdir()) == []


@pytest.mark.cnb("EXT-14", "EXT-15")
def test_what_commands_change_is_packed_and_the_image_below_stays_as_it_is(place: Place) -> None:
    before = sorted(str(p) for p in place.root.rglob("*"))
    _, layer = place.change(
        "echo new > /etc/new; echo more >> /etc/motd; rm /etc/issue",
        "rm -r /opt/old; mkdir /opt/old; ln -s /etc/motd /opt/link; cp /bin/true /opt/tool; chmod 4755 /opt/tool",
    )
    entries = layer.entries
    made = "etc etc/.wh.issue etc/motd etc/new opt opt/link opt/old opt/old/.wh..wh..opq opt/tool"
    assert sorted(entries) == made.split()
    assert layer.text("etc/motd") == "welcome\nmore\n"
    assert entries["opt/link"].linkname == "/etc/motd"
    assert (entries["opt/tool"].mode, entries["opt/tool"].uid) == (0o4755, 0)
    assert {m.mtime for m in entries.values()} == {315532801}
    assert layer.changes.entries == len(entries)
    assert sorted(str(p) for p in place.root.rglob("*")) == before
    assert (place.root / "etc" / "motd").read_text() == "welcome\n"


@pytest.mark.cnb("EXP-07", "EXT-15")
def test_the_same_commands_give_the_same_bytes(place: Place) -> None:
    script = "for i in b a ü c; do echo $i > /opt/$i; done; rm /etc/issue"
    assert place.change(script)[1].data == place.change(script)[1].data


@pytest.mark.cnb("EXT-15")
def test_owners_are_those_inside(place: Place) -> None:
    if place.extender.ids == 1:
        pytest.skip("this user has no subordinate ids")
    said, layer = place.change(
        "touch /opt/a /opt/b; chown 5:6 /opt/a; chown -h 65534:33 /opt/b; mkdir -m 700 /opt/d; chown 33 /opt/d",
        "touch /opt/d/x; stat -c %u:%g /opt/a",
    )
    assert said == "5:6\n"
    facts = layer.facts()
    assert facts["opt/a"][1:] == (5, 6)
    assert facts["opt/b"][1:] == (65534, 33)
    assert facts["opt/d"] == ("700", 33, 0)
    assert facts["opt/d/x"][1:] == (0, 0)


def test_with_one_id_everything_is_roots_and_giving_files_away_fails(place: Place) -> None:
    if place.extender.ids > 1:
        pytest.skip("there are more ids here")
    said, layer = place.change("touch /opt/a; chown 5:6 /opt/a 2>&1; id -u")
    assert "Invalid argument" in said
    assert said.endswith("0\n")
    assert layer.facts()["opt/a"][1:] == (0, 0)


@pytest.mark.cnb("EXT-15")
def test_files_of_the_image_that_were_changed_stay_whose_they_are(place: Place) -> None:
    below = {"opt/old": (33, 34), "etc/motd": (5, 6)}
    if AS_ROOT:
        for path, ids in below.items():
            os.chown(place.root / path, *ids)
    with place.extender.workbench(place.spec) as bench:
        with bench.open() as sandbox:
            run(sandbox, "/bin/sh", "-c", "echo x >> /etc/motd; touch /opt/old/new; touch /opt/mine")
        facts = packed(bench, {} if bench.shows_owners else below).facts()
    assert facts["opt/old"][1:] == (33, 34)
    assert facts["etc/motd"][1:] == (5, 6)
    assert facts["opt/mine"][1:] == facts["opt/old/new"][1:] == (0, 0)


@pytest.mark.cnb("EXT-11")
def test_a_command_of_another_user_is_that_user_and_nobody_else(place: Place) -> None:
    if place.extender.ids == 1:
        pytest.skip("this user has no subordinate ids")
    with place.extender.workbench(place.spec) as bench:
        with bench.open() as sandbox:
            script = "id -u; id -g; id -G; touch /opt/x; touch /tmp/mine; grep CapEff /proc/self/status"
            _, said = run(sandbox, "/bin/sh", "-c", script, user=(1000, 1001))
        facts = packed(bench).facts()
    assert said.startswith("1000\n1001\n1001\n")
    assert "/opt/x" in said
    assert said.endswith("0000000000000000\n")
    assert facts["tmp/mine"][1:] == (1000, 1001)


@pytest.mark.fault("SBX-23", "SBX-34")
@pytest.mark.cnb("EXT-14")
def test_root_inside_is_nobody_outside(place: Place) -> None:
    secret = place.directory / "secret"
    secret.mkdir(mode=0o700)
    (secret / "file").write_text("the secret\n")
    (secret / "file").chmod(0o600)
    mounts = [*place.spec.mounts]
    if AS_ROOT:  # an ordinary user's files are root's inside, as they should be
        mounts.append(Mount(source=str(secret), target="/host", writable=True))
    place.spec = SandboxSpec(rootfs=place.spec.rootfs, mounts=tuple(mounts))
    said, _ = place.change(
        """
        cat /proc/self/uid_map
        for name in kernel/core_pattern kernel/hostname vm/drop_caches kernel/modprobe; do
            (echo x > /proc/sys/$name) 2>/dev/null && echo "wrote $name"
        done
        (echo x > /proc/sysrq-trigger) 2>/dev/null && echo "wrote sysrq"
        mount -t tmpfs none /opt 2>/dev/null && echo "mounted"
        unshare --user true 2>/dev/null && echo "unshared"
        mknod /opt/disk b 8 0 2>/dev/null && echo "made a device"
        chroot / mount --bind /etc /opt 2>/dev/null && echo "bound"
        kill -9 1; echo "still here"
        cat /proc/1/environ 2>/dev/null && echo "looked into the agent"
        for n in 0 1 2 3 4 5 6 7 8; do (: < /proc/1/fd/$n) 2>/dev/null && echo "opened the agent's channel"; done
        cat /host/file 2>/dev/null && echo "read a file of root's"
        (echo x >> /usr/bin/env) 2>/dev/null && echo "wrote /usr"
        true
        """
    )
    first, *rest = said.splitlines()
    assert first.split()[1] != "0"
    mapped = [line for line in rest if line.split()[0].isdigit()]
    assert all(line.split()[1] != "0" for line in mapped)
    assert [line for line in rest if line not in mapped] == ["still here"]


@pytest.mark.fault("SBX-23")
def test_no_process_of_a_workbench_has_an_id_of_this_host(place: Place) -> None:
    if not AS_ROOT:
        pytest.skip("an ordinary user is root inside, which is nobody but himself")
    with place.extender.workbench(place.spec) as bench, bench.open() as sandbox:
        run(sandbox, "/bin/sh", "-c", "sleep 77.31 & sleep 0.2")
        found = [pid for pid in os.listdir("/proc") if pid.isdigit() and "sleep\x0077.31" in command_line(pid)]
        assert found
        for pid in found:
            with open(f"/proc/{pid}/status") as file:
                lines = dict(line.split(":\t", 1) for line in file if ":\t" in line)
            assert {*lines["Uid"].split(), *lines["Gid"].split()} == {"2000000000"}
            assert lines["Groups"].split() == []


def command_line(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read()
    except OSError:
        return ""


@pytest.mark.cnb("EXT-14")
def test_what_belongs_to_the_build_or_the_machine_is_not_kept(place: Place) -> None:
    _, layer = place.change(
        "for d in workspace layers platform; do echo x > /$d/x || exit; done; echo x >> /etc/hosts",
        "echo x >> /etc/resolv.conf; echo x > /run/packrunner/x; echo kept > /tmp/kept",
    )
    assert sorted(name for name, m in layer.entries.items() if not m.isdir()) == ["tmp/kept"]


@pytest.mark.fault("NET-10")
def test_nothing_of_the_hosts_trust_stays(place: Place, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("-----BEGIN host certificate-----\n")
    engine = EXTENDERS["sandbox"](str(tmp_path / "state"), {"SSL_CERT_FILE": str(bundle)})
    with engine.workbench(place.spec) as bench:
        with bench.open() as sandbox:
            assert sandbox.trust_env["SSL_CERT_FILE"] == "/run/packrunner/ca-certificates.crt"
            script = "cat /run/packrunner/ca-certificates.crt; echo mine >> /etc/ssl/certs/ca-certificates.crt"
            assert run(sandbox, "/bin/sh", "-c", script)[1] == bundle.read_text()
        layer = packed(bench)
    assert b"host certificate" not in layer.data
    assert layer.changes.warnings == (
        "/etc/ssl/certs/ca-certificates.crt is left out: it begins with the certificates of this machine",
    )
    with engine.workbench(place.spec) as bench:
        with bench.open() as sandbox:
            run(
                sandbox, "/bin/sh", "-c", "echo made anew > /etc/ssl/certs/x; mv /etc/ssl/certs/x $SSL /etc/ssl/certs/c"
            )
        assert "etc/ssl/certs/c" in packed(bench).entries


@pytest.mark.cnb("EXT-12")
def test_copies(place: Place) -> None:
    for path, text in {"a": "1", "b.txt": "2", "c.txt": "3", "dir/x": "4", "dir/sub/y": "5"}.items():
        (place.context / path).parent.mkdir(parents=True, exist_ok=True)
        (place.context / path).write_text(text)
    (place.context / "a").chmod(0o751)
    (place.context / "dir" / "link").symlink_to("../../../../etc/motd")
    for words, names in {
        ("/opt/new", "a"): ["opt/new"],
        ("/opt/made/", "a"): ["opt/made", "opt/made/a"],
        ("/opt", "a"): ["opt/a"],
        ("/opt/t/", "*.txt"): ["opt/t", "opt/t/b.txt", "opt/t/c.txt"],
        ("/opt/d", "dir"): ["opt/d", "opt/d/link", "opt/d/sub", "opt/d/sub/y", "opt/d/x"],
        ("/opt/all/", "."): [
            *("opt/all", "opt/all/a", "opt/all/b.txt", "opt/all/c.txt", "opt/all/dir", "opt/all/dir/link"),
            *("opt/all/dir/sub", "opt/all/dir/sub/y", "opt/all/dir/x"),
        ],
    }.items():
        ended, said, layer = place.copy("--", *words)
        assert (ended.code, said) == (0, "")
        assert sorted(layer.entries) == ["opt", *names]
    _, _, layer = place.copy("--", "/opt/new", "a")
    assert (layer.facts()["opt/new"], layer.text("opt/new")) == (("751", 0, 0), "1")
    assert place.copy("--mode", "420", "--", "/opt/new", "a")[2].facts()["opt/new"] == ("644", 0, 0)


@pytest.mark.cnb("EXT-12")
@pytest.mark.fault("SBX-03")
@pytest.mark.parametrize("source", ["../base/etc/motd", "..", "a/../../x", "nowhere", "out", "absolute", "none*"])
def test_a_source_outside_of_the_context_is_refused(place: Place, source: str) -> None:
    (place.context / "a").mkdir()
    (place.context / "out").symlink_to("../../../../../../etc/motd")
    (place.context / "absolute").symlink_to("/etc/motd")
    ended, said, layer = place.copy("--", "/opt/x", source)
    assert ended.code == 1
    assert source in said
    assert layer.entries == {}


@pytest.mark.cnb("EXT-12")
def test_an_archive_is_unpacked_and_leads_nowhere_else(place: Place) -> None:
    with tarfile.open(place.context / "good.tar.gz", "w:gz") as archive:
        for name, text in {"d/f": b"1", "../up": b"2", "/abs": b"3"}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text), 0o640
            archive.addfile(member, io.BytesIO(text))
    _, said, layer = place.copy("--unpack", "--", "/opt/x/", "good.tar.gz")
    assert (said, sorted(layer.entries)) == ("", ["opt", "opt/x", "opt/x/abs", "opt/x/d", "opt/x/d/f", "opt/x/up"])
    with tarfile.open(place.context / "bad.tar", "w") as archive:
        link = tarfile.TarInfo("l")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        member = tarfile.TarInfo("l/planted")
        member.size = 1
        archive.addfile(link)
        archive.addfile(member, io.BytesIO(b"x"))
    ended, _, layer = place.copy("--unpack", "--", "/opt/x/", "bad.tar")
    assert ended.code == 1
    assert not any("planted" in name for name in layer.entries)
    (place.context / "x.tar.xz").write_bytes(b"\xfd7zXZ\x00" + bytes(600))
    assert "xz" in place.copy("--unpack", "--", "/opt/x/", "x.tar.xz")[1]


@pytest.mark.fault("SBX-14", "SBX-36")
def test_no_process_survives_and_a_left_over_one_changes_nothing_more(place: Place) -> None:
    with place.extender.workbench(place.spec) as bench:
        with bench.open() as sandbox:
            run(sandbox, "/bin/sh", "-c", "(sleep 88.32; echo late > /opt/late) & echo early > /opt/early")
            sandbox.sweep()
        layer = packed(bench)
    assert "opt/early" in layer.entries
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and "sleep\x0088.32" in command_line(pid)]


@pytest.mark.fault("SBX-37", "PRO-08")
def test_killing_packrunner_ends_every_process_of_its_workbench(place: Place) -> None:
    script = f"""
        from packrunner.engines.base import Command, SandboxSpec, Mount
        from packrunner.engines.sandbox import SandboxEngine
        spec = SandboxSpec(rootfs={place.spec.rootfs!r}, mounts={place.spec.mounts!r})
        with SandboxEngine({str(place.directory / "doomed")!r}, environ={{}}).workbench(spec) as bench:
            with bench.open() as sandbox:
                argv = ("/bin/sh", "-c", "echo ready; sleep 99.33")
                sandbox.run(Command(argv=argv, env={PATH!r}), lambda _, data: print("ready", flush=True))
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not [pid for pid in os.listdir("/proc") if pid.isdigit() and "sleep\x0099.33" in command_line(pid)]:
            return
        time.sleep(0.05)
    pytest.fail("the command still runs")
