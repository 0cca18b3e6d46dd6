"""Atomicity: a batch is written whole, once and in order, or leaves nothing."""

import asyncio
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest

from ledger.books.changes import new_aggregate_row
from ledger.books.connection import BooksUnavailable
from ledger.books.rows import AggregateRow
from ledger.books.writer import CACHED_MAX, Displaced
from ledger.domain.kinds.favour import ConfirmFavour, RecordFavour
from ledger.domain.kinds.member import JoinMember, SetWants
from ledger.domain.values.refusals import Bug
from ledger.envelope import AggregateRef
from tests.books.books_comparison import assert_books_match
from tests.books.books_database import Books
from tests.books.histories import CommandLog, uuid_of
from tests.books.writer_histories import EMPTY, assert_refused, record_every_entry
from tests.oracle.expected_books import ExpectedBooks
from tests.polling import wait_until


async def test_the_same_batch_twice_is_displaced_and_writes_nothing(books: Books, command_log: CommandLog) -> None:
    await record_every_entry(command_log)
    await books.write(await command_log.read_events())
    await assert_refused(books, command_log, Displaced)


async def test_a_batch_that_overlaps_what_is_written_is_displaced(books: Books, command_log: CommandLog) -> None:
    await record_every_entry(command_log)
    await books.write((await command_log.read_events())[:5])
    await assert_refused(books, command_log, Displaced, first=5)


async def test_a_step_that_somebody_else_has_written_is_displaced_and_no_poison(
    books: Books, command_log: CommandLog
) -> None:
    await command_log.execute(RecordFavour(actor="ada", giver="ada", receiver="bob", size="large", id=uuid_of(1)))
    await command_log.execute(ConfirmFavour(actor="bob"), uuid_of(1))
    await books.write(await command_log.read_events())
    await assert_refused(books, command_log, Displaced, first=2)


async def test_a_batch_after_a_gap_is_displaced_and_writes_nothing(books: Books, command_log: CommandLog) -> None:
    await record_every_entry(command_log)
    await assert_refused(books, command_log, Displaced, first=2)


async def test_a_batch_with_a_gap_inside_is_refused_and_writes_nothing(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(4)
    events = await command_log.read_events()
    async with books.writer() as writer:
        with pytest.raises(Bug, match="3 events from 1 to 4"):
            await writer.apply([events[0], events[1], events[3]])
        assert await writer.checkpoint() == EMPTY
        await writer.apply(events)
    assert await books.position() == 4


async def test_books_that_somebody_emptied_are_displaced_and_their_next_step_no_poison(
    books: Books, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the writer remembers what the step follows upon, or reads it."""
    for n in (1, 2, 3):
        await command_log.execute(RecordFavour(actor="ada", giver="ada", receiver="bob", size="large", id=uuid_of(n)))
    await command_log.execute(ConfirmFavour(actor="bob"), uuid_of(1))
    events = await command_log.read_events()
    for remembered_max in (CACHED_MAX, 1):
        monkeypatch.setattr("ledger.books.writer.CACHED_MAX", remembered_max)
        async with books.writer() as writer:
            for event in events[:3]:
                await writer.apply([event])
            await books.execute("DELETE FROM aggregate; UPDATE checkpoint SET position = 0, event_id = NULL")
            await books.execute("SET session_replication_role = replica; DELETE FROM journal; DELETE FROM deadline")
            with pytest.raises(Displaced):
                await writer.apply(events[3:])
    assert await books.position() == 0


async def test_of_two_who_write_the_same_at_once_one_is_displaced(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(50)
    events = await command_log.read_events()
    async with books.unlocked_writer() as one, books.unlocked_writer() as other:
        results = await asyncio.gather(*(writer.apply(events) for writer in (one, other)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Displaced", "NoneType"]
    assert await books.balances() == {"ada": (-6_000, 0, 0, 6_000), "bob": (6_000, 0, 6_000, 0)}


async def test_books_without_a_checkpoint_are_a_bug(books: Books) -> None:
    await books.execute("DELETE FROM checkpoint")
    async with books.writer() as writer:
        with pytest.raises(Bug, match="no checkpoint"):
            await writer.checkpoint()


TABLES: Final = ("checkpoint", "journal", "posting", "balance", "pair", "aggregate", "deadline", "tag")


async def record_for_every_table(command_log: CommandLog) -> None:
    await record_every_entry(command_log)
    ada = UUID((await command_log.execute(JoinMember(actor="ada", member="ada"))).ref.id)
    await command_log.execute(SetWants(actor="ada", tags=("law", "tax")), ada)


async def when_written(books: Books, table: str, what: str) -> None:
    """From now on this happens in the transaction that writes the table, right after it did."""
    await books.execute(
        f"CREATE FUNCTION mishap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what}; RETURN NULL; END $$;"
        f"CREATE TRIGGER mishap AFTER INSERT OR UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION mishap()"
    )


@pytest.mark.parametrize("table", TABLES)
async def test_a_connection_that_ends_halfway_leaves_nothing(books: Books, command_log: CommandLog, table: str) -> None:
    await record_for_every_table(command_log)
    await when_written(books, table, "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10)")
    await assert_refused(books, command_log, BooksUnavailable)
    await books.execute("DROP FUNCTION mishap CASCADE")
    await books.write(await command_log.read_events())
    assert await books.position() == 12


@pytest.mark.parametrize("table", TABLES)
async def test_a_statement_that_fails_leaves_nothing_and_the_next_writer_goes_on(
    books: Books, command_log: CommandLog, table: str
) -> None:
    """The one that failed remembers what was never written, and is thrown away."""
    await record_for_every_table(command_log)
    events = await command_log.read_events()
    await books.write(events[:3])
    await when_written(books, table, "RAISE EXCEPTION 'mishap'")
    before = await books.all_rows()
    async with books.writer() as writer:
        with pytest.raises(asyncpg.RaiseError, match="mishap"):
            await writer.apply(events[3:])
    assert await books.all_rows() == before
    await books.execute("DROP FUNCTION mishap CASCADE")
    await books.write(events[3:])
    await assert_books_match(books, ExpectedBooks().record(events))


async def test_a_connection_that_is_ended_while_it_waits_for_another_leaves_nothing(
    books: Books, command_log: CommandLog
) -> None:
    await command_log.thank_many(3)
    before = await books.all_rows()
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'referral-ledger writer'"
        " AND state = 'active' AND wait_event_type = 'Lock'"
    )
    async with books.connection() as other, books.writer() as writer:
        async with other.transaction():
            await other.execute("LOCK TABLE balance IN EXCLUSIVE MODE")
            applying = asyncio.create_task(writer.apply(await command_log.read_events()))
            await wait_until(lambda: books.value(f"SELECT EXISTS ({waiting})"))
            await books.execute(f"SELECT pg_terminate_backend(pid) FROM ({waiting}) w")
            with pytest.raises(BooksUnavailable):
                await applying
        with pytest.raises(BooksUnavailable):
            await writer.checkpoint()
    assert await books.all_rows() == before


async def test_a_writer_that_stood_still_for_too_long_is_unavailable_and_writes_nothing(
    books: Books, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres ends a transaction that is idle for a minute, as of a process that was suspended."""

    def slow(ref: AggregateRef, held: AggregateRow) -> tuple[Any, ...]:
        time.sleep(0.1)
        return new_aggregate_row(ref, held)

    await command_log.thank_many(3)
    before = await books.all_rows()
    monkeypatch.setattr("ledger.books.changes.new_aggregate_row", slow)
    async with books.writer() as writer:
        await writer._connection.execute("SET idle_in_transaction_session_timeout = '20ms'")
        with pytest.raises(BooksUnavailable):
            await writer.apply(await command_log.read_events())
    assert await books.all_rows() == before


async def test_times_are_written_to_the_microsecond_whatever_their_zone(books: Books) -> None:
    times = [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2099, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 3, 29, 3, 0, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    ]
    async with books.writer() as writer:
        rows = await writer._connection.fetch("SELECT at, at::text FROM unnest($1::timestamptz[]) at", times)
    assert [at for at, _ in rows] == times
    assert [datetime.fromisoformat(text) for _, text in rows] == times
