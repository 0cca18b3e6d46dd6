"""The reader of the log: reads events in order and without end, through one pull consumer after another.

A consumer is ephemeral and acknowledges nothing; the reader itself remembers its position. Several pulls are in flight.
The consumer's sequences must be contiguous. After a gap, a silence or a lost connection, the reader drops the consumer,
and the next one starts where the last batch ended.
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
IN_FLIGHT_MAX_MESSAGES: Final = 8_000  # Requested or buffered: the bound of the reader's memory.
PULL_EXPIRES_S: Final = 30
HEARTBEAT_S: Final = 1
SILENCE_MAX_S: Final = 3.5
RESTART_WAIT_S: Final = 0.2
NS: Final = 1_000_000_000  # JetStream counts durations in nanoseconds.
SNAPSHOT_NAME: Final = SNAPSHOT_HEADER.encode()

_log = structlog.get_logger()


class Interrupted(Exception):
    """The consumer is no longer reliable. The reader starts another one."""


class Gap(Interrupted):
    """The consumer delivered another message than the one at this position."""

    def __init__(self, position: int) -> None:
        super().__init__(f"gap at position {position}")
        self.position = position


async def read_from(
    connection: Connection, position: int, *, after: str | None, batch_max: int, linger_ms: int
) -> AsyncGenerator[list[RecordedEvent], None]:
    """See `EventLog.read_from`. Every new consumer first checks that the log contains the event that was read last."""
    while True:
        pull = _Pull(connection, position if after is None else position - 1)
        try:
            async with asyncio.timeout(PULL_EXPIRES_S):
                await pull.open()
                if after is not None:
                    await pull.check_first(after)
            while True:
                batch = await pull.take(batch_max, linger_ms / 1_000)
                position, after = batch[-1].position + 1, batch[-1].envelope.id
                yield batch
        except (Interrupted, LogUnavailable, nats.errors.Error, OSError, TimeoutError) as error:
            _log.warning("log reader restarts", position=position, reason=str(error) or repr(error))
            await asyncio.sleep(RESTART_WAIT_S)
        finally:
            await pull.close()


class _Pull:
    """One consumer, from its creation to its deletion."""

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
        self._last_message_at = 0.0
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
        reply = await self._connection.api(f"CONSUMER.CREATE.{STREAM}", {"stream_name": STREAM, "config": config})
        if "error" in reply:
            raise Interrupted(reply["error"]["description"])
        self._consumer = reply["name"]
        self._inbox = self._client.new_inbox()
        self._subscription = await self._client.tap(self._inbox, self._on_message)
        self._last_message_at = self._loop.time()
        await self._request_pulls()

    async def check_first(self, event_id: str) -> None:
        """Take the first event, and check that it is the one that was read last.

        Raises: ForeignLog, if it is another event or is missing.
        """
        info = await self._connection.api(f"STREAM.INFO.{STREAM}")
        if "error" in info:
            raise Interrupted(info["error"]["description"])
        expected = f"position {self._start} was event {event_id}"
        if (end := info["state"]["last_seq"]) < self._start:
            raise ForeignLog(f"{expected}, but the log ends at {end}")
        (first,) = await self.take(1, 0)
        if first.envelope.id != event_id:
            raise ForeignLog(f"{expected}, but the log now contains event {first.envelope.id}")

    async def close(self) -> None:
        if self._client is None or self._subscription is None:
            return
        with suppress(nats.errors.Error, OSError):
            await self._subscription.unsubscribe()  # Also while disconnected; otherwise nats-py subscribes again.
        if not self._client.is_connected:
            return
        with suppress(nats.errors.Error, OSError):
            await self._client.publish(f"$JS.API.CONSUMER.DELETE.{STREAM}.{self._consumer}")

    async def take(self, batch_max: int, linger_s: float) -> list[RecordedEvent]:
        """Return the next batch: when it is full, or `linger_s` after its first event."""
        await self._wait_buffered(1, None)
        if len(self._buffer) < batch_max and linger_s:
            await self._wait_buffered(batch_max, self._loop.time() + linger_s)
        batch = [self._buffer.popleft() for _ in range(min(batch_max, len(self._buffer)))]
        await self._request_pulls()
        return batch

    async def _wait_buffered(self, count: int, deadline: float | None) -> None:
        """Wait until the buffer contains `count` events, or until the deadline.

        After a failure, return while events are left in the buffer, and raise the failure when it is empty.
        """
        while len(self._buffer) < count:
            if self._failure is not None:
                if self._buffer:
                    return
                if isinstance(self._failure, Gap):
                    await self._raise_if_lost(self._failure.position)
                raise self._failure
            now = self._loop.time()
            if deadline is not None and now >= deadline:
                return
            if now - self._last_message_at > SILENCE_MAX_S:
                raise Interrupted(f"no message from the server for {SILENCE_MAX_S} s")
            until = min(deadline or now + HEARTBEAT_S, now + HEARTBEAT_S)
            self._arrived.clear()
            await self._request_pulls()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._arrived.wait()

    async def _raise_if_lost(self, position: int) -> None:
        """Raises: Poison, if the log itself has lost the message at this position. No other consumer can deliver it."""
        reply = await self._connection.api(f"STREAM.MSG.GET.{STREAM}", {"seq": position})
        if reply.get("error", {}).get("err_code") == NO_MESSAGE:
            raise Poison(position, "the log has lost it: restore the log")

    async def _request_pulls(self) -> None:
        """Send pull requests as long as `IN_FLIGHT_MAX_MESSAGES` allows."""
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
        self._last_message_at = self._loop.time()
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
        expected = self._start + self._delivered - 1
        if sequence != self._delivered or position != expected:
            self._fail(Gap(expected))
            return
        try:
            self._buffer.append(parse_message(position, at_ns // 1_000, subject, body, snapshot_value(headers)))
        except Exception as failure:  # noqa: BLE001  After any failure, the event must not be skipped.
            self._fail(failure)
        self._arrived.set()

    def _on_status(self, headers: bytes) -> None:
        """Ignore a heartbeat, replace an expired pull, and end this consumer on any other status."""
        line = headers.partition(b"\r\n")[0].decode()  # NATS/1.0 408 Request Timeout
        match line.split()[1:2]:
            case ["100"]:
                pass
            case ["408"]:
                self._requested -= int(header_value(headers, b"Nats-Pending-Messages") or PULL_MESSAGES)
                self._arrived.set()  # The waiting task sends the next pull.
            case _:
                self._fail(Interrupted(line))

    def _fail(self, failure: Exception) -> None:
        self._failure = failure
        self._arrived.set()


def header_value(headers: bytes, name: bytes) -> str | None:
    """Return the value of a header, or None. A search is enough: the reader needs few of a message's headers."""
    index = headers.find(b"\r\n" + name + b":")
    if index < 0:
        return None
    begin = index + len(name) + 3
    return headers[begin : headers.find(b"\r\n", begin)].decode().strip()


def snapshot_value(headers: bytes) -> str | None:
    """Return the snapshot of a message. The first event of an aggregate has none."""
    return header_value(headers, SNAPSHOT_NAME)
