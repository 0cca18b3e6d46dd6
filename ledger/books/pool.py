"""The connections that reads take turns on. However Postgres fares, a read is answered or refused within a bound."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg

from ledger.books.connection import NO_PLANNER_SETTINGS, connection_options, translating_errors
from ledger.domain.values.refusals import Bug
from ledger.runtime.settings import BooksAddress

ACQUIRE_MAX_S: Final = 2.0  # Until a connection is free, or made; and until a query that was given up is cancelled.
QUERY_MAX_S: Final = 10.0  # Every query goes along an index, but for the few that walk through what they sum up.


async def open_pool(
    books: BooksAddress, name: str, connections_max: int, planner: Mapping[str, str] = NO_PLANNER_SETTINGS
) -> "asyncpg.Pool[Any]":
    """No connection is made before it is needed: a process may start before its books do."""
    options: dict[str, Any] = {**connection_options(books.schema, name, QUERY_MAX_S, planner), "timeout": ACQUIRE_MAX_S}
    return await asyncpg.create_pool(books.dsn, min_size=0, max_size=connections_max, reset=keep_session, **options)


async def keep_session(_: object) -> None:
    """What the pool does with a connection that comes back. A query leaves nothing on it: no round trip is needed."""


async def fetch_rows(pool: "asyncpg.Pool[Any]", sql: str, *arguments: object) -> Sequence["asyncpg.Record"]:
    """The answer of a query, perhaps none. Of a Postgres that hangs it is refused within 14 s: see the limits above.

    Raises: BooksUnavailable, SchemaMissing.
    """
    with translating_errors():
        # A timer costs a sixth of a short read: there is none where nothing is waited for.
        connection = await pool.acquire(timeout=None if pool.get_idle_size() else ACQUIRE_MAX_S)
        answered = False
        try:
            rows: Sequence[asyncpg.Record] = await connection.fetch(sql, *arguments)
            answered = True
        finally:
            await pool.release(connection, timeout=None if answered else ACQUIRE_MAX_S)
    return rows


async def fetch_with_position(
    pool: "asyncpg.Pool[Any]", sql: str, *arguments: object
) -> tuple[int, Sequence["asyncpg.Record"]]:
    """Return the position that the books show, and the rows of a query that is marked `with position`, perhaps none.

    Raises: BooksUnavailable, SchemaMissing; Bug, if the books have no checkpoint.
    """
    rows = await fetch_rows(pool, sql, *arguments)
    if not rows:
        raise Bug("the books have no checkpoint")
    return rows[0]["shown"], rows if rows[0]["found"] else ()
