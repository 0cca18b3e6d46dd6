"""The connections that reads take turns on. However Postgres fares, a read is answered or refused within a bound."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg

from ledger.books.schema import NO_HINTS, connection_options, reaching
from ledger.domain.values.refusals import Bug

ACQUIRE_MAX_S: Final = 2.0  # Until a connection is free, or made; and until a query that was given up is cancelled.
QUERY_MAX_S: Final = 10.0  # Every query goes along an index, but for the few that walk through what they sum up.


async def pool_of(
    dsn: str, schema: str, name: str, connections_max: int, planner: Mapping[str, str] = NO_HINTS
) -> "asyncpg.Pool[Any]":
    """No connection is made before it is needed: a process may start before its books do."""
    options: dict[str, Any] = {**connection_options(schema, name, QUERY_MAX_S, planner), "timeout": ACQUIRE_MAX_S}
    return await asyncpg.create_pool(dsn, min_size=0, max_size=connections_max, reset=leave_as_it_is, **options)


async def leave_as_it_is(_: object) -> None:
    """What the pool does with a connection that comes back. A query leaves nothing on it: no round trip is needed."""


async def fetched(pool: "asyncpg.Pool[Any]", sql: str, *arguments: object) -> Sequence["asyncpg.Record"]:
    """The answer of a query, perhaps none. Of a Postgres that hangs it is refused within 14 s: see the limits above.

    Raises: BooksUnavailable, SchemaMissing.
    """
    with reaching():
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
    rows = await fetched(pool, sql, *arguments)
    if not rows:
        raise Bug("the books have no checkpoint")
    return rows[0]["shown"], rows if rows[0]["found"] else ()
