"""Databases for tests. Each holds empty books and is a copy of one migrated database."""

import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from ledger.books.connection import connect
from ledger.books.schema import migrate
from ledger.runtime.settings import BooksAddress
from tests.books.books_database import Books
from tests.polling import wait_until

SCHEMA: Final = "books"
TEMPLATE: Final = "template_of_books"
CLOSED_WITHIN_S: Final = 10.0
LEFT_OPEN: Final = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1"


class Databases:
    """The databases of one Postgres. `dsn` names the first one. No test keeps books of the name `books` in it."""

    def __init__(self, dsn: str) -> None:
        self._dsn: Final = dsn
        self._numbers: Final = itertools.count(1)

    async def make_template(self) -> None:
        await self._execute(f"CREATE DATABASE {TEMPLATE}")
        await migrate(BooksAddress(self._dsn_of(TEMPLATE), SCHEMA))

    @asynccontextmanager
    async def empty_books(self) -> AsyncGenerator[Books]:
        """Yield empty books in a new database, and drop it afterwards.

        The strategy is `file_copy`, since the session's server does not sync. It takes two thirds of the time of
        `wal_log`.

        Raises: TimeoutError, when a connection to the database stays open. The database then remains.
        """
        name = f"books_{next(self._numbers)}"
        await self._execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
        yield Books(BooksAddress(self._dsn_of(name), SCHEMA))
        async with connect(BooksAddress(self._dsn, "public"), "test") as connection:
            await wait_until(lambda: _closed(connection, name), CLOSED_WITHIN_S)
            await connection.execute(f"DROP DATABASE {name}")

    async def _execute(self, sql: str) -> None:
        async with connect(BooksAddress(self._dsn, "public"), "test") as connection:
            await connection.execute(sql)

    def _dsn_of(self, database: str) -> str:
        return self._dsn.replace("/postgres?", f"/{database}?")


async def _closed(connection: "asyncpg.Connection[Any]", database: str) -> bool:
    return bool(await connection.fetchval(LEFT_OPEN, database) == 0)
