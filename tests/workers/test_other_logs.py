"""A log other than the one that the books were written from stops the projector."""

import asyncio

from ledger.books.schema import migrate
from ledger.log.connection import Connection
from ledger.log.event_log import ForeignLog
from ledger.log.stream import STREAM, provision
from ledger.runtime.settings import Settings
from tests.books.books_database import Books
from tests.books.histories import CommandLog, uuid_of
from tests.polling import wait_until
from tests.workers.projector_runs import running_projector, wait_for_failure, wait_for_position


async def begin_anew(connection: Connection) -> None:
    """The stream is wiped and made again."""
    await connection.api(f"STREAM.DELETE.{STREAM}")
    await provision(connection, 1)


async def refuses_this_log(settings: Settings, books: Books) -> str:
    before = await books.all_rows()
    async with running_projector(settings) as task:
        error = await wait_for_failure(task)
    assert isinstance(error, ForeignLog)
    assert await books.all_rows() == before
    return str(error)


async def project_events(settings: Settings, books: Books, command_log: CommandLog, count: int) -> None:
    await command_log.thank_many(count)
    async with running_projector(settings) as task:
        await wait_for_position(books, count, task)


async def test_a_log_that_was_wiped_stops_the_projector_and_it_says_what_to_do(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog
) -> None:
    await project_events(settings, books, command_log, 5)
    (last,) = await command_log.read_events(5)
    await begin_anew(connection)
    message = await refuses_this_log(settings, books)
    assert f"position 5 was event {last.envelope.id}, but the log ends at 0" in message
    assert "drop the schema of the books and run `referral-ledger migrate`" in message
    assert "restore the log" in message


async def test_a_log_that_is_shorter_than_the_books_stops_the_projector(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog
) -> None:
    await project_events(settings, books, command_log, 5)
    await begin_anew(connection)
    await command_log.thank_many(4)
    assert "but the log ends at 4" in await refuses_this_log(settings, books)


async def test_a_log_that_holds_another_event_there_stops_the_projector(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog
) -> None:
    await project_events(settings, books, command_log, 5)
    await begin_anew(connection)
    await command_log.thank_many(9)
    other = await command_log.log.at(5)
    assert other is not None
    assert f"but the log now contains event {other.envelope.id}" in await refuses_this_log(settings, books)


async def test_doing_as_it_says_derives_the_books_from_the_new_log(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog
) -> None:
    await project_events(settings, books, command_log, 5)
    await begin_anew(connection)
    await command_log.thank("cyd", "dee", own_id=uuid_of(1))
    await refuses_this_log(settings, books)
    await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
    await migrate(books.address)
    async with running_projector(settings) as task:
        await wait_for_position(books, 1, task)
    assert await books.balances() == {"cyd": (120, 0, 120, 0), "dee": (-120, 0, 0, 120)}


async def test_a_log_that_is_wiped_under_a_projector_at_work_is_not_mixed_into_its_books(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog
) -> None:
    await command_log.thank_many(3)
    async with running_projector(settings) as task:
        await wait_for_position(books, 3, task)
        before = await books.all_rows()
        await begin_anew(connection)
        await command_log.thank_many(6, begin=101)
        await wait_until(lambda: ended_or_moved(task, books, 3))
        assert await books.all_rows() == before
        assert isinstance(await wait_for_failure(task), ForeignLog)


async def test_a_log_that_is_wiped_under_a_projector_that_has_read_nothing_of_it_is_not_mixed_in_either(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog
) -> None:
    await project_events(settings, books, command_log, 3)
    before = await books.all_rows()
    async with running_projector(settings) as task:

        async def waits_for_more() -> bool:
            answer = await connection.api(f"CONSUMER.NAMES.{STREAM}")
            return bool(answer["consumers"])

        await wait_until(waits_for_more)
        await begin_anew(connection)
        await command_log.thank_many(6, begin=101)
        await wait_until(lambda: ended_or_moved(task, books, 3))
        assert await books.all_rows() == before
        assert isinstance(await wait_for_failure(task), ForeignLog)


async def ended_or_moved(task: asyncio.Task[None], books: Books, position: int) -> bool:
    return task.done() or await books.position() > position
