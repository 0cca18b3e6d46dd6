"""One writer at a time, and the notice of each commit."""

import asyncio
from typing import Any

import asyncpg
import pytest

from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books.connection import BooksUnavailable, SchemaMissing
from ledger.books.schema import migrate, require_schema
from ledger.books.writer import Checkpoint, Displaced
from ledger.domain.kinds.favour import FavourConfirmed
from ledger.envelope import Poison
from ledger.runtime.settings import BooksAddress
from tests.books.books_database import Books
from tests.books.histories import CommandLog, renumber, uuid_of
from tests.books.writer_histories import record_every_entry
from tests.polling import wait_until

# One writer


async def test_a_second_writer_waits_until_the_first_is_done(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(4)
    events = await command_log.read_events()
    waits = asyncio.Event()
    second: list[Checkpoint] = []

    async def take_over() -> None:
        waits.set()
        async with books.writer() as writer:
            second.append(await writer.checkpoint())
            await writer.apply(events[2:])

    async with books.writer() as writer:
        waiting = asyncio.create_task(take_over())
        await waits.wait()
        await wait_until(books.has_waiting_writer)
        await writer.apply(events[:2])
        assert not second
    async with asyncio.timeout(5):
        await waiting
    assert [checkpoint.position for checkpoint in second] == [2]
    assert await books.position() == 4


async def test_the_next_writer_takes_over_when_the_connection_of_the_first_ends(
    books: Books, command_log: CommandLog
) -> None:
    await command_log.thank_many(2)
    events = await command_log.read_events()
    async with books.writer() as first:
        await first.apply(events[:1])
        pid = first._connection.get_server_pid()
        taking_over = asyncio.create_task(books.write(events[1:]))
        await wait_until(books.has_waiting_writer)
        assert not taking_over.done()
        await books.execute("SELECT pg_terminate_backend($1)", pid)
        async with asyncio.timeout(5):
            await taking_over
        with pytest.raises((BooksUnavailable, Displaced)):
            await first.apply(events[1:])
    assert await books.position() == 2


@pytest.mark.parametrize("name", ["writer", "writer, reading"])
async def test_a_writer_needs_both_of_its_connections(books: Books, command_log: CommandLog, name: str) -> None:
    await record_every_entry(command_log)
    events = await command_log.read_events()
    async with books.writer() as writer:
        await writer.apply(events[:1])
        await books.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
            f"referral-ledger {name}",
        )
        with pytest.raises(BooksUnavailable):
            await writer.apply(events[1:])
    assert await books.position() == 1
    await books.write(events[1:])
    assert await books.position() == 10


async def test_a_standby_whose_connection_ends_says_so(books: Books) -> None:
    async with books.writer() as first:
        standing_by = asyncio.create_task(books.write([]))
        await wait_until(books.has_waiting_writer)
        await books.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'referral-ledger writer' AND query LIKE '%try_advisory%' AND pid <> $1",
            first._connection.get_server_pid(),
        )
        with pytest.raises(BooksUnavailable):
            await standing_by


async def test_a_connection_that_ends_while_the_schema_is_looked_at_says_so(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(connection: "asyncpg.Connection[Any]", schema: str) -> None:
        await books.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        await require_schema(connection, schema)

    monkeypatch.setattr("ledger.books.writer.require_schema", interrupted)
    with pytest.raises(BooksUnavailable):
        await books.write([])


async def test_writers_of_two_schemas_do_not_wait_for_each_other(books: Books, command_log: CommandLog) -> None:
    other = Books(BooksAddress(books.dsn, f"{books.schema}_beside"))
    await migrate(other.address)
    await command_log.thank_many(1)
    async with books.writer(), asyncio.timeout(5):
        await other.write(await command_log.read_events())
    assert await other.position() == 1
    assert await books.position() == 0


async def test_there_is_no_writer_before_there_is_a_schema(postgres: EmbeddedPostgres, schema: str) -> None:
    with pytest.raises(SchemaMissing):
        await Books(BooksAddress(postgres.dsn, schema)).write([])


async def test_a_schema_that_is_dropped_under_the_writer_is_missing(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(1)
    async with books.writer() as writer:
        await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
        with pytest.raises(SchemaMissing):
            await writer.checkpoint()
        with pytest.raises(SchemaMissing):
            await writer.apply(await command_log.read_events())


# Announcing


async def test_a_commit_wakes_whoever_waits_for_its_position(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(3)
    async with books.reader() as reader, books.writer() as writer:
        waiting = asyncio.create_task(reader.wait_for_position(3))
        await writer.apply((await command_log.read_events())[:2])
        assert not waiting.done()
        await writer.apply(await command_log.read_events(3))
        async with asyncio.timeout(2):
            await waiting


async def test_nothing_is_announced_before_it_is_committed(books: Books, command_log: CommandLog) -> None:
    heard: asyncio.Queue[object] = asyncio.Queue()

    def hear(_connection: object, _pid: object, _channel: object, payload: object) -> None:
        heard.put_nowait(payload)

    await command_log.thank_many(2)
    await command_log.append_event(uuid_of(99), FavourConfirmed(giver="ada", receiver="bob", points=120))
    events = await command_log.read_events()
    async with books.connection() as ear:
        await ear.add_listener(f"ledger_{books.schema}", hear)
        async with books.writer() as writer:
            with pytest.raises(Poison):
                await writer.apply(events)
            with pytest.raises(Displaced):
                await writer.apply(renumber(events[:2], 5))
        await books.write(events[:2])
        async with asyncio.timeout(5):
            assert await heard.get() == "2"
        await ear.remove_listener(f"ledger_{books.schema}", hear)
    assert heard.empty()
