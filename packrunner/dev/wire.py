"""HTTP between a browser and the application: one request and its answer at a time, passed on piece by piece."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import msgspec

from packrunner.dev import page

CHUNK = 1 << 16
# What is between two neighbours, or would keep a page from being changed on its way.
_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"accept-encoding"})


class Wire(msgspec.Struct):
    """One end of HTTP."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    http: h11.Connection

    async def next(self) -> Any:
        """The next event."""
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self.http.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            self.http.receive_data(await self.reader.read(CHUNK))

    async def response(self) -> h11.Response:
        """The final response of the other end."""
        while isinstance(event := await self.next(), h11.InformationalResponse):
            pass
        if not isinstance(event, h11.Response):
            raise h11.RemoteProtocolError("it left without an answer")
        return event

    async def send(self, event: h11.Event) -> None:
        """Send an event."""
        if data := self.http.send(event):
            self.writer.write(data)
            await self.writer.drain()

    async def drain(self) -> None:
        """Read what is left of a message."""
        while self.http.their_state is h11.SEND_BODY:
            await self.next()

    async def answer(self, status: int, kind: bytes, body: bytes) -> None:
        """Send a whole response."""
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store")]
        await self.send(h11.Response(status_code=status, headers=headers))
        await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())


def asks(request: h11.Request, protocol: bytes) -> bool:
    """Whether a request wants to change to a protocol, any where it is empty."""
    wanted = [value.lower() for name, value in request.headers if name == b"upgrade"]
    return any(protocol in value for value in wanted)


def _forwarded(request: h11.Request) -> h11.Request:
    headers = [(name, value) for name, value in request.headers if name not in _HOP]
    headers += [(b"connection", b"close"), (b"accept-encoding", b"identity")]
    return h11.Request(method=request.method, target=request.target, headers=headers)


async def exchange(browser: Wire, app: Wire, request: h11.Request) -> bool:
    """Pass a request and its answer on; false when there was none and the request can be made again."""
    repeatable = request.method in {b"GET", b"HEAD"}
    if repeatable:
        await browser.drain()
    sending = asyncio.ensure_future(_send(browser, app, request, body=not repeatable))
    try:
        try:
            response = await app.response()
        except (OSError, h11.RemoteProtocolError):
            if repeatable:  # it was stopped at this very moment, to start again
                return False
            raise
        await _answer(app, browser, response, injected=request.method == b"GET")
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    return True


async def _send(browser: Wire, app: Wire, request: h11.Request, *, body: bool) -> None:
    await app.send(_forwarded(request))
    while body and isinstance(data := await browser.next(), h11.Data):
        await app.send(data)
    await app.send(h11.EndOfMessage())


async def _answer(app: Wire, browser: Wire, response: h11.Response, *, injected: bool) -> None:
    headers = [(name, value) for name, value in response.headers if name not in _HOP]
    kinds = {name: value.lower() for name, value in headers if name in {b"content-type", b"content-encoding"}}
    is_page = kinds.get(b"content-type", b"").startswith(b"text/html") and b"content-encoding" not in kinds
    injector = page.Injector() if is_page and injected and response.status_code != 304 else None
    if injector:
        headers = [(name, value) for name, value in headers if name != b"content-length"]
    await browser.send(h11.Response(status_code=response.status_code, reason=response.reason, headers=headers))
    while isinstance(data := await app.next(), h11.Data):
        if passed := injector.feed(bytes(data.data)) if injector else bytes(data.data):
            await browser.send(h11.Data(data=passed))
    if injector and (rest := injector.end()):
        await browser.send(h11.Data(data=rest))
    await browser.send(h11.EndOfMessage())


async def tunnel(browser: Wire, app: Wire) -> None:
    """Pass bytes both ways until one side has no more."""
    early = browser.http.trailing_data[0]
    if early:
        app.writer.write(early)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(CHUNK):
            sink.write(data)
            await sink.drain()

    pumps = [
        asyncio.ensure_future(pump(browser.reader, app.writer)),
        asyncio.ensure_future(pump(app.reader, browser.writer)),
    ]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in pumps:
            one.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
