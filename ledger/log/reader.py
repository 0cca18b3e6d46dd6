"""Reading the log in order and for ever: a bare pull consumer that is thrown away at the first doubt.

The consumer is ephemeral and acknowledges nothing; what has been read is the reader's own to remember. Several
pulls are kept in flight, and the consumer's sequences must be contiguous: after a gap, silence or a lost connection
the next consumer starts where the last batch ended.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

import msgspec
import nats.errors
import structlog
from nats.aio.subscription import Subscription

from ledger.envelope import Poison, RecordedEvent
from ledger.log.connection import Connection, TappedClient
from ledger.log.event_log import ForeignLog, LogUnavailable
from ledger.log.message import SNAPSHOT_HEADER, parse_message
from ledger.log.stream import NO_MESSAGE, STREAM

PULL_MESSAGES: Final = 1_000
IN_FLIGHT_MAX_MESSAGES: Final = 8_000  # Asked for and not yet taken: bounds the reader's memory.
PULL_EXPIRES_S: Final = 30
HEARTBEAT_S: Final = 1
SILENCE_MAX_S: Final = 3.5
RESTART_WAIT_S: Final = 0.2
NS: Final = 1_000_000_000
SNAPSHOT_NAME: Final = SNAPSHOT_HEADER.encode()

_log = structlog.get_logger()


class Interrupted(Exception):
    """The consumer can no longer be trusted; another one takes over."""


class Gap(Interrupted):
    """Something came that is not the message at this position, which comes next."""

    def __init__(self, position: int) -> None:
        super().__init__(f"gap at position {position}")
        self.position = position


async def read_from(
    connection: Connection, position: int, *, after: str | None, batch_max: int, linger_ms: int
) -> AsyncGenerator[list[RecordedEvent], None]:
    """See `EventLog.read_from`. What was read last is held against the log whenever a consumer takes over."""
    while True:
        pull = _Pull(connection, position if after is None else position - 1)
        try:
            async with asyncio.timeout(PULL_EXPIRES_S):
                await pull.open()
                if after is not None:
                    await pull.begin_with(after)
            while True:
                batch = await pull.take(batch_max, linger_ms / 1_000)
                position, after = batch[-1].position + 1, batch[-1].envelope.id
                yield batch
        except (Interrupted, LogUnavailable, nats.errors.Error, OSError, TimeoutError) as error:
            _log.warning("log reader starts again", position=position, reason=str(error) or repr(error))
            await asyncio.sleep(RESTART_WAIT_S)
        finally:
            await pull.close()


class _Pull:
    """One consumer's life."""

    def __init__(self, connection: Connection, start: int) -> None:
        self._connection = connection
        self._start = start
        self._client: TappedClient | None = None
        self._consumer = ""
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._buffer: deque[RecordedEvent] = deque()
        self._requested = 0
        self._delivered = 0
        self._failure: Exception | None = None
        self._arrived = asyncio.Event()
        self._heard_at = 0.0
        self._loop = asyncio.get_running_loop()

    async def open(self) -> None:
        await self._connection.ready()
        self._client = self._connection.require()
        config = {
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._start,
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": 2 * PULL_EXPIRES_S * NS,
        }
        answer = await self._connection.api(f"CONSUMER.CREATE.{STREAM}", {"stream_name": STREAM, "config": config})
        if "error" in answer:
            raise Interrupted(answer["error"]["description"])
        self._consumer = answer["name"]
        self._inbox = self._client.new_inbox()
        self._subscription = await self._client.tap(self._inbox, self._on_message)
        self._heard_at = self._loop.time()
        await self._ask()

    async def begin_with(self, event_id: str) -> None:
        """Take the event that was read last once more: it must be the same.

        Raises: ForeignLog.
        """
        info = await self._connection.api(f"STREAM.INFO.{STREAM}")
        if "error" in info:
            raise Interrupted(info["error"]["description"])
        was = f"position {self._start} was event {event_id}"
        if (end := info["state"]["last_seq"]) < self._start:
            raise ForeignLog(f"{was}, but the log ends at {end}")
        (found,) = await self.take(1, 0)
        if found.envelope.id != event_id:
            raise ForeignLog(f"{was}, but the log holds event {found.envelope.id} there")

    async def close(self) -> None:
        if self._client is None or self._subscription is None:
            return
        with suppress(nats.errors.Error, OSError):
            await self._subscription.unsubscribe()  # While disconnected too, or it comes back with the connection.
        if not self._client.is_connected:
            return
        with suppress(nats.errors.Error, OSError):
            await self._client.publish(f"$JS.API.CONSUMER.DELETE.{STREAM}.{self._consumer}")

    async def take(self, batch_max: int, linger_s: float) -> list[RecordedEvent]:
        """The next batch: as soon as there is something, and `linger_s` later at the latest."""
        await self._until(1, None)
        if len(self._buffer) < batch_max and linger_s:
            await self._until(batch_max, self._loop.time() + linger_s)
        batch = [self._buffer.popleft() for _ in range(min(batch_max, len(self._buffer)))]
        await self._ask()
        return batch

    async def _until(self, wanted: int, deadline: float | None) -> None:
        """Wait for `wanted` messages in the buffer, or the deadline. Fails once the buffer is empty."""
        while len(self._buffer) < wanted:
            if self._failure is not None:
                if self._buffer:
                    return
                if isinstance(self._failure, Gap):
                    await self._require_held(self._failure.position)
                raise self._failure
            now = self._loop.time()
            if deadline is not None and now >= deadline:
                return
            if now - self._heard_at > SILENCE_MAX_S:
                raise Interrupted("the server is silent")
            until = min(deadline or now + HEARTBEAT_S, now + HEARTBEAT_S)
            self._arrived.clear()
            await self._ask()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._arrived.wait()

    async def _require_held(self, position: int) -> None:
        """Raises: Poison, when the log itself has lost what is at this position: no other consumer will bring it."""
        answer = await self._connection.api(f"STREAM.MSG.GET.{STREAM}", {"seq": position})
        if answer.get("error", {}).get("err_code") == NO_MESSAGE:
            raise Poison(position, "the log has lost it: restore the log")

    async def _ask(self) -> None:
        """Keep pulls in flight, as far as the buffer has room."""
        if self._client is None:
            raise Interrupted("the consumer was not opened")
        request = msgspec.json.encode(
            {"batch": PULL_MESSAGES, "expires": PULL_EXPIRES_S * NS, "idle_heartbeat": HEARTBEAT_S * NS}
        )
        while self._requested + len(self._buffer) + PULL_MESSAGES <= IN_FLIGHT_MAX_MESSAGES:
            self._requested += PULL_MESSAGES
            await self._client.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{self._consumer}", request, reply=self._inbox
            )

    def _on_message(self, subject: str, reply: str, body: bytes, headers: bytes) -> None:
        self._heard_at = self._loop.time()
        if self._failure is not None:
            return
        if not reply:
            self._on_status(headers)
            return
        # $JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<ns>.<pending>
        tokens = reply.split(".")
        offset = 0 if len(tokens) == 9 else 2
        position, sequence, at_ns = (int(tokens[offset + n]) for n in (5, 6, 7))
        self._requested -= 1
        self._delivered += 1
        due = self._start + self._delivered - 1
        if sequence != self._delivered or position != due:
            self._fail(Gap(due))
            return
        try:
            self._buffer.append(parse_message(position, at_ns // 1_000, subject, body, snapshot_value(headers)))
        except Exception as failure:  # noqa: BLE001  Whatever it is, the event must not be passed over.
            self._fail(failure)
        self._arrived.set()

    def _on_status(self, headers: bytes) -> None:
        """Heartbeats keep it alive, an expired pull is to be replaced, everything else ends this consumer."""
        line = headers.partition(b"\r\n")[0].decode()  # NATS/1.0 408 Request Timeout
        match line.split()[1:2]:
            case ["100"]:
                pass
            case ["408"]:
                self._requested -= int(header_value(headers, b"Nats-Pending-Messages") or PULL_MESSAGES)
                self._arrived.set()  # Whoever waits asks for more.
            case _:
                self._fail(Interrupted(line))

    def _fail(self, failure: Exception) -> None:
        self._failure = failure
        self._arrived.set()


def header_value(headers: bytes, name: bytes) -> str | None:
    """The value of a header, or None. Looked for where it stands: a message carries many that nobody here reads."""
    found = headers.find(b"\r\n" + name + b":")
    if found < 0:
        return None
    begin = found + len(name) + 3
    return headers[begin : headers.find(b"\r\n", begin)].decode().strip()


def snapshot_value(headers: bytes) -> str | None:
    """The snapshot that a message carries; none of an aggregate's first event."""
    return header_value(headers, SNAPSHOT_NAME)
