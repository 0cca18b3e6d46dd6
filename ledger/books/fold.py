"""The fold: a batch of events, with what the books held before, becomes the rows to write. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from ledger.domain.entry import Entry
from ledger.domain.posting import entry_of
from ledger.domain.refusals import Bug
from ledger.domain.values import State, tag_of
from ledger.envelope import AggregateRef, Poison, Recorded, decode_state, encode_state

Holder = tuple[str, str]  # community, member


class Balance(Struct):
    """A member's accounts, in points."""

    main: int = 0
    stake: int = 0


class Held(Struct):
    """An aggregate as the books hold it, or, if it is new, will hold it."""

    version: int
    state: State
    position: int
    is_new: bool = False


class Batch(Struct, frozen=True):
    """Events with the entries they post, in order and without gaps."""

    events: Sequence[Recorded]
    entries: Sequence[Entry]

    @property
    def holders(self) -> set[Holder]:
        """The members whose balances move."""
        return {
            (event.ref.community, leg.member)
            for event, entry in zip(self.events, self.entries, strict=True)
            for leg in entry.legs
        }

    @property
    def refs(self) -> set[AggregateRef]:
        """The aggregates that change."""
        return {event.ref for event in self.events}


class Changes(Struct):
    """What a batch amounts to: the rows to write, and what the books will hold of everything that it touches."""

    first: int
    last: int
    last_event_id: str
    journal: list[tuple[Any, ...]]
    postings: list[tuple[Any, ...]]
    balances: dict[Holder, Balance]
    held: dict[AggregateRef, Held]


def batch_of(events: Sequence[Recorded]) -> Batch:
    """Raises: Poison, at an event that no rule can post; Bug, when there is a gap between them."""
    if events[-1].position - events[0].position + 1 != len(events):
        raise Bug(f"{len(events)} events from {events[0].position} to {events[-1].position}")
    return Batch(events, [posted_by(event) for event in events])


def posted_by(event: Recorded) -> Entry:
    try:
        return entry_of(event.envelope.data)
    except Bug as bug:
        raise Poison(event.position, str(bug)) from bug


def fold(batch: Batch, balances: dict[Holder, Balance], held: dict[AggregateRef, Held]) -> Changes:
    """The changes that a batch amounts to; `balances` and `held` are what the books hold, moved on in place.

    Raises: Poison, at the first event that cannot follow what came before it.
    """
    first, last = batch.events[0], batch.events[-1]
    changes = Changes(first.position, last.position, last.envelope.id, [], [], balances, held)
    for event, entry in zip(batch.events, batch.entries, strict=True):
        recorded_at = datetime.fromtimestamp(event.recorded_at_us / 1_000_000, UTC)
        changes.journal.append((event.position, recorded_at, event.body.decode()))
        evolve(event, held)
        if entry.legs:
            post(event, entry, balances, changes.postings)
    return changes


def evolve(event: Recorded, held: dict[AggregateRef, Held]) -> None:
    before = held.get(event.ref)
    try:
        state = event.kind.evolve(before.state if before else None, event.envelope.data)
    except Bug as bug:
        raise Poison(event.position, str(bug)) from bug
    if before:
        before.version, before.state, before.position = before.version + 1, state, event.position
    else:
        held[event.ref] = Held(1, state, event.position, is_new=True)


def post(event: Recorded, entry: Entry, balances: dict[Holder, Balance], postings: list[tuple[Any, ...]]) -> None:
    community, position = event.ref.community, event.position
    for number, leg in enumerate(entry.legs):
        holder = (community, leg.member)
        balance = balances.get(holder)
        if balance is None:
            balance = balances[holder] = Balance()
        if leg.account == "main":
            after = balance.main = balance.main + leg.points
        else:
            after = balance.stake = balance.stake + leg.points
            if after < 0:
                raise Poison(position, f"takes {-leg.points} from a stake of {after - leg.points}")
        postings.append(
            (
                position,
                number,
                community,
                leg.member,
                leg.account,
                leg.counterparty,
                leg.points,
                leg.given,
                leg.received,
                after,
            )
        )


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows turned on their side, for `unnest`: also when there are none."""
    turned = [list(column) for column in zip(*rows, strict=True)]
    return turned or [[] for _ in range(width)]


def held_row(ref: AggregateRef, held: Held) -> tuple[Any, ...]:
    return ref.community, ref.id, held.version, held.position, tag_of(held.state), encode_state(held.state).decode()


def held_from(kind: str, row: Mapping[str, Any]) -> tuple[AggregateRef, Held]:
    ref = AggregateRef(row["community"], kind, row["id"])
    return ref, Held(row["version"], decode_state(kind, row["facts"]), row["position"])
