"""The clock: what nobody answers ends when it is due, once, whatever happens to the clock or to what it stands on."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID

import msgspec
import pytest
from msgspec import Struct
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.postgres import EmbeddedPostgres
from ledger.audit.comparison import audit
from ledger.books.reader import Due, Reader
from ledger.books.schema import migrate
from ledger.commands.executor import Executor
from ledger.commands.refusals import Contended
from ledger.commands.submission import Outcome, Submission
from ledger.domain.catalog.kinds import LAPSING_STATES
from ledger.domain.kinds import favour, referral
from ledger.domain.kinds.dispute import states as dispute_states
from ledger.domain.kinds.dispute.commands import OpenDispute
from ledger.domain.kinds.dispute.states import dispute_id
from ledger.domain.kinds.favour import ConfirmFavour, RecordFavour
from ledger.domain.kinds.intro import states as intro_states
from ledger.domain.kinds.intro.commands import AcceptIntro, ConsentIntro, MakeIntro, MeetIntro, ProposeIntro
from ledger.domain.kinds.referral import ContactReferral, GiveReferral, QualifyReferral
from ledger.domain.values.aggregate_types import Command, State
from ledger.domain.values.refusals import Refusal
from ledger.envelope import AggregateRef, Poison, RecordedEvent
from ledger.log.connection import Connection
from ledger.log.event_log import AppendUncertain, EventLog
from ledger.log.jetstream import JetStreamLog
from ledger.log.message import event_subject
from ledger.log.stream import provision
from ledger.runtime.settings import Settings
from tests.books.books_database import Books
from tests.books.histories import ACME, CommandLog, submission, uuid_of
from tests.envelopes import NOW
from tests.polling import wait_until
from workers.clock import Clock, run_clock
from workers.projector import run_projector

ROOT: Final = Path(__file__).parents[2]
LOOKS: Final = 4  # So many looks at the books change nothing where nothing is to be changed.
AN_INSTANT: Final = timedelta(microseconds=1)
HOUR: Final = timedelta(hours=1)
CLAIMS_ARE_OPEN: Final = timedelta(days=14)

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


@pytest.fixture
def books(settings: Settings) -> Books:
    return Books(settings.books)


@pytest.fixture
def command_log(connection: Connection) -> CommandLog:
    """The log, and the time: the clocks of a test go by its `now`."""
    return CommandLog(JetStreamLog(connection))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Every look that a clock of this process has taken at the books, or tried to."""
    due, taken = Reader.due, list[datetime]()

    async def looking(self: Reader, now: datetime, limit: int) -> tuple[int, list[Due]]:
        taken.append(now)
        return await due(self, now, limit)

    monkeypatch.setattr(Reader, "due", looking)
    return taken


@asynccontextmanager
async def at_work(work: Coroutine[Any, Any, None]) -> AsyncGenerator[asyncio.Task[None], None]:
    """Beside the test. What it ends with by itself, the test ends with."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def projecting(settings: Settings, log: EventLog) -> AbstractAsyncContextManager[asyncio.Task[None]]:
    return at_work(run_projector(log, settings))


def keeping_time(settings: Settings, command_log: CommandLog) -> AbstractAsyncContextManager[asyncio.Task[None]]:
    """A clock that goes by the command_log's time, and looks often."""
    quick = msgspec.structs.replace(settings, clock_poll_ms=20)
    return at_work(run_clock(command_log.log, quick, lambda: command_log.now))


async def ends_at(command_log: CommandLog, position: int) -> None:
    async def there() -> bool:
        return await command_log.log.end() >= position

    await wait_until(there)
    assert await command_log.log.end() == position


async def shown(books: Books, position: int) -> None:
    async def there() -> bool:
        return await books.position() >= position

    await wait_until(there)


async def looked(looks: list[datetime], times: int = LOOKS) -> None:
    """Wait until the clock has looked so many times more, and was done with what it saw."""
    wanted = len(looks) + times + 1

    async def enough() -> bool:
        return len(looks) >= wanted

    await wait_until(enough)


async def nothing_is_due(books: Books, now: datetime) -> None:
    async with books.reader() as reader:
        assert (await reader.due(now, 500))[1] == []


async def held_against_the_log(settings: Settings, command_log: CommandLog) -> None:
    report = await audit(command_log.log, settings.books)
    assert (report.differences, report.behind) == ([], 0)


async def claims(command_log: CommandLog, count: int, *, begin: int = 1) -> None:
    """Favours that nobody has answered yet."""
    said = [
        RecordFavour(actor="ada", giver="ada", receiver="bob", size="small", id=uuid_of(n))
        for n in range(begin, begin + count)
    ]
    await command_log.executor.execute_all([submission(command) for command in said])


def lapsed(events: Sequence[RecordedEvent]) -> list[int]:
    """The numbers of the favours that have lapsed, in the order of the log."""
    return [UUID(event.ref.id).int for event in events if event.envelope.type == "referral-ledger.favour.lapsed.v1"]


def counted(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"ledger_clock_{metric}", labels) or 0.0


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
INTRO: Final = uuid_of(2)
PARTIES: Final[dict[str, Any]] = {"asker": "ada", "connector": "bob", "target": "cyd"}
INTRO_STEPS: Final = (
    (ProposeIntro(actor="ada", **PARTIES, id=INTRO), None),
    (AcceptIntro(actor="bob", level=3), INTRO),
    (ConsentIntro(actor="cyd"), INTRO),
    (MakeIntro(actor="bob"), INTRO),
    (MeetIntro(actor="ada"), INTRO),
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
    before = counted("lapses_recorded_total", kind=kind)
    async with projecting(settings, command_log.log), keeping_time(settings, command_log):
        outcomes: list[Outcome] = []
        for hours, (command, of) in enumerate(wait.steps):
            command_log.now = NOW + HOUR * hours
            outcomes.append(await command_log.execute(command, of))
        assert isinstance(outcomes[-1].state, wait.state)
        told = outcomes[-1].position
        await shown(books, told)

        command_log.now = wait.due_at - AN_INSTANT
        await looked(looks)
        assert await command_log.log.end() == told

        command_log.now = wait.due_at
        await ends_at(command_log, told + 1)
        last = await command_log.log.at(told + 1)
        assert last is not None
        assert last.ref == AggregateRef(ACME, kind, str(wait.of))
        assert last.envelope.type == f"referral-ledger.{wait.ends_with}.v1"
        assert (last.envelope.actor, last.envelope.time) == ("clock", wait.due_at)
        await shown(books, told + 1)
        await looked(looks)
    assert await command_log.log.end() == told + 1
    assert counted("lapses_recorded_total", kind=kind) - before == 1
    await nothing_is_due(books, command_log.now)
    await held_against_the_log(settings, command_log)


async def test_where_nothing_is_due_the_log_is_left_alone(
    settings: Settings, books: Books, command_log: CommandLog, looks: list[datetime]
) -> None:
    quick = msgspec.structs.replace(settings, clock_poll_ms=20)
    nobody = cast("EventLog", object())
    async with at_work(run_clock(nobody, quick, lambda: command_log.now)):
        await looked(looks)  # At books in which nothing is.
        await claims(command_log, 3)
        await command_log.thank_many(3, begin=11)
        await books.write(await command_log.read_events())
        await looked(looks)
    assert await command_log.log.end() == 6


async def test_a_clock_that_is_late_catches_up_and_begins_with_the_oldest(
    settings: Settings, books: Books, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.clock.BATCH_MAX", 3)
    for n in (5, 3, 8, 1, 7, 2, 6, 4):
        await claims(command_log, 1, begin=n)
        command_log.now += HOUR
    command_log.now += timedelta(days=1_000)
    async with projecting(settings, command_log.log):
        await shown(books, 8)
        async with keeping_time(settings, command_log):
            await ends_at(command_log, 16)
            await shown(books, 16)
    assert lapsed(await command_log.read_events()) == [5, 3, 8, 1, 7, 2, 6, 4]
    await held_against_the_log(settings, command_log)


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

    await claims(command_log, 700)
    sent, recorded = counted("lapses_sent_total"), counted("lapses_recorded_total", kind="favour")
    async with projecting(settings, command_log.log):
        await shown(books, 700)
        monkeypatch.setattr(Executor, "execute_all", at_once)
        async with keeping_time(settings, command_log), keeping_time(settings, command_log):
            command_log.now += CLAIMS_ARE_OPEN
            await ends_at(command_log, 1_400)
            await shown(books, 1_400)
            await looked(looks)
    assert sorted(lapsed(await command_log.read_events())) == list(range(1, 701))
    assert counted("lapses_recorded_total", kind="favour") - recorded == 700
    assert counted("lapses_sent_total") - sent >= 1_000, "they never met"
    await nothing_is_due(books, command_log.now)
    await held_against_the_log(settings, command_log)


async def test_one_that_is_killed_before_the_books_show_what_it_sent_leaves_nothing_to_mend(
    settings: Settings, books: Books, command_log: CommandLog, looks: list[datetime]
) -> None:
    command_log.now = datetime.now(UTC) - CLAIMS_ARE_OPEN - HOUR  # Another process goes by the world's time.
    await claims(command_log, 20)
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
        await ends_at(command_log, 40)  # Nobody projects, so it waits for the books now.
    finally:
        process.kill()
        process.wait()

    command_log.now = datetime.now(UTC)
    async with keeping_time(settings, command_log):
        await looked(looks, 1)
        async with projecting(settings, command_log.log):
            await shown(books, 40)
            await looked(looks)
    assert lapsed(await command_log.read_events()) == list(range(1, 21))
    await nothing_is_due(books, command_log.now)
    await held_against_the_log(settings, command_log)


# Books that are behind


async def test_an_answer_that_the_books_do_not_show_yet_wins(
    settings: Settings, books: Books, command_log: CommandLog, looks: list[datetime]
) -> None:
    await claims(command_log, 1)
    await books.write(await command_log.read_events())
    command_log.now += CLAIMS_ARE_OPEN
    await command_log.execute(ConfirmFavour(actor="bob"), uuid_of(1))
    sent = counted("lapses_sent_total")
    async with keeping_time(settings, command_log):
        await looked(looks)
        assert counted("lapses_sent_total") - sent == 1, "it was sent again and again"
        async with projecting(settings, command_log.log):
            await shown(books, 2)
            await looked(looks)
    assert await command_log.log.end() == 2
    assert (await books.balances())["ada"] == (60, 0, 60, 0)
    await nothing_is_due(books, command_log.now)


async def test_books_that_are_derived_anew_do_no_harm(
    settings: Settings, books: Books, command_log: CommandLog, looks: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All has lapsed or was answered long ago, and the books, on their way, are where it was claimed."""
    monkeypatch.setattr("ledger.books.reader.MIN_POSITION_WAIT_S", 0.1)
    await claims(command_log, 600)
    claimed = await command_log.read_events()
    await command_log.executor.execute_all(
        [submission(ConfirmFavour(actor="bob"), uuid_of(n)) for n in range(1, 601) if n % 3 == 0]
    )
    command_log.now += CLAIMS_ARE_OPEN
    async with projecting(settings, command_log.log), keeping_time(settings, command_log):
        await ends_at(command_log, 1_200)
        await shown(books, 1_200)
    everything = await books.all_rows()
    await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
    await migrate(books.address)

    command_log.now += timedelta(days=300)
    sent = counted("lapses_sent_total")
    async with keeping_time(settings, command_log):
        await looked(looks)
        assert counted("lapses_sent_total") == sent
        await books.write(claimed)
        await looked(looks, 8)
        assert await command_log.log.end() == 1_200
        assert counted("lapses_sent_total") - sent == 600, "it was sent again and again"
        async with projecting(settings, command_log.log):
            await shown(books, 1_200)
            await looked(looks)
            await claims(command_log, 1, begin=1_001)
            await shown(books, 1_201)
            command_log.now += CLAIMS_ARE_OPEN
            await ends_at(command_log, 1_202)
            await shown(books, 1_202)
    assert lapsed(await command_log.read_events(1_201)) == [1_001]
    assert (await books.all_rows())["balance"] == everything["balance"]
    await held_against_the_log(settings, command_log)


async def test_a_projector_that_is_down_makes_no_lapse_late(
    settings: Settings, books: Books, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.clock.BATCH_MAX", 3)
    monkeypatch.setattr("ledger.books.reader.MIN_POSITION_WAIT_S", 0.1)
    await claims(command_log, 10)
    await books.write(await command_log.read_events())
    command_log.now += CLAIMS_ARE_OPEN
    async with keeping_time(settings, command_log):
        await ends_at(command_log, 20)
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
    await claims(command_log, 1, begin=9)
    told = await command_log.log.end()
    async with projecting(settings, command_log.log), keeping_time(settings, command_log):
        await shown(books, told)
        command_log.now = today + timedelta(days=11)  # The introductions would end, were they not disputed.
        await looked(looks, 8)
        assert await command_log.log.end() == told
        command_log.now = today + CLAIMS_ARE_OPEN
        await ends_at(command_log, told + 1)
        command_log.now = today + timedelta(days=30)
        await ends_at(command_log, told + 7)
        await shown(books, told + 7)
    ended = [event.envelope.type.split(".")[1:3] for event in await command_log.read_events(told + 1)]
    assert ended[0] == ["favour", "lapsed"]
    assert sorted(ended[1:]) == [["dispute", "lapsed"]] * 3 + [["intro", "closed"]] * 3
    await nothing_is_due(books, command_log.now)
    await held_against_the_log(settings, command_log)


async def test_what_is_over_is_forgotten(settings: Settings, books: Books, command_log: CommandLog) -> None:
    await claims(command_log, 3)
    command_log.now += CLAIMS_ARE_OPEN
    async with projecting(settings, command_log.log), books.reader() as reader:
        await shown(books, 3)
        clock = Clock(command_log.executor, reader, lambda: command_log.now)
        assert await clock.send_lapses() is True
        assert len(clock._retry_at) == 3
        assert await clock.send_lapses() is False
        assert clock._retry_at == {}


# What may go away meanwhile


def waits(logs: Sequence[Any], server: str) -> int:
    """How often the clock has said that it waits for this server."""
    return sum(entry["event"] == "clock waits" and entry["server"] == server for entry in logs)


@pytest.mark.slow
async def test_nats_may_be_killed_and_come_back(
    settings: Settings, books: Books, own_nats: EmbeddedNats, looks: list[datetime]
) -> None:
    own = msgspec.structs.replace(settings, nats_url=own_nats.url)
    async with Connection(own.nats_url, "test") as connection:
        await connection.ready()
        await provision(connection, 1)
        command_log = CommandLog(JetStreamLog(connection))
        await claims(command_log, 3)
        with capture_logs() as logs:
            async with projecting(own, command_log.log), keeping_time(own, command_log):
                for outage in (1, 2):
                    await shown(books, 6 * outage - 3)
                    await looked(looks)
                    own_nats.kill()
                    command_log.now += CLAIMS_ARE_OPEN + timedelta(seconds=90)
                    await looked(looks, 8)
                    assert 89.0 < counted("overdue_seconds") < 91.0
                    own_nats.start()
                    await shown(books, 6 * outage)
                    await looked(looks)
                    assert counted("overdue_seconds") == 0.0
                    await claims(command_log, 3, begin=10 * outage)
        assert waits(logs, "log") == 2
        assert sum(entry["event"] == "clock continues" for entry in logs) == 2
        assert sorted(lapsed(await command_log.read_events())) == [1, 2, 3, 10, 11, 12]


async def test_postgres_may_be_killed_and_come_back(
    settings: Settings, command_log: CommandLog, own_postgres: EmbeddedPostgres, looks: list[datetime]
) -> None:
    own = msgspec.structs.replace(settings, postgres_dsn=own_postgres.dsn)
    books = Books(own.books)
    await claims(command_log, 3)
    with capture_logs() as logs:
        async with keeping_time(own, command_log):
            await looked(looks)  # At books that are not set up yet.
            await migrate(books.address)
            await books.write(await command_log.read_events())
            await looked(looks)
            own_postgres.kill()
            command_log.now += CLAIMS_ARE_OPEN
            await looked(looks)
            assert await command_log.log.end() == 3
            own_postgres.start()
            await ends_at(command_log, 6)
            async with projecting(own, command_log.log):
                await shown(books, 6)
                await looked(looks)
    assert waits(logs, "books") == 2
    assert sorted(lapsed(await command_log.read_events())) == [1, 2, 3]
    await held_against_the_log(own, command_log)


async def test_an_answer_of_the_log_that_is_lost_is_asked_for_again(
    settings: Settings, books: Books, command_log: CommandLog, looks: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    execute_all, lost = Executor.execute_all, list[AppendUncertain]()

    async def losing(self: Executor, submissions: Sequence[Submission]) -> list[Outcome | Refusal]:
        results = await execute_all(self, submissions)
        if not lost:
            lost.append(AppendUncertain("the answer was lost"))
            raise lost[0]
        return results

    await claims(command_log, 3)
    monkeypatch.setattr(Executor, "execute_all", losing)
    command_log.now += CLAIMS_ARE_OPEN
    await books.write(await command_log.read_events())
    async with keeping_time(settings, command_log):
        await looked(looks)
        async with projecting(settings, command_log.log):
            await shown(books, 6)
    assert lost
    assert lapsed(await command_log.read_events()) == [1, 2, 3]


async def test_an_event_that_nobody_understands_stops_the_clock(
    settings: Settings, books: Books, command_log: CommandLog, connection: Connection
) -> None:
    await claims(command_log, 1)
    (claim,) = await command_log.read_events()
    await books.write([claim])
    await connection.request(event_subject(claim.ref, "confirmed"), b"not an event")
    command_log.now += CLAIMS_ARE_OPEN
    with pytest.raises(Poison, match="position 2"):
        async with asyncio.timeout(15):
            await run_clock(command_log.log, settings, lambda: command_log.now)


async def test_a_refusal_that_is_not_expected_is_told(books: Books, command_log: CommandLog) -> None:
    class Crowded(Executor):
        async def execute_all(self, submissions: Sequence[Submission]) -> list[Outcome | Refusal]:
            return [Contended(kind=one.kind, id=one.id) for one in submissions]

    await claims(command_log, 1)
    await books.write(await command_log.read_events())
    command_log.now += CLAIMS_ARE_OPEN
    async with books.reader() as reader:
        clock = Clock(Crowded(command_log.log), reader, lambda: command_log.now)
        with capture_logs() as logs:
            assert await clock.send_lapses() is False
    (told,) = logs
    assert (told["log_level"], told["code"]) == ("warning", "contended")
    assert told["ref"] == AggregateRef(ACME, "favour", str(uuid_of(1)))
