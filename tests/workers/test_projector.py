"""The projector: the events of the log become the books, whether one projector runs or several."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import msgspec
import pytest
from prometheus_client import REGISTRY

from ledger.domain.kinds.favour import ConfirmFavour, RecordFavour
from ledger.envelope import RecordedEvent
from ledger.log.memory import MemoryLog
from ledger.runtime import telemetry
from ledger.runtime.settings import Settings
from tests.books.books_database import Books
from tests.books.histories import CommandLog, uuid_of
from tests.books.random_histories import RandomHistory
from tests.polling import wait_until
from tests.workers.projector_runs import (
    as_condition,
    assert_books_match_log,
    running_projector,
    stop,
    wait_for_position,
)
from workers.projector import run_projector

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


def counted(metric: str) -> float:
    return REGISTRY.get_sample_value(f"ledger_{metric}") or 0.0


# The log comes into the books


async def test_what_the_executor_appends_becomes_balances(
    settings: Settings, books: Books, command_log: CommandLog
) -> None:
    async with running_projector(settings) as task:
        await command_log.thank("ada", "bob", own_id=uuid_of(1))
        await wait_for_position(books, 1, task)
        assert await books.balances() == {"ada": (120, 0, 120, 0), "bob": (-120, 0, 0, 120)}
        await command_log.thank("bob", "ada", own_id=uuid_of(2), size="small")
        await wait_for_position(books, 2, task)
        assert await books.balances() == {"ada": (60, 0, 120, 60), "bob": (-60, 0, 60, 120)}


async def test_any_history_becomes_the_books_of_the_page(
    settings: Settings, books: Books, command_log: CommandLog
) -> None:
    settings = msgspec.structs.replace(settings, projector_batch_max_events=50, projector_linger_ms=0)
    async with running_projector(settings) as task:
        events = await RandomHistory(11, command_log.log).generate(300)
        await wait_for_position(books, len(events), task)
    await assert_books_match_log(books, command_log)


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
        await wait_for_position(books, len(events), task)
    finally:
        await stop(task)
    await assert_books_match_log(books, history.command_log)


async def test_a_projector_goes_on_from_the_checkpoint(
    settings: Settings, books: Books, command_log: CommandLog
) -> None:
    before = counted("projected_events_total")
    for _ in range(3):
        await command_log.thank_many(20, begin=await command_log.log.end() + 1)
        async with running_projector(settings) as task:
            await wait_for_position(books, await command_log.log.end(), task)
    assert counted("projected_events_total") - before == 60
    await assert_books_match_log(books, command_log)


async def test_the_counters_tell_what_was_written(settings: Settings, books: Books, command_log: CommandLog) -> None:
    settings = msgspec.structs.replace(settings, projector_batch_max_events=10)
    events, batches = counted("projected_events_total"), counted("projected_batches_total")
    await command_log.thank_many(25)
    async with running_projector(settings) as task:
        await wait_for_position(books, 25, task)
        await wait_until(lambda: as_condition(lambda: counted("position") == 25))
    assert counted("projected_events_total") - events == 25
    assert counted("projected_batches_total") - batches >= 3
    assert 0 <= counted("lag_seconds") < 60


async def test_a_projector_that_starts_says_where_the_books_stand(
    settings: Settings, books: Books, command_log: CommandLog
) -> None:
    await command_log.thank_many(4)
    await books.write(await command_log.read_events())
    telemetry.POSITION.set(0)
    async with running_projector(settings):
        await wait_until(lambda: as_condition(lambda: counted("position") == 4))


# Several projectors


async def test_the_second_of_two_projectors_waits_and_takes_over_when_the_first_is_stopped(
    settings: Settings, books: Books, command_log: CommandLog
) -> None:
    before = counted("projected_events_total")
    async with running_projector(settings) as first:
        await command_log.thank_many(10)
        await wait_for_position(books, 10, first)
        async with running_projector(settings) as second:
            await wait_until(books.has_waiting_writer)
            await command_log.thank_many(10, begin=11)
            await wait_for_position(books, 20, first, second)
            await stop(first)
            await command_log.thank_many(10, begin=21)
            await wait_for_position(books, 30, second, timeout_s=TAKE_OVER_MAX_S)
    assert counted("projected_events_total") - before == 30
    await assert_books_match_log(books, command_log)


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
        await wait_for_position(books, 10, timeout_s=30)
        async with running_projector(settings) as second:
            await wait_until(books.has_waiting_writer)
            await command_log.thank_many(1_000, begin=11)
            await wait_for_position(books, 11, second)
            process.kill()
            await wait_for_position(books, 1_010, second, timeout_s=TAKE_OVER_MAX_S)
    finally:
        process.kill()
        process.wait()
    await assert_books_match_log(books, command_log)


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
                    await wait_for_position(books, 1)
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
        await wait_for_position(books, 5, task)
    finally:
        await stop(task)
    await assert_books_match_log(books, command_log)
