"""The feed: the journal, read in the order in which it was committed, from any position, without gaps."""

from collections.abc import Collection
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

from msgspec import Struct

from ledger.books.pool import fetch_with_position, pool_of
from ledger.books.queries import named

QUERIES: Final = named("feed")
SCAN_MAX_ROWS: Final = 10_000  # In one query. A filter that fits one event in a million must not read a million rows.
CONNECTIONS_MAX: Final = 2  # Of its own: a thousand readers who come back at once keep no other query waiting.
# Rows come in the order of an index, and few of them. Without statistics, as of a table that was just filled, Postgres
# would rather fetch all that are left and sort them.
IN_ORDER: Final = MappingProxyType({"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off"})


class Entry(Struct, frozen=True, gc=False):
    """An event as the journal holds it. `event` is its exact text; `name` its tag, like `favour.thanked`."""

    position: int
    recorded_at: datetime
    community: str
    name: str
    event: str


ENTRY: Final = slice(1, 1 + len(Entry.__struct_fields__))  # The columns of an entry, after `was_last`.


class Wanted(Struct, frozen=True):
    """Which events a reader is shown: those of a community that have these names."""

    community: str
    names: frozenset[str]


class Page(Struct, frozen=True):
    """Events in order. Everything up to `after` was looked at; `more` may follow it right now.

    `shown` is how far the books had come.
    """

    entries: list[Entry]
    after: int
    more: bool
    shown: int


class Looked(NamedTuple):
    """A row that a query looked at, and whether it was the last one that it may look at."""

    was_last: bool
    entry: Entry


class Feed:
    """Reads the journal on connections of its own.

    Every method raises BooksUnavailable when Postgres does not answer, and SchemaMissing before it is set up.
    """

    def __init__(self, dsn: str, schema: str) -> None:
        self._dsn = dsn
        self._schema = schema

    async def __aenter__(self) -> Self:
        self._pool = await pool_of(self._dsn, self._schema, "feed", CONNECTIONS_MAX, planner=IN_ORDER)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.terminate()

    async def page(self, wanted: Wanted, after: int, limit: int, scan_max_rows: int = SCAN_MAX_ROWS) -> Page:
        """The next events after this position. A page may be empty and yet not the last: see `more`."""
        names = sorted(wanted.names)
        shown, rows = await self._rows("page", wanted.community, after, names, limit + 1, scan_max_rows)
        entries = [entry for _, entry in rows if entry.name in wanted.names]
        if len(entries) > limit:
            return Page(entries[:limit], entries[limit - 1].position, more=True, shown=shown)
        if rows and rows[-1].was_last:
            return Page(entries, rows[-1].entry.position, more=True, shown=shown)
        return Page(entries, max(after, shown), more=False, shown=shown)

    async def since(self, after: int, communities: Collection[str], limit: int) -> tuple[int, list[Entry]]:
        """What these communities recorded after this position, and up to where that is all of it."""
        until = after + SCAN_MAX_ROWS
        shown, rows = await self._rows("since", after, list(communities), limit, until)
        entries = [entry for _, entry in rows]
        return (entries[-1].position if len(entries) == limit else min(shown, until)), entries

    async def _rows(self, query: str, *arguments: Any) -> tuple[int, list[Looked]]:
        shown, rows = await fetch_with_position(self._pool, QUERIES[query], *arguments)
        return shown, [Looked(row["was_last"], Entry(*row[ENTRY])) for row in rows]
