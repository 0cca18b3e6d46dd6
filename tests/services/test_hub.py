"""The hub: one query for all subscribers, and a bounded queue for each.

A subscriber that joins, lags or returns misses no event.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, suppress
from typing import Final

import pytest
from structlog.testing import capture_logs

from ledger.books.connection import BooksUnavailable
from ledger.books.feed import Feed, FeedEvent, FeedFilter
from ledger.books.reader import Reader
from ledger.domain.catalog.kinds import EVENTS
from ledger.runtime.settings import BooksAddress, Settings
from services.feed import hub as hub_module
from services.feed.hub import Hub, Subscriber
from services.feed.stream import stream_events
from tests.polling import wait_until
from tests.services.instant_ledger import InstantLedger
from tests.sse_client import EventStreamParser

ALL: Final = frozenset(EVENTS)
ACME: Final = FeedFilter("acme", ALL)
BOLT: Final = FeedFilter("bolt", ALL)
NOTHING: Final = FeedFilter("acme", frozenset({"policy.published"}))


class CountingFeed(Feed):
    """Feed that counts its queries. A test can make it fail or wait."""

    def __init__(self, books: BooksAddress) -> None:
        super().__init__(books)
        self.asked: list[Collection[str]] = []
        self.failing: Exception | None = None
        self.go = asyncio.Event()
        self.go.set()

    async def since(self, after: int, communities: Collection[str], limit: int) -> tuple[int, list[FeedEvent]]:
        self.asked.append(tuple(communities))
        if self.failing is not None:
            raise self.failing
        answer = await super().since(after, communities, limit)
        await self.go.wait()
        return answer


@pytest.fixture
def instant_ledger(settings: Settings) -> InstantLedger:
    return InstantLedger(settings)


@pytest.fixture
async def reader(settings: Settings) -> AsyncIterator[Reader]:
    async with Reader(settings.books, 2) as reader:
        yield reader


@pytest.fixture
async def feed(settings: Settings) -> AsyncIterator[CountingFeed]:
    async with CountingFeed(settings.books) as feed:
        yield feed


@pytest.fixture
async def hub(reader: Reader, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    monkeypatch.setattr(hub_module, "RETRY_S", 0.02)
    hub = Hub(reader, feed)
    running = asyncio.create_task(hub.run())
    yield hub
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def taken(subscriber: Subscriber, count: int) -> list[int]:
    """Take this many positions from the queue."""
    found: list[int] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            if (chunk := await subscriber.next(0.1)) is not None:
                found += [position for position, _ in chunk.ends]
    return found


async def test_one_query_serves_all_who_wait(hub: Hub, feed: CountingFeed, instant_ledger: InstantLedger) -> None:
    async with AsyncExitStack() as stack:
        subscribers = [stack.enter_context(hub.subscriber(ACME)) for _ in range(200)]
        for subscriber in subscribers:
            subscriber.subscribe(0)
        await instant_ledger.thank_many(20)
        for subscriber in subscribers:
            assert await taken(subscriber, 20) == list(range(1, 21))
        assert len(feed.asked) == 1
        assert {id(chunk) for subscriber in subscribers for chunk in subscriber._queue} == set()


async def test_nothing_is_asked_while_nobody_waits(
    hub: Hub, feed: CountingFeed, reader: Reader, instant_ledger: InstantLedger
) -> None:
    with hub.subscriber(ACME) as subscriber:
        subscriber.subscribe(0)
        await instant_ledger.thank_many(1)
        await taken(subscriber, 1)
    asked = len(feed.asked)
    await instant_ledger.thank_many(5)
    await reader.wait_beyond(5)
    with hub.subscriber(ACME) as subscriber:
        assert len(feed.asked) == asked
        subscriber.subscribe(6)
        assert subscriber.since == 6  # The hub reads no events for a community without subscribers.
        await instant_ledger.thank_many(1)
        assert await taken(subscriber, 1) == [7]


async def test_one_who_comes_while_it_is_asked_for_others_is_sent_to_the_journal(
    hub: Hub, feed: CountingFeed, instant_ledger: InstantLedger
) -> None:
    """The running query does not cover the new subscriber's community, so the events in between would be missing."""
    with hub.subscriber(ACME) as acme, hub.subscriber(BOLT) as bolt, hub.subscriber(NOTHING) as other:
        acme.subscribe(0)
        feed.go.clear()
        await instant_ledger.thank_many(1, "bolt")

        async def asking() -> bool:
            return feed.asked == [("acme",)]

        await wait_until(asking)
        bolt.subscribe(0)
        other.subscribe(0)
        feed.go.set()
        assert await bolt.next(5) is None
        assert not bolt.live
        assert await other.next(0.01) is None
        assert (other.live, other.position_after(0)) == (True, 1)
        assert acme.live


async def test_one_whose_queue_is_full_holds_nothing_and_is_sent_to_the_journal(
    hub: Hub, instant_ledger: InstantLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "QUEUE_MAX_BYTES", 20_000)
    with hub.subscriber(ACME) as slow, hub.subscriber(ACME) as quick:
        for subscriber in (slow, quick):
            subscriber.subscribe(0)
        heard: list[int] = []
        for _ in range(10):
            await instant_ledger.thank_many(10)
            heard += await taken(quick, 10)
        assert heard == list(range(1, 101))
        assert not slow.live
        assert (len(slow._queue), slow._queued_bytes, slow.position_after(0)) == (0, 0, 0)
        assert await slow.next(5) is None


async def test_a_reader_who_falls_behind_reads_on_from_the_journal_and_misses_nothing(
    hub: Hub, feed: Feed, instant_ledger: InstantLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "QUEUE_MAX_BYTES", 5_000)
    parser = EventStreamParser()
    chunks = stream_events(feed, hub, ACME, 0, 0.05)
    async with asyncio.timeout(20):
        parser.feed((await anext(chunks)).decode())
        for _ in range(10):
            await instant_ledger.thank_many(50)
            parser.feed((await anext(chunks)).decode())
        while len(parser.events) < 500:
            parser.feed((await anext(chunks)).decode())
    await chunks.aclose()
    assert [event.position for event in parser.events] == list(range(1, 501))
    assert hub._subscribers == {}


async def test_while_the_books_are_away_the_hub_asks_again_and_nobody_is_sent_away(
    hub: Hub, feed: CountingFeed, instant_ledger: InstantLedger
) -> None:
    with hub.subscriber(ACME) as subscriber:
        subscriber.subscribe(0)
        feed.failing = BooksUnavailable("away")
        await instant_ledger.thank_many(3)

        async def asked_again() -> bool:
            return len(feed.asked) >= 3

        await wait_until(asked_again)
        feed.failing = None
        assert await taken(subscriber, 3) == [1, 2, 3]


async def test_a_mistake_of_the_hub_is_logged_and_its_readers_go_on_from_the_journal(
    hub: Hub, feed: CountingFeed, instant_ledger: InstantLedger
) -> None:
    with hub.subscriber(ACME) as subscriber, capture_logs() as said:
        subscriber.subscribe(0)
        feed.failing = ZeroDivisionError("a mistake")
        await instant_ledger.thank_many(3)
        assert await subscriber.next(5) is None
        assert not subscriber.live
        assert [line["event"] for line in said] == ["bug"]
        feed.failing = None
        subscriber.subscribe(3)
        await instant_ledger.thank_many(1)
        assert await taken(subscriber, 1) == [4]


async def test_who_leaves_is_forgotten(hub: Hub, instant_ledger: InstantLedger) -> None:
    with hub.subscriber(ACME) as one, hub.subscriber(ACME) as other:
        one.subscribe(0)
        other.subscribe(0)
        one.unsubscribe()
        await instant_ledger.thank_many(1)
        assert await taken(other, 1) == [1]
        assert not one._queue
    assert hub._subscribers == {}
