"""The writer: applies batches of events to the books, effects and checkpoint in one transaction."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from types import MappingProxyType
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
from msgspec import Struct

from ledger.books.fold import (
    Balance,
    Changes,
    Held,
    Holder,
    batch_of,
    columns,
    fold,
    held_from,
    held_row,
)
from ledger.books.queries import named
from ledger.books.schema import connected, reaching, require_schema
from ledger.domain.refusals import Bug
from ledger.envelope import AggregateRef, Recorded

QUERIES: Final = named("writer")
STANDBY_POLL_S: Final = 0.5
# The writer touches rows by their keys. A plan that reads a whole table would get slower as the books grow.
BY_KEY: Final = MappingProxyType({"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"})

Key = TypeVar("Key")
Value = TypeVar("Value")

POSTING: Final = (
    "position",
    "leg",
    "community",
    "member",
    "account",
    "counterparty",
    "points",
    "given",
    "received",
    "balance_after",
)


class Shelf(Struct, frozen=True):
    """The table of one kind: its queries, and the columns that repeat a fact of the state for people and lists."""

    table: str
    facts: tuple[str, ...]
    read: str
    change: str


SHELVES: Final = {
    "favour": Shelf("favour", ("giver", "receiver"), QUERIES["favours_of"], QUERIES["change_favours"]),
    "referral": Shelf("referral", ("referrer", "recipient"), QUERIES["referrals_of"], QUERIES["change_referrals"]),
    "intro": Shelf("intro", ("asker", "connector", "target"), QUERIES["intros_of"], QUERIES["change_intros"]),
}


class Displaced(Exception):
    """Somebody else moved the checkpoint: this writer is no longer the only one, and has written nothing."""


class Checkpoint(Struct, frozen=True):
    """How far the books have come, and the event that stands there; 0 and None when they are empty."""

    position: int
    event_id: str | None


class Writer:
    """The one writer of a schema, for as long as its connection lives.

    `reading` is a second connection, for what is read while the first one writes.
    """

    def __init__(self, connection: "asyncpg.Connection[Any]", reading: "asyncpg.Connection[Any] | None" = None) -> None:
        self._connection = connection
        self._reading = reading or connection

    async def checkpoint(self) -> Checkpoint:
        """Raises: BooksUnavailable."""
        with reaching():
            row = await self._connection.fetchrow(QUERIES["checkpoint"])
        if row is None:
            raise Bug("the books have no checkpoint")
        return Checkpoint(row["position"], str(row["event_id"]) if row["event_id"] else None)

    async def apply(self, events: Sequence[Recorded]) -> None:
        """Write what the events amount to: `prepare`, then `write`."""
        await self.write(await self.prepare(events))

    async def prepare(self, events: Sequence[Recorded], ahead: Sequence[Changes] = ()) -> Changes:
        """Fold the events over what the books hold once the changes `ahead`, oldest first, are written.

        Those may be written meanwhile or not: what they touch is taken from them, and they touch nothing else.
        Raises: Poison; Displaced, when the books are not where these changes begin; BooksUnavailable, SchemaMissing.
        """
        batch = batch_of(events)
        holders, refs = batch.holders, batch.refs
        with reaching():
            balances, held = await self._balances(holders), await self._held(refs)
            await self._require_turn(events[0].position, ahead)  # After the reads: so they saw nothing later.
        for changes in ahead:
            overlay(balances, holders, changes.balances)
            overlay(held, refs, changes.held)
        for aggregate in held.values():
            aggregate.is_new = False
        return fold(batch, balances, held)

    async def _require_turn(self, first: int, ahead: Sequence[Changes]) -> None:
        """Raises: Displaced. An event that somebody else has applied must not be taken for one that cannot follow."""
        lowest = ahead[0].first if ahead else first
        position = await self._reading.fetchval(QUERIES["position"])
        if not lowest - 1 <= position <= first - 1:
            raise Displaced(f"the checkpoint is at {position}, and not at {first - 1}")

    async def write(self, changes: Changes) -> None:
        """Write the changes and move the checkpoint from right before them to their last: all or nothing.

        Raises: Displaced, BooksUnavailable or SchemaMissing, with nothing written (BooksUnavailable: or, when the
        answer to the commit was lost, with everything).
        """
        with reaching():
            async with self._connection.transaction():
                moved = await self._connection.fetchval(
                    QUERIES["move_checkpoint"], changes.first - 1, changes.last, UUID(changes.last_event_id)
                )
                if moved is None:
                    raise Displaced(f"the checkpoint is not at {changes.first - 1}")
                await self._write(changes)
                await self._connection.execute(QUERIES["announce"], str(changes.last))

    async def _balances(self, holders: set[Holder]) -> dict[Holder, Balance]:
        if not holders:
            return {}
        rows = await self._reading.fetch(QUERIES["balances_of"], *columns(sorted(holders), 2))
        return {(row[0], row[1]): Balance(row[2], row[3]) for row in rows}

    async def _held(self, refs: set[AggregateRef]) -> dict[AggregateRef, Held]:
        held: dict[AggregateRef, Held] = {}
        for kind in {ref.kind for ref in refs}:
            wanted = sorted((ref.community, ref.id) for ref in refs if ref.kind == kind)
            rows = await self._reading.fetch(SHELVES[kind].read, *columns(wanted, 2))
            held.update(held_from(kind, row) for row in rows)
        return held

    async def _write(self, changes: Changes) -> None:
        connection = self._connection
        await connection.copy_records_to_table(
            "journal", records=changes.journal, columns=("position", "recorded_at", "event")
        )
        if changes.postings:
            await connection.copy_records_to_table("posting", records=changes.postings, columns=POSTING)
        for kind, shelf in SHELVES.items():
            began = [
                (*held_row(ref, held), *(getattr(held.state, fact) for fact in shelf.facts))
                for ref, held in changes.held.items()
                if ref.kind == kind and held.is_new
            ]
            if began:
                names = ("community", "id", "version", "position", "state", "facts", *shelf.facts)
                await connection.copy_records_to_table(shelf.table, records=began, columns=names)
            moved = sorted(
                held_row(ref, held) for ref, held in changes.held.items() if ref.kind == kind and not held.is_new
            )
            if moved:
                await connection.execute(shelf.change, *columns(moved, 6))
        if changes.postings:
            await connection.execute(QUERIES["add_up"], changes.first, changes.last)


def overlay(values: dict[Key, Value], wanted: set[Key], newer: Mapping[Key, Value]) -> None:
    """Take the newer values of what is wanted. Copied: a fold moves its values on in place."""
    for key in wanted & newer.keys():
        values[key] = copy(newer[key])


@asynccontextmanager
async def the_writer(dsn: str, schema: str) -> AsyncGenerator[Writer, None]:
    """The one writer; a second one waits here until the first one's connection ends.

    The lock is held on the very connection that writes: who loses the one loses the other.
    Raises: BooksUnavailable, SchemaMissing.
    """
    async with connected(dsn, schema, "writer", planner=BY_KEY) as connection:
        await require_schema(connection, schema)
        with reaching():
            while not await connection.fetchval(QUERIES["try_to_be_the_writer"]):  # noqa: ASYNC110  See the query.
                await asyncio.sleep(STANDBY_POLL_S)
        async with connected(dsn, schema, "writer, reading", planner=BY_KEY) as reading:
            yield Writer(connection, reading)
