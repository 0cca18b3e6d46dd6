"""The connection pool for reads. Every read returns or fails within 14 s."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg

from ledger.books.connection import NO_PLANNER_SETTINGS, connection_options, translating_errors
from ledger.domain.values.refusals import Bug
from ledger.runtime.settings import BooksAddress

ACQUIRE_MAX_S: Final = 2.0  # For a free or new connection, and for the cancellation of a query that timed out.
QUERY_MAX_S: Final = 10.0  # Every query reads along an index, except the few that scan all rows they add up.


async def open_pool(
    books: BooksAddress, name: str, connections_max: int, planner: Mapping[str, str] = NO_PLANNER_SETTINGS
) -> "asyncpg.Pool[Any]":
    """Open a pool. It connects when a query first needs it, so a process may start before Postgres does."""
    options: dict[str, Any] = {**connection_options(books.schema, name, QUERY_MAX_S, planner), "timeout": ACQUIRE_MAX_S}
    return await asyncpg.create_pool(books.dsn, min_size=0, max_size=connections_max, reset=keep_session, **options)


async def keep_session(_: object) -> None:
    """Do nothing when a connection returns to the pool. A query leaves no state on it, so no round trip is needed."""


async def fetch_rows(pool: "asyncpg.Pool[Any]", sql: str, *arguments: object) -> Sequence["asyncpg.Record"]:
    """Return the rows of a query. If Postgres hangs, this fails within 14 s: see the limits above.

    Raises: BooksUnavailable, SchemaMissing.
    """
    with translating_errors():
        # A timer costs a sixth of a short read, so there is none if a connection is idle.
        connection = await pool.acquire(timeout=None if pool.get_idle_size() else ACQUIRE_MAX_S)
        done = False
        try:
            rows: Sequence[asyncpg.Record] = await connection.fetch(sql, *arguments)
            done = True
        finally:
            await pool.release(connection, timeout=None if done else ACQUIRE_MAX_S)
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
