"""The books of one test: a schema in Postgres. The writer writes it, and plain SQL reads it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from ledger.books.connection import connect
from ledger.books.reader import Reader
from ledger.books.writer import QUERIES, Writer, writer_lock
from ledger.envelope import RecordedEvent
from ledger.runtime.settings import BooksAddress

WAITING_WRITERS: Final = """
    SELECT count(*) FROM pg_stat_activity a
    WHERE application_name = 'referral-ledger writer' AND query LIKE '%try_advisory%'
    AND NOT EXISTS (SELECT FROM pg_locks WHERE pid = a.pid AND locktype = 'advisory' AND granted)
"""


@dataclass(frozen=True)
class Books:
    """The books in one schema."""

    address: BooksAddress

    @property
    def dsn(self) -> str:
        return self.address.dsn

    @property
    def schema(self) -> str:
        return self.address.schema

    def connection(self) -> AbstractAsyncContextManager["asyncpg.Connection[Any]"]:
        return connect(self.address, "test")

    def writer(self) -> AbstractAsyncContextManager[Writer]:
        return writer_lock(self.address)

    @asynccontextmanager
    async def unlocked_writer(self) -> AsyncGenerator[Writer, None]:
        """Return a writer that does not take the writer's lock, so that a test can have two writers."""
        async with self.connection() as connection:
            await connection.execute(QUERIES["create_staging_tables"])
            yield Writer(connection)

    @asynccontextmanager
    async def reader(self) -> AsyncGenerator[Reader, None]:
        async with Reader(self.address, 2) as reader:
            yield reader

    async def write(self, events: Sequence[RecordedEvent], batch_max: int = 1_000) -> None:
        """Apply events in batches of `batch_max`."""
        async with self.writer() as writer:
            for start in range(0, len(events), batch_max):
                await writer.apply(events[start : start + batch_max])

    async def execute(self, sql: str, *arguments: object) -> None:
        async with self.connection() as connection:
            await connection.execute(sql, *arguments)

    async def rows(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        async with self.connection() as connection:
            return [tuple(row) for row in await connection.fetch(sql, *arguments)]

    async def value(self, sql: str, *arguments: object) -> Any:
        async with self.connection() as connection:
            return await connection.fetchval(sql, *arguments)

    async def all_rows(self) -> dict[str, list[str]]:
        """Return every row of every table as text, with the bytes of its JSON, sorted."""
        async with self.connection() as connection:
            tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", self.schema)
            return {
                name: [row[0] for row in await connection.fetch(f"SELECT t::text FROM {name} t ORDER BY 1")]
                for (name,) in tables
            }

    async def balances(self) -> dict[str, tuple[int, int, int, int]]:
        """Return main, stake, given and received of every member of any community."""
        rows = await self.rows("SELECT member, main, stake, given, received FROM balance")
        return {member: (main, stake, given, received) for member, main, stake, given, received in rows}

    async def position(self) -> int:
        """Return the position of the checkpoint."""
        return int(await self.value("SELECT position FROM checkpoint"))

    async def has_waiting_writer(self) -> bool:
        """Return whether a writer waits for the lock that another writer holds."""
        return bool(await self.value(WAITING_WRITERS) >= 1)
