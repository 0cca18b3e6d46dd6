"""The readers of the books, and the watermark that tells them how far the books have come."""

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

SortOrder = Literal["oldest", "newest"]  # Which comes first.


class BooksBehind(Unavailable):
    """The books do not show that position yet. Try again."""

    code = "books_behind"


class PairTally(Struct, frozen=True):
    """What one member has given another and received from them, gross, in points, and how far they have come."""

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
    """An aggregate as the books hold it. `began` and `position` are those of its first and its last event."""

    version: int
    position: int
    began: int
    state: State


class Summary(Struct, frozen=True):
    """Totals over a community. `states`: how many of each kind are in each state."""

    members: int
    main: int
    stake: int
    disputed: int
    given: int
    received: int
    states: dict[str, dict[str, int]]


class Due(Struct, frozen=True):
    """An aggregate whose deadline has passed, as far as the books know."""

    ref: AggregateRef
    due_at: datetime


class Reader:
    """Reads the books. Each answer comes with the position it shows.

    Every method raises BooksUnavailable when Postgres does not answer, and SchemaMissing before it is set up.
    """

    def __init__(self, books: BooksAddress, pool_max: int) -> None:
        self._books = books
        self._pool_max = pool_max
        self._position = 0
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

    async def reach(self, position: int) -> None:
        """Wait until the books show `position`, for 2 s at most. Woken by the writer, not by polling.

        Raises: BooksBehind.
        """
        if position <= self._position:
            return
        self._show(await self.position())
        with suppress(TimeoutError):
            async with asyncio.timeout(MIN_POSITION_WAIT_S):
                while self._position < position:
                    await self._moved.wait()
                return
        self._show(await self.position())  # Its word may have got lost.
        if self._position >= position:
            return
        raise BooksBehind(f"position {position} is asked for, {self._position} is shown")

    @property
    def shown(self) -> int:
        """How far the books had come when they were last heard of. Books that are made anew are further back."""
        return self._position

    async def beyond(self, position: int) -> None:
        """Wait until the books are heard of beyond `position`, for ever. Woken by the writer, not by polling."""
        while self._position <= position:
            await self._moved.wait()

    async def position(self) -> int:
        rows = await self.fetch(QUERIES["position"])
        if not rows:
            raise Bug("the books have no checkpoint")
        return int(rows[0]["shown"])

    async def balance(self, community: str, member: str) -> tuple[int, MemberBalance]:
        shown, rows = await self.rows("balance", community, member)
        return shown, member_balance(member, rows[0]) if rows else MemberBalance(member)

    async def balances(self, community: str, after: str, limit: int) -> tuple[int, list[MemberBalance]]:
        """Members in order of their ids, after this one."""
        shown, rows = await self.rows("balances", community, after, limit)
        return shown, [member_balance(row["member"], row) for row in rows]

    async def pair(self, community: str, member: str, other: str) -> tuple[int, PairTally]:
        shown, rows = await self.rows("pair", community, member, other)
        return shown, pair_tally(other, rows[0]) if rows else PairTally(other)

    async def pairs(self, community: str, member: str, after: str, limit: int) -> tuple[int, list[PairTally]]:
        """Everybody the member knows or has exchanged something with, in order of their ids, after this one."""
        shown, rows = await self.rows("pairs", community, member, after, limit)
        return shown, [pair_tally(row["other"], row) for row in rows]

    async def aggregate(self, kind: str, community: str, aggregate_id: UUID) -> tuple[int, StoredAggregate | None]:
        shown, rows = await self.rows("aggregate", community, kind, aggregate_id)
        if not rows:
            return shown, None
        (row,) = rows
        state = decode_state(kind, row["facts"])
        return shown, StoredAggregate(row["version"], row["position"], row["began"], state)

    async def summary(self, community: str) -> tuple[int, Summary]:
        shown, (row,) = await self.rows("summary", community)
        return shown, msgspec.convert(dict(row) | {"states": msgspec.json.decode(row["states"])}, Summary)

    async def due(self, now: datetime, limit: int) -> tuple[int, list[Due]]:
        """Aggregates whose deadline has passed, the longest overdue first."""
        shown, rows = await self.rows("due", now, limit)
        return shown, [Due(AggregateRef(row["community"], row["kind"], row["id"]), row["due_at"]) for row in rows]

    async def check(self) -> None:
        """Raises: BooksUnavailable or SchemaMissing, when reads would fail."""
        with translating_errors():
            async with self._pool.acquire(timeout=ACQUIRE_MAX_S) as connection:
                await require_schema(connection, self._books.schema)

    async def rows(
        self, query: str, *arguments: object, queries: Mapping[str, str] = QUERIES
    ) -> tuple[int, Sequence["asyncpg.Record"]]:
        """Return the position shown, and the rows of a named query that is marked `with position`."""
        return await fetch_with_position(self._pool, queries[query], *arguments)

    async def fetch(self, sql: str, *arguments: object) -> Sequence["asyncpg.Record"]:
        """Return the rows of a query that is not marked."""
        return await fetch_rows(self._pool, sql, *arguments)

    async def _listen(self) -> None:
        """Hear of every commit of the writer, for ever: without it, whoever waits for a position waits in vain."""
        told: str | None = None
        while True:
            try:
                await self._hear()
            except (BooksUnavailable, SchemaMissing):
                told = None  # Whoever reads is told so.
            except Exception as bug:  # noqa: BLE001  Whatever it is, it may pass: it is said once, and tried again.
                if repr(bug) != told:
                    _log.error("bug", task="watermark", exc_info=bug)
                told = repr(bug)
            await asyncio.sleep(RECONNECT_WAIT_S)

    async def _hear(self) -> None:
        async with connect(self._books, "watermark") as connection:
            with translating_errors():
                await connection.add_listener(f"ledger_{self._books.schema}", self._on_notice)
                while True:
                    # What was committed before we listened, and a sign of life of the connection. Books that were made
                    # anew are further back.
                    position = int(await connection.fetchval(QUERIES["position"]) or 0)
                    self._position = min(self._position, position)
                    self._show(position)
                    await asyncio.sleep(KEEPALIVE_S)

    def _on_notice(self, _connection: object, _pid: int, _channel: str, position: object) -> None:
        self._show(int(str(position)))

    def _show(self, position: int) -> None:
        """Wake whoever waits: each looks for itself whether that is far enough."""
        if position > self._position:
            self._position = position
            self._moved.set()
            self._moved = asyncio.Event()


def member_balance(member: str, row: "asyncpg.Record") -> MemberBalance:
    return MemberBalance(member, row["main"], row["stake"], row["disputed"], row["given"], row["received"])


def pair_tally(other: str, row: "asyncpg.Record") -> PairTally:
    come_to = stage(contact=row["contact"], one_to_one=row["one_to_one"], helped_both_ways=row["helped_both_ways"])
    return PairTally(other, row["given"], row["received"], come_to)
