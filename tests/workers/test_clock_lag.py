"""Books that lag behind the log: the clock repeats nothing and overrules no answer."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from ledger.books.schema import migrate
from ledger.domain.kinds.dispute.commands import OpenDispute
from ledger.domain.kinds.favour import ConfirmFavour
from ledger.domain.kinds.intro.commands import ProposeIntro
from ledger.runtime.settings import Settings
from tests.books.books_database import Books
from tests.books.histories import CommandLog, submission, uuid_of
from tests.workers.clock_runs import (
    CLAIMS_ARE_OPEN,
    INTRO_STEPS,
    assert_books_match_log,
    assert_nothing_is_due,
    claim_many,
    counter_value,
    lapsed_favours,
    running_clock,
    running_projector,
    wait_for_books,
    wait_for_log_end,
    wait_for_looks,
)
from workers.clock import Clock


async def test_an_answer_that_the_books_do_not_show_yet_wins(
    settings: Settings, books: Books, command_log: CommandLog, looks: list[datetime]
) -> None:
    await claim_many(command_log, 1)
    await books.write(await command_log.read_events())
    command_log.now += CLAIMS_ARE_OPEN
    await command_log.execute(ConfirmFavour(actor="bob"), uuid_of(1))
    sent = counter_value("lapses_sent_total")
    async with running_clock(settings, command_log):
        await wait_for_looks(looks)
        assert counter_value("lapses_sent_total") - sent == 1, "it was sent again and again"
        async with running_projector(settings, command_log.log):
            await wait_for_books(books, 2)
            await wait_for_looks(looks)
    assert await command_log.log.end() == 2
    assert (await books.balances())["ada"] == (60, 0, 60, 0)
    await assert_nothing_is_due(books, command_log.now)


async def test_books_that_are_derived_anew_do_no_harm(
    settings: Settings, books: Books, command_log: CommandLog, looks: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All has lapsed or was answered long ago, and the books, on their way, are where it was claimed."""
    monkeypatch.setattr("ledger.books.reader.MIN_POSITION_WAIT_S", 0.1)
    await claim_many(command_log, 600)
    claimed = await command_log.read_events()
    await command_log.executor.execute_all(
        [submission(ConfirmFavour(actor="bob"), uuid_of(n)) for n in range(1, 601) if n % 3 == 0]
    )
    command_log.now += CLAIMS_ARE_OPEN
    async with running_projector(settings, command_log.log), running_clock(settings, command_log):
        await wait_for_log_end(command_log, 1_200)
        await wait_for_books(books, 1_200)
    everything = await books.all_rows()
    await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
    await migrate(books.address)

    command_log.now += timedelta(days=300)
    sent = counter_value("lapses_sent_total")
    async with running_clock(settings, command_log):
        await wait_for_looks(looks)
        assert counter_value("lapses_sent_total") == sent
        await books.write(claimed)
        await wait_for_looks(looks, 8)
        assert await command_log.log.end() == 1_200
        assert counter_value("lapses_sent_total") - sent == 600, "it was sent again and again"
        async with running_projector(settings, command_log.log):
            await wait_for_books(books, 1_200)
            await wait_for_looks(looks)
            await claim_many(command_log, 1, begin=1_001)
            await wait_for_books(books, 1_201)
            command_log.now += CLAIMS_ARE_OPEN
            await wait_for_log_end(command_log, 1_202)
            await wait_for_books(books, 1_202)
    assert lapsed_favours(await command_log.read_events(1_201)) == [1_001]
    assert (await books.all_rows())["balance"] == everything["balance"]
    await assert_books_match_log(settings, command_log)


async def test_a_projector_that_is_down_makes_no_lapse_late(
    settings: Settings, books: Books, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.clock.BATCH_MAX", 3)
    monkeypatch.setattr("ledger.books.reader.MIN_POSITION_WAIT_S", 0.1)
    await claim_many(command_log, 10)
    await books.write(await command_log.read_events())
    command_log.now += CLAIMS_ARE_OPEN
    async with running_clock(settings, command_log):
        await wait_for_log_end(command_log, 20)
    assert await books.position() == 10


async def test_what_waits_for_a_dispute_keeps_nothing_else_waiting_and_ends_after_it(
    settings: Settings, books: Books, command_log: CommandLog, looks: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.clock.BATCH_MAX", 2)
    monkeypatch.setattr("workers.clock.RETRY_REFUSED_S", 0.0)  # They are asked about at every look.
    today = datetime.now(UTC)  # An entry can be disputed for 60 days after it was recorded, which is today.
    command_log.now = today - timedelta(days=80)
    for n in (1, 2, 3):
        for command, of in INTRO_STEPS[:4]:
            own = msgspec.structs.replace(command, id=uuid_of(n)) if isinstance(command, ProposeIntro) else command
            await command_log.execute(own, of and uuid_of(n))
    command_log.now = today
    for n in (1, 2, 3):
        await command_log.execute(OpenDispute(actor="ada", about=uuid_of(n), entry="intro.made", code="no_consent"))
    await claim_many(command_log, 1, begin=9)
    told = await command_log.log.end()
    async with running_projector(settings, command_log.log), running_clock(settings, command_log):
        await wait_for_books(books, told)
        command_log.now = today + timedelta(days=11)  # The introductions would end, were they not disputed.
        await wait_for_looks(looks, 8)
        assert await command_log.log.end() == told
        command_log.now = today + CLAIMS_ARE_OPEN
        await wait_for_log_end(command_log, told + 1)
        command_log.now = today + timedelta(days=30)
        await wait_for_log_end(command_log, told + 7)
        await wait_for_books(books, told + 7)
    ended = [event.envelope.type.split(".")[1:3] for event in await command_log.read_events(told + 1)]
    assert ended[0] == ["favour", "lapsed"]
    assert sorted(ended[1:]) == [["dispute", "lapsed"]] * 3 + [["intro", "closed"]] * 3
    await assert_nothing_is_due(books, command_log.now)
    await assert_books_match_log(settings, command_log)


async def test_what_is_over_is_forgotten(settings: Settings, books: Books, command_log: CommandLog) -> None:
    await claim_many(command_log, 3)
    command_log.now += CLAIMS_ARE_OPEN
    async with running_projector(settings, command_log.log), books.reader() as reader:
        await wait_for_books(books, 3)
        clock = Clock(command_log.executor, reader, lambda: command_log.now)
        assert await clock.send_lapses() is True
        assert len(clock._retry_at) == 3
        assert await clock.send_lapses() is False
        assert clock._retry_at == {}
