"""What happens to trees that are watched: each save, storm and limit ends with the other side equal, or with a word."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from packrunner.dev.ignored import Ignored
from packrunner.errors import StoreError
from packrunner.formats.sync import Rule
from tests.following import Following, listing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    (made / "src").mkdir(parents=True)
    (made / "src" / "a.py").write_text("one")
    (made / "ignored" / "deep").mkdir(parents=True)
    (made / ".gitignore").write_text("ignored/\n")
    return made


@pytest.fixture
def following(source: Path, tmp_path: Path) -> Iterator[Following]:
    target = tmp_path / "target"
    shutil.copytree(source, target, symlinks=True)
    shutil.rmtree(target / "ignored")
    with Following(str(source), str(target)) as made:
        yield made


def equal(following: Following) -> bool:
    following.settle()
    return listing(following.source, without=["ignored"]) == listing(following.target)


@pytest.mark.fault("LIV-01")
def test_a_file_renamed_over_is_sent_once_for_each_save(following: Following, source: Path) -> None:
    for text in ("two", "three", "four"):
        (source / "src" / ".a.py.swp").write_text(text)
        os.replace(source / "src" / ".a.py.swp", source / "src" / "a.py")
        following.settle()
        assert (source.parent / "target" / "src" / "a.py").read_text() == text
    assert [change.size for change in following.sent("src/a.py")] == [3, 5, 4]
    assert not following.sent("src/.a.py.swp")


@pytest.mark.fault("LIV-01")
def test_a_file_moved_aside_and_written_anew_is_never_gone(following: Following, source: Path) -> None:
    for text in ("two", "three"):
        os.rename(source / "src" / "a.py", source / "src" / "a.py~")
        time.sleep(0.02)
        with (source / "src" / "a.py").open("w") as file:
            file.write(text)
            file.flush()
            time.sleep(0.1)
        (source / "src" / "a.py~").unlink()
        following.settle()
    assert [(change.kind, change.size) for change in following.sent("src/a.py")] == [("file", 3), ("file", 5)]


@pytest.mark.fault("LIV-02")
def test_a_file_written_in_pieces_ends_whole(following: Following, source: Path) -> None:
    for piece in range(10):
        with (source / "src" / "a.py").open("a") as file:
            file.write(f"{piece}\n")
        time.sleep(0.1)
    assert equal(following)


def test_a_file_is_not_sent_while_it_is_being_written(following: Following, source: Path) -> None:
    with (source / "src" / "new.py").open("wb", buffering=0) as file:
        file.write(b"half")
        following.settle()
        file.write(b" and half")
    following.settle()
    assert [change.size for change in following.sent("src/new.py")] == [13]


def test_a_file_that_stays_open_is_sent_nevertheless(following: Following, source: Path) -> None:
    with (source / "log").open("wb", buffering=0) as file:
        file.write(b"a line\n")
        following.wait_for(lambda: bool(following.sent("log")))


@pytest.mark.fault("LIV-03")
def test_a_deep_new_directory_with_a_file_at_once_is_whole(following: Following, source: Path) -> None:
    for number in range(20):
        (source / f"d{number}" / "a" / "b").mkdir(parents=True)
        (source / f"d{number}" / "a" / "b" / "file").write_text(str(number))
    assert equal(following)


@pytest.mark.fault("LIV-03")
def test_a_copied_tree_is_whole(following: Following, source: Path, tmp_path: Path) -> None:
    for directory in range(50):
        (tmp_path / "other" / f"d{directory}").mkdir(parents=True)
        for file in range(20):
            (tmp_path / "other" / f"d{directory}" / f"f{file}").write_text(f"{directory} {file}")
    subprocess.run(["cp", "-a", tmp_path / "other", source / "copy"], check=True)
    assert equal(following)


@pytest.mark.fault("LIV-03")
def test_a_checkout_arrives_whole(following: Following, source: Path) -> None:
    git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    subprocess.run([*git, "checkout", "-qb", "other"], check=True)
    for number in range(100):
        (source / f"p{number}").mkdir()
        (source / f"p{number}" / "m.py").write_text(str(number))
    (source / "src" / "a.py").unlink()
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "two"], check=True)
    for branch in ("master", "other", "master"):
        subprocess.run([*git, "checkout", "-q", branch], check=True)
    following.settle()
    assert listing(following.source, without=["ignored", ".git"]) == listing(following.target)
    assert not any(change.path.startswith(".git/") for batch in following.batches for change in batch.changes)


@pytest.mark.fault("LIV-04")
def test_directories_that_move_in_out_and_about_converge(following: Following, source: Path, tmp_path: Path) -> None:
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    (tmp_path / "outside" / "deep" / "file").write_text("x")
    os.rename(tmp_path / "outside", source / "inside")
    assert equal(following)
    (source / "inside" / "deep" / "file").write_text("y")
    os.rename(source / "inside", source / "src" / "moved")
    (source / "src" / "moved" / "deep" / "second").write_text("z")
    assert equal(following)
    os.rename(source / "src" / "moved" / "deep", source / "deep")
    (source / "deep" / "second").write_text("zz")
    assert equal(following)
    os.rename(source / "deep", tmp_path / "outside")
    (tmp_path / "outside" / "third").write_text("not ours")
    assert equal(following)
    assert not (tmp_path / "target" / "deep").exists()
    # What is watched of it no more costs nothing.
    assert following.watcher.watched == 3


@pytest.mark.fault("LIV-04")
def test_directories_that_exchange_their_names_exchange_what_is_in_them(following: Following, source: Path) -> None:
    for name in ("x", "y"):
        (source / name / "deep").mkdir(parents=True)
        (source / name / "deep" / name).write_text(name)
    assert equal(following)
    for old, new in (("x", "was-x"), ("y", "x"), ("was-x", "y")):
        os.rename(source / old, source / new)
    assert equal(following)
    (source / "x" / "deep" / "y").write_text("changed")
    assert equal(following)


@pytest.mark.fault("LIV-05")
def test_what_is_made_anew_as_something_else_converges(following: Following, source: Path) -> None:
    place = source / "src" / "a.py"
    for _ in range(3):
        place.unlink()
        (place / "inner").mkdir(parents=True)
        (place / "inner" / "file").write_text("x")
        assert equal(following)
        shutil.rmtree(place)
        place.symlink_to("/etc")
        assert equal(following)
        place.unlink()
        place.write_text("a file again")
        assert equal(following)


@pytest.mark.fault("LIV-05")
def test_a_root_that_is_made_anew_is_watched_again(following: Following, source: Path) -> None:
    shutil.rmtree(source)
    (source / "lib").mkdir(parents=True)
    (source / "lib" / "new.py").write_text("x")
    assert equal(following)
    (source / "lib" / "new.py").write_text("xy")
    assert equal(following)


@pytest.mark.fault("LIV-05")
def test_a_root_that_another_takes_the_place_of_is_let_go(following: Following, source: Path, tmp_path: Path) -> None:
    source.rename(tmp_path / "elsewhere")
    source.mkdir()
    (source / "only").write_text("x")
    assert equal(following)
    assert following.watcher.watched == 1
    looks = following.watcher.tree.mark()
    (tmp_path / "elsewhere" / "src" / "a.py").write_text("of no interest")
    time.sleep(0.1)
    assert following.watcher.tree.mark() == looks


@pytest.mark.fault("LIV-05")
def test_a_root_that_is_moved_away_is_a_clear_stop(following: Following, source: Path) -> None:
    source.rename(source.parent / "elsewhere")
    with pytest.raises(StoreError) as caught:
        following.wait_for(lambda: False)
    assert caught.value.slug == "source-gone"
    assert str(source) in caught.value.brief
    assert (source.parent / "target" / "src" / "a.py").exists()


@pytest.mark.fault("LIV-06")
def test_events_that_the_kernel_dropped_are_made_up_for(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    shutil.copytree(source, target, symlinks=True)
    shutil.rmtree(target / "ignored")
    following = Following(str(source), str(target))
    with following.watcher:
        with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as file:
            queue = int(file.read())
        for _ in range(queue // 2 + 10):
            # Never the same event twice in a row: the kernel would count it once.
            os.utime(source / "src" / "a.py")
            os.utime(source / "src")
        (source / "unheard").mkdir()
        (source / "unheard" / "file").write_text("x")
        (source / "src" / "a.py").write_text("unheard")
        for batch in following.watcher.batches():
            following._take(following.watcher.tree.parcel(batch.changes))
            following.watcher.close()
    assert listing(str(source), without=["ignored"]) == listing(str(target))


@pytest.mark.fault("LIV-07")
def test_reading_wakes_nobody(following: Following, source: Path) -> None:
    following.watcher.touch()
    following.settle()
    looks = following.watcher.tree.mark()
    assert listing(str(source))
    time.sleep(0.3)
    assert following.watcher.tree.mark() == looks


LIMITED = """
import os, pathlib, sys, tempfile, threading, time
with open(sys.argv[1], "w") as file:
    file.write(sys.argv[2])
from packrunner.dev.ignored import Ignored
from packrunner.dev.watch import Watcher
root = pathlib.Path(tempfile.mkdtemp(dir=sys.argv[3]))
for name in "abcdefgh":
    (root / name).mkdir()
with Watcher(str(root), Ignored(str(root)), notice=lambda said: print(said.text, said.hint, sep=chr(10))) as watcher:
    (root / "h" / "file").write_text("x")
    (root / "a" / "file").write_text("x")
    seen = set()
    for batch in watcher.batches():
        seen |= {change.path for change in batch.changes}
        if seen == {"a/file", "h/file"}:
            break
print("both", watcher.polling)
"""


@pytest.mark.sandbox
@pytest.mark.fault("LIV-08")
@pytest.mark.parametrize(("setting", "value"), [("watches", "4"), ("instances", "0")])
def test_at_a_limit_of_the_kernel_the_tree_is_walked(tmp_path: Path, setting: str, value: str) -> None:
    program = [sys.executable, "-c", LIMITED, f"/proc/sys/user/max_inotify_{setting}", value, str(tmp_path)]
    done = subprocess.run(["unshare", "-r", *program], capture_output=True, text=True, check=True)
    said, hint, end = done.stdout.splitlines()
    assert f"fs.inotify.max_user_{setting}" in said
    assert hint.startswith(f"sudo sysctl fs.inotify.max_user_{setting}=")
    assert end == "both True"


UNMOUNTED = """
import subprocess, sys, threading
from packrunner.dev.ignored import Ignored
from packrunner.dev.watch import Watcher
from packrunner.errors import StoreError
from packrunner.formats.sync import Rule
subprocess.run(["mount", "-t", "tmpfs", "none", sys.argv[1]], check=True)
with Watcher(sys.argv[1], Ignored(sys.argv[1]), notice=print) as watcher:
    subprocess.run(["umount", sys.argv[1]], check=True)
    try:
        print([batch.changes for batch in watcher.batches()])
    except StoreError as error:
        print(error.slug)
"""


@pytest.mark.sandbox
@pytest.mark.fault("LIV-05")
def test_a_root_that_is_unmounted_is_a_clear_stop(tmp_path: Path) -> None:
    (tmp_path / "left-behind").write_text("x")
    program = ["unshare", "-rm", sys.executable, "-c", UNMOUNTED, str(tmp_path)]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout == "source-gone\n"


@pytest.mark.fault("LIV-08")
def test_walking_finds_what_events_would_tell(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    shutil.copytree(source, target, symlinks=True)
    shutil.rmtree(target / "ignored")
    with Following(str(source), str(target), poll=0.05) as following:
        assert following.watcher.watched == 0
        (source / "src" / "a.py").write_text("two")
        assert equal(following)
        (source / "new").mkdir()
        (source / "new" / "file").write_text("x")
        shutil.rmtree(source / "src")
        assert equal(following)


@pytest.mark.fault("LIV-09")
@pytest.mark.fault("LIV-13")
def test_links_are_sent_as_links_and_never_followed(following: Following, source: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    watched = following.watcher.watched
    (source / "cycle").symlink_to(".")
    (source / "out").symlink_to(tmp_path / "outside")
    (source / "src" / "up").symlink_to("../..")
    (source / "dangling").symlink_to("nothing")
    assert equal(following)
    assert following.watcher.watched == watched
    (tmp_path / "outside" / "secret").write_text("another")
    assert equal(following)
    assert {change.path for batch in following.batches for change in batch.changes if change.kind != "link"} == set()


@pytest.mark.fault("LIV-13")
def test_a_directory_swapped_for_a_link_is_not_read_through(source: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.py").write_text("secret")
    following = Following(str(source), str(tmp_path))
    (source / "src" / "a.py").write_text("changed")
    with following.watcher:
        (source / "src" / "a.py").write_text("changed again")
        changes = following.watcher.tree.look({"src/a.py": False})
        (source / "src").rename(source / "was")
        (source / "src").symlink_to(tmp_path / "outside")
        assert following.watcher.tree.parcel(changes).changes == ()
        assert [(c.path, c.kind) for c in following.watcher.tree.look({"src/a.py": False})] == [("src", "link")]
    assert not following.said


@pytest.mark.fault("LIV-13")
def test_a_file_swapped_for_a_link_is_not_read_through(source: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    following = Following(str(source), str(tmp_path))
    with following.watcher:
        (source / "src" / "a.py").write_text("changed")
        changes = following.watcher.tree.look({"src/a.py": False})
        (source / "src" / "a.py").unlink()
        (source / "src" / "a.py").symlink_to(tmp_path / "secret")
        assert following.watcher.tree.parcel(changes).changes == ()
    assert not following.said


@pytest.mark.fault("LIV-10")
def test_ten_thousand_changes_are_one_batch(following: Following, source: Path) -> None:
    for directory in range(100):
        (source / f"d{directory}").mkdir()
        for file in range(100):
            (source / f"d{directory}" / f"f{file}").write_text(f"{directory} {file}")
    assert equal(following)
    # A busy machine may hold up the writer for longer than anybody waits.
    assert max(len(batch.changes) for batch in following.batches) >= 1_000
    assert len({c.path for batch in following.batches for c in batch.changes}) == 10_101


@pytest.mark.fault("LIV-10")
def test_ignored_directories_are_not_watched_and_cause_nothing(following: Following, source: Path) -> None:
    watched, looks = following.watcher.watched, following.watcher.tree.mark()
    for number in range(100):
        (source / "ignored" / "deep" / f"{number}").mkdir()
    time.sleep(0.1)
    assert (following.watcher.watched, following.watcher.tree.mark()) == (watched, looks)
    (source / ".gitignore").write_text("ignored/\nbuilt/\n*.log\n")
    (source / "built" / "deep").mkdir(parents=True)
    (source / "built" / "deep" / "file").write_text("x")
    (source / "src" / "one.log").write_text("x")
    following.settle()
    assert following.watcher.watched == watched
    assert listing(str(source), without=["ignored", "built", "src/one.log"]) == listing(following.target)


@pytest.mark.fault("LIV-10")
def test_directories_that_rules_ignore_are_let_go(following: Following, source: Path) -> None:
    (source / "src" / "cache" / "deep").mkdir(parents=True)
    (source / "src" / "kept").mkdir()
    following.settle()
    assert following.watcher.watched == 5
    ignoring = Rule(src=("**/cache/**", "*.log"), action="ignore")
    following.watcher.follow([Rule(src=("src/kept/*.py",), action="sync"), ignoring])
    following.settle()
    assert following.watcher.watched == 3
    (source / "src" / "cache" / "file").write_text("x")
    following.watcher.follow([])
    following.settle()
    assert following.watcher.watched == 5
    assert (source.parent / "target" / "src" / "cache" / "file").read_text() == "x"


def test_what_is_ignored_no_more_is_sent(following: Following, source: Path) -> None:
    (source / "ignored" / "deep" / "file").write_text("x")
    (source / ".gitignore").unlink()
    following.settle()
    assert listing(str(source)) == listing(following.target)


@pytest.mark.fault("LIV-12")
def test_times_far_away_change_nothing(following: Following, source: Path) -> None:
    for year in (0, 4_000_000_000):
        (source / "src" / "a.py").write_text(f"in {year}")
        os.utime(source / "src" / "a.py", (year, year))
        os.utime(source / "src", (year, year))
        assert equal(following)


@pytest.mark.fault("LIV-15")
def test_a_file_gone_between_event_and_read_is_left_out(source: Path) -> None:
    following = Following(str(source), "")
    with following.watcher:
        (source / "src" / "b.py").write_text("brief")
        (source / "src" / "a.py").write_text("stays")
        changes = following.watcher.tree.look({"src": True})
        (source / "src" / "b.py").unlink()
        parcel = following.watcher.tree.parcel(changes)
    assert [change.path for change in parcel.changes] == ["src/a.py"]
    assert b"".join(parcel.pieces()) == b"stays"
    assert not following.said


@pytest.mark.fault("LIV-15")
def test_a_large_file_that_shrinks_while_it_is_sent_keeps_to_its_size_and_is_sent_again(source: Path) -> None:
    following = Following(str(source), "")
    with following.watcher:
        (source / "large").write_bytes(b"x" * (4 << 20))
        parcel = following.watcher.tree.parcel(following.watcher.tree.look({"large": False}))
        os.truncate(source / "large", 10)
        assert len(b"".join(parcel.pieces())) == 4 << 20
        again = following.watcher.tree.look({"large": False})
        assert [change.size for change in again] == [10]


@pytest.mark.fault("LIV-15")
def test_what_may_not_be_read_is_said_and_sent_once_it_may(source: Path, tmp_path: Path) -> None:
    program = [sys.executable, "-c", UNREADABLE, str(source)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "src/secret.py is not sent: Permission denied",
        "other",
        "src/secret.py",
    ]


UNREADABLE = """
import os, pathlib, sys
from packrunner.dev.ignored import Ignored
from packrunner.dev.watch import Watcher
root = pathlib.Path(sys.argv[1])
os.chmod(root.parent, 0o777)
for path in (root, root / "src"):
    os.chmod(path, 0o777)
for path in root.parents:
    # An ordinary user has to come so far.
    if path.stat().st_uid == os.geteuid() == 0 and not path.stat().st_mode & 0o001:
        os.chmod(path, 0o711)
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
with Watcher(str(root), Ignored(str(root)), notice=lambda said: print(said.text)) as watcher:
    secret = root / "src" / "secret.py"
    secret.touch(0)
    (root / "other").write_text("x")
    batches = watcher.batches()
    print(*[change.path for change in watcher.tree.parcel(next(batches).changes).changes])
    os.chmod(secret, 0o644)
    print(*[change.path for change in watcher.tree.parcel(next(batches).changes).changes])
"""


@pytest.mark.fault("LIV-16")
def test_a_thousand_saves_leave_descriptors_and_watches_as_they_were(following: Following, source: Path) -> None:
    before = (following.watcher.watched, len(os.listdir("/proc/self/fd")))
    for number in range(1000):
        (source / "src" / ".tmp").write_text(str(number))
        os.replace(source / "src" / ".tmp", source / "src" / "a.py")
    assert equal(following)
    assert (following.watcher.watched, len(os.listdir("/proc/self/fd"))) == before
    assert (source.parent / "target" / "src" / "a.py").read_text() == "999"


def test_a_large_file_is_sent_without_being_held(following: Following, source: Path) -> None:
    with (source / "large").open("wb") as file:
        file.truncate(64 << 20)
        file.write(b"begins")
    assert equal(following)


def test_fifos_and_sockets_are_nothing(following: Following, source: Path) -> None:
    os.mkfifo(source / "fifo")
    (source / "src" / "a.py").unlink()
    os.mkfifo(source / "src" / "a.py")
    assert equal(following)
    assert [change.kind for change in following.sent("src/a.py")] == ["gone"]
    assert not following.sent("fifo")


def test_a_name_that_is_no_text_is_said(following: Following, source: Path) -> None:
    with open(os.fsencode(source) + b"/\xff.py", "wb"):
        pass
    following.settle()
    assert [said.text for said in following.said] == ["\ufffd.py is not sent: its name is not UTF-8"]


def test_rules_of_the_project_file_hold(source: Path, tmp_path: Path) -> None:
    from packrunner.lifecycle.application import Rules

    ignored = Ignored(str(source), project=Rules(exclude=("docs/", "*.md")))
    (tmp_path / "target").mkdir()
    with Following(str(source), str(tmp_path / "target"), ignored=ignored) as following:
        (source / "docs").mkdir()
        (source / "docs" / "a.txt").write_text("x")
        (source / "README.md").write_text("x")
        (source / "b.txt").write_text("x")
        following.settle()
        paths = [change.path for batch in following.batches for change in batch.changes]
    assert [path for path in paths if not path.startswith(".last")] == ["b.txt"]
