"""Which limit a program ran into, read from the last words that it and its libraries have for each (SBX-35)."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packrunner.engines.base import Exit

_SAID = (
    (
        ("Resource temporarily unavailable", "can't start new thread", "pthread_create failed"),
        "it had as many processes and threads as a sandbox may have",
    ),
    (("No space left on device", "ENOSPC", "Disk quota exceeded"), "a disk is full; see df -h, and packrunner prune"),
    (("Too many open files", "EMFILE", "ENFILE"), "it had as many files open as this machine's `ulimit -n` allows"),
    (
        ("Cannot allocate memory", "MemoryError", "out of memory", "heap limit"),
        "memory ran out; see free -h",
    ),
)


def named(ended: Exit, said: bytes) -> str | None:
    """The limit, as a sentence without its end; None where nothing tells of one. `said` is the end of the output."""
    if ended.signal == signal.SIGKILL and not ended.timed_out:
        return "nothing of packrunner's did that: most often the kernel, when memory runs out; see dmesg"
    if not ended.code:
        return None
    text = said.decode(errors="replace")
    return next((limit for words, limit in _SAID if any(word in text for word in words)), None)
