"""A connection to NATS that reconnects by itself, and the requests over it."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import msgspec
import nats
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from ledger.log.event_log import LogUnavailable
from ledger.runtime.urls import without_password

REQUEST_TIMEOUT_S: Final = 5.0
RECONNECT_WAIT_S: Final = 0.25
CONNECT_WITHIN_S: Final = 5.0

_log = structlog.get_logger()


# HMSG <subject> <subscription id> <reply> <length of headers> <length of headers and body>
HMSG_LINE: Final = re.compile(rb"HMSG (\S+) (\d+) (\S+) (\d+) (\d+)\r\n")
CRLF: Final = b"\r\n"

MessageHandler = Callable[[str, str, bytes, bytes], None]
"""Handles a message: its subject, its reply subject or "", its body, and its raw headers or b""."""


class TappedParser(Parser):
    """The parser of nats-py, with a fast path: one regular expression for each complete message of a tap.

    The fast path ends at the first other input. The parser of nats-py handles the rest of the data.
    """

    def __init__(self, client: "TappedClient") -> None:
        super().__init__(client)
        self._client = client

    async def parse(self, data: bytes = b"") -> None:
        if self._client.taps and self.state == AWAITING_CONTROL_LINE:
            received = bytes(self.buf) + data if self.buf else data
            self.buf.clear()
            begin, is_partial = await self._handle_complete(received)
            data = received[begin:]
            if is_partial:
                self.buf.extend(data)
                return
        await super().parse(data)

    async def _handle_complete(self, data: bytes) -> tuple[int, bool]:
        """Handle the complete messages of taps that `data` begins with.

        Return the offset of the rest, and whether the rest is an incomplete message of a tap.
        """
        begin, taps, match = 0, self._client.taps, HMSG_LINE.match
        while (head := match(data, begin)) is not None and (handler := taps.get(int(head[2]))) is not None:
            body = head.end() + int(head[4])
            end = head.end() + int(head[5])
            if len(data) < end + len(CRLF):
                return begin, True
            headers = data[head.end() : body]
            begin = end + len(CRLF)
            await self._client.handle(handler, head[1], head[3], data[body:end], headers)
        return begin, False


class TappedClient(Client):
    """The client of nats-py, with taps: subscriptions whose messages are handled inside the parser.

    The reader of a whole log cannot afford the usual path of nats-py. There, the parser examines every character of
    every header name, and copies unparsed data from buffer to buffer. Each message also passes a queue and a task.
    """

    def __init__(self) -> None:
        super().__init__()
        self.taps: Final[dict[int, MessageHandler]] = {}
        self._ps = TappedParser(self)

    async def tap(self, subject: str, handler: MessageHandler) -> Subscription:
        """Subscribe, and pass each message to `handler` inside the parser. `handler` must not block."""
        subscription = await self.subscribe(subject, cb=unreachable_callback)
        self.taps[subscription._id] = handler  # noqa: SLF001  nats-py has no public name for it.
        return subscription

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        handler = self.taps.get(sid)
        if handler is None:
            await super()._process_msg(sid, subject, reply, data, headers)
        elif sid in self._subs:
            await self.handle(handler, subject, reply, data, headers or b"")

    async def handle(self, handler: MessageHandler, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        try:
            handler(subject.decode(), reply.decode(), data, headers)
        except Exception as error:  # noqa: BLE001  As nats-py does with a callback: the connection survives.
            await self._error_cb(error)

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self.taps.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        lines = (line.partition(":") for line in raw.decode("utf-8", "replace").split("\r\n") if line)
        return {name.strip(): value.strip() for name, _, value in lines}


async def unreachable_callback(_message: Msg) -> None:
    """Callback that a subscription requires. The parser handles the messages of a tap before it could be called."""


@asynccontextmanager
async def connect_within(url: str, name: str) -> AsyncGenerator["Connection", None]:
    """Open a connection, and return it once it is established.

    Raises: TimeoutError, if that takes longer than `CONNECT_WITHIN_S`.
    """
    async with Connection(url, name) as connection:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            await connection.ready()
        yield connection


class Connection:
    """A connection that opens in the background and retries without limit. A process may start before NATS does.

    nats-py closes its client permanently if the server ends the connection with an error, for example after its
    logins changed. Then the next call of `require` opens another client.
    """

    def __init__(self, url: str, name: str) -> None:
        self.client = TappedClient()
        self._url = url
        self._name = name
        self._opening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._opening = asyncio.create_task(self._open(self.client))
        return self

    async def __aexit__(self, *_: object) -> None:
        opening, self._opening = self._opening, None
        if opening is None:
            return
        opened = opening.done() and opening.exception() is None
        while not opening.done():  # A connection attempt may swallow one cancellation.
            opening.cancel()
            await asyncio.wait([opening], timeout=RECONNECT_WAIT_S)
        if opened and not self.client.is_closed:  # nats-py cannot close a client that never connected.
            await self.client.close()

    async def ready(self) -> None:
        """Wait until the connection is established: for the first time, or again after a client was closed."""
        if self._opening is None:
            raise LogUnavailable("the connection was not entered: use `async with`")
        await asyncio.shield(self._opening)

    async def _open(self, client: TappedClient) -> None:
        await client.connect(
            self._url,
            name=self._name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]  # In seconds; annotated as int.
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            pending_size=16 * 1024 * 1024,
        )

    async def _open_another(self) -> None:
        while True:
            client = TappedClient()
            try:
                await self._open(client)
            except (nats.errors.Error, OSError, TimeoutError) as error:
                _log.warning("nats refuses the connection", url=without_password(self._url), reason=repr(error))
                await asyncio.sleep(RECONNECT_WAIT_S)
            else:
                self.client = client
                _log.info("nats reconnected", url=without_password(self._url))
                return

    async def _on_error(self, error: Exception) -> None:
        if not isinstance(error, OSError | nats.errors.Error):
            _log.error("nats error", error=repr(error))

    async def _on_disconnected(self) -> None:
        if not self.client.is_closed:
            _log.warning("nats disconnected", url=without_password(self._url))

    async def _on_reconnected(self) -> None:
        _log.info("nats reconnected", url=without_password(self._url))

    def require(self) -> TappedClient:
        """Return the client, if it is connected.

        Raises: LogUnavailable. Otherwise nats-py would queue messages, and send them after the caller has given up.
        """
        if self.client.is_closed and self._opening is not None and self._opening.done():
            _log.warning(
                "nats closed the connection", url=without_password(self._url), reason=repr(self.client.last_error)
            )
            self._opening = asyncio.create_task(self._open_another())
        if not self.client.is_connected:
            raise LogUnavailable("no connection to NATS")
        return self.client

    async def request(self, subject: str, body: bytes) -> Msg:
        """Send a request that records nothing, and return the reply.

        Raises: LogUnavailable.
        """
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task else 0
        try:
            reply = await self.require().request(subject, body, timeout=REQUEST_TIMEOUT_S)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise LogUnavailable(f"{subject}: {error!r}") from error
        if task and task.cancelling() > cancelled_before:
            # nats-py uses `asyncio.wait_for`. On Python 3.11 it loses a cancellation that coincides with the reply.
            raise asyncio.CancelledError
        return reply

    async def api(self, subject: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a request to the JetStream API, and return the decoded reply. The caller checks the reply for `error`.

        Raises: LogUnavailable.
        """
        reply = await self.request(f"$JS.API.{subject}", msgspec.json.encode(body) if body else b"")
        decoded: dict[str, Any] = msgspec.json.decode(reply.data)
        return decoded
