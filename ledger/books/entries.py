"""Entries: what was posted on account of one event, and the life of the aggregate that it happened to."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from ledger.books.queries import named
from ledger.books.reader import Reader
from ledger.domain.posting.rules import entry_of
from ledger.domain.values.aggregate_types import State
from ledger.domain.values.refusals import Bug
from ledger.envelope import AggregateRef, Envelope, decode

QUERIES: Final = named("entries")
LIFE_MAX: Final = 500  # Events of one aggregate that are told: of more, the last.


class JournalEvent(Struct, frozen=True):
    """An event as the journal holds it."""

    position: int
    recorded_at: datetime
    body: str
    envelope: Envelope


class PostedLeg(Struct, frozen=True):
    """A leg of an entry, as it was posted; `balance_after` is of its account, in the order of the log."""

    member: str
    account: str
    counterparty: str | None
    points: int
    given: int
    received: int
    balance_after: int


class Entries:
    """Answers about single events. What it raises, `Reader` says."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def entry(self, community: str, event_id: UUID) -> tuple[int, JournalEvent | None]:
        """The event of this id, and the position that is shown."""
        shown, rows = await self._reader.rows("entry", community, event_id, queries=QUERIES)
        return shown, journal_event(rows[0]) if rows else None

    async def legs(self, happened: JournalEvent) -> list[PostedLeg]:
        """What was posted on account of it, leg by leg."""
        members = [leg.member for leg in entry_of(happened.envelope.data).legs]
        if not members:
            return []
        rows = await self._reader.fetch(QUERIES["legs"], happened.envelope.ref.community, members, happened.position)
        return [PostedLeg(*row) for row in rows]

    async def life(self, ref: AggregateRef, shown: int) -> list[JournalEvent]:
        """What has happened to an aggregate up to a position, the oldest first; of a long life, the last of it."""
        rows = await self._reader.fetch(
            QUERIES["aggregate_events"], ref.community, ref.kind, UUID(ref.id), shown, LIFE_MAX
        )
        return [journal_event(row) for row in reversed(rows)]

    async def state(self, ref: AggregateRef) -> State:
        """How the aggregate of an event stands now. It is there: the event is."""
        _, held = await self._reader.aggregate(ref.kind, ref.community, UUID(ref.id))
        if held is None:
            raise Bug(f"the journal holds an event of {ref}, which is not there")
        return held.state


def journal_event(row: Any) -> JournalEvent:
    return JournalEvent(row["position"], row["recorded_at"], row["event"], decode(row["event"]))
