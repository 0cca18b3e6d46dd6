"""The clock: every deadline is kept to the moment, whether one clock runs or several."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, cast
from uuid import UUID

import msgspec
import pytest
from msgspec import Struct

from ledger.commands.executor import Executor
from ledger.commands.submission import Outcome, Submission
from ledger.domain.catalog.kinds import LAPSING_STATES
from ledger.domain.kinds import favour, referral
from ledger.domain.kinds.dispute import states as dispute_states
from ledger.domain.kinds.dispute.commands import OpenDispute
from ledger.domain.kinds.dispute.states import dispute_id
from ledger.domain.kinds.favour import RecordFavour
from ledger.domain.kinds.intro import states as intro_states
from ledger.domain.kinds.intro.commands import ProposeIntro
from ledger.domain.kinds.referral import ContactReferral, GiveReferral, QualifyReferral
from ledger.domain.values.aggregate_types import Command, State
from ledger.domain.values.refusals import Refusal
from ledger.envelope import AggregateRef
from ledger.log.event_log import EventLog
from ledger.runtime.settings import Settings
from tests.books.books_database import Books
from tests.books.histories import ACME, CommandLog, uuid_of
from tests.envelopes import NOW
from tests.workers.clock_runs import (
    CLAIMS_ARE_OPEN,
    INTRO,
    INTRO_STEPS,
    PARTIES,
    assert_books_match_log,
    assert_nothing_is_due,
    claim_many,
    counter_value,
    lapsed_favours,
    running,
    running_clock,
    running_projector,
    wait_for_books,
    wait_for_log_end,
    wait_for_looks,
)
from workers.clock import run_clock

ROOT: Final = Path(__file__).parents[2]

AN_INSTANT: Final = timedelta(microseconds=1)
HOUR: Final = timedelta(hours=1)

# What a clock in a process of its own does: its settings are in the environment, as ever.
A_CLOCK: Final = """
import asyncio
from ledger.log.connection import Connection
from ledger.log.jetstream import JetStreamLog
from ledger.runtime.settings import settings_from
from workers.clock import run_clock

async def main():
    settings = settings_from()
    async with Connection(settings.nats_url, "clock") as connection:
        await connection.ready()
        await run_clock(JetStreamLog(connection), settings)

asyncio.run(main())
"""


# Deadlines


class Wait(Struct, frozen=True, kw_only=True):
    """A story that comes to a wait: an hour lies between any two steps. `since`: the step that the wait runs from."""

    of: UUID
    steps: tuple[tuple[Command, UUID | None], ...]
    state: type[State]
    days: int
    since: int = -1
    ends_with: str

    @property
    def due_at(self) -> datetime:
        return NOW + HOUR * (range(len(self.steps))[self.since]) + timedelta(days=self.days)


GIVEN: Final = GiveReferral(actor="ada", referrer="ada", recipient="bob", prospect="cyd", level=3)
REFERRAL: Final = GIVEN.own_id(ACME)
REFERRAL_STEPS: Final = (
    (GIVEN, None),
    (QualifyReferral(actor="bob"), REFERRAL),
    (ContactReferral(actor="bob"), REFERRAL),
)

SOON: Final = ProposeIntro(actor="ada", **PARTIES, id=INTRO, respond_by=NOW + timedelta(days=3))
OFFERED: Final = ProposeIntro(actor="bob", **PARTIES, id=INTRO, level=2)
THANKED: Final = RecordFavour(actor="bob", giver="ada", receiver="bob", size="small", id=uuid_of(1))
CLAIMED: Final = RecordFavour(actor="ada", giver="ada", receiver="bob", size="small", id=uuid_of(1))
DISPUTED: Final = OpenDispute(actor="bob", about=uuid_of(1), entry="favour.thanked", code="not_mine")
DISPUTE: Final = dispute_id(uuid_of(1), "favour.thanked")

WAITS: Final = {
    "a claim": Wait(of=uuid_of(1), steps=((CLAIMED, None),), state=favour.Claimed, days=14, ends_with="favour.lapsed"),
    "a referral": Wait(
        of=REFERRAL, steps=REFERRAL_STEPS[:1], state=referral.Given, days=14, ends_with="referral.lapsed"
    ),
    "a qualified referral": Wait(
        of=REFERRAL, steps=REFERRAL_STEPS[:2], state=referral.Qualified, days=90, ends_with="referral.lapsed"
    ),
    "a referral in contact": Wait(
        of=REFERRAL, steps=REFERRAL_STEPS, state=referral.Contacted, days=90, ends_with="referral.lapsed"
    ),
    "an ask": Wait(of=INTRO, steps=INTRO_STEPS[:1], state=intro_states.Asked, days=14, ends_with="intro.expired"),
    "an ask that is urgent": Wait(
        of=INTRO, steps=((SOON, None),), state=intro_states.Asked, days=3, ends_with="intro.expired"
    ),
    "an offer": Wait(
        of=INTRO, steps=((OFFERED, None),), state=intro_states.Offered, days=14, ends_with="intro.expired"
    ),
    "an accepted ask": Wait(
        of=INTRO, steps=INTRO_STEPS[:2], state=intro_states.Accepted, days=10, ends_with="intro.expired"
    ),
    "an introduction": Wait(
        of=INTRO, steps=INTRO_STEPS[:4], state=intro_states.Made, days=90, ends_with="intro.closed"
    ),
    "an introduction that was met": Wait(
        of=INTRO, steps=INTRO_STEPS, state=intro_states.Met, days=90, since=3, ends_with="intro.closed"
    ),
    "a dispute": Wait(
        of=DISPUTE,
        steps=((THANKED, None), (DISPUTED, None)),
        state=dispute_states.Opened,
        days=30,
        ends_with="dispute.lapsed",
    ),
}


def test_every_state_that_ends_by_itself_is_waited_for() -> None:
    assert {wait.state for wait in WAITS.values()} == LAPSING_STATES


@pytest.mark.parametrize("what", WAITS)
async def test_a_deadline_is_kept_to_the_moment(
    settings: Settings, books: Books, command_log: CommandLog, looks: list[datetime], what: str
) -> None:
    wait = WAITS[what]
    kind = wait.ends_with.partition(".")[0]
    before = counter_value("lapses_recorded_total", kind=kind)
    async with running_projector(settings, command_log.log), running_clock(settings, command_log):
        outcomes: list[Outcome] = []
        for hours, (command, of) in enumerate(wait.steps):
            command_log.now = NOW + HOUR * hours
            outcomes.append(await command_log.execute(command, of))
        assert isinstance(outcomes[-1].state, wait.state)
        told = outcomes[-1].position
        await wait_for_books(books, told)

        command_log.now = wait.due_at - AN_INSTANT
        await wait_for_looks(looks)
        assert await command_log.log.end() == told

        command_log.now = wait.due_at
        await wait_for_log_end(command_log, told + 1)
        last = await command_log.log.at(told + 1)
        assert last is not None
        assert last.ref == AggregateRef(ACME, kind, str(wait.of))
        assert last.envelope.type == f"referral-ledger.{wait.ends_with}.v1"
        assert (last.envelope.actor, last.envelope.time) == ("clock", wait.due_at)
        await wait_for_books(books, told + 1)
        await wait_for_looks(looks)
    assert await command_log.log.end() == told + 1
    assert counter_value("lapses_recorded_total", kind=kind) - before == 1
    await assert_nothing_is_due(books, command_log.now)
    await assert_books_match_log(settings, command_log)


async def test_where_nothing_is_due_the_log_is_left_alone(
    settings: Settings, books: Books, command_log: CommandLog, looks: list[datetime]
) -> None:
    quick = msgspec.structs.replace(settings, clock_poll_ms=20)
    nobody = cast("EventLog", object())
    async with running(run_clock(nobody, quick, lambda: command_log.now)):
        await wait_for_looks(looks)  # At books in which nothing is.
        await claim_many(command_log, 3)
        await command_log.thank_many(3, begin=11)
        await books.write(await command_log.read_events())
        await wait_for_looks(looks)
    assert await command_log.log.end() == 6


async def test_a_clock_that_is_late_catches_up_and_begins_with_the_oldest(
    settings: Settings, books: Books, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.clock.BATCH_MAX", 3)
    for n in (5, 3, 8, 1, 7, 2, 6, 4):
        await claim_many(command_log, 1, begin=n)
        command_log.now += HOUR
    command_log.now += timedelta(days=1_000)
    async with running_projector(settings, command_log.log):
        await wait_for_books(books, 8)
        async with running_clock(settings, command_log):
            await wait_for_log_end(command_log, 16)
            await wait_for_books(books, 16)
    assert lapsed_favours(await command_log.read_events()) == [5, 3, 8, 1, 7, 2, 6, 4]
    await assert_books_match_log(settings, command_log)


# Several clocks


async def test_two_clocks_record_each_lapse_once(
    settings: Settings, books: Books, command_log: CommandLog, looks: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    together, execute_all = asyncio.Barrier(2), Executor.execute_all
    met = 0

    async def at_once(self: Executor, submissions: Sequence[Submission]) -> list[Outcome | Refusal]:
        nonlocal met
        if met < 4:  # The first two batches of both.
            met += 1
            await together.wait()
        return await execute_all(self, submissions)

    await claim_many(command_log, 700)
    sent, recorded = counter_value("lapses_sent_total"), counter_value("lapses_recorded_total", kind="favour")
    async with running_projector(settings, command_log.log):
        await wait_for_books(books, 700)
        monkeypatch.setattr(Executor, "execute_all", at_once)
        async with running_clock(settings, command_log), running_clock(settings, command_log):
            command_log.now += CLAIMS_ARE_OPEN
            await wait_for_log_end(command_log, 1_400)
            await wait_for_books(books, 1_400)
            await wait_for_looks(looks)
    assert sorted(lapsed_favours(await command_log.read_events())) == list(range(1, 701))
    assert counter_value("lapses_recorded_total", kind="favour") - recorded == 700
    assert counter_value("lapses_sent_total") - sent >= 1_000, "they never met"
    await assert_nothing_is_due(books, command_log.now)
    await assert_books_match_log(settings, command_log)


async def test_one_that_is_killed_before_the_books_show_what_it_sent_leaves_nothing_to_mend(
    settings: Settings, books: Books, command_log: CommandLog, looks: list[datetime]
) -> None:
    command_log.now = datetime.now(UTC) - CLAIMS_ARE_OPEN - HOUR  # Another process goes by the world's time.
    await claim_many(command_log, 20)
    await books.write(await command_log.read_events())
    process = subprocess.Popen(  # noqa: ASYNC220 - Starting one takes no time worth awaiting.
        [sys.executable, "-c", A_CLOCK],
        env=os.environ
        | {
            "LEDGER_POSTGRES_DSN": settings.postgres_dsn,
            "LEDGER_POSTGRES_SCHEMA": settings.postgres_schema,
            "LEDGER_NATS_URL": settings.nats_url,
        },
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await wait_for_log_end(command_log, 40)  # Nobody projects, so it waits for the books now.
    finally:
        process.kill()
        process.wait()

    command_log.now = datetime.now(UTC)
    async with running_clock(settings, command_log):
        await wait_for_looks(looks, 1)
        async with running_projector(settings, command_log.log):
            await wait_for_books(books, 40)
            await wait_for_looks(looks)
    assert lapsed_favours(await command_log.read_events()) == list(range(1, 21))
    await assert_nothing_is_due(books, command_log.now)
    await assert_books_match_log(settings, command_log)
