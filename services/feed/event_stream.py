"""Streaming responses: their number is limited, and a client that does not read is disconnected."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import structlog
from litestar import Response
from litestar.types import Receive, Scope, Send

from ledger.runtime.telemetry import STREAMS, STREAMS_CUT
from services.feed.resettable_timer import ResettableTimer
from services.http.problems import TooManyStreams
from services.http.sockets import hang_up, port_and_peer

MEDIA_TYPE: Final = "text/event-stream"
SEND_WITHIN_S: Final = 10.0  # For one chunk. `send` waits while the buffers of client and server are full.
HEADERS: Final[Mapping[str, str]] = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # No proxy may buffer it.

_log = structlog.get_logger()


class StreamSlots:
    """A limited number of slots for clients that wait for events. `stopping` ends all of their waits."""

    def __init__(self, slots_max: int, stopping: asyncio.Event) -> None:
        self.stopping = stopping
        self._slots_max = slots_max
        self._open = 0

    def acquire(self) -> None:
        """Raises: TooManyStreams."""
        if self._open >= self._slots_max:
            raise TooManyStreams(f"all {self._slots_max} slots for streams are in use")
        self._open += 1
        STREAMS.inc()

    def release(self) -> None:
        self._open -= 1
        STREAMS.dec()

    @contextmanager
    def slot(self) -> Generator[None]:
        """Hold a slot during a wait.

        Raises: TooManyStreams.
        """
        self.acquire()
        try:
            yield
        finally:
            self.release()


class EventStream(Response[Any]):
    """Sends chunks until the client leaves, does not read for too long, or the process stops.

    The caller has acquired a slot; the stream releases it at its end.
    """

    def __init__(
        self, chunks: AsyncGenerator[bytes, None], slots: StreamSlots, headers: Mapping[str, str], send_within_s: float
    ) -> None:
        super().__init__(None, media_type=MEDIA_TYPE, headers={**HEADERS, **headers})
        self._chunks = chunks
        self._slots = slots
        self._send_within_s = send_within_s

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return self._respond

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        late: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        send_timer = ResettableTimer(partial(late.set_result, None))
        try:
            head = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
            head.append((b"content-type", MEDIA_TYPE.encode()))
            await send({"type": "http.response.start", "status": 200, "headers": head})
            sending = asyncio.create_task(self._send_all(send, send_timer))
            ends = {asyncio.create_task(disconnected(receive)), asyncio.create_task(self._slots.stopping.wait())}
            try:
                first: set[asyncio.Future[Any]] = {sending, late, *ends}
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, *ends):
                    task.cancel()
                await asyncio.wait({sending, *ends})
            await self._chunks.aclose()
        finally:
            send_timer.close()
            self._slots.release()
        if late.done():
            self._disconnect(scope)
        elif not sending.cancelled() and (error := sending.exception()) is not None:
            _log.error("bug", path=scope["path"], exc_info=error)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_all(self, send: Send, send_timer: ResettableTimer) -> None:
        async for chunk in self._chunks:
            send_timer.reset(self._send_within_s)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            send_timer.stop()

    def _disconnect(self, scope: Scope) -> None:
        """Cut the connection. To end the response is not enough: the server would wait for the client to read it."""
        port, peer = port_and_peer(scope)
        STREAMS_CUT.inc()
        _log.info("a client of the feed did not read and was disconnected", peer=peer[0])
        if scope["http_version"].startswith("1"):  # A connection of HTTP/2 may serve other requests.
            hang_up(port, peer)


async def disconnected(receive: Receive) -> None:
    """Return when the client has disconnected."""
    with suppress(asyncio.CancelledError):
        while (await receive())["type"] != "http.disconnect":
            pass
