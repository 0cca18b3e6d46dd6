"""Clocks that run beside a test, and waits for what they record."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from prometheus_client import REGISTRY

from ledger.audit.comparison import audit
from ledger.domain.kinds.favour import RecordFavour
from ledger.domain.kinds.intro.commands import AcceptIntro, ConsentIntro, MakeIntro, MeetIntro, ProposeIntro
from ledger.envelope import RecordedEvent
from ledger.log.event_log import EventLog
from ledger.runtime.settings import Settings
from tests.books.books_database import Books
from tests.books.histories import CommandLog, submission, uuid_of
from tests.polling import wait_until
from workers.clock import run_clock
from workers.projector import run_projector

LOOKS: Final = 4  # A clock that has read what is due as often as this and has recorded nothing has nothing to do.

CLAIMS_ARE_OPEN: Final = timedelta(days=14)


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncGenerator[asyncio.Task[None], None]:
    """Run a coroutine beside the test. If it fails, the test fails."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def running_projector(settings: Settings, log: EventLog) -> AbstractAsyncContextManager[asyncio.Task[None]]:
    return running(run_projector(log, settings))


def running_clock(settings: Settings, command_log: CommandLog) -> AbstractAsyncContextManager[asyncio.Task[None]]:
    """Run a clock that uses the time of the command log and reads what is due every 20 ms."""
    quick = msgspec.structs.replace(settings, clock_poll_ms=20)
    return running(run_clock(command_log.log, quick, lambda: command_log.now))


async def wait_for_log_end(command_log: CommandLog, position: int) -> None:
    """Wait until the log has reached `position`, and check that it went no further."""

    async def reached() -> bool:
        return await command_log.log.end() >= position

    await wait_until(reached)
    assert await command_log.log.end() == position


async def wait_for_books(books: Books, position: int) -> None:
    async def reached() -> bool:
        return await books.position() >= position

    await wait_until(reached)


async def wait_for_looks(looks: list[datetime], times: int = LOOKS) -> None:
    """Wait until the clock has read what is due `times` more often, and has handled it."""
    wanted = len(looks) + times + 1

    async def enough() -> bool:
        return len(looks) >= wanted

    await wait_until(enough)


async def assert_nothing_is_due(books: Books, now: datetime) -> None:
    async with books.reader() as reader:
        assert (await reader.due(now, 500))[1] == []


async def assert_books_match_log(settings: Settings, command_log: CommandLog) -> None:
    report = await audit(command_log.log, settings.books)
    assert (report.differences, report.behind) == ([], 0)


async def claim_many(command_log: CommandLog, count: int, *, begin: int = 1) -> None:
    """Record claimed favours, with ids from `begin` on."""
    favours = [
        RecordFavour(actor="ada", giver="ada", receiver="bob", size="small", id=uuid_of(n))
        for n in range(begin, begin + count)
    ]
    await command_log.executor.execute_all([submission(command) for command in favours])


def lapsed_favours(events: Sequence[RecordedEvent]) -> list[int]:
    """Return the numbers of the favours that have lapsed, in the order of the log."""
    return [UUID(event.ref.id).int for event in events if event.envelope.type == "referral-ledger.favour.lapsed.v1"]


def counter_value(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"ledger_clock_{metric}", labels) or 0.0


INTRO: Final = uuid_of(2)
PARTIES: Final[dict[str, Any]] = {"asker": "ada", "connector": "bob", "target": "cyd"}
INTRO_STEPS: Final = (
    (ProposeIntro(actor="ada", **PARTIES, id=INTRO), None),
    (AcceptIntro(actor="bob", level=3), INTRO),
    (ConsentIntro(actor="cyd"), INTRO),
    (MakeIntro(actor="bob"), INTRO),
    (MeetIntro(actor="ada"), INTRO),
)
