"""What a tree looked like, as one byte string: equal strings mean that nothing in it was touched.

A table is a heading and one line per entry, in walk order (a directory, then what is in it, names sorted as bytes):

    packrunner-tree 1 <entries> <newest ctime>
    <mode, octal> <size> <mtime> <ctime> <inode> <path>

Times are nanoseconds. A line feed in a path is written as NUL, which no path contains. Of directories only the mode is
recorded (what is in them has lines of its own) and the root itself is the line with the empty path.
Loaded by the start module: imports next to nothing.
"""

from __future__ import annotations

import errno
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TICK_NS = 20_000_000
_BIG = 1 << 19
DEEPEST = 400
"""Directories deeper than this are refused: each level holds a descriptor."""


def scan(root: str, *, skip: frozenset[str] = frozenset()) -> bytes:
    """The table of the tree at `root`, leaving out `skip` (names at the top). Links are not followed (SBX-03).

    Raises OSError, with the whole path, for a directory that cannot be read, or that changes into something else
    meanwhile.
    """
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    top = f"{os.fstat(fd).st_mode:o} 0 0 0 0 "
    lines, newest = [top], 0
    # One frame per open directory: descriptor, path with "/", entries yet to come, last first.
    frames = []
    try:
        frames.append((fd, "", _listing(fd, skip)))
        while frames:
            fd, base, entries = frames[-1]
            while entries:
                entry = entries.pop()
                st = entry.stat(follow_symlinks=False)
                mode = st.st_mode
                if mode & 0o170000 == 0o040000:
                    path = base + entry.name
                    lines.append(f"{mode:o} 0 0 0 0 {path}")
                    if len(frames) > DEEPEST:
                        raise too_deep(entry.name)
                    child = os.open(entry.name, _OPEN_DIR, dir_fd=fd)
                    frames.append((child, path + "/", []))
                    frames[-1] = (child, path + "/", _listing(child))
                    break
                ctime = st.st_ctime_ns
                if ctime > newest:  # noqa: PLR1730 - max() costs a call for each file
                    newest = ctime
                lines.append(f"{mode:o} {st.st_size} {st.st_mtime_ns} {ctime} {st.st_ino} {base}{entry.name}")
            else:
                os.close(fd)
                frames.pop()
    except BaseException as error:
        if isinstance(error, OSError) and frames:
            # The calls above know a name at most.
            name = error.filename if isinstance(error.filename, str) else ""
            error.filename = os.path.join(root, frames[-1][1], name)
        for fd, _, _ in frames:
            os.close(fd)
        raise
    return join(lines, newest)


def too_deep(path: str) -> OSError:
    """The error for a directory below DEEPEST others (ARC-32)."""
    return OSError(errno.ENAMETOOLONG, f"more than {DEEPEST} directories deep", path[:200])


def _listing(fd: int, skip: frozenset[str] = frozenset()) -> list[os.DirEntry[str]]:
    """The entries of a directory, last first: the order in which a stack wants them."""
    with os.scandir(fd) as found:
        entries = {entry.name: entry for entry in found}
    return [entries[name] for name in ordered([n for n in entries if n not in skip])]


def ordered(names: list[str]) -> list[str]:
    """Names sorted as bytes, last first, whatever the locale."""
    names.sort(key=None if "".join(names).isascii() else os.fsencode, reverse=True)
    return names


def join(lines: list[str], newest: int) -> bytes:
    """Put a table together from its lines; `newest` is the latest ctime among them."""
    return table(os.fsencode(joined(lines)), len(lines), newest)


def joined(lines: list[str]) -> str:
    """Lines as one text, line feeds in their paths as NUL."""
    text = "\n".join(lines)
    if text.count("\n") >= len(lines) > 0:
        text = "\n".join([line.replace("\n", "\0") for line in lines])
    return text


def table(lines: bytes, count: int, newest: int) -> bytes:
    """A table from its joined lines."""
    return b"packrunner-tree 1 %d %d\n%b\n" % (count, newest, lines)


def _heading(table: bytes) -> tuple[int, int]:
    fields = table[: table.index(b"\n")].split(b" ")
    return int(fields[2]), int(fields[3])


def entries(table: bytes) -> int:
    """How many entries a table has, its root not counted."""
    return _heading(table)[0] - 1


def newest(table: bytes) -> int:
    """The latest ctime in a table."""
    return _heading(table)[1]


def settled(table: bytes, before_ns: int) -> bool:
    """Whether no entry is as new as `before_ns` (wall clock when the scan began).

    A file written again within the clock tick of its last change would look unchanged, so a table that is not
    settled must not be trusted later. The ctime decides: no program can set it.
    """
    return not fresh(newest(table), before_ns)


def fresh(ctime_ns: int, before_ns: int) -> bool:
    """Whether a change after `before_ns` could have left this very ctime."""
    # Whole seconds: a file system with coarse times.
    tick = _TICK_NS if ctime_ns % 1_000_000_000 else 2_000_000_000
    return ctime_ns > before_ns - tick


def paths(table: bytes) -> list[str]:
    """The paths of a table in its order, the root left out."""
    return [_path(line) for line in _lines(table)[1:]]


def kinds(table: bytes) -> list[tuple[str, bool]]:
    """Each path of a table in its order with whether it is a directory, the root left out."""
    return [(_path(line), _is_directory(line)) for line in _lines(table)[1:]]


def files(table: bytes) -> int:
    """How many entries are not directories."""
    return entries(table) + 1 - table.count(b"\n4")


def difference(old: bytes, new: bytes) -> tuple[dict[str, bool], dict[str, bool]]:
    """What only the old table and what only the new one says: paths, and whether they are directories there.

    A touched path is in both. Only the part of the tables between their first and last difference is looked at.
    """
    before, after = body(old), body(new)
    head, tail = common(before, after)
    before, after = before[head : len(before) - tail], after[head : len(after) - tail]
    was, now = set(before.split(b"\n")) - {b""}, set(after.split(b"\n")) - {b""}
    return _described(was - now), _described(now - was)


def changed(old: bytes, new: bytes) -> list[str]:
    """Paths that were added, removed or touched between two tables, sorted; `.` is the root."""
    gone, fresh = difference(old, new)
    return sorted({path or "." for path in (*gone, *fresh)})


def touched(old: bytes, new: bytes) -> list[str]:
    """The files that differ between two tables, sorted; where only modes of directories do, these."""
    gone, fresh = difference(old, new)
    both = gone | fresh
    # A directory is listed for its mode only; what was edited in it says more.
    return sorted(path for path, is_dir in both.items() if not is_dir) or sorted(path or "." for path in both)


def _described(lines: set[bytes]) -> dict[str, bool]:
    return {_path(line): _is_directory(line) for line in lines}


def _is_directory(line: bytes) -> bool:
    # Modes in octal: of all kinds only directories begin with a 4.
    return line.startswith(b"4")


def body(table: bytes) -> bytes:
    """A table without its heading: lines, each with its line feed."""
    return table[table.index(b"\n") + 1 :] if table else b""


def common(old: bytes, new: bytes) -> tuple[int, int]:
    """How many bytes both begin and end with in common, in whole lines that do not overlap."""
    shorter, a, b = min(len(old), len(new)), len(old), len(new)
    head = _common(shorter, lambda low, n: old[low:n] == new[low:n])
    head = old.rfind(b"\n", 0, head) + 1
    tail = _common(shorter - head, lambda low, n: old[a - n : a - low] == new[b - n : b - low])
    at = old.find(b"\n", len(old) - tail)
    tail = len(old) - at - 1 if tail and at >= 0 else 0
    return head, tail


def _common(limit: int, same: Callable[[int, int], bool]) -> int:
    """The largest n up to `limit` for which the first n bytes are the same; `same` compares those from low to n."""
    low = 0
    while low < limit:
        middle = (low + limit + 1) // 2
        if same(low, middle):
            low = middle
        else:
            limit = middle - 1
    return low


def _lines(table: bytes) -> list[bytes]:
    return table.split(b"\n")[1:-1]


def _path(line: bytes) -> str:
    return os.fsdecode(line.split(b" ", 5)[5].replace(b"\0", b"\n"))


def digest(table: bytes) -> str:
    """The SHA-256 of a table, in hexadecimal."""
    if len(table) < _BIG:
        # The interpreter's own: slower, but loading OpenSSL costs more than hashing a small table.
        name = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
        made = __import__(name).sha256(table)
    else:
        made = __import__("_hashlib").openssl_sha256(table)
    return str(made.hexdigest())
