"""A ledger to tell stories with: served over the real log and the real books, at a time that the story moves."""

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
from tests.books.telling import microseconds_of
from tests.services.caller import BASE_URL, Caller, until
from workers.clock import run_clock
from workers.projector import run_projector

API_KEY: Final = "everybody-who-knows-this-may-write"
MODERATOR_KEY: Final = "and-this-one-may-judge-as-well"
OFTEN_MS: Final = 20


class StoryLog(JetStreamLog):
    """The real log, which says that things were recorded when the story says that they happened.

    JetStream stamps with its own clock, and that is not one to move.
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


class Served:
    """The API, the log and the books. `now` is the ledger's clock, and ours to move."""

    client: httpx.AsyncClient

    def __init__(self, log: StoryLog, reader: Reader, now: datetime) -> None:
        self.log: Final = log
        self.reader: Final = reader
        self.now = now

    def community(self, name: str) -> Caller:
        return Caller(self.client, name)

    async def shown(self) -> int:
        """Wait until the books show everything that is recorded; answers the position."""
        end = await self.log.end()

        async def there() -> bool:
            return bool(await self.reader.position() >= end)

        await until(there)
        return end

    async def settled(self) -> None:
        """Wait until the clock has nothing to say any more, and the books show all that it said."""

        async def nothing_is_due() -> bool:
            return not (await self.reader.due(self.now, 1))[1]

        await self.shown()
        await until(nothing_is_due)
        await self.shown()


@asynccontextmanager
async def served(settings: Settings, now: datetime, *, clock: bool = True) -> AsyncGenerator[Served]:
    """The API with the projector beside it, and, unless a test speaks for it, the clock."""
    settings = msgspec.structs.replace(
        settings,
        unsafe_log=True,  # Whether the server fsyncs is asked where it matters.
        clock_poll_ms=OFTEN_MS,
        api_key=API_KEY,
        moderator_key=MODERATOR_KEY,
    )
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(Connection(settings.nats_url, "story"))
        await connection.ready()
        reader = await stack.enter_async_context(Reader(settings.books, pool_max=2))
        ledger = Served(StoryLog(connection), reader, now)
        await stack.enter_async_context(at_work(run_projector(ledger.log, settings)))
        if clock:
            await stack.enter_async_context(at_work(run_clock(ledger.log, settings, lambda: ledger.now)))
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

        await until(ready)
        yield ledger


@asynccontextmanager
async def at_work(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Beside the test. What it ends with by itself, the test ends with."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()
