"""The layer writer's end of its helper process (helper.py)."""

from __future__ import annotations

import marshal
import mmap
import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.errors import StoreError
from packrunner.images import helper
from packrunner.images.pack import HelperLostError, PackError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packrunner.images.blobs import BlobWriter
    from packrunner.images.splice import Segment

_AHEAD = 2  # requests the helper may have: the one it works on, and the next


class Helper:
    """A running helper for one tree; `roots` are the tree's open directories."""

    def __init__(
        self,
        roots: tuple[int, int],
        target: str,
        owner: tuple[int, int],
        owners: Mapping[str, tuple[int, int]],
    ) -> None:
        present = [fd for fd in roots if fd >= 0]
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(helper.__file__))))
        self._waiting = 0
        with ExitStack() as stack:
            try:
                memory = os.memfd_create("packrunner-layer")
                stack.callback(os.close, memory)
                os.ftruncate(memory, helper.SLOT * helper.SLOTS)
                self._memory = memoryview(mmap.mmap(memory, helper.SLOT * helper.SLOTS))
                free, self._free = os.pipe()
                stack.callback(os.close, free)
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", helper.__file__, package, *map(str, (memory, free, *present))],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(memory, free, *present),
                    bufsize=0,
                    # Ctrl-C is for us: the helper ends with its input.
                    start_new_session=True,
                )
            except OSError as e:
                raise HelperLostError from e
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin.fileno()
        self._answers = self._process.stdout.fileno()
        try:
            helper.write_all(self._free, bytes(range(helper.SLOTS)))
            self._send((target, owner, dict(owners)))
        except OSError as e:
            self.close()
            raise HelperLostError from e
        except BaseException:
            self.close()
            raise

    @property
    def ready(self) -> bool:
        """Whether it can take another stretch."""
        return self._waiting < _AHEAD

    def submit(self, items: list[tuple[int, tuple[Any, ...]]], segment: Segment) -> Ticket:
        """Hand over a stretch; the ticket fetches the result and fills `segment`."""
        self._waiting += 1
        self._send(items)
        return Ticket(self, segment)

    def fetch(self, blob: BlobWriter | None, segment: Segment) -> None:
        """Move one stretch's bytes into the blob; nowhere, when there is none any more or it cannot be written.

        To its end in any case: a helper that waits for slots reads no requests, and would block who sends them.
        """
        failed: StoreError | None = None
        try:
            while (head := helper.read_head(self._answers))[0] == helper.DATA:
                slot = helper.read_exactly(self._answers, 1)
                if blob and not failed:
                    try:
                        blob.write(self._memory[slot[0] * helper.SLOT :][: head[1]])
                    except StoreError as e:
                        failed = e
                helper.write_all(self._free, slot)
            kind, data = head[0], helper.read_exactly(self._answers, head[1])
        except (EOFError, BrokenPipeError) as e:
            raise failed or HelperLostError from e
        value = marshal.loads(data)  # noqa: S302 - from our own child
        if failed:
            raise failed
        if kind == helper.FAILED:
            raise PackError(*value)
        segment.text, sizes, segment.newest, segment.warnings = value
        segment.sizes.frombytes(sizes)
        self._waiting -= 1

    def close(self) -> None:
        """End the helper; what it still works on is dropped."""
        os.close(self._free)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()
        self._process.kill()
        self._process.wait()

    def _send(self, value: Any) -> None:
        data = marshal.dumps(value)
        try:
            helper.write_all(self._requests, helper.frame(helper.DATA, len(data)) + data)
        except OSError as e:
            raise HelperLostError from e


class Ticket(msgspec.Struct, frozen=True):
    """A stretch that the helper works on."""

    helper: Helper
    segment: Segment

    def __call__(self, blob: BlobWriter | None) -> None:
        """Fetch it."""
        self.helper.fetch(blob, self.segment)
