"""Batch sizes: any history gives the same books, in batches of any size and however much the writer remembers."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Final, get_args

import pytest

from ledger.books.changes import Changes
from ledger.books.writer import CACHED_MAX, Writer
from ledger.commands.executor import Executor
from ledger.commands.submission import Outcome, Submission
from ledger.domain.catalog.kinds import EVENTS
from ledger.domain.catalog.operations import LAPSES, OPERATIONS
from ledger.domain.kinds.dispute.events import DisputeOpened, DisputeUpheld
from ledger.domain.kinds.dispute.states import DisputedEntry
from ledger.domain.kinds.intro.events import IntroClosed
from ledger.domain.kinds.referral import ReferralWon
from ledger.domain.values.aggregate_types import tag_of
from ledger.domain.values.refusals import Refusal
from ledger.envelope import RecordedEvent, encode_state
from tests.books.books_comparison import assert_books_match, assert_folios_match
from tests.books.books_database import Books
from tests.books.histories import CommandLog, uuid_of
from tests.books.random_histories import RandomHistory
from tests.books.writer_histories import LENGTH, SEEDS, batches_of
from tests.databases import Databases
from tests.oracle.expected_books import ExpectedBooks
from tests.scale import scale
from workers.projector import FOLDED_MAX, fold_all, write_all

FOLIO_LINES: Final = 16


@pytest.mark.slow
@pytest.mark.parametrize("seed", scale(gate=SEEDS[:1], soak=SEEDS))
async def test_any_history_gives_the_books_of_the_page_in_any_batch_size(
    databases: Databases, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.books.fold.FOLIO_LINES", FOLIO_LINES)
    history = RandomHistory(seed)
    events = await history.generate(LENGTH)
    async with (
        databases.empty_books() as by_one,
        databases.empty_books() as by_seven,
        databases.empty_books() as at_once,
    ):
        for size, books in ((1, by_one), (7, by_seven), (1_000, at_once)):
            await books.write(events, batch_max=size)
        one, seven, thousand = [await books.all_rows() for books in (by_one, by_seven, at_once)]
        assert one == seven
        assert seven == thousand
        assert all(one.values()), "a table is empty: the history is too dull"
        await assert_books_match(by_seven, ExpectedBooks().record(events))
        await assert_folios_match(by_seven, FOLIO_LINES)
        await held_against_the_executor(by_seven, history)


class AsFarAheadAsCanBe(Writer):
    """A batch begins to be written only when as many as there may be are prepared over it."""

    def __init__(self, writer: Writer, count: int) -> None:
        super().__init__(writer._connection, writer._reading)
        self._left = count  # Batches that are not prepared yet.
        self._ahead = 0
        self._moved = asyncio.Condition()
        self.ahead_max = 0

    async def prepare(self, events: Sequence[RecordedEvent]) -> Changes:
        try:
            changes = await super().prepare(events)
            self._left, self._ahead = self._left - 1, self._ahead + 1
        except Exception:
            self._left = 0  # Nothing follows that could be waited for.
            raise
        finally:
            async with self._moved:
                self._moved.notify_all()
        return changes

    async def write(self, changes: Changes) -> None:
        async with self._moved:
            # This one, those that are in the queue, and the one that waits to get in.
            await self._moved.wait_for(lambda: self._ahead == 1 + FOLDED_MAX + 1 or not self._left)
        self.ahead_max = max(self.ahead_max, self._ahead)
        await super().write(changes)
        self._ahead -= 1


async def write_as_the_projector_does(books: Books, events: Sequence[RecordedEvent], size: int) -> None:
    async def batches() -> AsyncGenerator[list[RecordedEvent], None]:
        for batch in batches_of(events, size):
            yield batch

    async with books.writer() as one:
        writer = AsFarAheadAsCanBe(one, -(-len(events) // size))
        folded: asyncio.Queue[Changes] = asyncio.Queue(maxsize=FOLDED_MAX)
        async with asyncio.timeout(60):
            writing = asyncio.create_task(write_all(writer, folded))
            await fold_all(batches(), writer, folded)
            await folded.join()
        writing.cancel()
        assert writer.ahead_max == 3


@pytest.mark.parametrize(
    ("size", "remembered_max"), [(1, 1), (1, 2), (1, 3), (7, 1), (7, 40), (1, CACHED_MAX), (7, CACHED_MAX)]
)
async def test_batches_that_are_folded_while_others_are_written_give_the_same_books(
    books: Books, size: int, remembered_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the projector does: one is being written and one waits, while the next one is folded over both."""
    monkeypatch.setattr("ledger.books.writer.CACHED_MAX", remembered_max)
    events = await RandomHistory(SEEDS[0]).generate(LENGTH // 4)
    await write_as_the_projector_does(books, events, size)
    await assert_books_match(books, ExpectedBooks().record(events))


@pytest.mark.parametrize("remembered_max", [1, 3])
async def test_a_writer_that_remembers_next_to_nothing_gives_the_same_books(
    books: Books, remembered_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.books.writer.CACHED_MAX", remembered_max)
    events = await RandomHistory(SEEDS[1]).generate(LENGTH // 2)
    await books.write(events, batch_max=5)
    await assert_books_match(books, ExpectedBooks().record(events))


async def test_a_writer_that_remembers_everything_reads_no_balance_twice(books: Books, command_log: CommandLog) -> None:
    """Otherwise the tests of what it remembers would prove nothing."""
    await command_log.thank_many(6)
    events = await command_log.read_events()
    async with books.writer() as writer:
        await writer.apply(events[:3])
        await books.execute("UPDATE balance SET main = 1000000")
        await writer.apply(events[3:])
    assert (await books.balances())["bob"] == (720, 0, 720, 0)


async def test_a_writer_that_forgets_reads_again_what_is_written(
    books: Books, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.books.writer.CACHED_MAX", 1)
    await command_log.thank_many(1)
    await command_log.thank("cyd", "dee", own_id=uuid_of(2))
    await command_log.thank("cyd", "dee", own_id=uuid_of(3))
    await command_log.thank_many(1, begin=4)
    events = await command_log.read_events()
    async with books.writer() as writer:
        for event in events[:3]:
            await writer.apply([event])
        await books.execute("UPDATE balance SET main = 1000 WHERE member = 'bob'")
        await writer.apply(events[3:])
    assert (await books.balances())["bob"] == (1_120, 0, 240, 0)


async def held_against_the_executor(books: Books, history: RandomHistory) -> None:
    """The facts are the states that the executor answered with."""
    found = {
        row[:3]: row[3] for row in await books.rows("SELECT kind, community, id::text, facts::text FROM aggregate")
    }
    assert found == {
        (ref.kind, ref.community, ref.id): encode_state(outcome.state).decode() for ref, outcome in history.last.items()
    }


async def test_the_random_histories_tell_of_everything() -> None:
    said = [event.envelope.data for seed in SEEDS for event in await RandomHistory(seed).generate(LENGTH)]
    assert {tag_of(data) for data in said} == set(EVENTS)
    closed = {(data.fault, data.matchmade, data.stake > 0) for data in said if isinstance(data, IntroClosed)}
    assert closed == {
        (fault, matchmade, staked)
        for fault in ("none", "asker", "connector")
        for matchmade in (False, True)
        for staked in (False, True)
        if not (fault == "asker" and matchmade)  # Nobody asked.
    }
    assert any(data.settled for data in said if isinstance(data, IntroClosed))
    assert any(data.parent_referrer for data in said if isinstance(data, ReferralWon))
    opened = {data.entry for data in said if isinstance(data, DisputeOpened)}
    assert opened == set(get_args(DisputedEntry))
    upheld = {(data.remedy, data.fault) for data in said if isinstance(data, DisputeUpheld)}
    assert upheld == {("reversal", "none"), ("none", "none"), ("fault", "asker"), ("fault", "connector")}


async def test_the_random_histories_use_every_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[str] = set()
    execute_all = Executor.execute_all

    async def listen(executor: Executor, submissions: Sequence[Submission]) -> list[Outcome | Refusal]:
        results = await execute_all(executor, submissions)
        recorded = zip(submissions, results, strict=True)
        used.update(said.operation for said, result in recorded if isinstance(result, Outcome))
        return results

    monkeypatch.setattr(Executor, "execute_all", listen)
    for seed in SEEDS:
        await RandomHistory(seed).generate(LENGTH)
    assert used == OPERATIONS.keys() | {f"{kind}.lapse" for kind in LAPSES}
