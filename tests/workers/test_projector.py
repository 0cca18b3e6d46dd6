"""The projector: what is in the log comes into the books, once, whatever is killed meanwhile."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from prometheus_client import REGISTRY

from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books.changes import Changes
from ledger.books.connection import UNAVAILABLE_ERRORS, BooksUnavailable
from ledger.books.schema import migrate
from ledger.books.writer import Checkpoint, Writer, writer_lock
from ledger.domain.catalog.kinds import AnyEvent
from ledger.domain.kinds.favour import ConfirmFavour, FavourClaimed, FavourConfirmed, FavourThanked, RecordFavour
from ledger.envelope import AggregateRef, Poison, RecordedEvent, encode
from ledger.log.connection import Connection
from ledger.log.event_log import AppendUncertain, ForeignLog, LogUnavailable
from ledger.log.jetstream import JetStreamLog
from ledger.log.memory import MemoryLog
from ledger.log.message import subject_of
from ledger.log.stream import STREAM, provision
from ledger.runtime import telemetry
from ledger.runtime.settings import BooksAddress, Settings
from tests.books.books_comparison import assert_books_match
from tests.books.books_database import Books
from tests.books.histories import ACME, CommandLog, uuid_of
from tests.books.random_histories import RandomHistory
from tests.envelopes import make_envelope
from tests.oracle.expected_books import ExpectedBooks
from tests.polling import wait_until
from workers.projector import project_from_checkpoint, run_projector

ROOT: Final = Path(__file__).parents[2]
TAKE_OVER_MAX_S: Final = 5

# What a projector in a process of its own does: its settings are in the environment, as ever.
A_PROJECTOR: Final = """
import asyncio
from ledger.log.connection import Connection
from ledger.log.event_log import AppendUncertain, LogUnavailable
from ledger.log.jetstream import JetStreamLog
from ledger.runtime.settings import settings_from
from workers.projector import run_projector

async def main():
    settings = settings_from()
    async with Connection(settings.nats_url, "projector") as connection:
        await run_projector(JetStreamLog(connection), settings)

asyncio.run(main())
"""


@pytest.fixture
def books(settings: Settings) -> Books:
    return Books(settings.books)


@pytest.fixture
def command_log(connection: Connection) -> CommandLog:
    return CommandLog(JetStreamLog(connection))


@asynccontextmanager
async def projecting(settings: Settings) -> AsyncGenerator[asyncio.Task[None], None]:
    """A projector at work, with connections of its own."""
    async with Connection(settings.nats_url, "projector") as connection:
        task = asyncio.create_task(run_projector(JetStreamLog(connection), settings))
        try:
            yield task
        finally:
            await stopped(task)


async def stopped(task: asyncio.Task[None]) -> None:
    """The task is told to stop, and has. What it ended with by itself is its holder's to look at."""
    task.cancel()
    await asyncio.wait([task])


async def reaches(books: Books, position: int, *tasks: asyncio.Task[None], within_s: float = 15) -> None:
    """Wait until the books are there. A projector that fails meanwhile fails the test."""

    async def there() -> bool:
        for task in tasks:
            if task.done():
                task.result()
        return await books.position() >= position

    await wait_until(there, within_s)


async def ends(task: asyncio.Task[None]) -> Exception:
    """What the projector ends with by itself."""
    await asyncio.wait([task], timeout=10)
    assert task.done(), "it works on"
    error = task.exception()
    assert isinstance(error, Exception)
    return error


async def held_against_the_log(books: Books, command_log: CommandLog) -> None:
    await assert_books_match(books, ExpectedBooks().record(await command_log.read_events()))


def counted(metric: str) -> float:
    return REGISTRY.get_sample_value(f"ledger_{metric}") or 0.0


# The log comes into the books


async def test_what_the_executor_appends_becomes_balances(
    settings: Settings, books: Books, command_log: CommandLog
) -> None:
    async with projecting(settings) as task:
        await command_log.thank("ada", "bob", own_id=uuid_of(1))
        await reaches(books, 1, task)
        assert await books.balances() == {"ada": (120, 0, 120, 0), "bob": (-120, 0, 0, 120)}
        await command_log.thank("bob", "ada", own_id=uuid_of(2), size="small")
        await reaches(books, 2, task)
        assert await books.balances() == {"ada": (60, 0, 120, 60), "bob": (-60, 0, 60, 120)}


async def test_any_history_becomes_the_books_of_the_page(
    settings: Settings, books: Books, command_log: CommandLog
) -> None:
    settings = msgspec.structs.replace(settings, projector_batch_max_events=50, projector_linger_ms=0)
    async with projecting(settings) as task:
        events = await RandomHistory(11, command_log.log).generate(300)
        await reaches(books, len(events), task)
    await held_against_the_log(books, command_log)


@pytest.mark.parametrize("batch_max", [1, 7])
async def test_a_projector_that_remembers_next_to_nothing_writes_the_same_books(
    settings: Settings, books: Books, batch_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It folds as far ahead of what is written as it ever does, over a log that is there already."""
    monkeypatch.setattr("ledger.books.writer.CACHED_MAX", 1)
    settings = msgspec.structs.replace(settings, projector_batch_max_events=batch_max, projector_linger_ms=0)
    history = RandomHistory(12)
    events = await history.generate(250)
    task = asyncio.create_task(run_projector(history.command_log.log, settings))
    try:
        await reaches(books, len(events), task)
    finally:
        await stopped(task)
    await held_against_the_log(books, history.command_log)


async def test_a_projector_goes_on_from_the_checkpoint(
    settings: Settings, books: Books, command_log: CommandLog
) -> None:
    before = counted("projected_events_total")
    for _ in range(3):
        await command_log.thank_many(20, begin=await command_log.log.end() + 1)
        async with projecting(settings) as task:
            await reaches(books, await command_log.log.end(), task)
    assert counted("projected_events_total") - before == 60
    await held_against_the_log(books, command_log)


async def test_the_counters_tell_what_was_written(settings: Settings, books: Books, command_log: CommandLog) -> None:
    settings = msgspec.structs.replace(settings, projector_batch_max_events=10)
    events, batches = counted("projected_events_total"), counted("projected_batches_total")
    await command_log.thank_many(25)
    async with projecting(settings) as task:
        await reaches(books, 25, task)
        await wait_until(lambda: holds(lambda: counted("position") == 25))
    assert counted("projected_events_total") - events == 25
    assert counted("projected_batches_total") - batches >= 3
    assert 0 <= counted("lag_seconds") < 60


async def holds(promise: Callable[[], bool]) -> bool:
    return promise()


async def test_a_projector_that_starts_says_where_the_books_stand(
    settings: Settings, books: Books, command_log: CommandLog
) -> None:
    await command_log.thank_many(4)
    await books.write(await command_log.read_events())
    telemetry.POSITION.set(0)
    async with projecting(settings):
        await wait_until(lambda: holds(lambda: counted("position") == 4))


# Several projectors


async def test_the_second_of_two_projectors_waits_and_takes_over_when_the_first_is_stopped(
    settings: Settings, books: Books, command_log: CommandLog
) -> None:
    before = counted("projected_events_total")
    async with projecting(settings) as first:
        await command_log.thank_many(10)
        await reaches(books, 10, first)
        async with projecting(settings) as second:
            await wait_until(books.has_waiting_writer)
            await command_log.thank_many(10, begin=11)
            await reaches(books, 20, first, second)
            await stopped(first)
            await command_log.thank_many(10, begin=21)
            await reaches(books, 30, second, within_s=TAKE_OVER_MAX_S)
    assert counted("projected_events_total") - before == 30
    await held_against_the_log(books, command_log)


async def test_another_projector_takes_over_from_one_that_was_killed(
    settings: Settings, books: Books, command_log: CommandLog
) -> None:
    environment = {
        "LEDGER_POSTGRES_DSN": settings.postgres_dsn,
        "LEDGER_POSTGRES_SCHEMA": settings.postgres_schema,
        "LEDGER_NATS_URL": settings.nats_url,
        "LEDGER_PROJECTOR_BATCH_MAX_EVENTS": "20",
    }
    process = subprocess.Popen(  # noqa: ASYNC220 - Starting one takes no time worth awaiting.
        [sys.executable, "-c", A_PROJECTOR],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        await command_log.thank_many(10)
        await reaches(books, 10, within_s=30)
        async with projecting(settings) as second:
            await wait_until(books.has_waiting_writer)
            await command_log.thank_many(1_000, begin=11)
            await reaches(books, 11, second)
            process.kill()
            await reaches(books, 1_010, second, within_s=TAKE_OVER_MAX_S)
    finally:
        process.kill()
        process.wait()
    await held_against_the_log(books, command_log)


async def test_a_projector_that_was_overtaken_goes_on_from_where_the_books_are(
    settings: Settings, books: Books
) -> None:
    class Overtaken(MemoryLog):
        """Somebody else writes the second event, just before it is given."""

        done = False

        async def read_from(
            self, position: int, *, after: str | None = None, batch_max: int = 1_000, linger_ms: int = 10
        ) -> AsyncGenerator[list[RecordedEvent], None]:
            async for batch in super().read_from(position, after=after, batch_max=batch_max, linger_ms=linger_ms):
                if batch[0].position == 2 and not self.done:
                    self.done = True
                    await reaches(books, 1)
                    async with books.unlocked_writer() as writer:
                        await writer.apply(batch)
                yield batch

    command_log = CommandLog(Overtaken())
    await command_log.execute(RecordFavour(actor="ada", giver="ada", receiver="bob", size="large", id=uuid_of(99)))
    await command_log.execute(ConfirmFavour(actor="bob"), uuid_of(99))
    await command_log.thank_many(3)
    task = asyncio.create_task(
        run_projector(command_log.log, msgspec.structs.replace(settings, projector_batch_max_events=1))
    )
    try:
        await reaches(books, 5, task)
    finally:
        await stopped(task)
    await held_against_the_log(books, command_log)


# Another log than the books were written from


async def begin_anew(connection: Connection) -> None:
    """The stream is wiped and made again."""
    await connection.api(f"STREAM.DELETE.{STREAM}")
    await provision(connection, 1)


async def refuses_this_log(settings: Settings, books: Books) -> str:
    before = await books.all_rows()
    async with projecting(settings) as task:
        error = await ends(task)
    assert isinstance(error, ForeignLog)
    assert await books.all_rows() == before
    return str(error)


async def written(settings: Settings, books: Books, command_log: CommandLog, count: int) -> None:
    await command_log.thank_many(count)
    async with projecting(settings) as task:
        await reaches(books, count, task)


async def test_a_log_that_was_wiped_stops_the_projector_and_it_says_what_to_do(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog
) -> None:
    await written(settings, books, command_log, 5)
    (last,) = await command_log.read_events(5)
    await begin_anew(connection)
    message = await refuses_this_log(settings, books)
    assert f"position 5 was event {last.envelope.id}, but the log ends at 0" in message
    assert "drop the schema of the books and run `referral-ledger migrate`" in message
    assert "restore the log" in message


async def test_a_log_that_is_shorter_than_the_books_stops_the_projector(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog
) -> None:
    await written(settings, books, command_log, 5)
    await begin_anew(connection)
    await command_log.thank_many(4)
    assert "but the log ends at 4" in await refuses_this_log(settings, books)


async def test_a_log_that_holds_another_event_there_stops_the_projector(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog
) -> None:
    await written(settings, books, command_log, 5)
    await begin_anew(connection)
    await command_log.thank_many(9)
    other = await command_log.log.at(5)
    assert other is not None
    assert f"but the log holds event {other.envelope.id}" in await refuses_this_log(settings, books)


async def test_doing_as_it_says_derives_the_books_from_the_new_log(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog
) -> None:
    await written(settings, books, command_log, 5)
    await begin_anew(connection)
    await command_log.thank("cyd", "dee", own_id=uuid_of(1))
    await refuses_this_log(settings, books)
    await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
    await migrate(books.address)
    async with projecting(settings) as task:
        await reaches(books, 1, task)
    assert await books.balances() == {"cyd": (120, 0, 120, 0), "dee": (-120, 0, 0, 120)}


async def test_a_log_that_is_wiped_under_a_projector_at_work_is_not_mixed_into_its_books(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog
) -> None:
    await command_log.thank_many(3)
    async with projecting(settings) as task:
        await reaches(books, 3, task)
        before = await books.all_rows()
        await begin_anew(connection)
        await command_log.thank_many(6, begin=101)
        await wait_until(lambda: ended_or_moved(task, books, 3))
        assert await books.all_rows() == before
        assert isinstance(await ends(task), ForeignLog)


async def test_a_log_that_is_wiped_under_a_projector_that_has_read_nothing_of_it_is_not_mixed_in_either(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog
) -> None:
    await written(settings, books, command_log, 3)
    before = await books.all_rows()
    async with projecting(settings) as task:

        async def waits_for_more() -> bool:
            answer = await connection.api(f"CONSUMER.NAMES.{STREAM}")
            return bool(answer["consumers"])

        await wait_until(waits_for_more)
        await begin_anew(connection)
        await command_log.thank_many(6, begin=101)
        await wait_until(lambda: ended_or_moved(task, books, 3))
        assert await books.all_rows() == before
        assert isinstance(await ends(task), ForeignLog)


async def ended_or_moved(task: asyncio.Task[None], books: Books, position: int) -> bool:
    return task.done() or await books.position() > position


# Poison

GOOD: Final = FavourThanked(giver="ada", receiver="bob", size="medium", points=120)


def thanked(points: int) -> FavourThanked:
    return FavourThanked(giver="ada", receiver="bob", size="medium", points=points)


def message(event: AnyEvent = GOOD, *, of: str = str(uuid_of(9)), own: str = str(uuid_of(99))) -> tuple[str, bytes]:
    """The event as the executor would publish it: subject and body."""
    ref = AggregateRef(ACME, "favour", of)
    envelope = msgspec.structs.replace(make_envelope(ref, event, event_id=uuid_of(99)), id=own)
    return subject_of(ref, event), encode(envelope)


def with_more(more: bytes) -> tuple[str, bytes]:
    """A good event with one more attribute, which CloudEvents allows."""
    subject, body = message()
    return subject, body.removesuffix(b"}") + b',"more":' + more + b"}"


SUBJECT, BODY = message()
POISON: Final[dict[str, tuple[str, bytes]]] = {
    "no JSON": (SUBJECT, b"{"),
    "no envelope": (SUBJECT, b"{}"),
    "another type than its data": (SUBJECT, BODY.replace(b".thanked.v1", b".claimed.v1")),
    "an event that nobody knows": (SUBJECT, BODY.replace(b"favour.thanked", b"favour.hoped")),
    "another aggregate than its subject": (SUBJECT.replace(str(uuid_of(9)), str(uuid_of(8))), BODY),
    "a member that cannot be": (SUBJECT, BODY.replace(b'"giver":"ada"', b'"giver":"clock"')),
    "a step of nothing": message(FavourConfirmed(giver="ada", receiver="bob", points=120)),
    "a step that cannot follow": message(FavourConfirmed(giver="ada", receiver="bob", points=120), of=str(uuid_of(1))),
    "a beginning of what is there": message(of=str(uuid_of(1))),
    "points below zero": message(thanked(-120)),
    "more points than fit": message(thanked(2**63)),
    "a favour to oneself": message(FavourThanked(giver="ada", receiver="ada", size="medium", points=120)),
    "a time before time counts": (SUBJECT, BODY.replace(b'"time":"2026', b'"time":"1969')),
    "a time that cannot be weighed": (SUBJECT, BODY.replace(b'"time":"2026', b'"time":"9999')),
    "a deadline that cannot be kept": message(
        FavourClaimed(
            giver="ada", receiver="bob", size="medium", points=120, lapses_at=datetime(9999, 1, 1, tzinfo=UTC)
        )
    ),
    "an id that is none": message(own="one"),
    "an id that is written otherwise": message(own=f"{{{uuid_of(99)}}}"),
    "an aggregate whose id is none": message(of="one"),
    "bytes that are no UTF-8": with_more(b'"\xff"'),
    "lists in lists in lists": with_more(b"[" * 20_000 + b"]" * 20_000),
}


@pytest.mark.parametrize("what", POISON)
async def test_poison_stops_the_projector_at_its_position_with_everything_before_it_written(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog, what: str
) -> None:
    await command_log.thank_many(3)
    sound = ExpectedBooks().record(await command_log.read_events())
    acknowledged = msgspec.json.decode((await connection.request(*POISON[what])).data)
    assert acknowledged["seq"] == 4
    await command_log.thank_many(2, begin=4)
    async with projecting(settings) as task:
        error = await ends(task)
    assert isinstance(error, Poison), repr(error)
    assert error.position == 4
    assert "position 4" in str(error)
    await assert_books_match(books, sound)


@pytest.mark.parametrize("what", ["no JSON", "a step of nothing", "a beginning of what is there"])
async def test_poison_in_a_batch_of_its_own_is_found_too(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog, what: str
) -> None:
    await command_log.thank_many(3)
    sound = ExpectedBooks().record(await command_log.read_events())
    async with projecting(settings) as task:
        await reaches(books, 3, task)
        await connection.request(*POISON[what])
        error = await ends(task)
    assert isinstance(error, Poison), repr(error)
    assert error.position == 4
    await assert_books_match(books, sound)


async def test_poison_is_met_again_by_the_next_projector(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog
) -> None:
    await connection.request(*POISON["a step of nothing"])
    for _ in range(2):
        async with projecting(settings) as task:
            error = await ends(task)
        assert isinstance(error, Poison)
        assert error.position == 1
    assert await books.position() == 0


# What may go away meanwhile


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
    async with projecting(msgspec.structs.replace(settings, postgres_schema=later.schema)) as task:
        await wait_until(lambda: holds(lambda: len(tries) > 2 or task.done()))
        await migrate(later.address)
        await reaches(later, 2, task)
    await held_against_the_log(later, command_log)


async def test_a_projector_waits_for_a_schema_that_is_dropped_and_made_again(
    settings: Settings, books: Books, command_log: CommandLog, tries: list[str]
) -> None:
    await command_log.thank_many(2)
    async with projecting(settings) as task:
        await reaches(books, 2, task)
        await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
        await command_log.thank_many(2, begin=3)
        await wait_until(lambda: holds(lambda: len(tries) > 2 or task.done()))
        await migrate(books.address)
        await reaches(books, 4, task)
    await held_against_the_log(books, command_log)


async def test_books_that_are_made_anew_between_two_events_are_derived_anew(
    settings: Settings, books: Books, command_log: CommandLog, tries: list[str]
) -> None:
    """The second event follows upon one that the new books do not hold: that is no poison."""
    await command_log.execute(RecordFavour(actor="ada", giver="ada", receiver="bob", size="large", id=uuid_of(99)))
    async with projecting(settings) as task:
        await reaches(books, 1, task)
        await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
        await migrate(books.address)
        await command_log.thank_many(2)
        await command_log.execute(ConfirmFavour(actor="bob"), uuid_of(99))
        await reaches(books, 4, task)
    await held_against_the_log(books, command_log)


async def test_a_connection_that_is_ended_is_made_again(
    settings: Settings, books: Books, command_log: CommandLog
) -> None:
    await command_log.thank_many(2)
    async with projecting(settings) as task:
        await reaches(books, 2, task)
        await books.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'referral-ledger writer'"
        )
        await command_log.thank_many(2, begin=3)
        await reaches(books, 4, task)
    await held_against_the_log(books, command_log)


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
    async with projecting(own) as task:
        await wait_until(lambda: holds(lambda: len(tries) > 2 or task.done()))
        idle_postgres.start()
        await migrate(BooksAddress(idle_postgres.dsn, "books"))
        await command_log.thank_many(1_000)
        await reaches(books, 1, task)
        for end in (idle_postgres.kill, idle_postgres.stop):
            end()
            await command_log.thank_many(100, begin=await command_log.log.end() + 1)
            idle_postgres.start()
            await wait_until(lambda: answers(books))
            await reaches(books, await command_log.log.end(), task)
    await held_against_the_log(books, command_log)


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
        async with projecting(own) as task:
            await command_log.thank_many(1_000)
            await reaches(books, 1, task)
            own_nats.kill()
            own_nats.start()
            await wait_until(lambda: takes_more(command_log, 1_001))
            await reaches(books, 1_001, task)
        own_nats.stop()
        tries.clear()
        async with projecting(own) as task:  # Over books that are not empty: it has to hold the log against them.
            await wait_until(lambda: holds(lambda: bool(tries) or task.done()))
            own_nats.start()
            await wait_until(lambda: takes_more(command_log, 1_002))
            await reaches(books, 1_002, task)
        await held_against_the_log(books, command_log)


async def takes_more(command_log: CommandLog, number_of: int) -> bool:
    """Whether the log answers again; asked twice, it is the same favour."""
    with suppress(LogUnavailable, AppendUncertain):
        await command_log.thank_many(1, begin=number_of)
        return True
    return False
