"""One blob into one repository: there already, mounted from another, or sent in parts that can be taken up again.

Follows the distribution specification, "Push". A session that is lost is begun anew; what a registry confirmed of it
decides where to go on; an end whose answer got lost is proven by asking for the blob.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec

from packrunner.images.registry.client import Client, Scope
from packrunner.images.registry.failures import Failure, Patience, printable
from packrunner.images.registry.transport import Data, origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from packrunner.images.image import Descriptor
    from packrunner.images.registry.transport import Answer, Body

PART = 64 << 20
_AT_ONCE = 1 << 20  # a blob up to here goes with the last request
_STEP = 1 << 20
_SESSIONS = 3
_CONFIRMED = re.compile(r"(?:bytes=)?0-(-?\d{1,19})")
_LARGEST_PART = 1 << 30


class FilePart(msgspec.Struct, frozen=True):
    """Some bytes of an open file, as a body; `sent` hears of each piece."""

    fd: int
    start: int
    size: int
    sent: Callable[[int], None]

    def pieces(self) -> Iterable[bytes]:
        """All of it."""
        at, end = self.start, self.start + self.size
        while at < end:
            piece = os.pread(self.fd, min(_STEP, end - at), at)
            if not piece:
                return
            at += len(piece)
            yield piece
            self.sent(len(piece))


def has_blob(client: Client, scope: Scope, blob: Descriptor) -> bool:
    """Whether the repository has the blob. Raises Failure."""
    with client.request("HEAD", client.path(scope.repository, f"blobs/{blob.digest}"), scope) as answer:
        if answer.status in {200, 404, 405, 400}:  # some refuse HEAD: then the upload decides
            return answer.status == 200
        if answer.status == 403:
            return False  # who may write but not read; the upload says what may not be
        raise client.refusal(answer, scope, f"the blob {blob.digest}")


class Upload:
    """The upload of one blob, whose bytes are in a file from its beginning. `sent` counts all bytes that were sent."""

    def __init__(
        self, client: Client, repository: str, blob: Descriptor, fd: int, heard: Callable[[int], None]
    ) -> None:
        self._client = client
        self._scope = Scope(repository=repository, action="push")
        self._blob = blob
        self._fd = fd
        self._heard = heard
        self._location = ""
        self._offset = 0
        self._part = PART
        self.sent = 0

    def run(self) -> None:
        """Send it. Raises Failure."""
        patience = Patience(self._client.settings)
        for session in range(_SESSIONS):
            self._open(patience)
            if self._finished(patience):
                return
            if session == 0:
                patience.further()
        raise Failure(
            "unreachable", self._client.registry, f"it lost the upload of {self._blob.digest} {_SESSIONS} times"
        )

    def begun(self, answer: Answer) -> None:
        """Take the session that a refused mount opened instead."""
        self._follow(answer)

    def _open(self, patience: Patience) -> None:
        if self._location:
            return
        target = self._client.path(self._scope.repository, "blobs/uploads/")
        with self._client.request("POST", target, self._scope, patience=patience) as answer:
            if answer.status != 202:
                raise self._client.refusal(answer, self._scope, "the start of an upload")
            self._follow(answer)

    def _finished(self, patience: Patience) -> bool:
        """Send parts and the end; False where the session is lost."""
        while True:
            ending = self._blob.size <= _AT_ONCE or self._offset >= self._blob.size
            try:
                if not ending:
                    if not self._send_part(patience):
                        return self._lost()
                    continue
                return self._end() or self._lost()
            except Failure as failure:
                patience.after(failure)
                # An answer may be lost on its way when everything has arrived (REG-28).
                if ending and self._is_there():
                    return True
                if not self._ask_offset(patience):
                    return self._lost()

    def _send_part(self, patience: Patience) -> bool:
        size = min(self._part, self._blob.size - self._offset)
        headers = {"Content-Type": "application/octet-stream"}
        whole = size == self._blob.size
        if not whole:  # the range is left out for the whole: some registries know uploads in parts only without it
            headers["Content-Range"] = f"{self._offset}-{self._offset + size - 1}"
        with self._client.attempt(
            "PATCH", self._location, self._scope, headers=headers, body=self._body(size)
        ) as answer:
            if answer.status == 404:
                return False
            if answer.status == 416:
                raise Failure("unreachable", self._client.registry, "another range is expected", retry=True)
            if answer.status not in {202, 201, 204}:
                raise self._client.refusal(answer, self._scope, "a part of an upload")
            self._follow(answer)
            told = answer.header("range")
            self._offset = self._confirmed(told, self._offset + size) if told else self._offset + size
        patience.further()
        return True

    def _end(self) -> bool:
        """The last request, with the rest of the bytes; False where the session is lost."""
        target = _with_digest(self._location, self._blob.digest)
        size = self._blob.size - self._offset
        headers = {"Content-Type": "application/octet-stream"}
        if size and self._offset:
            headers["Content-Range"] = f"{self._offset}-{self._blob.size - 1}"
        with self._client.attempt("PUT", target, self._scope, headers=headers, body=self._body(size)) as answer:
            if answer.status in {201, 204}:
                return True
            if answer.status == 404:
                return self._is_there()
            if answer.status == 416:
                raise Failure("unreachable", self._client.registry, "another range is expected", retry=True)
            raise self._client.refusal(answer, self._scope, "the end of an upload")

    def _is_there(self) -> bool:
        return has_blob(self._client, self._scope, self._blob)

    def _lost(self) -> bool:
        self._location, self._offset = "", 0
        return False

    def _ask_offset(self, patience: Patience) -> bool:
        """What the registry has of it so far; False where it knows nothing of the session."""
        with self._client.request("GET", self._location, self._scope, patience=patience) as answer:
            if answer.status not in {200, 204}:
                return False
            self._offset = self._confirmed(answer.header("range"), self._blob.size)
            if answer.header("location"):
                self._follow(answer)
        return True

    def _confirmed(self, text: str, most: int) -> int:
        """How many bytes a Range header says are there; nothing, or a range that ends before it begins, is none."""
        found = _CONFIRMED.fullmatch(text.strip())
        last = int(found[1]) if found else -1
        # Docker's registry says 0-0 for one byte and for none; one byte is sent twice then, which it refuses with 416.
        count = 0 if last <= 0 else last + 1
        if count > most:
            raise Failure("answer", self._client.registry, f"it confirms {count} bytes, and {most} were sent at most")
        return count

    def _follow(self, answer: Answer) -> None:
        location = answer.header("location")
        try:
            target = urljoin(answer.url, location)
            secure = origin(target)[0] == "https" or origin(answer.url)[0] != "https"
        except ValueError:
            target, secure = "", False
        if not location or not secure:
            why = f"it sends an upload on to {printable(location)!r}, which is not followed"
            raise Failure("answer", self._client.registry, why)
        self._location = target
        least = answer.header("oci-chunk-min-length")
        if least.isdecimal():
            self._part = max(self._part, min(int(least), _LARGEST_PART))

    def _body(self, size: int) -> Body:
        return FilePart(self._fd, self._offset, size, self._count) if size else Data()

    def _count(self, size: int) -> None:
        self.sent += size
        self._heard(size)


def mount(client: Client, repository: str, blob: Descriptor, source: str) -> Answer | None:
    """Ask to take the blob from another repository: None when it was, else the answer, which may open a session."""
    scope = Scope(repository=repository, action="push", source=source)
    query = urlencode({"mount": str(blob.digest), "from": f"{client.prefix}/{source}" if client.prefix else source})
    answer = client.request("POST", client.path(repository, f"blobs/uploads/?{query}"), scope)
    if answer.status == 201:
        with answer:
            return None
    return answer


def _with_digest(location: str, digest: str) -> str:
    """The address of the last request: the session's own query stays (REG-26)."""
    return f"{location}{'&' if urlsplit(location).query else '?'}{urlencode({'digest': digest})}"


def cancel(client: Client, scope: Scope, answer: Answer) -> None:
    """Give back a session that is not used."""
    location = answer.header("location")
    if answer.status == 202 and location:
        with suppress(Failure), client.attempt("DELETE", location, scope):
            pass
