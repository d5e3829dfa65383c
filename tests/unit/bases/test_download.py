"""Downloads against a server that misbehaves as told."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from packrunner.bases.download import Network, Wanted, fetch, read_text
from packrunner.errors import CorruptError, NetworkError, StoreError
from packrunner.proxies import Proxies
from tests.unit.bases.archive import Answer, Slept, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.bases.archive import Server

BODY = bytes(range(256)) * 2000


@pytest.fixture
def server() -> Iterator[Server]:
    with serving({"a": BODY, "b": b"small", "dir/c d": b"odd name"}) as running:
        yield running


def network(**changes: object) -> Network:
    fields: dict[str, object] = {"proxies": Proxies(apt={}, environ={}), "sleep": Slept(), **changes}
    return Network(**fields)  # type: ignore[arg-type] # a table of any of its fields


def want(data: bytes, *urls: str) -> Wanted:
    return Wanted(name="thing 1.0", sha256=hashlib.sha256(data).hexdigest(), size=len(data), urls=urls)


def get(directory: Path, *wanted: Wanted, **changes: object) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    fetch(wanted, str(directory), network(**changes), lambda files, size: seen.append((files, size)))
    for item in wanted:
        data = (directory / item.sha256).read_bytes()
        assert hashlib.sha256(data).hexdigest() == item.sha256
    assert not [name for name in os.listdir(directory) if name.endswith(".part")]
    return seen


def test_files_arrive_under_their_digests(tmp_path: Path, server: Server) -> None:
    items = [
        want(BODY, f"{server.url}/a"),
        want(b"small", f"{server.url}/b"),
        want(b"odd name", f"{server.url}/dir/c d"),
    ]
    assert get(tmp_path, *items)[-1] == (3, len(BODY) + 5 + 8)
    before = len(server.requests)
    assert get(tmp_path, *items)[-1] == (3, len(BODY) + 5 + 8)
    assert len(server.requests) == before, "what is there is not fetched again"


def test_a_connection_is_kept(tmp_path: Path, server: Server) -> None:
    get(tmp_path, want(b"small", f"{server.url}/b"), want(b"odd name", f"{server.url}/dir/c d"), connections=1)
    assert all(headers["Accept-Encoding"] == "identity" for _, headers in server.requests)


@pytest.mark.fault("REG-01")
@pytest.mark.parametrize("cut", [0, 1, 1000, len(BODY) - 1])
def test_a_cut_body_is_continued(tmp_path: Path, server: Server, cut: int) -> None:
    server.script("a", Answer(cut=cut))
    get(tmp_path, want(BODY, f"{server.url}/a"))
    second = server.requests[1][1]
    assert second.get("Range") == (f"bytes={cut}-" if cut else None)


@pytest.mark.fault("REG-31")
def test_ignored_ranges_start_over(tmp_path: Path, server: Server) -> None:
    server.script("a", Answer(cut=1000), Answer(ranges=False))
    get(tmp_path, want(BODY, f"{server.url}/a"))


@pytest.mark.fault("REG-25")
def test_a_range_beyond_the_end_starts_over(tmp_path: Path, server: Server) -> None:
    server.script("a", Answer(cut=1000), Answer(status=416, body=b""))
    get(tmp_path, want(BODY, f"{server.url}/a"))
    assert "Range" not in server.requests[2][1]


@pytest.mark.fault("REG-31")
def test_another_range_is_never_spliced(tmp_path: Path, server: Server) -> None:
    wrong = Answer(status=206, headers={"Content-Range": "bytes 5-9/10"}, body=b"wrong", ranges=False)
    server.script("a", Answer(cut=1000), wrong)
    get(tmp_path, want(BODY, f"{server.url}/a"))


@pytest.mark.fault("STO-17")
@pytest.mark.parametrize("left", [b"", b"wrong beginning", BODY[:5000], BODY, BODY + b"more", b"x" * len(BODY)])
def test_a_partial_file_is_continued_but_not_believed(tmp_path: Path, server: Server, left: bytes) -> None:
    item = want(BODY, f"{server.url}/a")
    (tmp_path / f"{item.sha256}.part").write_bytes(left)
    get(tmp_path, item)
    assert len(server.requests) == (0 if left == BODY else 2 if left == b"wrong beginning" else 1)


@pytest.mark.fault("STO-13")
def test_a_damaged_download_is_fetched_again(tmp_path: Path, server: Server) -> None:
    item = want(BODY, f"{server.url}/a")
    (tmp_path / item.sha256).write_bytes(BODY[:-1] + b"?")
    get(tmp_path, item)


@pytest.mark.fault("REG-02")
def test_wrong_bytes_are_fetched_once_more_and_then_refused(tmp_path: Path, server: Server) -> None:
    item = want(BODY, f"{server.url}/a")
    server.script("a", Answer(body=BODY[:-1] + b"?"))
    get(tmp_path, item)
    (tmp_path / item.sha256).unlink()
    server.script("a", *[Answer(body=b"?" * len(BODY))] * 9)
    with pytest.raises(CorruptError) as caught:
        get(tmp_path, item)
    assert caught.value.slug == "download-corrupt"
    assert item.sha256 in str(caught.value.cause)
    assert not os.listdir(tmp_path)


@pytest.mark.fault("REG-03")
def test_a_body_that_is_too_long_is_refused(tmp_path: Path, server: Server) -> None:
    server.script("b", *[Answer(body=b"small and more")] * 9)
    with pytest.raises(CorruptError, match=r"another thing 1\.0"):
        get(tmp_path, want(b"small", f"{server.url}/b"))


@pytest.mark.fault("REG-04")
@pytest.mark.parametrize("body", [b"<html>log in first</html>", b"x" * (len(BODY) + 1)])
def test_a_file_of_another_size_is_never_continued(tmp_path: Path, server: Server, body: bytes) -> None:
    server.script("a", Answer(body=body))
    get(tmp_path, want(BODY, f"{server.url}/a"))
    assert "Range" not in server.requests[1][1]


@pytest.mark.fault("REG-16")
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_statuses_that_pass_are_tried_again(tmp_path: Path, server: Server, status: int) -> None:
    slept = Slept()
    server.script("a", Answer(status=status, body=b"no"), Answer(status=status, body=b"no"))
    get(tmp_path, want(BODY, f"{server.url}/a"), sleep=slept)
    assert len(slept.seconds) == 2
    assert slept.seconds[0] < slept.seconds[1] * 1.7


@pytest.mark.fault("REG-15")
@pytest.mark.parametrize(("header", "waits"), [("3", 3.0), ("1000000000", 10.0), ("soon", 0.0), ("-5", 0.0)])
def test_retry_after_is_honoured_up_to_a_cap(tmp_path: Path, server: Server, header: str, waits: float) -> None:
    slept = Slept()
    server.script("a", Answer(status=429, body=b"", headers={"Retry-After": header}))
    get(tmp_path, want(BODY, f"{server.url}/a"), sleep=slept)
    assert slept.seconds[0] == pytest.approx(max(waits, 0.25), rel=0.3)


def test_the_next_mirror_is_tried(tmp_path: Path, server: Server) -> None:
    get(tmp_path, want(BODY, f"{server.url}/gone", "http://127.0.0.1:9/refused", f"{server.url}/a"))


def test_nobody_has_it(tmp_path: Path, server: Server) -> None:
    with pytest.raises(NetworkError) as caught:
        get(tmp_path, want(BODY, f"{server.url}/gone"))
    assert (caught.value.slug, caught.value.transient) == ("download-gone", True)
    assert len(server.requests) == 1, "asking again would not help"


@pytest.mark.fault("NET-03")
def test_a_refusal_names_host_and_phase(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(NetworkError, match=r"thing 1.0 .* 127\.0\.0\.1") as caught:
        get(tmp_path, want(BODY, f"http://127.0.0.1:{port}/a"))
    assert caught.value.cause == "Connection refused (while connecting)"


@pytest.mark.fault("REG-17")
def test_a_stalled_server_is_given_up(tmp_path: Path, server: Server) -> None:
    server.script("a", *[Answer(stall=30.0)] * 9)
    with pytest.raises(NetworkError) as caught:
        get(tmp_path, want(BODY, f"{server.url}/a"), idle=0.05)
    assert "no answer within" in str(caught.value.cause)


def test_redirects_are_followed(tmp_path: Path, server: Server) -> None:
    server.script("moved", Answer(status=302, body=b"", headers={"Location": "/a"}))
    get(tmp_path, want(BODY, f"{server.url}/moved"))
    for target in ("file:///etc/passwd", "ftp://x/a", ""):
        server.script("bad", Answer(status=302, body=b"", headers={"Location": target} if target else {}))
        with pytest.raises(NetworkError):
            get(tmp_path, want(b"never", f"{server.url}/bad"))
    server.script("loop", *[Answer(status=302, body=b"", headers={"Location": "/loop"})] * 20)
    with pytest.raises(NetworkError, match="could not be downloaded") as caught:
        get(tmp_path, want(b"never", f"{server.url}/loop"))
    assert "too many redirects" in str(caught.value.cause)


@pytest.mark.fault("NET-04")
def test_a_proxy_is_used_and_its_password_never_shown(tmp_path: Path, server: Server) -> None:
    environ = {"http_proxy": server.url.replace("//", "//me:p%40ss@")}
    proxies = Proxies(apt={}, environ=environ)
    server.script("http://mirror.example/a", Answer(body=BODY))
    get(tmp_path, want(BODY, "http://mirror.example/a"), proxies=proxies)
    asked, headers = server.requests[0]
    assert asked == "http://mirror.example/a"
    assert headers["Proxy-Authorization"] == "Basic bWU6cEBzcw=="
    assert headers["Host"] == "mirror.example"
    for status in (407, 503):
        server.script("http://mirror.example/b", *[Answer(status=status, body=b"no")] * 9)
        with pytest.raises(NetworkError) as caught:
            get(tmp_path, want(b"other", "http://mirror.example/b"), proxies=proxies)
        assert "through the proxy 127.0.0.1" in str(caught.value.cause)
        assert "p@ss" not in str(caught.value.cause)
        assert "p%40ss" not in str(caught.value.cause)


@pytest.mark.fault("NET-06")
def test_the_proxy_login_stays_with_the_proxy(tmp_path: Path, server: Server) -> None:
    with serving({"direct": BODY}) as origin:
        environ = {"http_proxy": server.url.replace("//", "//me:secret@"), "no_proxy": f"127.0.0.1:{origin.port}"}
        moved = Answer(status=302, body=b"", headers={"Location": f"{origin.url}/direct"})
        server.script("http://mirror.example/a", moved)
        get(tmp_path, want(BODY, "http://mirror.example/a"), proxies=Proxies(apt={}, environ=environ))
        assert "Proxy-Authorization" in server.requests[0][1]
        assert [path for path, _ in origin.requests] == ["/direct"]
        assert "Proxy-Authorization" not in origin.requests[0][1]


def test_files_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(BODY)
    get(tmp_path / "downloads", want(BODY, f"file://{tmp_path}/a%20b"))
    with pytest.raises(NetworkError, match="no longer has"):
        get(tmp_path / "downloads", want(b"other", f"file://{tmp_path}/missing"))


@pytest.mark.fault("STO-07")
def test_a_full_disk(tmp_path: Path, server: Server) -> None:
    full = tmp_path / "downloads"
    full.mkdir()
    item = want(BODY, f"{server.url}/a")
    os.symlink("/dev/full", full / f"{item.sha256}.part")
    with pytest.raises(StoreError) as caught:
        get(full, item)
    assert caught.value.slug in {"disk", "disk-full"}
    assert len(server.requests) <= 1, "a disk error is no reason to ask the server again"


@pytest.mark.fault("PRO-01")
def test_an_interrupt_ends_the_waiting_at_once(tmp_path: Path, server: Server) -> None:
    server.script("a", *[Answer(stall=30.0)] * 9)

    def interrupted(files: int, size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch([want(BODY, f"{server.url}/a")], str(tmp_path), network(), interrupted)
    for thread in threading.enumerate():
        if thread.name.startswith("download-"):
            thread.join(5)
            assert not thread.is_alive()


def test_small_texts(server: Server) -> None:
    assert read_text(network(), [f"{server.url}/gone", f"{server.url}/b"], name="x", limit=5) == (
        b"small",
        f"{server.url}/b",
    )
    assert read_text(network(), [f"{server.url}/gone"], name="x", limit=5) is None
    with pytest.raises(NetworkError):
        read_text(network(), [f"{server.url}/b"], name="x", limit=4)
