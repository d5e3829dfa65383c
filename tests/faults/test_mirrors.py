"""Several mirrors, of which the first is no good: the next one is asked, and digests and signatures still rule."""

from __future__ import annotations

import hashlib
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from packrunner.bases import BaseSettings, open_base
from packrunner.bases.base import Tools
from packrunner.errors import CorruptError, NetworkError
from packrunner.images.snapshot import Snapshots
from packrunner.images.store import LocalStore
from tests.fakes import FakeReporter
from tests.faults.test_bases import NoEngine
from tests.unit.bases.archive import NOW, Answer, DebianArchive, Slept, serving, write_keyring

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from packrunner.bases import Base
    from packrunner.errors import PackrunnerError

Files = dict[str, bytes]
DAY = 24 * 3600.0


def opened(root: Path, *mirrors: str, name: str = "data") -> Base:
    """The base, from mirrors that apt's own configuration lists in this order."""
    apt = root / "host/etc/apt"
    apt.mkdir(parents=True, exist_ok=True)
    lines = [f"deb {mirror}/ trixie{part} main\n" for mirror in mirrors for part in ("", "-updates")]
    (apt / "sources.list").write_text("".join(lines))
    (root / "host/etc/os-release").write_text('ID=debian\nVERSION_CODENAME="trixie"\n')
    settings = BaseSettings(
        data_dir=str(root / name),
        environ={},
        root=str(root / "host"),
        keyring=write_keyring(str(root / "keyring")),
        now=lambda: NOW,
        sleep=Slept(),
    )
    store = LocalStore(str(root / name / "store"))
    snapshots = Snapshots(str(root / name / "snapshots"), store)
    tools = Tools(store=store, snapshots=snapshots, engine=NoEngine(), reporter=FakeReporter())
    return open_base(
        settings=settings,
        store=tools.store,
        snapshots=tools.snapshots,
        engine=tools.engine,
        reporter=tools.reporter,
        images=("build",),
    )


def good() -> Files:
    return DebianArchive().files()


def without(part: str) -> Callable[[], Files]:
    return lambda: {path: data for path, data in good().items() if part not in path}


def changed(part: str) -> Callable[[], Files]:
    return lambda: {path: data[:-9] + b"otherwise" if part in path else data for path, data in good().items()}


@pytest.mark.fault("NET-09")
@pytest.mark.parametrize(
    "files",
    [
        pytest.param(dict, id="everything is 404"),
        pytest.param(without("pool/"), id="no packages"),
        pytest.param(without("by-hash"), id="no lists"),
        pytest.param(changed("pool/"), id="other packages"),
        pytest.param(changed("by-hash"), id="other lists"),
        pytest.param(changed("InRelease"), id="a signature that is not right"),
        pytest.param(lambda: dict.fromkeys(good(), b"<html>login"), id="a page in place of everything"),
    ],
)
def test_the_next_mirror_is_asked(tmp_path: Path, files: Callable[[], Files]) -> None:
    with serving(files()) as bad, serving(good()) as second:
        base = opened(tmp_path, bad.url, second.url)
        assert bad.requests
        assert second.requests
        assert base.digest == opened(tmp_path, second.url, name="only the good one").digest


@pytest.mark.fault("NET-09")
def test_a_mirror_that_is_down(tmp_path: Path) -> None:
    with socket.socket() as unused, serving(good()) as second:
        unused.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert opened(tmp_path, down, second.url).build_rootfs()


@pytest.mark.fault("NET-09")
def test_a_mirror_that_is_older_than_what_was_seen(tmp_path: Path) -> None:
    (tmp_path / "data/bases").mkdir(parents=True)
    (tmp_path / "data/bases/seen.json").write_text(f'{{"trixie": {NOW}}}')
    with serving(DebianArchive(date=NOW - DAY).files()) as stale, serving(good()) as second:
        assert opened(tmp_path, stale.url, second.url).digest
        assert [path for path, _ in second.requests if path.endswith("trixie/InRelease")]


@pytest.mark.fault("NET-09")
def test_one_of_the_machines_of_a_mirror_is_behind(tmp_path: Path) -> None:
    (tmp_path / "data/bases").mkdir(parents=True)
    (tmp_path / "data/bases/seen.json").write_text(f'{{"trixie": {NOW}}}')
    name = next(path for path in good() if path.endswith("trixie/InRelease"))
    old = DebianArchive(date=NOW - DAY).files()[name]
    with serving(good()) as mirror:
        mirror.scripts[name] = [Answer(body=old), Answer(body=old)]
        assert opened(tmp_path, mirror.url).digest
        assert [path for path, _ in mirror.requests].count(f"/{name}") == 3


@pytest.mark.fault("NET-09")
@pytest.mark.parametrize(
    ("files", "kind", "slug"),
    [
        (changed("pool/"), CorruptError, "download-corrupt"),
        (without("pool/"), NetworkError, "download-gone"),
        (dict, NetworkError, "debian-mirror"),
    ],
)
def test_where_all_are_bad_nothing_is_believed(
    tmp_path: Path, files: Callable[[], Files], kind: type[PackrunnerError], slug: str
) -> None:
    with ExitStack() as stack:
        mirrors = [stack.enter_context(serving(files())).url for _ in range(2)]
        with pytest.raises(kind) as caught:
            opened(tmp_path, *mirrors)
    assert caught.value.slug == slug
    downloads = tmp_path / "data/bases/downloads"
    for path in downloads.iterdir() if downloads.exists() else ():
        assert path.suffix == ".part" or hashlib.sha256(path.read_bytes()).hexdigest() == path.name
