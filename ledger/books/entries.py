"""Entries: the legs that one event posted, and the history of its aggregate."""

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
LIFE_MAX_EVENTS: Final = 500  # Events of one aggregate that are returned: the last ones.


class JournalEvent(Struct, frozen=True):
    """An event from the journal."""

    position: int
    recorded_at: datetime
    body: str
    envelope: Envelope


class PostedLeg(Struct, frozen=True):
    """A posted leg of an entry. `balance_after` is the balance of its account after it, in the order of the log."""

    member: str
    account: str
    counterparty: str | None
    points: int
    given: int
    received: int
    balance_after: int


class Entries:
    """Reads single events from the books. Every method raises the same errors as `Reader`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def entry(self, community: str, event_id: UUID) -> tuple[int, JournalEvent | None]:
        """Return the position of the books, and the event with this id or None."""
        position, rows = await self._reader.rows("entry", community, event_id, queries=QUERIES)
        return position, journal_event(rows[0]) if rows else None

    async def legs(self, event: JournalEvent) -> list[PostedLeg]:
        """Return the legs that the event posted."""
        members = [leg.member for leg in entry_of(event.envelope.data).legs]
        if not members:
            return []
        rows = await self._reader.fetch(QUERIES["legs"], event.envelope.ref.community, members, event.position)
        return [PostedLeg(*row) for row in rows]

    async def life(self, ref: AggregateRef, position: int) -> list[JournalEvent]:
        """Return the last `LIFE_MAX_EVENTS` events of an aggregate up to a position, the oldest first."""
        rows = await self._reader.fetch(
            QUERIES["aggregate_events"], ref.community, ref.kind, UUID(ref.id), position, LIFE_MAX_EVENTS
        )
        return [journal_event(row) for row in reversed(rows)]

    async def state(self, ref: AggregateRef) -> State:
        """Return the current state of an aggregate that has an event in the journal."""
        _, aggregate = await self._reader.aggregate(ref.kind, ref.community, UUID(ref.id))
        if aggregate is None:
            raise Bug(f"the journal contains an event of {ref}, but the books do not contain the aggregate")
        return aggregate.state


def journal_event(row: Any) -> JournalEvent:
    return JournalEvent(row["position"], row["recorded_at"], row["event"], decode(row["event"]))
