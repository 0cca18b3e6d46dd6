"""The writer: applies batches of events to the books, effects and checkpoint in one transaction."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import asyncpg
from msgspec import Struct

from ledger.books.cache import RecentCache
from ledger.books.changes import POSTING_COLUMNS, Changes, Copy, Query
from ledger.books.connection import connect, translating_errors
from ledger.books.fold import batch_of, changes_from, fold
from ledger.books.queries import named
from ledger.books.rows import AccountKey, AggregateRow, Balance, read_aggregate_row, to_columns
from ledger.books.schema import require_schema
from ledger.domain.values.refusals import Bug
from ledger.envelope import AggregateRef, RecordedEvent
from ledger.runtime.settings import BooksAddress

QUERIES: Final = named("writer")
STANDBY_POLL_S: Final = 0.5
CACHED_MAX: Final = 30_000  # Of balances and of aggregates, in each of two generations: some tens of MiB.
TURN_EVENTS: Final = 25  # Folded at a stretch: then the batch being written has its turn, within about a millisecond.
# Without statistics the planner takes any index that begins as the key does for as good as the key itself, and stays
# with it for as long as nobody gathers them: autovacuum comes once a minute, and a minute is a million events.
ANALYZE_AGAIN_FACTOR: Final = 4  # When the books have grown so many times over.
POSTGRES_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
# The writer touches rows by their keys. A plan that reads a whole table would get slower as the books grow.
# Statistics need only a small sample: a community has many aggregates of a kind, and a key one.
KEY_PLANNER: Final = MappingProxyType(
    {
        "enable_seqscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "default_statistics_target": "10",
    }
)
BY_MEMBER: Final = itemgetter(POSTING_COLUMNS.index("member"))


class Displaced(Exception):
    """Somebody else moved the checkpoint: this writer is no longer the only one, and has written nothing."""


class Checkpoint(Struct, frozen=True):
    """How far the books have come, and the event that stands there; 0 and None when they are empty."""

    position: int
    event_id: str | None


class Writer:
    """The one writer of a schema, for as long as its connection lives.

    `reading` is a second connection, for what is read while the first one writes. What was prepared lately is
    remembered, whether it is written yet or not; a writer that failed is thrown away with all it remembers.
    """

    def __init__(self, connection: "asyncpg.Connection[Any]", reading: "asyncpg.Connection[Any] | None" = None) -> None:
        self._connection = connection
        self._reading = reading or connection
        self._balances = RecentCache[AccountKey, Balance](CACHED_MAX)
        self._held = RecentCache[AggregateRef, AggregateRow](CACHED_MAX)
        self._written: int | None = None  # How far the books have come by this writer, once it has begun.
        self._gathered = 0  # How far they had come when it last gathered statistics.

    async def checkpoint(self) -> Checkpoint:
        """Raises: BooksUnavailable."""
        with translating_errors():
            row = await self._connection.fetchrow(QUERIES["checkpoint"])
        if row is None:
            raise Bug("the books have no checkpoint")
        return Checkpoint(row["position"], str(row["event_id"]) if row["event_id"] else None)

    async def apply(self, events: Sequence[RecordedEvent]) -> None:
        """Write what the events amount to: `prepare`, then `write`."""
        await self.write(await self.prepare(events))

    async def prepare(self, events: Sequence[RecordedEvent]) -> Changes:
        """Fold the events over what the books hold once everything prepared before is written.

        At most one batch may be prepared and not begun to be written, and one be written meanwhile.
        Raises: Poison, with nothing remembered of these; Displaced, when the books are beyond where these changes
        begin, or not as far as this writer has brought them; BooksUnavailable, SchemaMissing.
        """
        batch = batch_of(events)
        first = events[0].position
        lowest = first - 1 if self._written is None else self._written
        with translating_errors():
            balances, held = await self._balances_of(batch.holders), await self._held_of(batch.refs)
            await self._require_turn(lowest, first)  # After the reads: so they saw nothing later.
        changes = changes_from(batch, balances, held)
        posted = list(zip(batch.events, batch.entries, strict=True))
        for start in range(0, len(posted), TURN_EVENTS):
            fold(posted[start : start + TURN_EVENTS], changes)
            await asyncio.sleep(0)
        changes.postings.sort(key=BY_MEMBER)  # So that neighbours in an index are touched together.
        self._balances.update(changes.balances)
        self._held.update(changes.held)
        self._written = lowest if self._written is None else self._written
        return changes

    async def _require_turn(self, lowest: int, first: int) -> None:
        """Raises: Displaced. What somebody else applied, or did away with, must not be taken for what cannot follow."""
        position = await self._reading.fetchval(QUERIES["position"])
        if position is None or not lowest <= position < first:
            raise Displaced(f"the checkpoint is at {position}, and not at {first - 1}")

    async def write(self, changes: Changes) -> None:
        """Write the changes and move the checkpoint from right before them to their last: all or nothing.

        Raises: Displaced, BooksUnavailable or SchemaMissing, with nothing written (BooksUnavailable: or, when the
        answer to the commit was lost, with everything).
        """
        with translating_errors():
            if changes.first > ANALYZE_AGAIN_FACTOR * self._gathered + 1:
                await self._connection.execute(QUERIES["analyze_lookup_tables"])
                self._gathered = changes.first
            async with self._connection.transaction():
                moved = await self._connection.fetchval(
                    QUERIES["move_checkpoint"], changes.first - 1, changes.last, UUID(changes.last_event_id)
                )
                if moved is None:
                    raise Displaced(f"the checkpoint is not at {changes.first - 1}")
                for statement in changes.statements():
                    await self._execute(statement)
        self._written = changes.last

    async def _balances_of(self, holders: set[AccountKey]) -> dict[AccountKey, Balance]:
        found, missing = split_cached(self._balances, holders)
        if missing:
            rows = await self._reading.fetch(QUERIES["balances_of"], *to_columns(missing))
            for community, member, *values in rows:
                found[community, member] = Balance(*map(int, values))
        return found

    async def _held_of(self, refs: set[AggregateRef]) -> dict[AggregateRef, AggregateRow]:
        found, missing = split_cached(self._held, refs)
        if missing:
            wanted = [(ref.community, ref.kind, ref.id) for ref in missing]
            rows = await self._reading.fetch(QUERIES["aggregates_of"], *to_columns(wanted))
            found.update(read_aggregate_row(row) for row in rows)
        return found

    async def _execute(self, statement: Copy | Query) -> None:
        match statement:
            case Copy(table, columns, rows):
                if rows:
                    await self._connection.copy_records_to_table(table, records=rows, columns=columns)
            case Query(name, arguments):
                await self._connection.execute(QUERIES[name], *arguments)


def split_cached(recent: RecentCache[Any, Any], wanted: set[Any]) -> tuple[dict[Any, Any], list[Any]]:
    """What is remembered of the wanted, and the keys of the others."""
    found: dict[Any, Any] = {}
    missing: list[Any] = []
    for key in wanted:
        value = recent.get(key)
        if value is None:
            missing.append(key)
        else:
            found[key] = value
    return found, missing


def to_postgres_time(at: datetime) -> tuple[int]:
    """A time as Postgres counts it: microseconds since 2000. Half the cost of asyncpg's own way."""
    return ((at - POSTGRES_EPOCH) // MICROSECOND,)


def from_postgres_time(count: tuple[int]) -> datetime:
    return POSTGRES_EPOCH + count[0] * MICROSECOND


@asynccontextmanager
async def writer_lock(books: BooksAddress) -> AsyncGenerator[Writer, None]:
    """The one writer; a second one waits here until the first one's connection ends.

    The lock is held on the very connection that writes: who loses the one loses the other.
    Raises: BooksUnavailable, SchemaMissing.
    """
    async with connect(books, "writer", planner=KEY_PLANNER) as connection:
        await require_schema(connection, books.schema)
        with translating_errors():
            while not await connection.fetchval(QUERIES["try_writer_lock"]):  # noqa: ASYNC110  See the query.
                await asyncio.sleep(STANDBY_POLL_S)
            await connection.execute(QUERIES["create_staging_tables"])
            await connection.set_type_codec(
                "timestamptz", schema="pg_catalog", encoder=to_postgres_time, decoder=from_postgres_time, format="tuple"
            )
        async with connect(books, "writer, reading", planner=KEY_PLANNER) as reading:
            yield Writer(connection, reading)
