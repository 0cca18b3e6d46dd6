"""The log on JetStream: loads aggregates and appends events, one or many at a time."""

import asyncio
import uuid
from base64 import b64decode
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from datetime import datetime
from email.parser import BytesParser
from typing import Any, Final

import msgspec
import nats.errors
from nats.aio.msg import Msg

from ledger.domain.values.refusals import Bug
from ledger.envelope import AggregateRef, RecordedEvent
from ledger.log.connection import REQUEST_TIMEOUT_S, Connection
from ledger.log.event_log import APPEND_MAX, Append, AppendUncertain, Conflict, LogUnavailable
from ledger.log.message import SNAPSHOT_HEADER, aggregate_filter, event_subject, parse_message
from ledger.log.reader import read_from
from ledger.log.stream import NO_MESSAGE, STREAM

DIRECT_GET: Final = f"$JS.API.DIRECT.GET.{STREAM}"
LAST_MAX: Final = 1_000  # Aggregates in one direct get.
CONFLICTS: Final = frozenset({10071, 10164})  # Error codes: wrong last sequence, with and without the sequence.


class JetStreamLog:
    """Implements `EventLog`. An event is durable if the server fsyncs before it acknowledges."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.unfit: str | None = None  # The reason to refuse every append, if the stream differs from its definition.

    async def last(self, refs: Sequence[AggregateRef], *, fresh: bool = False) -> list[RecordedEvent | None]:
        if fresh:
            return [await self._get_from_leader(aggregate_filter(ref)) for ref in refs]
        if len(refs) == 1:
            return [await self._get({"last_by_subj": aggregate_filter(refs[0])})]
        events: dict[AggregateRef, RecordedEvent] = {}
        for start in range(0, len(refs), LAST_MAX):
            await self._get_many(refs[start : start + LAST_MAX], events)
        return [events.get(ref) for ref in refs]

    async def last_named(self, ref: AggregateRef, event: str) -> RecordedEvent | None:
        return await self._get_from_leader(event_subject(ref, event))

    async def at(self, position: int) -> RecordedEvent | None:
        return await self._get({"seq": position}) if position >= 1 else None

    async def end(self) -> int:
        info = await self._connection.api(f"STREAM.INFO.{STREAM}")
        if "error" in info:
            raise LogUnavailable(f"stream {STREAM}: {info['error']['description']}")
        return int(info["state"]["last_seq"])

    def read_from(
        self, position: int, *, after: str | None = None, batch_max: int = 1_000, linger_ms: int = 10
    ) -> AsyncGenerator[list[RecordedEvent], None]:
        return read_from(self._connection, position, after=after, batch_max=batch_max, linger_ms=linger_ms)

    async def _get(self, request: dict[str, Any]) -> RecordedEvent | None:
        reply = await self._connection.request(DIRECT_GET, msgspec.json.encode(request))
        status = (reply.headers or {}).get("Status")
        if status == "404":
            return None
        if status:
            raise LogUnavailable(f"direct get returned status {status}")
        return from_direct_get(reply)

    async def _get_from_leader(self, subject: str) -> RecordedEvent | None:
        """Return the last message of a subject. It is never stale: the leader has applied every acknowledged append."""
        reply = await self._connection.api(f"STREAM.MSG.GET.{STREAM}", {"last_by_subj": subject})
        if "error" in reply:
            if reply["error"].get("err_code") == NO_MESSAGE:
                return None
            raise LogUnavailable(f"stream {STREAM}: {reply['error']['description']}")
        message = reply["message"]
        headers = BytesParser().parsebytes(b64decode(message.get("hdrs", "")).partition(b"\r\n")[2])
        recorded_at = datetime.fromisoformat(message["time"])
        return parse_message(
            int(message["seq"]),
            round(recorded_at.timestamp() * 1_000_000),
            message["subject"],
            b64decode(message.get("data", "")),
            headers.get(SNAPSHOT_HEADER),
        )

    async def _get_many(self, refs: Sequence[AggregateRef], events: dict[AggregateRef, RecordedEvent]) -> None:
        """Add the last event of each aggregate to `events` by one read. Split a read that is too large in two."""
        client = self._connection.require()
        inbox = client.new_inbox()
        replies: asyncio.Queue[Msg] = asyncio.Queue()
        subscription = await client.subscribe(inbox, cb=replies.put)
        request = {"multi_last": [aggregate_filter(ref) for ref in refs], "batch": 1024}
        try:
            await client.publish(DIRECT_GET, msgspec.json.encode(request), reply=inbox)
            while True:
                reply = await asyncio.wait_for(replies.get(), REQUEST_TIMEOUT_S)
                status = (reply.headers or {}).get("Status")
                if status:
                    break
                event = from_direct_get(reply)
                # There is one reply for each subject, that is for each name of an event. The highest position counts.
                previous = events.get(event.ref)
                if previous is None or previous.position < event.position:
                    events[event.ref] = event
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise LogUnavailable(f"multi_last: {error!r}") from error
        finally:
            with suppress(nats.errors.Error, OSError):  # Also while disconnected; otherwise nats-py subscribes again.
                await subscription.unsubscribe()
        if status == "413" and len(refs) > 1:
            middle = len(refs) // 2
            await self._get_many(refs[:middle], events)
            await self._get_many(refs[middle:], events)
        elif status not in ("204", "404"):
            raise LogUnavailable(f"multi_last returned status {status}")

    async def append(self, events: Sequence[Append]) -> list[int]:
        if len(events) > APPEND_MAX or len({event.ref for event in events}) < len(events):
            raise Bug(f"{len(events)} events in one append: at most {APPEND_MAX}, and one per aggregate, are allowed")
        if not events:
            return []
        if self.unfit is not None:
            raise LogUnavailable(self.unfit)
        client = self._connection.require()
        messages = [(event, headers_of(event)) for event in events]
        *others, (last, last_headers) = messages
        if others:
            batch = uuid.uuid4().hex
            for number, (_, headers) in enumerate(messages, start=1):
                headers |= {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
            last_headers["Nats-Batch-Commit"] = "1"
        try:
            for event, headers in others:
                await client.publish(event.subject, event.body, headers=headers)
            reply = await client.request(last.subject, last.body, headers=last_headers, timeout=REQUEST_TIMEOUT_S)
        except (nats.errors.NoRespondersError, nats.errors.MaxPayloadError) as error:
            raise LogUnavailable(f"no stream accepts {last.subject}: {error}") from error
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise AppendUncertain(repr(error)) from error
        return positions_of(msgspec.json.decode(reply.data), len(events))


def headers_of(event: Append) -> dict[str, str]:
    headers = {
        "Nats-Expected-Last-Subject-Sequence": str(event.expected),
        "Nats-Expected-Last-Subject-Sequence-Subject": aggregate_filter(event.ref),
    }
    if event.snapshot is not None:
        headers[SNAPSHOT_HEADER] = event.snapshot.decode()
    return headers


def positions_of(reply: dict[str, Any], count: int) -> list[int]:
    """Return the positions that a reply acknowledges. The events of an atomic batch have successive positions.

    Raises: Conflict or LogUnavailable, if the reply is an error. Nothing was stored.
    """
    error = reply.get("error")
    if error is None:
        last = int(reply["seq"])
        return list(range(last - count + 1, last + 1))
    if error.get("err_code") in CONFLICTS:
        raise Conflict
    raise LogUnavailable(f"{error.get('err_code')}: {error.get('description')}")


def from_direct_get(reply: Msg) -> RecordedEvent:
    headers = reply.headers or {}
    recorded_at = datetime.fromisoformat(headers["Nats-Time-Stamp"])
    return parse_message(
        int(headers["Nats-Sequence"]),
        round(recorded_at.timestamp() * 1_000_000),
        headers["Nats-Subject"],
        reply.data,
        headers.get(SNAPSHOT_HEADER),
    )
