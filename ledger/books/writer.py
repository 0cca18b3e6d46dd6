"""The writer: applies batches of events to the books. Effects and checkpoint commit in one transaction."""

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
CACHED_MAX: Final = 30_000  # Balances, and aggregates, in each of the two generations: some tens of MiB.
FOLDED_MAX_EVENTS: Final = 25  # Folded without a pause, for about 1 ms. Then the write of another batch goes on.
# Without statistics, the planner takes any index that begins like the key for as good as the key, until the tables are
# analyzed. Autovacuum runs once a minute, and the writer may apply a million events in a minute.
ANALYZE_AGAIN_FACTOR: Final = 4  # Growth of the books after which the writer analyzes again.
POSTGRES_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
# The writer looks up rows by their keys. A plan that reads a whole table would get slower as the books grow. A small
# sample is enough for statistics: a community has many aggregates of a kind, and a key has one.
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
    """Another writer moved the checkpoint. This writer has written nothing of its batch."""


class Checkpoint(Struct, frozen=True):
    """The position of the books, and the id of the event there. For empty books, 0 and None."""

    position: int
    event_id: str | None


class Writer:
    """The only writer of a schema, as long as its connection lives.

    `reading` is a second connection, for reads while the first one writes. The writer caches the rows that it prepared
    recently, written or not. After a failure, the caller discards the writer together with its cache.
    """

    def __init__(self, connection: "asyncpg.Connection[Any]", reading: "asyncpg.Connection[Any] | None" = None) -> None:
        self._connection = connection
        self._reading = reading or connection
        self._balances = RecentCache[AccountKey, Balance](CACHED_MAX)
        self._aggregates = RecentCache[AggregateRef, AggregateRow](CACHED_MAX)
        self._position: int | None = None  # Of the books after the last write; None before the first batch.
        self._analyzed_at = 0  # Position of the books when the tables were last analyzed.

    async def checkpoint(self) -> Checkpoint:
        """Return the checkpoint of the books.

        Raises: BooksUnavailable.
        """
        with translating_errors():
            row = await self._connection.fetchrow(QUERIES["checkpoint"])
        if row is None:
            raise Bug("the books have no checkpoint")
        return Checkpoint(row["position"], str(row["event_id"]) if row["event_id"] else None)

    async def apply(self, events: Sequence[RecordedEvent]) -> None:
        """Apply a batch: `prepare`, then `write`."""
        await self.write(await self.prepare(events))

    async def prepare(self, events: Sequence[RecordedEvent]) -> Changes:
        """Fold the events over the balances and aggregates that all batches prepared before leave behind.

        While one batch is written, the caller may prepare one more.
        Raises: Poison, with nothing of these events cached; Displaced, if the books are past the first of these events,
        or behind this writer's last write; BooksUnavailable, SchemaMissing.
        """
        batch = batch_of(events)
        first = events[0].position
        lowest = first - 1 if self._position is None else self._position
        with translating_errors():
            balances, aggregates = await self._balances_of(batch.account_keys), await self._aggregates_of(batch.refs)
            await self._require_checkpoint(lowest, first)  # After the reads, so they saw no later rows.
        changes = changes_from(batch, balances, aggregates)
        posted = list(zip(batch.events, batch.entries, strict=True))
        for start in range(0, len(posted), FOLDED_MAX_EVENTS):
            fold(posted[start : start + FOLDED_MAX_EVENTS], changes)
            await asyncio.sleep(0)
        changes.postings.sort(key=BY_MEMBER)  # So that neighbours in an index are written together.
        self._balances.update(changes.balances)
        self._aggregates.update(changes.aggregates)
        self._position = lowest if self._position is None else self._position
        return changes

    async def _require_checkpoint(self, lowest: int, first: int) -> None:
        """Check that the checkpoint is at `lowest` or later, and before `first`.

        Raises: Displaced. Without this check, an event that another writer applied or removed could look like poison.
        """
        position = await self._reading.fetchval(QUERIES["position"])
        if position is None or not lowest <= position < first:
            raise Displaced(f"the checkpoint is at {position}, but this writer expects it from {lowest} to {first - 1}")

    async def write(self, changes: Changes) -> None:
        """Write the changes and move the checkpoint from right before them to their last position: all or nothing.

        Raises: Displaced, BooksUnavailable or SchemaMissing, with nothing written. Exception: if the reply to the
        commit is lost, it is BooksUnavailable with everything written.
        """
        with translating_errors():
            if changes.first > ANALYZE_AGAIN_FACTOR * self._analyzed_at + 1:
                await self._connection.execute(QUERIES["analyze_lookup_tables"])
                self._analyzed_at = changes.first
            async with self._connection.transaction():
                moved = await self._connection.fetchval(
                    QUERIES["move_checkpoint"], changes.first - 1, changes.last, UUID(changes.last_event_id)
                )
                if moved is None:
                    raise Displaced(f"the checkpoint is not at {changes.first - 1}: another writer moved it")
                for statement in changes.statements():
                    await self._execute(statement)
        self._position = changes.last

    async def _balances_of(self, keys: set[AccountKey]) -> dict[AccountKey, Balance]:
        balances, missing = split_cached(self._balances, keys)
        if missing:
            rows = await self._reading.fetch(QUERIES["balances_of"], *to_columns(missing))
            for community, member, *values in rows:
                balances[community, member] = Balance(*map(int, values))
        return balances

    async def _aggregates_of(self, refs: set[AggregateRef]) -> dict[AggregateRef, AggregateRow]:
        aggregates, missing = split_cached(self._aggregates, refs)
        if missing:
            columns = to_columns((ref.community, ref.kind, ref.id) for ref in missing)
            rows = await self._reading.fetch(QUERIES["aggregates_of"], *columns)
            aggregates.update(read_aggregate_row(row) for row in rows)
        return aggregates

    async def _execute(self, statement: Copy | Query) -> None:
        match statement:
            case Copy(table, columns, rows):
                if rows:
                    await self._connection.copy_records_to_table(table, records=rows, columns=columns)
            case Query(sql, arguments):
                await self._connection.execute(sql, *arguments)


def split_cached(cache: RecentCache[Any, Any], keys: set[Any]) -> tuple[dict[Any, Any], list[Any]]:
    """Return the cached values by key, and the keys that are not cached."""
    cached: dict[Any, Any] = {}
    missing: list[Any] = []
    for key in keys:
        value = cache.get(key)
        if value is None:
            missing.append(key)
        else:
            cached[key] = value
    return cached, missing


def to_postgres_time(at: datetime) -> tuple[int]:
    """Return the microseconds since 2000, as Postgres stores a time. This costs half as much as asyncpg's encoder."""
    return ((at - POSTGRES_EPOCH) // MICROSECOND,)


def from_postgres_time(count: tuple[int]) -> datetime:
    return POSTGRES_EPOCH + count[0] * MICROSECOND


@asynccontextmanager
async def writer_lock(books: BooksAddress) -> AsyncGenerator[Writer, None]:
    """Acquire the writer lock of the schema, and yield the writer. A second process waits here for the lock.

    The lock belongs to the connection that writes, so a writer never loses one without the other.
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
