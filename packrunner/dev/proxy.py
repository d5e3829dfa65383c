"""A proxy in front of the application, on this machine only: it makes browsers reload, and waits out restarts.

Every request goes to the application over a connection of its own; pages get a script that listens on a WebSocket
here. Whatever asks for another protocol (the application's own WebSockets) becomes a plain tunnel.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import h11
import msgspec

from packrunner.dev import page
from packrunner.dev.wire import CHUNK, Wire, asks, exchange, tunnel
from packrunner.errors import EngineError
from packrunner.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from typing import Any, Literal, Self

HOST = "127.0.0.1"
_RETRY = 0.02
_IDLE = 75.0


class _Sick(msgspec.Struct, frozen=True):
    """Why the application has no answer."""

    title: str = "The application does not answer"
    text: str = ""


class Proxy:
    """Listens on `port` of this machine, 0 for any, from when its context begins; `target` is the application's port.

    `patience` is how long a request waits, in seconds, while nothing listens there. Raises EngineError, `port-taken`.
    """

    def __init__(self, target: int, *, port: int = 0, patience: float = 15.0) -> None:
        self.port = port
        self._target = target
        self._patience = patience
        self._sick: _Sick | None = None
        self._browsers: set[Callable[[str], None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = Worker(self._loop.run_forever, "proxy")
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._server = self._call(asyncio.start_server(self._accept, HOST, self.port))
        except OSError as error:
            self._end()
            raise EngineError(
                f"port {self.port} of this machine is taken", slug="port-taken", cause=error.strerror or ""
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._call(self._close())
        self._end()

    @property
    def url(self) -> str:
        """Where a browser finds the application."""
        return f"http://localhost:{self.port}"

    def point(self, target: int) -> None:
        """From now on requests go to another port."""
        self._loop.call_soon_threadsafe(setattr, self, "_target", target)

    def refresh(self, kind: Literal["page", "styles"] = "page") -> None:
        """The application is there with what is new: browsers load their page again, or only its style sheets."""
        self._loop.call_soon_threadsafe(self._tell, kind, None)

    def failed(self, title: str, text: str) -> None:
        """The application ended and stays so until something changes: say why instead of waiting for it."""
        self._loop.call_soon_threadsafe(self._tell, "page", _Sick(title, text))

    def _tell(self, kind: str, sick: _Sick | None) -> None:
        self._sick = sick
        for browser in self._browsers:
            browser(kind)

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _close(self) -> None:
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.wait()
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._serve(Wire(reader, writer, h11.Connection(h11.SERVER)))
        except (OSError, h11.ProtocolError, asyncio.IncompleteReadError, TimeoutError, asyncio.CancelledError):
            return  # a browser, or the application, left in the middle; or this is the end
        finally:
            writer.close()

    async def _serve(self, browser: Wire) -> None:
        while True:
            async with asyncio.timeout(_IDLE):
                request = await browser.next()
            if not isinstance(request, h11.Request):
                return
            path = request.target.decode("latin-1").partition("?")[0]
            if path.startswith(page.PLACE):
                if await self._own(browser, request, path.removeprefix(page.PLACE)):
                    return
            elif await self._pass_on(browser, request):
                return
            if browser.http.our_state is not h11.DONE or browser.http.their_state is not h11.DONE:
                return
            browser.http.start_next_cycle()

    async def _own(self, browser: Wire, request: h11.Request, path: str) -> bool:
        """Answer what is asked of the proxy itself; whether the connection has become something else."""
        if path == "/socket" and asks(request, b"websocket"):
            await self._listen(browser, request)
            return True
        await browser.drain()
        if path == "/reload.js":
            await browser.answer(200, b"text/javascript; charset=utf-8", page.SCRIPT.encode())
        else:
            await browser.answer(404, b"text/plain", b"")
        return False

    async def _listen(self, browser: Wire, request: h11.Request) -> None:
        """A browser's WebSocket, for as long as it is there."""
        from wsproto import ConnectionType, WSConnection, events
        from wsproto.utilities import ProtocolError

        socket = WSConnection(ConnectionType.SERVER)

        def tell(kind: str) -> None:
            browser.writer.write(socket.send(events.TextMessage(data=kind)))

        try:
            socket.initiate_upgrade_connection(list(request.headers), request.target.decode("latin-1"))
            browser.writer.write(socket.send(events.AcceptConnection()))
            self._browsers.add(tell)
            while data := await browser.reader.read(CHUNK):
                socket.receive_data(data)
                for event in socket.events():
                    if isinstance(event, events.Ping):
                        browser.writer.write(socket.send(event.response()))
                    elif isinstance(event, events.CloseConnection):
                        browser.writer.write(socket.send(event.response()))
                        return
        except ProtocolError:
            return  # no browser does this
        finally:
            self._browsers.discard(tell)

    async def _pass_on(self, browser: Wire, request: h11.Request) -> bool:
        """Have the application answer; whether the connection has become a tunnel."""
        until = self._loop.time() + self._patience
        while streams := await self._connect(until):
            app = Wire(*streams, h11.Connection(h11.CLIENT))
            try:
                if asks(request, b""):
                    await app.send(request)
                    await app.send(h11.EndOfMessage())
                    await tunnel(browser, app)
                    return True
                if await exchange(browser, app, request):
                    return False
            finally:
                app.writer.close()
            await asyncio.sleep(_RETRY)
        await browser.drain()
        sick = self._sick or _Sick(text=f"Nothing listens on port {self._target}.")
        await browser.answer(502, b"text/html; charset=utf-8", page.apology(sick.title, sick.text))
        return False

    async def _connect(self, until: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to the application, as soon as there is one; None when it is known to be down, or too late."""
        while self._sick is None and self._loop.time() < until:
            with suppress(OSError):
                return await asyncio.open_connection(HOST, self._target)
            await asyncio.sleep(_RETRY)
        return None
