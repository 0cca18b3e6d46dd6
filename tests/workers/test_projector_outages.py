"""The projector waits for Postgres, NATS and the schema, and goes on by itself."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import msgspec
import pytest

from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books.changes import Changes
from ledger.books.connection import UNAVAILABLE_ERRORS, BooksUnavailable
from ledger.books.schema import migrate
from ledger.books.writer import Checkpoint, Writer, writer_lock
from ledger.domain.kinds.favour import ConfirmFavour, RecordFavour
from ledger.envelope import RecordedEvent
from ledger.log.connection import Connection
from ledger.log.event_log import AppendUncertain, LogUnavailable
from ledger.log.jetstream import JetStreamLog
from ledger.log.memory import MemoryLog
from ledger.log.stream import provision
from ledger.runtime.settings import BooksAddress, Settings
from tests.books.books_database import Books
from tests.books.histories import CommandLog, uuid_of
from tests.polling import wait_until
from tests.workers.projector_runs import as_condition, assert_books_match_log, running_projector, wait_for_position
from workers.projector import project_from_checkpoint


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The schemas that projectors of this process have tried to become the writer of, again and again."""
    tried: list[str] = []

    def trying(books: BooksAddress) -> AbstractAsyncContextManager[Writer]:
        tried.append(books.schema)
        return writer_lock(books)

    monkeypatch.setattr("workers.projector.writer_lock", trying)
    monkeypatch.setattr("workers.projector.RETRY_WAIT_S", 0.05)
    return tried


async def test_a_projector_waits_for_its_schema(
    settings: Settings, books: Books, command_log: CommandLog, tries: list[str]
) -> None:
    later = Books(BooksAddress(books.dsn, f"{books.schema}_later"))
    await command_log.thank_many(2)
    async with running_projector(msgspec.structs.replace(settings, postgres_schema=later.schema)) as task:
        await wait_until(lambda: as_condition(lambda: len(tries) > 2 or task.done()))
        await migrate(later.address)
        await wait_for_position(later, 2, task)
    await assert_books_match_log(later, command_log)


async def test_a_projector_waits_for_a_schema_that_is_dropped_and_made_again(
    settings: Settings, books: Books, command_log: CommandLog, tries: list[str]
) -> None:
    await command_log.thank_many(2)
    async with running_projector(settings) as task:
        await wait_for_position(books, 2, task)
        await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
        await command_log.thank_many(2, begin=3)
        await wait_until(lambda: as_condition(lambda: len(tries) > 2 or task.done()))
        await migrate(books.address)
        await wait_for_position(books, 4, task)
    await assert_books_match_log(books, command_log)


async def test_books_that_are_made_anew_between_two_events_are_derived_anew(
    settings: Settings, books: Books, command_log: CommandLog, tries: list[str]
) -> None:
    """The second event follows upon one that the new books do not hold: that is no poison."""
    await command_log.execute(RecordFavour(actor="ada", giver="ada", receiver="bob", size="large", id=uuid_of(99)))
    async with running_projector(settings) as task:
        await wait_for_position(books, 1, task)
        await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
        await migrate(books.address)
        await command_log.thank_many(2)
        await command_log.execute(ConfirmFavour(actor="bob"), uuid_of(99))
        await wait_for_position(books, 4, task)
    await assert_books_match_log(books, command_log)


async def test_a_connection_that_is_ended_is_made_again(
    settings: Settings, books: Books, command_log: CommandLog
) -> None:
    await command_log.thank_many(2)
    async with running_projector(settings) as task:
        await wait_for_position(books, 2, task)
        await books.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'referral-ledger writer'"
        )
        await command_log.thank_many(2, begin=3)
        await wait_for_position(books, 4, task)
    await assert_books_match_log(books, command_log)


async def test_a_projector_that_is_stopped_while_it_gives_up_stops(settings: Settings) -> None:
    gives_up, let_go = asyncio.Event(), asyncio.Event()

    class Lingering(MemoryLog):
        """Takes a moment to end its reading."""

        async def read_from(self, *_: Any, **__: Any) -> AsyncGenerator[list[RecordedEvent], None]:
            yield []
            try:
                await asyncio.Event().wait()
            finally:
                gives_up.set()
                await let_go.wait()

    class Unavailable(Writer):
        def __init__(self) -> None:
            pass

        async def checkpoint(self) -> Checkpoint:
            return Checkpoint(0, None)

        async def prepare(self, events: Sequence[RecordedEvent]) -> Changes:
            return Changes(1, 1, "", [], [], {}, {}, {}, [])

        async def write(self, changes: Changes) -> None:
            raise BooksUnavailable

    following = asyncio.create_task(project_from_checkpoint(Lingering(), Unavailable(), settings))
    await gives_up.wait()
    following.cancel()
    await asyncio.sleep(0)
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await following


async def test_postgres_may_be_killed_and_come_back(
    settings: Settings,
    command_log: CommandLog,
    idle_postgres: EmbeddedPostgres,
    tries: list[str],
    broken_connections: None,
) -> None:
    own = msgspec.structs.replace(settings, postgres_dsn=idle_postgres.dsn, postgres_schema="books")
    books = Books(BooksAddress(idle_postgres.dsn, "books"))
    async with running_projector(own) as task:
        await wait_until(lambda: as_condition(lambda: len(tries) > 2 or task.done()))
        idle_postgres.start()
        await migrate(BooksAddress(idle_postgres.dsn, "books"))
        await command_log.thank_many(1_000)
        await wait_for_position(books, 1, task)
        for end in (idle_postgres.kill, idle_postgres.stop):
            end()
            await command_log.thank_many(100, begin=await command_log.log.end() + 1)
            idle_postgres.start()
            await wait_until(lambda: answers(books))
            await wait_for_position(books, await command_log.log.end(), task)
    await assert_books_match_log(books, command_log)


async def answers(books: Books) -> bool:
    with suppress(BooksUnavailable, *UNAVAILABLE_ERRORS):
        return await books.position() >= 0
    return False


async def test_nats_may_be_killed_and_come_back(
    settings: Settings, books: Books, own_nats: EmbeddedNats, tries: list[str]
) -> None:
    own = msgspec.structs.replace(settings, nats_url=own_nats.url)
    async with Connection(own_nats.url, "test") as connection:
        await connection.ready()
        await provision(connection, 1)
        command_log = CommandLog(JetStreamLog(connection))
        async with running_projector(own) as task:
            await command_log.thank_many(1_000)
            await wait_for_position(books, 1, task)
            own_nats.kill()
            own_nats.start()
            await wait_until(lambda: takes_more(command_log, 1_001))
            await wait_for_position(books, 1_001, task)
        own_nats.stop()
        tries.clear()
        async with running_projector(own) as task:  # Its books are not empty, so it compares the log with them.
            await wait_until(lambda: as_condition(lambda: bool(tries) or task.done()))
            own_nats.start()
            await wait_until(lambda: takes_more(command_log, 1_002))
            await wait_for_position(books, 1_002, task)
        await assert_books_match_log(books, command_log)


async def takes_more(command_log: CommandLog, number_of: int) -> bool:
    """Whether the log answers again; asked twice, it is the same favour."""
    with suppress(LogUnavailable, AppendUncertain):
        await command_log.thank_many(1, begin=number_of)
        return True
    return False
