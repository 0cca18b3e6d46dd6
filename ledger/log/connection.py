"""One connection to NATS that comes back by itself, and the requests made over it."""

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


# HMSG <subject> <sid> <reply> <length of the headers> <length of headers and body>
HMSG_LINE: Final = re.compile(rb"HMSG (\S+) (\d+) (\S+) (\d+) (\d+)\r\n")
CRLF: Final = b"\r\n"

MessageHandler = Callable[[str, str, bytes, bytes], None]
"""Takes a message as it came: its subject, its reply subject (or ""), its body, and its headers as bytes (or b"")."""


class TappedParser(Parser):
    """nats-py's parser, but for messages of a tap that lie whole in what has come: one expression each.

    Whatever else the server says, and a tap's messages behind it, is left to the parser of nats-py.
    """

    def __init__(self, client: "TappedClient") -> None:
        super().__init__(client)
        self._client = client

    async def parse(self, data: bytes = b"") -> None:
        if self._client.taps and self.state == AWAITING_CONTROL_LINE:
            come = bytes(self.buf) + data if self.buf else data
            self.buf.clear()
            begin, cut = await self._take(come)
            data = come[begin:]
            if cut:
                self.buf.extend(data)
                return
        await super().parse(data)

    async def _take(self, come: bytes) -> tuple[int, bool]:
        """Answers where that begins which was not taken, and whether it is the beginning of a tap's message."""
        begin, taps, match = 0, self._client.taps, HMSG_LINE.match
        while (head := match(come, begin)) is not None and (take := taps.get(int(head[2]))) is not None:
            body = head.end() + int(head[4])
            end = head.end() + int(head[5])
            if len(come) < end + len(CRLF):
                return begin, True
            headers = come[head.end() : body]
            begin = end + len(CRLF)
            await self._client.give(take, head[1], head[3], come[body:end], headers)
        return begin, False


class TappedClient(Client):
    """nats-py's client, but for what it does for every message and the reader of a whole log cannot afford.

    Its own parser looks at every character of every header's name, and moves what it has not parsed yet from one
    buffer to the next. And it hands every message to a queue and a task of the subscription: a subscription that is
    tapped has its messages taken where they are parsed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.taps: Final[dict[int, MessageHandler]] = {}
        self._ps = TappedParser(self)

    async def tap(self, subject: str, take: MessageHandler) -> Subscription:
        """A subscription whose messages go to `take`, which must not wait."""
        subscription = await self.subscribe(subject, cb=unreachable_callback)
        self.taps[subscription._id] = take  # noqa: SLF001  There is no other name for it.
        return subscription

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        take = self.taps.get(sid)
        if take is None:
            await super()._process_msg(sid, subject, reply, data, headers)
        elif sid in self._subs:
            await self.give(take, subject, reply, data, headers or b"")

    async def give(self, take: MessageHandler, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        try:
            take(subject.decode(), reply.decode(), data, headers)
        except Exception as error:  # noqa: BLE001  As with any callback: the connection goes on.
            await self._error_cb(error)

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self.taps.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        lines = (line.partition(":") for line in raw.decode("utf-8", "replace").split("\r\n") if line)
        return {name.strip(): value.strip() for name, _, value in lines}


async def unreachable_callback(_message: Msg) -> None:
    """What nobody calls: the messages of a tap are taken before."""


@asynccontextmanager
async def connect_within(url: str, name: str) -> AsyncGenerator["Connection", None]:
    """A connection that stands, for whoever has something to ask at once.

    Raises: TimeoutError, when NATS does not answer in time.
    """
    async with Connection(url, name) as connection:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            await connection.ready()
        yield connection


class Connection:
    """Opens in the background and for ever: a process may start before its log does.

    A server that ends a connection with an error makes nats-py close its client for good, as when it is told of other
    logins. Another client takes its place, as soon as somebody needs one.
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
        if opened and not self.client.is_closed:  # One that never stood cannot be closed.
            await self.client.close()

    async def ready(self) -> None:
        """Wait until the connection stands for the first time, or stands again after a client was closed."""
        if self._opening is None:
            raise LogUnavailable("the connection was not entered")
        await asyncio.shield(self._opening)

    async def _open(self, client: TappedClient) -> None:
        await client.connect(
            self._url,
            name=self._name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]  # Seconds; the annotation says int.
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
                _log.warning("nats lets nobody in", url=without_password(self._url), reason=repr(error))
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
        """The client, when it stands.

        Raises: LogUnavailable, instead of queueing what would be sent after the caller has given up.
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
        """Ask something that records nothing.

        Raises: LogUnavailable.
        """
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task else 0
        try:
            reply = await self.require().request(subject, body, timeout=REQUEST_TIMEOUT_S)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise LogUnavailable(f"{subject}: {error!r}") from error
        if task and task.cancelling() > cancelled_before:
            # nats-py waits by `asyncio.wait_for`, which on 3.11 loses a cancellation that comes with the answer.
            raise asyncio.CancelledError
        return reply

    async def api(self, subject: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask the JetStream API; an answer may carry an `error`, which is the caller's to read.

        Raises: LogUnavailable.
        """
        reply = await self.request(f"$JS.API.{subject}", msgspec.json.encode(body) if body else b"")
        answer: dict[str, Any] = msgspec.json.decode(reply.data)
        return answer
