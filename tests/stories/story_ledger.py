"""A ledger for stories: the API on the real log and the real books. The story sets the time."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any, Final, cast

import httpx
import msgspec

from ledger.books.reader import Reader
from ledger.envelope import AggregateRef, RecordedEvent
from ledger.log.connection import Connection
from ledger.log.jetstream import JetStreamLog
from ledger.runtime.settings import Settings
from services.app import application
from tests.books.histories import microseconds_of
from tests.polling import wait_until
from tests.services.caller import BASE_URL, Caller
from workers.clock import run_clock
from workers.projector import run_projector

API_KEY: Final = "a-key-of-a-caller-that-may-write"
MODERATOR_KEY: Final = "a-key-of-a-caller-that-may-judge"
CLOCK_POLL_MS: Final = 20


class StoryLog(JetStreamLog):
    """The real log. It returns the time at which an event happened as its recording time.

    JetStream stamps events with the real time, which a story cannot set.
    """

    async def last(self, refs: Sequence[AggregateRef], *, fresh: bool = False) -> list[RecordedEvent | None]:
        return [retimed(event) for event in await super().last(refs, fresh=fresh)]

    async def last_named(self, ref: AggregateRef, event: str) -> RecordedEvent | None:
        return retimed(await super().last_named(ref, event))

    async def at(self, position: int) -> RecordedEvent | None:
        return retimed(await super().at(position))

    async def read_from(
        self, position: int, *, after: str | None = None, batch_max: int = 1_000, linger_ms: int = 10
    ) -> AsyncGenerator[list[RecordedEvent], None]:
        batches = super().read_from(position, after=after, batch_max=batch_max, linger_ms=linger_ms)
        try:
            async for batch in batches:
                yield [event for event in map(retimed, batch) if event is not None]
        finally:
            await batches.aclose()


def retimed(event: RecordedEvent | None) -> RecordedEvent | None:
    if event is None:
        return None
    return msgspec.structs.replace(event, recorded_at_us=microseconds_of(event.envelope.time))


class StoryLedger:
    """The API, the log and the books. A story sets `now`, the time of the ledger."""

    client: httpx.AsyncClient

    def __init__(self, log: StoryLog, reader: Reader, now: datetime) -> None:
        self.log: Final = log
        self.reader: Final = reader
        self.now = now

    def community(self, name: str) -> Caller:
        return Caller(self.client, name)

    async def wait_until_projected(self) -> int:
        """Wait until the books contain everything that is recorded. Return the position."""
        end = await self.log.end()

        async def projected() -> bool:
            return bool(await self.reader.position() >= end)

        await wait_until(projected)
        return end

    async def wait_until_settled(self) -> None:
        """Wait until the clock worker has nothing left to lapse, and the books contain all that it recorded."""

        async def nothing_is_due() -> bool:
            return not (await self.reader.due(self.now, 1))[1]

        await self.wait_until_projected()
        await wait_until(nothing_is_due)
        await self.wait_until_projected()


@asynccontextmanager
async def running_ledger(settings: Settings, now: datetime, *, clock: bool = True) -> AsyncGenerator[StoryLedger]:
    """Run the API, the projector and, with `clock`, the clock worker. Yield once the API is ready."""
    settings = msgspec.structs.replace(
        settings,
        unsafe_log=True,  # Other tests check that the server calls fsync.
        clock_poll_ms=CLOCK_POLL_MS,
        api_key=API_KEY,
        moderator_key=MODERATOR_KEY,
    )
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(Connection(settings.nats_url, "story"))
        await connection.ready()
        reader = await stack.enter_async_context(Reader(settings.books, pool_max=2))
        ledger = StoryLedger(StoryLog(connection), reader, now)
        await stack.enter_async_context(background(run_projector(ledger.log, settings)))
        if clock:
            await stack.enter_async_context(background(run_clock(ledger.log, settings, lambda: ledger.now)))
        served_by = application("all", settings, log=ledger.log, now=lambda: ledger.now).asgi
        await stack.enter_async_context(served_by.lifespan())
        ledger.client = await stack.enter_async_context(
            httpx.AsyncClient(
                transport=httpx.ASGITransport(cast("Any", served_by)),
                base_url=BASE_URL,
                timeout=60,
                headers={"Authorization": f"Bearer {API_KEY}"},
            )
        )

        async def ready() -> bool:
            return (await ledger.client.get("/readyz")).status_code == 200

        await wait_until(ready)
        yield ledger


@asynccontextmanager
async def background(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Run a coroutine beside the test. If it fails, the test fails."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()
