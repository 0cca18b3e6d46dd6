"""Reads of the log that wait for the expected events."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

from ledger.envelope import AggregateRef, RecordedEvent
from ledger.log.event_log import EventLog
from tests.polling import wait_until

TIMEOUT_S: Final = 20.0


async def wait_for_last_events(
    log: EventLog, refs: Sequence[AggregateRef], position: int
) -> list[RecordedEvent | None]:
    """Return the last event of each aggregate. Repeat stale reads until they include `position`."""
    found: list[RecordedEvent | None] = []

    async def caught_up() -> bool:
        nonlocal found
        found = await log.last(refs)
        return max((last.position for last in found if last is not None), default=0) >= position

    await wait_until(caught_up)
    return found


async def wait_for_last_event(log: EventLog, ref: AggregateRef, position: int) -> RecordedEvent:
    """Return the last event of one aggregate. Repeat stale reads until they include `position`."""
    (last,) = await wait_for_last_events(log, [ref], position)
    assert last is not None
    return last


async def take(reading: AsyncIterator[list[RecordedEvent]], count: int) -> list[RecordedEvent]:
    """Return at least `count` further events. The reading stays open."""
    taken: list[RecordedEvent] = []
    async with asyncio.timeout(TIMEOUT_S):
        while len(taken) < count:
            taken += await anext(reading)
    return taken


async def read_events(log: EventLog, position: int, count: int, *, batch_max: int = 1_000) -> list[RecordedEvent]:
    """Return at least `count` events from `position` on."""
    async with aclosing(log.read_from(position, batch_max=batch_max)) as events:
        return await take(events, count)
