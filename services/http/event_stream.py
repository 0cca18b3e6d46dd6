"""Long answers: how many there may be, and that a client who does not read is left."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import structlog
from litestar import Response
from litestar.types import Receive, Scope, Send

from ledger.runtime.telemetry import STREAMS, STREAMS_CUT
from services.http.deadline import Deadline
from services.http.problems import TooManyStreams
from services.http.sockets import hang_up, port_and_peer

MEDIA_TYPE: Final = "text/event-stream"
SEND_WITHIN_S: Final = 10.0  # For one chunk. `send` waits while the client's buffers, and the server's few, are full.
HEADERS: Final[Mapping[str, str]] = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # No proxy may hold it up.

_log = structlog.get_logger()


class Streams:
    """Those who wait for events on a connection of theirs. All are sent home when the process is told to stop."""

    def __init__(self, at_most: int, stopping: asyncio.Event) -> None:
        self.stopping = stopping
        self._at_most = at_most
        self._open = 0

    def take(self) -> None:
        """Raises: TooManyStreams."""
        if self._open >= self._at_most:
            raise TooManyStreams(f"{self._open} readers wait, and no more may")
        self._open += 1
        STREAMS.inc()

    def give_back(self) -> None:
        self._open -= 1
        STREAMS.dec()

    @contextmanager
    def taken(self) -> Generator[None]:
        """Around a wait. Raises: TooManyStreams."""
        self.take()
        try:
            yield
        finally:
            self.give_back()


class EventStream(Response[Any]):
    """Sends the chunks until the client leaves, does not read for too long, or the process stops.

    Whoever makes one has taken a place among `streams`; it is given back at the end.
    """

    def __init__(
        self, chunks: AsyncGenerator[bytes, None], streams: Streams, headers: Mapping[str, str], send_within_s: float
    ) -> None:
        super().__init__(None, media_type=MEDIA_TYPE, headers={**HEADERS, **headers})
        self._chunks = chunks
        self._streams = streams
        self._send_within_s = send_within_s

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        late: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        patience = Deadline(partial(late.set_result, None))
        try:
            head = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
            head.append((b"content-type", MEDIA_TYPE.encode()))
            await send({"type": "http.response.start", "status": 200, "headers": head})
            sending = asyncio.create_task(self._send_all(send, patience))
            ends = {asyncio.create_task(disconnected(receive)), asyncio.create_task(self._streams.stopping.wait())}
            try:
                first: set[asyncio.Future[Any]] = {sending, late, *ends}
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, *ends):
                    task.cancel()
                await asyncio.wait({sending, *ends})
            await self._chunks.aclose()
        finally:
            patience.close()
            self._streams.give_back()
        if late.done():
            self._leave(scope)
        elif not sending.cancelled() and (error := sending.exception()) is not None:
            _log.error("bug", path=scope["path"], exc_info=error)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_all(self, send: Send, patience: Deadline) -> None:
        async for chunk in self._chunks:
            patience.move(self._send_within_s)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            patience.lift()

    def _leave(self, scope: Scope) -> None:
        """To end the answer is not enough for one who does not read: the server would wait for them."""
        port, peer = port_and_peer(scope)
        STREAMS_CUT.inc()
        _log.info("a reader of events did not read and was disconnected", peer=peer[0])
        if scope["http_version"].startswith("1"):  # A connection of HTTP/2 may serve others.
            hang_up(port, peer)


async def disconnected(receive: Receive) -> None:
    """Returns when the client has left."""
    with suppress(asyncio.CancelledError):
        while (await receive())["type"] != "http.disconnect":
            pass
