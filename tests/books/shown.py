"""The books of a test, written through the writer and read straight from Postgres."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from ledger.books.connection import connect
from ledger.books.reader import Reader
from ledger.books.writer import QUERIES, Writer, writer_lock
from ledger.envelope import RecordedEvent
from ledger.runtime.settings import BooksAddress


@dataclass(frozen=True)
class Books:
    """One schema."""

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
    async def intruder(self) -> AsyncGenerator[Writer, None]:
        """A writer that does not ask whether there is one."""
        async with self.connection() as connection:
            await connection.execute(QUERIES["create_staging_tables"])
            yield Writer(connection)

    @asynccontextmanager
    async def reader(self) -> AsyncGenerator[Reader, None]:
        async with Reader(self.address, 2) as reader:
            yield reader

    async def write(self, events: Sequence[RecordedEvent], batch_max: int = 1_000) -> None:
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

    async def everything(self) -> dict[str, list[str]]:
        """Every row of every table, as text: the bytes of JSON too."""
        async with self.connection() as connection:
            tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", self.schema)
            return {
                name: [row[0] for row in await connection.fetch(f"SELECT t::text FROM {name} t ORDER BY 1")]
                for (name,) in tables
            }

    async def balances(self) -> dict[str, tuple[int, int, int, int]]:
        """Main, stake, given and received of every member there is."""
        rows = await self.rows("SELECT member, main, stake, given, received FROM balance")
        return {member: (main, stake, given, received) for member, main, stake, given, received in rows}

    async def position(self) -> int:
        return int(await self.value("SELECT position FROM checkpoint"))


POLL_S: Final = 0.02


async def until(holds: Callable[[], Awaitable[bool]], within_s: float = 15) -> None:
    """Wait for what another process does: Postgres, NATS, a projector."""
    async with asyncio.timeout(within_s):
        while not await holds():  # noqa: ASYNC110 - Nobody tells us: it happens elsewhere.
            await asyncio.sleep(POLL_S)


STANDING_BY: Final = """
    SELECT count(*) FROM pg_stat_activity a
    WHERE application_name = 'referral-ledger writer' AND query LIKE '%try_advisory%'
    AND NOT EXISTS (SELECT FROM pg_locks WHERE pid = a.pid AND locktype = 'advisory' AND granted)
"""


async def one_stands_by(books: Books) -> bool:
    """Whether somebody has asked to be the writer in vain."""
    return bool(await books.value(STANDING_BY) >= 1)
