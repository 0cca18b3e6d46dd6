"""The reader of the books. It also follows the position of the books, so that callers can wait for one."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, Literal, Self
from uuid import UUID

import asyncpg
import msgspec
import structlog
from msgspec import Struct

from ledger.books.connection import BooksUnavailable, SchemaMissing, connect, translating_errors
from ledger.books.pool import ACQUIRE_MAX_S, fetch_rows, fetch_with_position, open_pool
from ledger.books.queries import named
from ledger.books.schema import require_schema
from ledger.domain.standing.indices import Stage, stage
from ledger.domain.values.aggregate_types import State
from ledger.domain.values.refusals import Bug
from ledger.envelope import AggregateRef, decode_state
from ledger.runtime.settings import BooksAddress
from ledger.runtime.unavailable import Unavailable

QUERIES: Final = named("reader")
MIN_POSITION_WAIT_S: Final = 2.0
RECONNECT_WAIT_S: Final = 0.5
KEEPALIVE_S: Final = 5.0

_log = structlog.get_logger()

SortOrder = Literal["oldest", "newest"]  # The end that comes first.


class BooksBehind(Unavailable):
    """The books do not show that position yet. Try again."""

    code = "books_behind"


class PairTally(Struct, frozen=True):
    """The points that a member has given to and received from another member, gross, and the stage of the pair."""

    other: str
    given: int = 0
    received: int = 0
    stage: Stage = "none"


class MemberBalance(Struct, frozen=True):
    """A member's accounts and gross tallies in points."""

    member: str
    main: int = 0
    stake: int = 0
    disputed: int = 0
    given: int = 0
    received: int = 0


class StoredAggregate(Struct, frozen=True):
    """An aggregate in the books. `began` and `position` are the positions of its first and its last event."""

    id: UUID
    version: int
    position: int
    began: int
    state: State


class Summary(Struct, frozen=True):
    """Totals of a community. `states` counts the aggregates by kind and state."""

    members: int
    main: int
    stake: int
    disputed: int
    given: int
    received: int
    states: dict[str, dict[str, int]]


class Due(Struct, frozen=True):
    """An aggregate whose deadline has passed, according to the books."""

    ref: AggregateRef
    due_at: datetime


class Reader:
    """Reads the books. A query returns the position of the books that its rows show, and the rows.

    Every method raises BooksUnavailable if Postgres does not respond, and SchemaMissing before the schema exists.
    """

    def __init__(self, books: BooksAddress, pool_max: int) -> None:
        self._books = books
        self._pool_max = pool_max
        self._position = 0  # The last known position of the books.
        self._moved = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._pool = await open_pool(self._books, "reader", self._pool_max)
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
        self._pool.terminate()

    async def wait_for_position(self, position: int) -> None:
        """Wait until the books reach `position`, for 2 s at most. A commit of the writer wakes this; nothing polls.

        Raises: BooksBehind.
        """
        if position <= self._position:
            return
        self._advance(await self.position())
        with suppress(TimeoutError):
            async with asyncio.timeout(MIN_POSITION_WAIT_S):
                while self._position < position:
                    await self._moved.wait()
                return
        self._advance(await self.position())  # The notification may have been lost.
        if self._position >= position:
            return
        raise BooksBehind(f"position {position} is requested, but the books are at {self._position}")

    @property
    def last_position(self) -> int:
        """The last known position of the books. Rebuilt books are at an earlier position than before."""
        return self._position

    async def wait_beyond(self, position: int) -> None:
        """Wait until the books pass `position`, without limit. A commit of the writer wakes this; nothing polls."""
        while self._position <= position:
            await self._moved.wait()

    async def position(self) -> int:
        """Return the position of the books."""
        rows = await self.fetch(QUERIES["position"])
        if not rows:
            raise Bug("the books have no checkpoint")
        return int(rows[0]["shown"])

    async def balance(self, community: str, member: str) -> tuple[int, MemberBalance]:
        """Return the balance of a member. It is all zeros for an unknown member."""
        position, rows = await self.rows("balance", community, member)
        return position, member_balance(member, rows[0]) if rows else MemberBalance(member)

    async def balances(self, community: str, after: str, limit: int) -> tuple[int, list[MemberBalance]]:
        """Return the next balances after the member id `after`, in the order of ids."""
        position, rows = await self.rows("balances", community, after, limit)
        return position, [member_balance(row["member"], row) for row in rows]

    async def pair(self, community: str, member: str, other: str) -> tuple[int, PairTally]:
        """Return the tally of two members. It is all zeros if they have nothing in common."""
        position, rows = await self.rows("pair", community, member, other)
        return position, pair_tally(other, rows[0]) if rows else PairTally(other)

    async def pairs(self, community: str, member: str, after: str, limit: int) -> tuple[int, list[PairTally]]:
        """Return the next tallies after the member id `after`, in the order of ids.

        There is one for every member whom the member knows or exchanged points with.
        """
        position, rows = await self.rows("pairs", community, member, after, limit)
        return position, [pair_tally(row["other"], row) for row in rows]

    async def aggregate(self, kind: str, community: str, aggregate_id: UUID) -> tuple[int, StoredAggregate | None]:
        """Return an aggregate, or None if the books do not contain it."""
        position, rows = await self.rows("aggregate", community, kind, aggregate_id)
        if not rows:
            return position, None
        (row,) = rows
        state = decode_state(kind, row["facts"])
        return position, StoredAggregate(aggregate_id, row["version"], row["position"], row["began"], state)

    async def summary(self, community: str) -> tuple[int, Summary]:
        """Return the totals of a community."""
        position, (row,) = await self.rows("summary", community)
        return position, msgspec.convert(dict(row) | {"states": msgspec.json.decode(row["states"])}, Summary)

    async def due(self, now: datetime, limit: int) -> tuple[int, list[Due]]:
        """Return aggregates whose deadline has passed, the longest overdue first."""
        position, rows = await self.rows("due", now, limit)
        return position, [Due(AggregateRef(row["community"], row["kind"], row["id"]), row["due_at"]) for row in rows]

    async def check(self) -> None:
        """Raises: BooksUnavailable or SchemaMissing, if reads would fail."""
        with translating_errors():
            async with self._pool.acquire(timeout=ACQUIRE_MAX_S) as connection:
                await require_schema(connection, self._books.schema)

    async def rows(
        self, query: str, *arguments: object, queries: Mapping[str, str] = QUERIES
    ) -> tuple[int, Sequence["asyncpg.Record"]]:
        """Return the position of the books, and the rows of a named query that is marked `with position`."""
        return await fetch_with_position(self._pool, queries[query], *arguments)

    async def fetch(self, sql: str, *arguments: object) -> Sequence["asyncpg.Record"]:
        """Return the rows of a query that is not marked."""
        return await fetch_rows(self._pool, sql, *arguments)

    async def _listen(self) -> None:
        """Follow the commits of the writer without end. Otherwise no caller that waits for a position would wake."""
        logged: str | None = None
        while True:
            try:
                await self._follow_commits()
            except (BooksUnavailable, SchemaMissing):
                logged = None  # Every read reports it.
            except Exception as bug:  # noqa: BLE001  It may pass, so it is logged once, and tried again.
                if repr(bug) != logged:
                    _log.error("bug", task="watermark", exc_info=bug)
                logged = repr(bug)
            await asyncio.sleep(RECONNECT_WAIT_S)

    async def _follow_commits(self) -> None:
        async with connect(self._books, "watermark") as connection:
            with translating_errors():
                await connection.add_listener(f"ledger_{self._books.schema}", self._on_notice)
                while True:
                    # This finds commits before LISTEN, and checks that the connection is alive. Rebuilt books are at an
                    # earlier position.
                    position = int(await connection.fetchval(QUERIES["position"]) or 0)
                    self._position = min(self._position, position)
                    self._advance(position)
                    await asyncio.sleep(KEEPALIVE_S)

    def _on_notice(self, _connection: object, _pid: int, _channel: str, position: object) -> None:
        self._advance(int(str(position)))

    def _advance(self, position: int) -> None:
        """Wake all waiting callers if the position rises. Each checks if the position is high enough."""
        if position > self._position:
            self._position = position
            self._moved.set()
            self._moved = asyncio.Event()


def member_balance(member: str, row: "asyncpg.Record") -> MemberBalance:
    return MemberBalance(member, row["main"], row["stake"], row["disputed"], row["given"], row["received"])


def pair_tally(other: str, row: "asyncpg.Record") -> PairTally:
    pair_stage = stage(contact=row["contact"], one_to_one=row["one_to_one"], helped_both_ways=row["helped_both_ways"])
    return PairTally(other, row["given"], row["received"], pair_stage)
