"""The hub: one query for new events, however many subscribers wait, and a bounded queue for each."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import structlog

from ledger.books.connection import SchemaMissing
from ledger.books.feed import Feed, FeedEvent, FeedFilter
from ledger.books.reader import Reader
from ledger.runtime.unavailable import Unavailable
from services.feed.resettable_timer import ResettableTimer
from services.feed.sse import Chunk, event_frame, to_chunks

BATCH_MAX_EVENTS: Final = 500
QUEUE_MAX_BYTES: Final = 256 * 1024  # Per subscriber. One that falls further behind continues from the journal.
RETRY_S: Final = 0.5  # Until the next query, after Postgres did not respond.

_log = structlog.get_logger()


class Subscriber:
    """A client's queue at the hub. While it is `live`, its queue receives every new event, without gaps.

    `since` is the position at which it became live; the hub has delivered everything up to `delivered_until`. The
    queue holds references: subscribers with the same filter share the bytes.
    """

    def __init__(self, hub: "Hub", wanted: FeedFilter) -> None:
        self.wanted = wanted
        self.live = False
        self.since = 0
        self.delivered_until = 0
        self._hub = hub
        self._queue: deque[Chunk] = deque()
        self._queued_bytes = 0
        self._woken = asyncio.Event()
        self._wake_timer = ResettableTimer(self._woken.set)

    def subscribe(self, position: int) -> None:
        """Become live at the hub's position. A client at an earlier `position` reads up to `since` from the journal."""
        self.unsubscribe()
        self._woken.clear()
        self.since = self.delivered_until = self._hub.add(self, position)
        self.live = True

    def unsubscribe(self) -> None:
        """Stop being live, and drop the queue."""
        self._hub.remove(self)
        self.live = False
        self._queue.clear()
        self._queued_bytes = 0
        self._woken.set()

    def close(self) -> None:
        self.unsubscribe()
        self._wake_timer.close()

    def deliver(self, new: list[Chunk], size_bytes: int, until: int) -> None:
        """Queue all new chunks up to the position `until`. A subscriber whose queue is full is live no longer."""
        self._queued_bytes += size_bytes
        if self._queued_bytes > QUEUE_MAX_BYTES:
            self.unsubscribe()
            return
        self._queue.extend(new)
        self.delivered_until = until
        if new:
            self._woken.set()

    async def next(self, within_s: float) -> Chunk | None:
        """Return the next chunk. None: nothing came within the time, or the subscriber is live no longer."""
        if self.live and not self._queue:
            self._wake_timer.reset(within_s)
            await self._woken.wait()
        chunk = self._queue.popleft() if self._queue else None
        if chunk is not None:
            self._queued_bytes -= len(chunk.data)
        if self.live and not self._queue:
            self._woken.clear()
        return chunk

    def position_after(self, position: int) -> int:
        """Return the position reached once the queue is drained, for a client that was at `position`."""
        return max(position, self.delivered_until) if self.live and not self._queue else position

    async def wait_woken(self) -> None:
        """Return once a chunk is queued, or the subscriber is live no longer."""
        await self._woken.wait()


class Hub:
    """Reads new events once for all subscribers when the writer notifies, and delivers them.

    It queries nothing while there are no subscribers. While Postgres is away, it waits.
    """

    def __init__(self, reader: Reader, feed: Feed) -> None:
        self._reader = reader
        self._feed = feed
        self._position = 0  # Everything up to here is delivered.
        self._subscribers: dict[FeedFilter, set[Subscriber]] = {}
        self._has_subscribers = asyncio.Event()

    @contextmanager
    def subscriber(self, wanted: FeedFilter) -> Generator[Subscriber]:
        """A subscriber for one client. It has yet to subscribe."""
        subscriber = Subscriber(self, wanted)
        try:
            yield subscriber
        finally:
            subscriber.close()

    def add(self, subscriber: Subscriber, position: int) -> int:
        """Start to deliver to this subscriber. Return the position after which events are delivered."""
        if not self._subscribers:  # Events of the time without subscribers are read from the journal.
            self._position = max(self._position, position)
        self._subscribers.setdefault(subscriber.wanted, set()).add(subscriber)
        self._has_subscribers.set()
        return self._position

    def remove(self, subscriber: Subscriber) -> None:
        subscribers = self._subscribers.get(subscriber.wanted, set())
        subscribers.discard(subscriber)
        if not subscribers:
            self._subscribers.pop(subscriber.wanted, None)
        if not self._subscribers:
            self._has_subscribers.clear()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Deliver in the background."""
        task = asyncio.create_task(self.run())
        try:
            yield
        finally:
            task.cancel()

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            try:
                await self._has_subscribers.wait()
                await self._reader.wait_beyond(self._position)
                if self._subscribers and self._reader.last_position > self._position:
                    await self._deliver()
            except (Unavailable, SchemaMissing):
                await asyncio.sleep(RETRY_S)
            except Exception as bug:  # noqa: BLE001  Otherwise subscribers wait without end. Now they read the journal.
                _log.error("bug", task="hub", exc_info=bug)
                self._unsubscribe_all()
                await asyncio.sleep(RETRY_S)

    async def _deliver(self) -> None:
        position = self._position
        communities = sorted({wanted.community for wanted in self._subscribers})
        until, entries = await self._feed.since(position, communities, BATCH_MAX_EVENTS)
        if self._position != position:  # All subscribers left during the query, and others came.
            return
        if until <= position:  # Rebuilt books are at an earlier position than the notice named.
            await asyncio.sleep(RETRY_S)
            return
        framed: dict[str, list[tuple[FeedEvent, bytes]]] = defaultdict(list)
        for entry in entries:
            framed[entry.community].append((entry, event_frame(entry)))
        self._position = until
        for wanted, subscribers in list(self._subscribers.items()):
            new = to_chunks((e.position, data) for e, data in framed[wanted.community] if e.name in wanted.names)
            size_bytes = sum(len(chunk.data) for chunk in new)
            for subscriber in list(subscribers):
                if wanted.community in communities:
                    subscriber.deliver(new, size_bytes, until)
                else:  # It subscribed during the query, which did not cover its community.
                    subscriber.unsubscribe()

    def _unsubscribe_all(self) -> None:
        for subscribers in list(self._subscribers.values()):
            for subscriber in list(subscribers):
                subscriber.unsubscribe()
