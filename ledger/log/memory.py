"""A log in memory, for tests. It passes the same contract tests as the log on JetStream."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence

from ledger.domain.values.refusals import Bug
from ledger.envelope import AggregateRef, Poison, RecordedEvent
from ledger.log.event_log import APPEND_MAX, Append, Conflict, ForeignLog
from ledger.log.message import event_subject, parse_message


class MemoryLog:
    """Implements `EventLog`, except that nothing is durable."""

    def __init__(self) -> None:
        self._messages: list[tuple[int, str, bytes, str | None]] = []
        self._last: dict[AggregateRef, int] = {}
        self._grown = asyncio.Condition()

    async def last(self, refs: Sequence[AggregateRef], *, fresh: bool = False) -> list[RecordedEvent | None]:
        return [self._recorded(position) if (position := self._last.get(ref)) else None for ref in refs]

    async def last_named(self, ref: AggregateRef, event: str) -> RecordedEvent | None:
        subject = event_subject(ref, event)
        positions = [n for n, message in enumerate(self._messages, start=1) if message[1] == subject]
        return self._recorded(positions[-1]) if positions else None

    async def at(self, position: int) -> RecordedEvent | None:
        return self._recorded(position) if 1 <= position <= len(self._messages) else None

    async def append(self, events: Sequence[Append]) -> list[int]:
        if len(events) > APPEND_MAX or len({event.ref for event in events}) < len(events):
            raise Bug(f"{len(events)} events in one append: at most {APPEND_MAX}, and one per aggregate, are allowed")
        if any(self._last.get(event.ref, 0) != event.expected for event in events):
            raise Conflict
        for event in events:
            snapshot = event.snapshot.decode() if event.snapshot is not None else None
            self._messages.append((time.time_ns() // 1_000, event.subject, event.body, snapshot))
            self._last[event.ref] = len(self._messages)
        positions = [self._last[event.ref] for event in events]
        async with self._grown:
            self._grown.notify_all()
        return positions

    async def end(self) -> int:
        return len(self._messages)

    async def read_from(
        self, position: int, *, after: str | None = None, batch_max: int = 1_000, linger_ms: int = 10
    ) -> AsyncGenerator[list[RecordedEvent], None]:
        previous = await self.at(position - 1)
        if after is not None and (previous is None or previous.envelope.id != after):
            raise ForeignLog(f"position {position - 1} was event {after}, but the log now contains {previous} there")
        while True:
            async with self._grown:
                while len(self._messages) < position:
                    await self._grown.wait()
            batch: list[RecordedEvent] = []
            poison: Poison | None = None
            try:
                while position <= len(self._messages) and len(batch) < batch_max:
                    batch.append(self._recorded(position))
                    position += 1
            except Poison as error:
                poison = error
            if batch:
                yield batch
            if poison is not None:
                raise poison

    def _recorded(self, position: int) -> RecordedEvent:
        return parse_message(position, *self._messages[position - 1])
