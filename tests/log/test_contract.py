"""The contract of the log: these promises hold for every implementation."""

import asyncio
import time
from contextlib import aclosing
from functools import reduce
from typing import Final

import msgspec
import pytest

from ledger.domain.catalog.kinds import FAVOUR, AnyEvent
from ledger.domain.values.aggregate_types import State
from ledger.domain.values.refusals import Bug
from ledger.envelope import Poison, RecordedEvent
from ledger.log.event_log import APPEND_MAX, Append, Conflict, EventLog, ForeignLog
from ledger.log.snapshot import load_aggregate, parse_snapshot
from tests.log.reads import TIMEOUT_S, read_events, take, wait_for_last_event, wait_for_last_events
from tests.log.samples import CLAIMED, CONFIRMED, FORGIVEN, favour_ref, first_append, next_append, with_fields

HISTORY: Final[list[AnyEvent]] = [CLAIMED, CONFIRMED, FORGIVEN]
DEEP: Final = b"[" * 100_000 + b"]" * 100_000


def poisons() -> dict[str, Append]:
    """Return messages that no ledger of this version can have written."""
    good = first_append()
    envelope = good.body.removesuffix(b"}")
    return {
        "no JSON": Append(good.ref, good.subject, b"garbage", None, 0),
        "nothing": Append(good.ref, good.subject, b"", None, 0),
        "no UTF-8": Append(good.ref, good.subject, good.body.replace(b'"1.0"', b'"\xff"'), None, 0),
        "too deep": Append(good.ref, good.subject, envelope + b',"more":' + DEEP + b"}", None, 0),
        "another type": with_fields(good, type="referral-ledger.favour.confirmed.v1"),
        "another version": with_fields(good, type="referral-ledger.favour.claimed.v2"),
        "another kind": with_fields(good, subject=f"referral/{good.ref.id}"),
        "another aggregate": with_fields(good, subject=f"favour/{favour_ref().id}"),
        "another community": with_fields(good, source="/communities/other"),
        "an event nobody knows": with_fields(good, data={"event": "favour.sold", "giver": "ada", "receiver": "bob"}),
    }


# Load and append


async def test_what_was_never_recorded_is_not_there(log: EventLog) -> None:
    assert await log.end() == 0
    assert await log.last([]) == []
    assert await log.last([favour_ref()]) == [None]
    assert await log.last([favour_ref(), favour_ref()]) == [None, None]
    assert [await log.at(position) for position in (-1, 0, 1)] == [None, None, None]


async def test_an_event_is_the_same_however_it_is_read(log: EventLog) -> None:
    event = first_append()
    before_us = time.time_ns() // 1_000
    assert await log.append([event]) == [1]
    last = await wait_for_last_event(log, event.ref, 1)
    assert (last.position, last.body, last.snapshot, last.ref) == (1, event.body, None, event.ref)
    assert before_us - 1 <= last.recorded_at_us <= time.time_ns() // 1_000
    assert await wait_for_last_events(log, [favour_ref(), event.ref], 1) == [None, last]
    assert await log.at(1) == last
    assert await log.at(2) is None
    assert await read_events(log, 1, 1) == [last]
    assert await log.end() == 1


async def test_the_last_event_of_an_aggregate_is_the_newest_whatever_it_is_called(log: EventLog) -> None:
    ref, other = favour_ref(), favour_ref()
    await log.append([first_append(ref)])
    await log.append([next_append(await wait_for_last_event(log, ref, 1), CONFIRMED)])
    await log.append([first_append(other)])
    await log.append([next_append(await wait_for_last_event(log, ref, 2), FORGIVEN)])
    assert (await wait_for_last_event(log, ref, 4)).envelope.data == FORGIVEN
    lasts = await wait_for_last_events(log, [other, ref], 4)
    assert [last and last.envelope.data for last in lasts] == [CLAIMED, FORGIVEN]


async def test_an_event_of_an_aggregate_is_found_by_its_name(log: EventLog) -> None:
    event = first_append()
    await log.append([event])
    claimed = await wait_for_last_event(log, event.ref, 1)
    await log.append([next_append(claimed, CONFIRMED)])
    assert await log.last_named(event.ref, "claimed") == claimed
    assert (await log.last_named(event.ref, "confirmed")) == await wait_for_last_event(log, event.ref, 2)
    assert await log.last_named(event.ref, "forgiven") is None
    assert await log.last_named(favour_ref(), "claimed") is None


async def test_an_append_that_expects_another_last_event_records_nothing(log: EventLog) -> None:
    event = first_append()
    await log.append([event])
    last = await wait_for_last_event(log, event.ref, 1)
    await log.append([next_append(last, CONFIRMED)])
    for refused in (
        first_append(event.ref),  # Expects no event.
        next_append(last, CONFIRMED),  # Expects the last event but one.
        msgspec.structs.replace(first_append(), expected=2),  # Expects the event of another aggregate.
    ):
        with pytest.raises(Conflict):
            await log.append([refused])
    assert await log.end() == 2


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_conflict_in_an_atomic_append_and_none_of_it_is_recorded(log: EventLog, place: int) -> None:
    taken = first_append()
    await log.append([taken])
    events = [first_append(), first_append()]
    events.insert(place, first_append(taken.ref))
    with pytest.raises(Conflict):
        await log.append(events)
    assert await log.end() == 1
    assert await log.last([event.ref for event in events if event.ref != taken.ref]) == [None, None]
    assert await log.append([first_append()]) == [2]


async def test_an_atomic_append_has_positions_in_its_own_order_and_without_gaps(log: EventLog) -> None:
    await log.append([first_append()])
    events = [first_append() for _ in range(20)]
    assert await log.append(events) == list(range(2, 22))
    found = await read_events(log, 2, 20)
    assert [event.position for event in found] == list(range(2, 22))
    assert [event.body for event in found] == [event.body for event in events]


async def test_appends_side_by_side_never_share_a_position(log: EventLog) -> None:
    appends = [[first_append() for _ in range(size)] for size in (1, 7, 1, 3, 20, 1)]
    positions = await asyncio.gather(*map(log.append, appends))
    assert sorted(position for group in positions for position in group) == list(range(1, 34))
    found = await read_events(log, 1, 33)
    for group, events in zip(positions, appends, strict=True):
        assert [found[position - 1].body for position in group] == [event.body for event in events]


async def test_one_of_two_that_append_to_an_aggregate_at_once_meets_a_conflict(log: EventLog) -> None:
    event = first_append()
    await log.append([event])
    last = await wait_for_last_event(log, event.ref, 1)
    results = await asyncio.gather(
        *(log.append([next_append(last, CONFIRMED)]) for _ in range(10)), return_exceptions=True
    )
    assert sum(result == [2] for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 9


async def test_appending_nothing_records_nothing(log: EventLog) -> None:
    assert await log.append([]) == []
    assert await log.end() == 0


async def test_two_events_on_one_aggregate_are_no_atomic_append(log: EventLog) -> None:
    ref = favour_ref()
    with pytest.raises(Bug):
        await log.append([first_append(ref), first_append(), first_append(ref)])
    assert await log.end() == 0


async def test_an_atomic_append_has_a_limit(log: EventLog) -> None:
    with pytest.raises(Bug):
        await log.append([first_append() for _ in range(APPEND_MAX + 1)])
    assert await log.end() == 0


async def test_a_thousand_aggregates_of_several_events_are_appended_and_loaded_at_once(log: EventLog) -> None:
    refs = [favour_ref() for _ in range(APPEND_MAX)]
    lasts: list[RecordedEvent | None] = []
    for event in HISTORY:
        if not lasts:
            events = [first_append(ref) for ref in refs]
        else:
            events = [next_append(last, event) for last in lasts if last is not None]
        begin = await log.end() + 1
        assert await log.append(events) == list(range(begin, begin + APPEND_MAX))
        lasts = await wait_for_last_events(log, refs, begin + APPEND_MAX - 1)
    assert [last and last.position for last in lasts] == list(range(2_001, 3_001))
    assert [last and last.ref for last in lasts] == refs
    assert {last and last.envelope.data for last in lasts} == {FORGIVEN}
    strangers = [favour_ref() for _ in range(10)]
    assert await log.last([*strangers, *refs]) == [*[None] * 10, *lasts]


# Read


async def test_reading_begins_where_it_is_asked_to(log: EventLog) -> None:
    await log.append([first_append() for _ in range(10)])
    assert [event.position for event in await read_events(log, 1, 10)] == list(range(1, 11))
    assert [event.position for event in await read_events(log, 7, 4)] == list(range(7, 11))


async def test_reading_goes_on_after_what_was_read_and_refuses_a_log_that_does_not_hold_it(log: EventLog) -> None:
    await log.append([first_append() for _ in range(10)])
    sixth, seventh, *_ = await read_events(log, 6, 5)
    async with aclosing(log.read_from(7, after=sixth.envelope.id)) as events:
        assert [event.position for event in await take(events, 4)] == [7, 8, 9, 10]
    for position, after in ((7, seventh.envelope.id), (12, seventh.envelope.id)):  # Another event, and no event.
        async with aclosing(log.read_from(position, after=after)) as events:
            with pytest.raises(ForeignLog, match=f"position {position - 1} was event {after}"):
                await take(events, 1)


@pytest.mark.parametrize("recorded", [0, 3])
async def test_reading_waits_at_the_end_for_what_comes(log: EventLog, recorded: int) -> None:
    if recorded:
        await log.append([first_append() for _ in range(recorded)])
    async with aclosing(log.read_from(recorded + 1)) as events:
        waiting = asyncio.ensure_future(take(events, 1))
        done, _ = await asyncio.wait([waiting], timeout=0.05)
        assert not done
        for number in (1, 2):
            event = first_append()
            await log.append([event])
            assert [(e.position, e.body) for e in await waiting] == [(recorded + number, event.body)]
            waiting = asyncio.ensure_future(take(events, 1))
        waiting.cancel()
        await asyncio.wait([waiting])


@pytest.mark.parametrize("batch_max", [1, 7, 1_000])
async def test_a_batch_is_never_empty_nor_larger_than_asked_for_and_all_come_in_order(
    log: EventLog, batch_max: int
) -> None:
    await log.append([first_append() for _ in range(30)])
    positions: list[int] = []
    async with aclosing(log.read_from(1, batch_max=batch_max)) as events, asyncio.timeout(TIMEOUT_S):
        while len(positions) < 30:
            batch = await anext(events)
            assert 1 <= len(batch) <= batch_max
            positions += [event.position for event in batch]
    assert positions == list(range(1, 31))


async def test_any_number_of_readers_read_the_same(log: EventLog) -> None:
    await log.append([first_append() for _ in range(50)])
    one, other, later = await asyncio.gather(
        read_events(log, 1, 50), read_events(log, 1, 50, batch_max=9), read_events(log, 21, 30)
    )
    assert one == other == one[:20] + later


@pytest.mark.parametrize("poison", poisons())
async def test_poison_is_raised_with_its_position_after_everything_before_it(log: EventLog, poison: str) -> None:
    before = [first_append(), first_append()]
    await log.append(before)
    bad = poisons()[poison]
    await log.append([bad])
    await log.append([first_append()])
    given: list[RecordedEvent] = []
    async with aclosing(log.read_from(1)) as events, asyncio.timeout(TIMEOUT_S):
        with pytest.raises(Poison, match="position 3") as raised:  # noqa: PT012 - The list keeps the events before it.
            while not given or given[-1].position < 3:  # From position 3 on, the reader has skipped the poison.
                given += await anext(events)
    assert raised.value.position == 3
    assert [event.body for event in given] == [event.body for event in before]
    for load in (log.at(3), log.last([bad.ref]), log.last([bad.ref, before[0].ref])):
        with pytest.raises(Poison, match="position 3"):
            await load


# Snapshots


async def test_a_snapshot_is_what_the_events_lead_to(log: EventLog) -> None:
    keys = ["k" * 128, "=?utf-8?q?x?=:,;", "k-3"]
    ref = favour_ref()
    await log.append([first_append(ref, key=keys[0])])
    nothing: State | None = None
    for version, event in enumerate(HISTORY, start=1):
        last = await wait_for_last_event(log, ref, version)
        state = reduce(FAVOUR.evolve, HISTORY[:version], nothing)
        assert state is not None
        aggregate = load_aggregate(last)
        assert (aggregate.state, aggregate.version, aggregate.position) == (state, version, version)
        assert [(mark.id, mark.position) for mark in aggregate.commands] == [
            (key, position) for position, key in enumerate(keys[:version], start=1)
        ]
        assert parse_snapshot(last) == (None if version == 1 else (version, state, aggregate.commands[:-1]))
        assert last.envelope.data == event
        if version < len(HISTORY):
            await log.append([next_append(last, HISTORY[version], key=keys[version])])
    assert [event.snapshot for event in await read_events(log, 1, 3)] == [
        event and event.snapshot for event in [await log.at(position) for position in (1, 2, 3)]
    ]


@pytest.mark.parametrize("snapshot", [b"{}", b"garbage", b'{"version":2,"state":{"state":"sold"},"commands":[]}'])
async def test_a_snapshot_that_cannot_be_read_is_poison(log: EventLog, snapshot: bytes) -> None:
    event = first_append()
    await log.append([Append(event.ref, event.subject, event.body, snapshot, 0)])
    last = await wait_for_last_event(log, event.ref, 1)
    with pytest.raises(Poison, match="position 1"):
        load_aggregate(last)


async def test_a_later_event_that_lost_its_snapshot_is_poison(log: EventLog) -> None:
    event = first_append()
    await log.append([event])
    step = next_append(await wait_for_last_event(log, event.ref, 1), CONFIRMED)
    await log.append([Append(step.ref, step.subject, step.body, None, step.expected)])
    last = await wait_for_last_event(log, event.ref, 2)
    with pytest.raises(Poison, match="position 2"):
        load_aggregate(last)
