"""The feed returns each event of a community once and in order, with any filter and any page size."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pytest

from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books import feed as feed_module
from ledger.books.connection import BooksUnavailable, SchemaMissing
from ledger.books.feed import Feed, FeedEvent, FeedFilter, FeedPage
from ledger.domain.catalog.kinds import EVENTS
from ledger.domain.values.aggregate_types import tag_of
from ledger.domain.values.refusals import Bug
from ledger.runtime.settings import BooksAddress
from tests.books.books_database import Books
from tests.books.histories import ACME, CommandLog
from tests.books.large_books import WHOLE_SAMPLE
from tests.books.random_histories import RandomHistory
from tests.polling import wait_until

ALL: Final = frozenset(EVENTS)
LENGTH: Final = 300
FAR: Final = 2**53 - 1


@pytest.fixture
async def feed(books: Books) -> AsyncIterator[Feed]:
    async with Feed(books.address) as feed:
        yield feed


async def pages(feed: Feed, wanted: FeedFilter, after: int, limit: int, scan_max_rows: int) -> list[FeedPage]:
    """Return successive pages until there is no more."""
    found = [await feed.page(wanted, after, limit, scan_max_rows)]
    while found[-1].more:
        page = await feed.page(wanted, found[-1].after, limit, scan_max_rows)
        assert page.after > found[-1].after or not page.more
        found.append(page)
    return found


async def test_any_filter_in_any_pages_from_anywhere_gives_what_it_names_once_and_in_order(
    books: Books, feed: Feed
) -> None:
    events = await RandomHistory(20).generate(LENGTH)
    end = events[-1].position
    await books.write(events)
    rng = random.Random("pages")
    names = sorted({tag_of(event.envelope.data) for event in events})
    for _ in range(150):
        wanted = FeedFilter(
            rng.choice(["acme", "bolt"]), frozenset(rng.sample(names, rng.choice([1, 2, 5, len(names)])))
        )
        after, limit, scan = rng.randrange(end + 5), rng.choice([1, 2, 7, 100]), rng.choice([1, 2, 3, 10, 10_000])
        found = await pages(feed, wanted, after, limit, scan)
        expected = [
            (event.position, event.body.decode())
            for event in events
            if event.position > after
            and event.ref.community == wanted.community
            and tag_of(event.envelope.data) in wanted.names
        ]
        entries = [entry for page in found for entry in page.entries]
        assert [(entry.position, entry.event) for entry in entries] == expected
        assert {entry.community for entry in entries} <= {wanted.community}
        assert all(len(page.entries) <= min(limit, scan) for page in found)
        assert {page.shown for page in found} == {end}
        assert found[-1].after == max(after, end)


async def test_an_entry_says_when_it_was_recorded(books: Books, feed: Feed, command_log: CommandLog) -> None:
    command_log.now = datetime(2026, 5, 4, 3, 2, 1, 987_654, tzinfo=UTC)
    await command_log.thank_many(1)
    (event,) = await command_log.read_events()
    await books.write([event])
    page = await feed.page(FeedFilter(ACME, ALL), 0, 10)
    entry = FeedEvent(1, command_log.now, ACME, "favour.thanked", event.body.decode())
    assert page == FeedPage([entry], after=1, more=False, shown=1)


async def test_a_rare_event_is_looked_for_in_bounded_steps(books: Books, feed: Feed, command_log: CommandLog) -> None:
    assert feed_module.SCAN_MAX_ROWS == 10_000
    await command_log.thank_many(95)
    await books.write(await command_log.read_events())
    found = await pages(feed, FeedFilter(ACME, frozenset({"policy.published"})), 0, 500, 10)
    assert [(page.entries, page.after, page.more) for page in found] == [
        *(([], after, True) for after in range(10, 91, 10)),
        ([], 95, False),
    ]


async def test_a_page_that_ends_right_where_its_scan_ends_is_not_taken_for_the_last(
    books: Books, feed: Feed, command_log: CommandLog
) -> None:
    await command_log.thank_many(20)
    await books.write(await command_log.read_events())
    wanted = FeedFilter(ACME, ALL)
    for limit, scan in ((10, 10), (5, 10), (11, 10), (20, 20), (100, 19)):
        found = await pages(feed, wanted, 0, limit, scan)
        assert [entry.position for page in found for entry in page.entries] == list(range(1, 21))


async def test_a_place_beyond_the_end_stays_where_it_is(books: Books, feed: Feed, command_log: CommandLog) -> None:
    await command_log.thank_many(3)
    await books.write(await command_log.read_events())
    assert await feed.page(FeedFilter(ACME, ALL), FAR, 10) == FeedPage([], after=FAR, more=False, shown=3)
    assert await feed.since(FAR, [ACME], 10) == (3, [])


async def test_nothing_slips_in_behind_a_reader_while_it_is_written(
    books: Books, feed: Feed, command_log: CommandLog
) -> None:
    """Read on without a pause while the writer works. Two communities are written in batches of any size."""
    rng = random.Random("slip")
    for n in range(60):
        await command_log.thank_many(rng.choice([1, 3, 20]), begin=1_000 * n + 1)
    events = await command_log.read_events()
    end = events[-1].position
    heard: list[int] = []

    async def read() -> None:
        after = 0
        while after < end:
            page = await feed.page(FeedFilter(ACME, ALL), after, rng.choice([1, 5, 50]), rng.choice([3, 10_000]))
            heard.extend(entry.position for entry in page.entries)
            after = page.after

    async def follow() -> None:
        after = 0
        while after < end:
            after, entries = await feed.since(after, [ACME, "bolt"], rng.choice([1, 5, 50]))
            followed.extend(entry.position for entry in entries)

    followed: list[int] = []
    reading = [asyncio.create_task(read()), asyncio.create_task(follow())]
    async with books.writer() as writer:
        at = 0
        while at < end:
            size = rng.choice([1, 2, 17])
            await writer.apply(events[at : at + size])
            at += size
    await asyncio.gather(*reading)
    assert heard == followed == list(range(1, end + 1))


async def test_what_is_new_is_read_for_several_communities_at_once(books: Books, feed: Feed) -> None:
    events = await RandomHistory(21).generate(LENGTH)
    end = events[-1].position
    await books.write(events)
    for communities in (["acme"], ["bolt"], ["acme", "bolt"], [], ["nobody"]):
        after, heard = 0, list[FeedEvent]()
        while after < end:
            after, entries = await feed.since(after, communities, 50)
            heard += entries
        assert [entry.position for entry in heard] == [
            event.position for event in events if event.ref.community in communities
        ]


async def test_a_step_over_the_new_is_bounded(
    books: Books, feed: Feed, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "SCAN_MAX_ROWS", 10)
    await command_log.thank_many(25)
    await books.write(await command_log.read_events())
    assert [await feed.since(after, ["nobody"], 50) for after in (0, 10, 20, 25)] == [
        (10, []),
        (20, []),
        (25, []),
        (25, []),
    ]


@pytest.mark.parametrize("analyzed", [False, True])
async def test_a_page_is_read_in_the_order_of_one_index_whatever_postgres_knows_of_the_table(
    books: Books, feed: Feed, analyzed: bool
) -> None:
    """The plan never searches a large community's events for those of a small one. It sorts nothing as a whole."""
    await books.execute(
        "INSERT INTO journal SELECT n, now(), 'acme', 0, 'favour.thanked', gen_random_uuid(), '{}'"
        " FROM generate_series(1, 50000) n;"
        "INSERT INTO journal SELECT n, now(), 'bolt', 0, 'favour.thanked', gen_random_uuid(), '{}'"
        " FROM generate_series(50001, 50010) n;"
        "UPDATE checkpoint SET position = 50010, event_id = gen_random_uuid()"
    )
    if analyzed:
        await books.execute(f"{WHOLE_SAMPLE['journal']}; ANALYZE journal")
    for community, after in (("acme", 0), ("acme", 20_000), ("bolt", 0), ("cern", 0)):
        for _ in range(7):  # Postgres changes to one plan after a few executions.
            await feed.page(FeedFilter(community, ALL), after, 500)
        arguments = (community, after, sorted(ALL), 501, 10_000)
        async with feed._pool.acquire() as connection:
            explained = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {feed_module.QUERIES['page']}"
            plan = str(await connection.fetchval(explained, *arguments))
        assert '"Index Name": "events_by_community"' in plan
        assert "Rows Removed by Filter" not in plan or '"Rows Removed by Filter": 0' in plan
        assert read_in(plan) < 100


def read_in(plan: str) -> int:
    """Return the number of 8 KiB pages that the query read."""
    found: Any = msgspec.json.decode(plan)
    top = found[0]["Plan"]
    return int(top["Shared Hit Blocks"] + top["Shared Read Blocks"])


async def test_all_readers_of_a_process_share_a_few_connections(
    books: Books, feed: Feed, command_log: CommandLog
) -> None:
    await command_log.thank_many(10)
    await books.write(await command_log.read_events())
    await asyncio.gather(*(feed.page(FeedFilter(ACME, ALL), 0, 10) for _ in range(100)))
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'referral-ledger feed'"
    assert 1 <= await books.value(ours) <= feed_module.CONNECTIONS_MAX


async def test_books_that_are_not_there_are_missing_and_empty_ones_a_bug(
    books: Books, feed: Feed, postgres: EmbeddedPostgres
) -> None:
    async with Feed(BooksAddress(postgres.dsn, "never_made")) as nothing:
        with pytest.raises(SchemaMissing):
            await nothing.page(FeedFilter(ACME, ALL), 0, 1)
    async with Feed(BooksAddress("postgresql://postgres@127.0.0.1:1/postgres", "books")) as nobody:
        with pytest.raises(BooksUnavailable):
            await nobody.since(0, [ACME], 1)
    await books.execute("DELETE FROM checkpoint")
    with pytest.raises(Bug, match="no checkpoint"):
        await feed.page(FeedFilter(ACME, ALL), 0, 1)


async def test_one_who_waits_for_more_is_woken_by_the_commit_that_brings_it(
    books: Books, command_log: CommandLog
) -> None:
    await command_log.thank_many(3)
    events = await command_log.read_events()
    listening = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'referral-ledger watermark')"
    async with books.reader() as reader:
        await wait_until(lambda: books.value(listening))
        assert reader.last_position == 0
        waiting = [asyncio.create_task(reader.wait_beyond(position)) for position in (0, 2)]
        await books.write(events[:2])
        async with asyncio.timeout(5):
            await waiting[0]
        assert not waiting[1].done()
        await books.write(events[2:])
        async with asyncio.timeout(5):
            await waiting[1]
        assert reader.last_position == 3
        await reader.wait_beyond(2)
