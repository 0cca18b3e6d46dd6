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

from ledger.books.pool import ACQUIRE_MAX_S, fetched, pool_of
from ledger.books.queries import named
from ledger.books.schema import BooksUnavailable, SchemaMissing, connected, reaching, require_schema
from ledger.domain.standing.indices import Stage, stage
from ledger.domain.values.aggregate_types import State
from ledger.domain.values.refusals import Bug
from ledger.envelope import AggregateRef, decode_state
from ledger.runtime.unavailable import Unavailable

QUERIES: Final = named("reader")
WAIT_MAX_S: Final = 2.0
RECONNECT_WAIT_S: Final = 0.5
KEEPALIVE_S: Final = 5.0

_log = structlog.get_logger()

Order = Literal["oldest", "newest"]  # Which comes first.


class BooksBehind(Unavailable):
    """The books do not show that position yet. Try again."""

    code = "books_behind"


class PairTally(Struct, frozen=True):
    """What one member has given another and received from them, gross, in points, and how far they have come."""

    other: str
    given: int
    received: int
    stage: Stage


class MemberBalance(Struct, frozen=True):
    """A member's accounts and gross tallies in points."""

    member: str
    main: int
    stake: int
    disputed: int
    given: int
    received: int


class HeldAggregate(Struct, frozen=True):
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

    def __init__(self, dsn: str, schema: str, pool_max: int) -> None:
        self._dsn = dsn
        self._schema = schema
        self._pool_max = pool_max
        self._position = 0
        self._moved = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._pool = await pool_of(self._dsn, self._schema, "reader", self._pool_max)
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
            async with asyncio.timeout(WAIT_MAX_S):
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
        return int((await self.rows("position"))[0]["position"])

    async def balance(self, community: str, member: str) -> tuple[int, MemberBalance]:
        (row,) = await self.rows("balance", community, member)
        return row["position"], MemberBalance(member, *tuple(row)[1:])

    async def balances(self, community: str, after: str, limit: int) -> tuple[int, list[MemberBalance]]:
        """Members in order of their ids, after this one."""
        rows = await self.rows("balances", community, after, limit)
        return rows[0]["position"], [MemberBalance(*row[1:]) for row in map(tuple, rows) if row[1] is not None]

    async def pair(self, community: str, member: str, other: str) -> tuple[int, PairTally]:
        (row,) = await self.rows("pair", community, member, other)
        return row["position"], pair_tally(other, row)

    async def pairs(self, community: str, member: str, after: str, limit: int) -> tuple[int, list[PairTally]]:
        """Everybody the member knows or has exchanged something with, in order of their ids, after this one."""
        rows = await self.rows("pairs", community, member, after, limit)
        return rows[0]["position"], [pair_tally(row["other"], row) for row in rows if row["other"] is not None]

    async def aggregate(self, kind: str, community: str, aggregate_id: UUID) -> tuple[int, HeldAggregate | None]:
        (row,) = await self.rows("aggregate", community, kind, aggregate_id)
        if row["facts"] is None:
            return row["shown"], None
        state = decode_state(kind, row["facts"])
        return row["shown"], HeldAggregate(row["version"], row["position"], row["began"], state)

    async def summary(self, community: str) -> tuple[int, Summary]:
        (row,) = await self.rows("summary", community)
        totals = dict(row)
        totals["states"] = msgspec.json.decode(totals["states"])
        return totals.pop("position"), msgspec.convert(totals, Summary)

    async def due(self, now: datetime, limit: int) -> tuple[int, list[Due]]:
        """Aggregates whose deadline has passed, the longest overdue first."""
        rows = await self.rows("due", now, limit)
        return rows[0]["position"], [
            Due(AggregateRef(row["community"], row["kind"], row["id"]), row["due_at"])
            for row in rows
            if row["id"] is not None
        ]

    async def check(self) -> None:
        """Raises: BooksUnavailable or SchemaMissing, when reads would fail."""
        with reaching():
            async with self._pool.acquire(timeout=ACQUIRE_MAX_S) as connection:
                await require_schema(connection, self._schema)

    async def rows(
        self, query: str, *arguments: object, queries: Mapping[str, str] = QUERIES
    ) -> Sequence["asyncpg.Record"]:
        """The answer of a named query: at least one row, since each of them begins at the checkpoint."""
        rows = await self.fetch(queries[query], *arguments)
        if not rows:
            raise Bug(f"{query} answered nothing: the books have no checkpoint")
        return rows

    async def fetch(self, sql: str, *arguments: object) -> Sequence["asyncpg.Record"]:
        """The answer of a query, perhaps none."""
        return await fetched(self._pool, sql, *arguments)

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
        async with connected(self._dsn, self._schema, "watermark") as connection:
            with reaching():
                await connection.add_listener(f"ledger_{self._schema}", self._on_notice)
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


def pair_tally(other: str, row: "asyncpg.Record") -> PairTally:
    come_to = stage(contact=row["contact"], one_to_one=row["one_to_one"], helped_both_ways=row["helped_both_ways"])
    return PairTally(other, row["given"], row["received"], come_to)
