"""The stream of one subscriber: from the journal up to its end, and from then on from the hub."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Final

from ledger.books.connection import SchemaMissing
from ledger.books.feed import Feed, FeedFilter, FeedPage
from ledger.runtime.unavailable import Unavailable
from services.feed.hub import RETRY_S, Hub
from services.feed.sse import event_frame, opening_frame, position_frame, to_chunks

PAGE_EVENTS: Final = 100  # Events of the journal in the memory of one stream.
HEARTBEAT_S: Final = 15.0


async def stream_events(
    feed: Feed, hub: Hub, wanted: FeedFilter, position: int, heartbeat_s: float
) -> AsyncGenerator[bytes, None]:
    """Yield every wanted event after this position, in order and without end, and a heartbeat when nothing comes.

    While Postgres is away it waits, and continues at its position.
    """
    yield opening_frame(position)
    sent_at = time.monotonic()
    with hub.subscriber(wanted) as subscriber:
        while True:
            due_s = max(0.0, sent_at + heartbeat_s - time.monotonic())
            if subscriber.live and position >= subscriber.since:
                if (chunk := await subscriber.next(due_s)) is None:
                    position = subscriber.position_after(position)
                elif chunk.last > position:
                    data, position = chunk.after(position), chunk.last
                    yield data
                    sent_at = time.monotonic()
            elif (page := await read_page(feed, wanted, position)) is None:
                await asyncio.sleep(min(RETRY_S, due_s))
            else:
                for new_chunk in to_chunks((entry.position, event_frame(entry)) for entry in page.entries):
                    yield new_chunk.data
                    sent_at = time.monotonic()
                position = page.after
                if page.more:
                    if not page.entries:
                        yield position_frame(position)
                        sent_at = time.monotonic()
                elif not subscriber.live:
                    subscriber.subscribe(position)
                elif position < subscriber.since:  # Rebuilt books have not reached that position yet.
                    await asyncio.sleep(min(RETRY_S, due_s))
            if time.monotonic() - sent_at >= heartbeat_s:
                yield position_frame(position)
                sent_at = time.monotonic()


async def read_page(feed: Feed, wanted: FeedFilter, position: int) -> FeedPage | None:
    """Return the next page of the journal; None while it cannot be read."""
    try:
        return await feed.page(wanted, position, PAGE_EVENTS)
    except (Unavailable, SchemaMissing):
        return None
