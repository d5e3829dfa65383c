"""Read what is compressed with zstd: by Python itself from 3.14 on, before that by the library libzstd.

Debian's build images have that library, since its compilers and its package manager need it.
"""

from __future__ import annotations

import io

from .report import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

MAGIC = b"\x28\xb5\x2f\xfd"
_CHUNK = 1 << 17


def reader(file: IO[bytes], *, name: str) -> IO[bytes]:
    """What `file`, called `name` in messages, decompresses to. Raises Failure where nothing can; reading, EOFError and
    OSError. The window that a file may ask for is limited as usual, to 128 MB.
    """
    try:
        from compression import zstd  # type: ignore[import-not-found]  # newer than the oldest Python that this is for
    except ImportError:
        return io.BufferedReader(_Stream(file, _library(name)), _CHUNK)
    opened: IO[bytes] = zstd.open(file)
    return opened


def _library(name: str) -> Any:
    try:
        import ctypes

        found = ctypes.CDLL("libzstd.so.1")
    except (ImportError, OSError) as error:
        raise Failure(
            f"could not unpack {name}: it is compressed with zstd, which this build image cannot read",
            tries=("the same archive with gzip or xz", "a builder whose build image has libzstd1"),
        ) from error
    found.ZSTD_createDStream.restype = ctypes.c_void_p
    found.ZSTD_freeDStream.argtypes = (ctypes.c_void_p,)
    found.ZSTD_decompressStream.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    found.ZSTD_decompressStream.restype = ctypes.c_size_t
    found.ZSTD_isError.argtypes = found.ZSTD_getErrorName.argtypes = (ctypes.c_size_t,)
    found.ZSTD_getErrorName.restype = ctypes.c_char_p
    return found


class _Stream(io.RawIOBase):
    """One frame or several, one after the other."""

    def __init__(self, file: IO[bytes], library: Any) -> None:
        import ctypes

        class Buffer(ctypes.Structure):
            _fields_ = (("start", ctypes.c_void_p), ("size", ctypes.c_size_t), ("done", ctypes.c_size_t))

        self._file = file
        self._library = library
        self._stream = library.ZSTD_createDStream()
        self._ctypes = ctypes
        self._held = ctypes.create_string_buffer(_CHUNK)
        self._in = Buffer(ctypes.addressof(self._held), 0, 0)
        self._buffer = Buffer
        self._wants = 1

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        ctypes = self._ctypes
        target = (ctypes.c_char * len(into)).from_buffer(into)
        out = self._buffer(ctypes.addressof(target), len(into), 0)
        while not out.done:
            last = self._in.done == self._in.size and not self._fill()
            if last and not self._wants:
                break
            wants = self._library.ZSTD_decompressStream(self._stream, ctypes.byref(out), ctypes.byref(self._in))
            if self._library.ZSTD_isError(wants):
                raise OSError(self._library.ZSTD_getErrorName(wants).decode())
            # At the end there may be more in the library than there was room for, and then no more.
            if last and wants and not out.done:
                raise EOFError("it ends in the middle")
            self._wants = wants
        return int(out.done)

    def _fill(self) -> bool:
        data = self._file.read(_CHUNK)
        self._ctypes.memmove(self._held, data, len(data))
        self._in.size, self._in.done = len(data), 0
        return bool(data)

    def close(self) -> None:
        if not self.closed:
            self._library.ZSTD_freeDStream(self._stream)
            self._stream = None
        super().close()
