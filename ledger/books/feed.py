"""The feed: reads the journal in the order of commits, from any position, without gaps."""

from collections.abc import Collection
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

from msgspec import Struct

from ledger.books.pool import fetch_with_position, open_pool
from ledger.books.queries import named
from ledger.runtime.settings import BooksAddress

QUERIES: Final = named("feed")
SCAN_MAX_ROWS: Final = 10_000  # Per query. A filter that matches one event in a million must not read a million rows.
CONNECTIONS_MAX: Final = 2  # Of a separate pool: a thousand subscribers that reconnect at once delay no other query.
# The queries read few rows in the order of an index. Without statistics, for example after a table was just filled,
# Postgres would fetch and sort all remaining rows instead.
ORDERED_PLANNER: Final = MappingProxyType({"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off"})


class FeedEvent(Struct, frozen=True, gc=False):
    """An event from the journal. `event` is its exact text, `name` its tag, such as `favour.thanked`."""

    position: int
    recorded_at: datetime
    community: str
    name: str
    event: str


ENTRY: Final = slice(1, 1 + len(FeedEvent.__struct_fields__))  # The columns of an entry, after `was_last`.


class FeedFilter(Struct, frozen=True):
    """Selects the events of a community that have one of these names."""

    community: str
    names: frozenset[str]


class FeedPage(Struct, frozen=True):
    """Events in the order of the log. The next page begins after position `after`.

    `more`: the next page may contain events now. `shown` is the position of the books.
    """

    entries: list[FeedEvent]
    after: int
    more: bool
    shown: int


class ScannedRow(NamedTuple):
    """A row that a query returned. `was_last`: it was the last row that the query was allowed to scan."""

    was_last: bool
    entry: FeedEvent


class Feed:
    """Reads the journal through a separate connection pool.

    Every method raises BooksUnavailable if Postgres does not respond, and SchemaMissing before the schema exists.
    """

    def __init__(self, books: BooksAddress) -> None:
        self._books = books

    async def __aenter__(self) -> Self:
        self._pool = await open_pool(self._books, "feed", CONNECTIONS_MAX, planner=ORDERED_PLANNER)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.terminate()

    async def page(
        self, event_filter: FeedFilter, after: int, limit: int, scan_max_rows: int = SCAN_MAX_ROWS
    ) -> FeedPage:
        """Return the next events after this position. A page can be empty although more follow, see `more`."""
        names = sorted(event_filter.names)
        position, rows = await self._rows("page", event_filter.community, after, names, limit + 1, scan_max_rows)
        entries = [entry for _, entry in rows if entry.name in event_filter.names]
        if len(entries) > limit:
            return FeedPage(entries[:limit], entries[limit - 1].position, more=True, shown=position)
        if rows and rows[-1].was_last:
            return FeedPage(entries, rows[-1].entry.position, more=True, shown=position)
        return FeedPage(entries, max(after, position), more=False, shown=position)

    async def since(self, after: int, communities: Collection[str], limit: int) -> tuple[int, list[FeedEvent]]:
        """Return events of these communities after this position, and the position up to which they are complete."""
        until = after + SCAN_MAX_ROWS
        position, rows = await self._rows("since", after, list(communities), limit, until)
        entries = [entry for _, entry in rows]
        return (entries[-1].position if len(entries) == limit else min(position, until)), entries

    async def _rows(self, query: str, *arguments: Any) -> tuple[int, list[ScannedRow]]:
        position, rows = await fetch_with_position(self._pool, QUERIES[query], *arguments)
        return position, [ScannedRow(row["was_last"], FeedEvent(*row[ENTRY])) for row in rows]
