"""Waiting for a position of the books."""

import asyncio

import pytest

from ledger.books import reader as reader_module
from ledger.books.reader import BooksBehind, MemberBalance, Reader
from ledger.books.schema import migrate
from tests.books.books_database import Books
from tests.books.histories import ACME, CommandLog
from tests.polling import wait_until


async def test_a_position_that_is_shown_already_is_not_waited_for(
    books: Books, reader: Reader, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "MIN_POSITION_WAIT_S", 0.0)
    await command_log.thank_many(3)
    await books.write(await command_log.read_events())
    await reader.wait_for_position(3)
    await books.execute("DROP TABLE checkpoint CASCADE")
    await reader.wait_for_position(3)  # Known by now: Postgres is not even asked.
    await reader.wait_for_position(0)


async def test_a_position_is_waited_for_until_a_commit_shows_it(
    books: Books, reader: Reader, command_log: CommandLog
) -> None:
    await command_log.thank_many(3)
    waiting = [asyncio.create_task(reader.wait_for_position(position)) for position in (1, 2, 3)]
    events = await command_log.read_events()
    async with books.writer() as writer:
        for event in events:
            await writer.apply([event])
    async with asyncio.timeout(2):
        await asyncio.gather(*waiting)
    assert await reader.balance(ACME, "bob") == (3, MemberBalance("bob", 360, 0, 0, 360, 0))


async def test_a_commit_wakes_the_waiting_long_before_their_time_is_over(
    books: Books, reader: Reader, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notice alone can do it: nothing else would look again within the minute."""
    monkeypatch.setattr(reader_module, "MIN_POSITION_WAIT_S", 60.0)
    monkeypatch.setattr(reader_module, "KEEPALIVE_S", 60.0)
    listening = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'referral-ledger watermark')"
    await command_log.thank_many(1)
    async with books.reader() as patient:
        await wait_until(lambda: books.value(listening))
        waiting = asyncio.create_task(patient.wait_for_position(1))
        await books.write(await command_log.read_events())
        async with asyncio.timeout(5):
            await waiting


async def test_books_that_do_not_get_there_in_time_are_behind(
    books: Books, reader: Reader, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "MIN_POSITION_WAIT_S", 0.05)
    await command_log.thank_many(3)
    await books.write(await command_log.read_events())
    with pytest.raises(BooksBehind, match="position 4 is requested, but the books are at 3"):
        await reader.wait_for_position(4)


def test_nobody_is_kept_waiting_for_more_than_two_seconds() -> None:
    assert reader_module.MIN_POSITION_WAIT_S == 2


async def test_what_was_committed_before_anybody_listened_is_seen(
    books: Books, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is committed while the connection that listens is gone."""
    monkeypatch.setattr(reader_module, "KEEPALIVE_S", 0.05)
    monkeypatch.setattr(reader_module, "RECONNECT_WAIT_S", 0.05)
    await command_log.thank_many(2)
    await books.write((await command_log.read_events())[:1])
    async with books.reader() as reader:
        await reader.wait_for_position(1)
        waiting = asyncio.create_task(reader.wait_for_position(2))
        await books.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'referral-ledger watermark'"
        )
        await books.write(await command_log.read_events(2))
        async with asyncio.timeout(2):
            await waiting


async def test_a_commit_whose_notice_got_lost_is_found_when_the_time_is_over(
    books: Books, reader: Reader, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "MIN_POSITION_WAIT_S", 0.5)
    await command_log.thank_many(1)
    assert reader._listening is not None
    reader._listening.cancel()
    await asyncio.wait([reader._listening])
    waiting = asyncio.create_task(reader.wait_for_position(1))
    await books.write(await command_log.read_events())
    async with asyncio.timeout(2):
        await waiting


async def behind(reader: Reader, position: int) -> bool:
    try:
        await reader.wait_for_position(position)
    except BooksBehind:
        return True
    return False


async def test_books_that_begin_anew_are_waited_for_again(
    books: Books, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader outlives the schema that it reads: what was shown before shows nothing now."""
    monkeypatch.setattr(reader_module, "KEEPALIVE_S", 0.02)
    monkeypatch.setattr(reader_module, "RECONNECT_WAIT_S", 0.02)
    monkeypatch.setattr(reader_module, "MIN_POSITION_WAIT_S", 0.1)
    await command_log.thank_many(5)
    await books.write(await command_log.read_events())

    async with books.reader() as reader:
        await reader.wait_for_position(5)
        await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
        await migrate(books.address)
        assert await reader.balance(ACME, "ada") == (0, MemberBalance("ada", 0, 0, 0, 0, 0))
        await wait_until(lambda: behind(reader, 5), timeout_s=3)
