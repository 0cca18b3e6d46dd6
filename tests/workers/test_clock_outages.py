"""The clock waits for Postgres and NATS, and goes on by itself."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books.schema import migrate
from ledger.commands.executor import Executor
from ledger.commands.refusals import Contended
from ledger.commands.submission import Outcome, Submission
from ledger.domain.values.refusals import Refusal
from ledger.envelope import AggregateRef, Poison
from ledger.log.connection import Connection
from ledger.log.event_log import AppendUncertain
from ledger.log.jetstream import JetStreamLog
from ledger.log.message import event_subject
from ledger.log.stream import provision
from ledger.runtime.settings import Settings
from tests.books.books_database import Books
from tests.books.histories import ACME, CommandLog, uuid_of
from tests.workers.clock_runs import (
    CLAIMS_ARE_OPEN,
    assert_books_match_log,
    claim_many,
    counter_value,
    lapsed_favours,
    running_clock,
    running_projector,
    wait_for_books,
    wait_for_log_end,
    wait_for_looks,
)
from workers.clock import Clock, run_clock


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
        await claim_many(command_log, 3)
        with capture_logs() as logs:
            async with running_projector(own, command_log.log), running_clock(own, command_log):
                for outage in (1, 2):
                    await wait_for_books(books, 6 * outage - 3)
                    await wait_for_looks(looks)
                    own_nats.kill()
                    command_log.now += CLAIMS_ARE_OPEN + timedelta(seconds=90)
                    await wait_for_looks(looks, 8)
                    assert 89.0 < counter_value("overdue_seconds") < 91.0
                    own_nats.start()
                    await wait_for_books(books, 6 * outage)
                    await wait_for_looks(looks)
                    assert counter_value("overdue_seconds") == 0.0
                    await claim_many(command_log, 3, begin=10 * outage)
        assert waits(logs, "log") == 2
        assert sum(entry["event"] == "clock continues" for entry in logs) == 2
        assert sorted(lapsed_favours(await command_log.read_events())) == [1, 2, 3, 10, 11, 12]


async def test_postgres_may_be_killed_and_come_back(
    settings: Settings, command_log: CommandLog, own_postgres: EmbeddedPostgres, looks: list[datetime]
) -> None:
    own = msgspec.structs.replace(settings, postgres_dsn=own_postgres.dsn)
    books = Books(own.books)
    await claim_many(command_log, 3)
    with capture_logs() as logs:
        async with running_clock(own, command_log):
            await wait_for_looks(looks)  # At books that are not set up yet.
            await migrate(books.address)
            await books.write(await command_log.read_events())
            await wait_for_looks(looks)
            own_postgres.kill()
            command_log.now += CLAIMS_ARE_OPEN
            await wait_for_looks(looks)
            assert await command_log.log.end() == 3
            own_postgres.start()
            await wait_for_log_end(command_log, 6)
            async with running_projector(own, command_log.log):
                await wait_for_books(books, 6)
                await wait_for_looks(looks)
    assert waits(logs, "books") == 2
    assert sorted(lapsed_favours(await command_log.read_events())) == [1, 2, 3]
    await assert_books_match_log(own, command_log)


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

    await claim_many(command_log, 3)
    monkeypatch.setattr(Executor, "execute_all", losing)
    command_log.now += CLAIMS_ARE_OPEN
    await books.write(await command_log.read_events())
    async with running_clock(settings, command_log):
        await wait_for_looks(looks)
        async with running_projector(settings, command_log.log):
            await wait_for_books(books, 6)
    assert lost
    assert lapsed_favours(await command_log.read_events()) == [1, 2, 3]


async def test_an_event_that_nobody_understands_stops_the_clock(
    settings: Settings, books: Books, command_log: CommandLog, connection: Connection
) -> None:
    await claim_many(command_log, 1)
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

    await claim_many(command_log, 1)
    await books.write(await command_log.read_events())
    command_log.now += CLAIMS_ARE_OPEN
    async with books.reader() as reader:
        clock = Clock(Crowded(command_log.log), reader, lambda: command_log.now)
        with capture_logs() as logs:
            assert await clock.send_lapses() is False
    (told,) = logs
    assert (told["log_level"], told["code"]) == ("warning", "contended")
    assert told["ref"] == AggregateRef(ACME, "favour", str(uuid_of(1)))
