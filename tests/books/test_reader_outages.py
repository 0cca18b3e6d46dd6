"""The reader without a schema, without a right, and while Postgres is away or hangs."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import Any

import asyncpg
import psutil
import pytest
from structlog.testing import capture_logs

from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books import pool as pool_module
from ledger.books import reader as reader_module
from ledger.books.connection import BooksUnavailable, SchemaMissing, connect
from ledger.books.feed import Feed
from ledger.books.reader import Reader
from ledger.books.schema import migrate
from ledger.runtime.settings import BooksAddress
from tests.books.books_database import Books
from tests.books.histories import ACME, CommandLog
from tests.polling import wait_until


async def holds(promise: Callable[[], Coroutine[Any, Any, object]]) -> bool:
    """Whether the books answer."""
    try:
        await promise()
    except BooksUnavailable:
        return False
    return True


async def test_a_schema_that_is_not_there_is_missing(postgres: EmbeddedPostgres, schema: str) -> None:
    async with Books(BooksAddress(postgres.dsn, schema)).reader() as reader:
        for ask in (
            reader.position,
            reader.check,
            lambda: reader.wait_for_position(1),
            lambda: reader.balances(ACME, "", 1),
        ):
            with pytest.raises(SchemaMissing):
                await ask()


async def test_reading_begins_once_the_schema_is_there(
    postgres: EmbeddedPostgres, schema: str, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "RECONNECT_WAIT_S", 0.05)
    books = Books(BooksAddress(postgres.dsn, schema))
    await command_log.thank_many(1)
    looked = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'referral-ledger watermark')"
    async with books.reader() as reader:
        await wait_until(lambda: books.value(looked))
        await migrate(BooksAddress(books.dsn, schema))
        await reader.check()
        waiting = asyncio.create_task(reader.wait_for_position(1))
        await books.write(await command_log.read_events())
        async with asyncio.timeout(5):
            await waiting


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often somebody has begun to listen."""
    tried: list[str] = []

    def trying(books: BooksAddress, name: str) -> AbstractAsyncContextManager["asyncpg.Connection[Any]"]:
        tried.append(name)
        return connect(books, name)

    monkeypatch.setattr(reader_module, "connect", trying)
    monkeypatch.setattr(reader_module, "RECONNECT_WAIT_S", 0.05)
    return tried


async def test_a_right_that_is_given_while_we_wait_is_made_use_of(
    books: Books, stranger: str, command_log: CommandLog, tries: list[str]
) -> None:
    await books.execute(f"GRANT USAGE ON SCHEMA {books.schema} TO {stranger}")
    await command_log.thank_many(1)
    async with Reader(BooksAddress(books.dsn.replace("postgres@", f"{stranger}@"), books.schema), 1) as reader:
        for ask in (reader.position, reader.check):
            with pytest.raises(BooksUnavailable, match="permission denied"):
                await ask()
        await wait_until(lambda: holds_by_now(lambda: len(tries) > 2))
        await books.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {books.schema} TO {stranger}")
        waiting = asyncio.create_task(reader.wait_beyond(0))
        await books.write(await command_log.read_events())
        async with asyncio.timeout(5):
            await waiting
        assert await reader.position() == 1


async def test_whatever_goes_wrong_the_books_are_heard_of_again_and_it_is_said_once(
    books: Books, command_log: CommandLog, tries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await command_log.thank_many(1)
    await books.write(await command_log.read_events())
    queries, odd = reader_module.QUERIES, {**reader_module.QUERIES, "position": "SELECT 'a few'"}
    monkeypatch.setattr(reader_module, "QUERIES", odd)
    with capture_logs() as logs:
        async with books.reader() as reader:
            await wait_until(lambda: holds_by_now(lambda: len(tries) > 2))
            monkeypatch.setattr(reader_module, "QUERIES", queries)
            async with asyncio.timeout(5):
                await reader.wait_beyond(0)
    assert [(entry["log_level"], entry["task"]) for entry in logs] == [("error", "watermark")]


async def holds_by_now(condition: Callable[[], bool]) -> bool:
    return condition()


async def test_the_check_is_content_with_a_schema_that_is_up_to_date(reader: Reader) -> None:
    await reader.check()


async def test_the_check_finds_a_schema_that_was_dropped(books: Books, reader: Reader) -> None:
    await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
    with pytest.raises(SchemaMissing):
        await reader.position()
    with pytest.raises(SchemaMissing):
        await reader.check()


async def test_the_check_gives_up_when_every_connection_is_taken(
    books: Books, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "ACQUIRE_MAX_S", 0.05)
    taken = [await reader._pool.acquire() for _ in range(2)]
    with pytest.raises(BooksUnavailable):
        await reader.check()
    for connection in taken:
        await reader._pool.release(connection)
    await reader.check()


async def test_a_reader_that_never_began_ends_quietly(books: Books) -> None:
    reader = Reader(books.address, 1)
    reader._pool = await asyncpg.create_pool(books.dsn, min_size=0, max_size=1)
    await reader.__aexit__()


async def test_postgres_may_stop_and_come_back(
    idle_postgres: EmbeddedPostgres, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "RECONNECT_WAIT_S", 0.05)
    monkeypatch.setattr(reader_module, "KEEPALIVE_S", 0.05)
    books = Books(BooksAddress(idle_postgres.dsn, "books"))
    await command_log.thank_many(2)
    events = await command_log.read_events()
    async with books.reader() as reader:
        with pytest.raises(BooksUnavailable):
            await reader.position()  # Not started yet.
        idle_postgres.start()
        await migrate(BooksAddress(books.dsn, "books"))
        await books.write(events[:1])
        await reader.wait_for_position(1)
        for end in (idle_postgres.stop, idle_postgres.kill):
            end()
            for ask in (reader.position, reader.check, lambda: reader.wait_for_position(99)):
                with pytest.raises(BooksUnavailable):
                    await ask()
            await reader.wait_for_position(1)  # Known already: it does not take Postgres.
            idle_postgres.start()
            await wait_until(lambda: holds(reader.check))
            assert await reader.position() == 1
        waiting = asyncio.create_task(reader.wait_for_position(2))
        await books.write(events[1:])
        async with asyncio.timeout(2):
            await waiting


@contextmanager
def hanging(server: EmbeddedPostgres) -> Generator[None]:
    """Postgres neither answers nor ends, as on a disk that does not come back."""
    postmaster = psutil.Process(server.pid)
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


async def test_while_postgres_hangs_every_read_is_refused_in_time_and_afterwards_answered(
    own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, broken_connections: None
) -> None:
    """Those who have a connection, those who wait for one, and those who need a new one."""
    monkeypatch.setattr(pool_module, "ACQUIRE_MAX_S", 0.2)
    monkeypatch.setattr(pool_module, "QUERY_MAX_S", 0.5)
    books = Books(BooksAddress(own_postgres.dsn, "books"))
    await migrate(books.address)
    async with books.reader() as reader, Feed(books.address) as feed:
        reads: list[Callable[[], Coroutine[Any, Any, object]]] = [
            reader.position,
            lambda: feed.since(0, [ACME], 1),
        ] * 8
        await asyncio.gather(*(read() for read in reads))
        with hanging(own_postgres):
            for _ in range(2):
                async with asyncio.timeout(5):
                    answers = await asyncio.gather(*(read() for read in reads), return_exceptions=True)
                assert {type(answer) for answer in answers} == {BooksUnavailable}
        for read in reads:
            await wait_until(partial(holds, read))


def test_a_read_is_refused_after_fourteen_seconds_at_the_latest() -> None:
    """It waits for a connection, for its answer, and for the connection to be fit for others again."""
    assert pool_module.ACQUIRE_MAX_S + pool_module.QUERY_MAX_S + pool_module.ACQUIRE_MAX_S == 14
