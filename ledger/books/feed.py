"""The feed: the journal, read in the order in which it was committed, from any position, without gaps."""

from collections.abc import Collection
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

from msgspec import Struct

from ledger.books.pool import fetch_with_position, open_pool
from ledger.books.queries import named
from ledger.runtime.settings import BooksAddress

QUERIES: Final = named("feed")
SCAN_MAX_ROWS: Final = 10_000  # In one query. A filter that fits one event in a million must not read a million rows.
CONNECTIONS_MAX: Final = 2  # Of its own: a thousand readers who come back at once keep no other query waiting.
# Rows come in the order of an index, and few of them. Without statistics, as of a table that was just filled, Postgres
# would rather fetch all that are left and sort them.
ORDERED_PLANNER: Final = MappingProxyType({"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off"})


class FeedEvent(Struct, frozen=True, gc=False):
    """An event as the journal holds it. `event` is its exact text; `name` its tag, like `favour.thanked`."""

    position: int
    recorded_at: datetime
    community: str
    name: str
    event: str


ENTRY: Final = slice(1, 1 + len(FeedEvent.__struct_fields__))  # The columns of an entry, after `was_last`.


class FeedFilter(Struct, frozen=True):
    """Which events a reader is shown: those of a community that have these names."""

    community: str
    names: frozenset[str]


class FeedPage(Struct, frozen=True):
    """Events in order. Everything up to `after` was looked at; `more` may follow it right now.

    `shown` is how far the books had come.
    """

    entries: list[FeedEvent]
    after: int
    more: bool
    shown: int


class ScannedRow(NamedTuple):
    """A row that a query looked at, and whether it was the last one that it may look at."""

    was_last: bool
    entry: FeedEvent


class Feed:
    """Reads the journal on connections of its own.

    Every method raises BooksUnavailable when Postgres does not answer, and SchemaMissing before it is set up.
    """

    def __init__(self, books: BooksAddress) -> None:
        self._books = books

    async def __aenter__(self) -> Self:
        self._pool = await open_pool(self._books, "feed", CONNECTIONS_MAX, planner=ORDERED_PLANNER)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.terminate()

    async def page(self, wanted: FeedFilter, after: int, limit: int, scan_max_rows: int = SCAN_MAX_ROWS) -> FeedPage:
        """The next events after this position. A page may be empty and yet not the last: see `more`."""
        names = sorted(wanted.names)
        shown, rows = await self._rows("page", wanted.community, after, names, limit + 1, scan_max_rows)
        entries = [entry for _, entry in rows if entry.name in wanted.names]
        if len(entries) > limit:
            return FeedPage(entries[:limit], entries[limit - 1].position, more=True, shown=shown)
        if rows and rows[-1].was_last:
            return FeedPage(entries, rows[-1].entry.position, more=True, shown=shown)
        return FeedPage(entries, max(after, shown), more=False, shown=shown)

    async def since(self, after: int, communities: Collection[str], limit: int) -> tuple[int, list[FeedEvent]]:
        """What these communities recorded after this position, and up to where that is all of it."""
        until = after + SCAN_MAX_ROWS
        shown, rows = await self._rows("since", after, list(communities), limit, until)
        entries = [entry for _, entry in rows]
        return (entries[-1].position if len(entries) == limit else min(shown, until)), entries

    async def _rows(self, query: str, *arguments: Any) -> tuple[int, list[ScannedRow]]:
        shown, rows = await fetch_with_position(self._pool, QUERIES[query], *arguments)
        return shown, [ScannedRow(row["was_last"], FeedEvent(*row[ENTRY])) for row in rows]
