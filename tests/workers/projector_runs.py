"""Projectors that run beside a test, and waits for what they write."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from ledger.domain.catalog.kinds import AnyEvent
from ledger.domain.kinds.favour import FavourThanked
from ledger.envelope import AggregateRef, encode
from ledger.log.connection import Connection
from ledger.log.jetstream import JetStreamLog
from ledger.log.message import subject_of
from ledger.runtime.settings import Settings
from tests.books.books_comparison import assert_books_match
from tests.books.books_database import Books
from tests.books.histories import ACME, CommandLog, uuid_of
from tests.envelopes import make_envelope
from tests.oracle.expected_books import ExpectedBooks
from tests.polling import wait_until
from workers.projector import run_projector


@asynccontextmanager
async def running_projector(settings: Settings) -> AsyncGenerator[asyncio.Task[None], None]:
    """Run a projector with connections of its own until the context ends."""
    async with Connection(settings.nats_url, "projector") as connection:
        task = asyncio.create_task(run_projector(JetStreamLog(connection), settings))
        try:
            yield task
        finally:
            await stop(task)


async def stop(task: asyncio.Task[None]) -> None:
    """Cancel the task and wait for its end. An error that it ended with stays in the task."""
    task.cancel()
    await asyncio.wait([task])


async def wait_for_position(books: Books, position: int, *tasks: asyncio.Task[None], timeout_s: float = 45) -> None:
    """Wait until the books have reached `position`. Raises: the error of a task that fails meanwhile."""

    async def reached() -> bool:
        for task in tasks:
            if task.done():
                task.result()
        return await books.position() >= position

    await wait_until(reached, timeout_s)


async def wait_for_failure(task: asyncio.Task[None]) -> Exception:
    """Wait until the projector fails, for 10 s at most. Return its error."""
    await asyncio.wait([task], timeout=10)
    assert task.done(), "the projector still runs"
    error = task.exception()
    assert isinstance(error, Exception)
    return error


async def assert_books_match_log(books: Books, command_log: CommandLog) -> None:
    await assert_books_match(books, ExpectedBooks().record(await command_log.read_events()))


async def as_condition(predicate: Callable[[], bool]) -> bool:
    """Return the value of a predicate, for `wait_until`."""
    return predicate()


GOOD: Final = FavourThanked(giver="ada", receiver="bob", size="medium", points=120)


def message(event: AnyEvent = GOOD, *, of: str = str(uuid_of(9)), own: str = str(uuid_of(99))) -> tuple[str, bytes]:
    """Return subject and body of an event as the executor would publish it."""
    ref = AggregateRef(ACME, "favour", of)
    envelope = msgspec.structs.replace(make_envelope(ref, event, event_id=uuid_of(99)), id=own)
    return subject_of(ref, event), encode(envelope)
