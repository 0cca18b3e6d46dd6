"""One reader of the stream: from the journal until the end of it is reached, then from the hub."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Final

from ledger.books.feed import Feed, Page, Wanted
from ledger.books.schema import SchemaMissing
from ledger.runtime.unavailable import Unavailable
from services.query.frames import checkpoint, chunks, frame, opening
from services.query.hub import RETRY_S, Hub

PAGE_EVENTS: Final = 100  # Of the journal, in the memory of one reader.
HEARTBEAT_S: Final = 15.0


async def follow(
    feed: Feed, hub: Hub, wanted: Wanted, position: int, heartbeat_s: float
) -> AsyncGenerator[bytes, None]:
    """Everything that is wanted after this position, for ever and in order, and a heartbeat when there is nothing.

    While Postgres is away it waits, and goes on from where it was.
    """
    yield opening(position)
    said_at = time.monotonic()
    with hub.seat(wanted) as seat:
        while True:
            due_s = max(0.0, said_at + heartbeat_s - time.monotonic())
            if seat.live and position >= seat.since:
                if (chunk := await seat.next(due_s)) is None:
                    position = seat.reached(position)
                elif chunk.last > position:
                    data, position = chunk.after(position), chunk.last
                    yield data
                    said_at = time.monotonic()
            elif (page := await page_of(feed, wanted, position)) is None:
                await asyncio.sleep(min(RETRY_S, due_s))
            else:
                for made in chunks((entry.position, frame(entry)) for entry in page.entries):
                    yield made.data
                    said_at = time.monotonic()
                position = page.after
                if page.more:
                    if not page.entries:
                        yield checkpoint(position)
                        said_at = time.monotonic()
                elif not seat.live:
                    seat.join(position)
                elif position < seat.since:  # Books that are made anew have yet to get there.
                    await asyncio.sleep(min(RETRY_S, due_s))
            if time.monotonic() - said_at >= heartbeat_s:
                yield checkpoint(position)
                said_at = time.monotonic()


async def page_of(feed: Feed, wanted: Wanted, position: int) -> Page | None:
    """The next of the journal; None while it cannot be read."""
    try:
        return await feed.page(wanted, position, PAGE_EVENTS)
    except (Unavailable, SchemaMissing):
        return None
