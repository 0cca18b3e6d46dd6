"""The fold: turns a batch of events, and the rows before it, into changes. It is pure."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime
from typing import Final, assert_never
from uuid import UUID

from msgspec import Struct

from ledger.books.changes import Changes
from ledger.books.rows import AccountKey, AggregateRow, Balance, PairChange
from ledger.domain.catalog.kinds import deadline_of
from ledger.domain.posting.rules import entry_of
from ledger.domain.standing.effects import acquaintance, is_help, reliability_changes, weighting_time
from ledger.domain.standing.indices import hours_begun, weight_in
from ledger.domain.values.aggregate_types import State, tag_of
from ledger.domain.values.entries import Entry
from ledger.domain.values.refusals import Bug
from ledger.envelope import AggregateRef, Poison, RecordedEvent

FOLIO_LINES: Final = 2_048  # Postings of a member that fill a folio. Another number requires a rebuild of the books.
EARLIEST_HOUR: Final = hours_begun(datetime(1970, 1, 1, tzinfo=UTC))  # A weight is exact between these hours.
LATEST_HOUR: Final = hours_begun(datetime(2100, 1, 1, tzinfo=UTC))


class Batch(Struct, frozen=True):
    """Successive events, and the entry that each of them posts."""

    events: Sequence[RecordedEvent]
    entries: Sequence[Entry]

    @property
    def account_keys(self) -> set[AccountKey]:
        """The members whose balances change."""
        keys: set[AccountKey] = set()
        for event, entry in zip(self.events, self.entries, strict=True):
            community = event.ref.community
            for leg in entry.legs:
                keys.add((community, leg.member))
            for change in reliability_changes(event.envelope.data):
                keys.add((community, change.member))
        return keys

    @property
    def refs(self) -> set[AggregateRef]:
        """The aggregates that change."""
        return {event.ref for event in self.events}


def batch_of(events: Sequence[RecordedEvent]) -> Batch:
    """Return a batch of successive events.

    Raises: Poison, at an event whose posting rule fails; Bug, if there is a gap between the events.
    """
    if events[-1].position - events[0].position + 1 != len(events):
        raise Bug(f"a batch with a gap: {len(events)} events from {events[0].position} to {events[-1].position}")
    return Batch(events, [entry_for(event) for event in events])


def entry_for(event: RecordedEvent) -> Entry:
    try:
        return entry_of(event.envelope.data)
    except Bug as bug:
        raise Poison(event.position, str(bug)) from bug


def changes_from(
    batch: Batch, balances: Mapping[AccountKey, Balance], aggregates: Mapping[AggregateRef, AggregateRow]
) -> Changes:
    """Return the changes before the first event is folded. The rows before the batch are copied, not modified."""
    first, last = batch.events[0], batch.events[-1]
    return Changes(
        first.position,
        last.position,
        last.envelope.id,
        journal=[],
        postings=[],
        balances={key: copy(balance) for key, balance in balances.items()},
        pairs={},
        aggregates={ref: AggregateRow(row.version, row.state, row.position) for ref, row in aggregates.items()},
        folios=[],
    )


def fold(part: Iterable[tuple[RecordedEvent, Entry]], changes: Changes) -> None:
    """Fold the next events of the batch into the changes.

    Raises: Poison, at the first event that cannot follow the events before it.
    """
    for event, entry in part:
        try:
            apply_event(event, entry, changes)
        except Bug as bug:
            raise Poison(event.position, str(bug)) from bug


def apply_event(event: RecordedEvent, entry: Entry, changes: Changes) -> None:
    """Fold one event.

    Raises: Bug, if the event cannot follow the events before it, or violates an invariant.
    """
    recorded_at = datetime.fromtimestamp(event.recorded_at_us / 1_000_000, UTC)
    before = changes.aggregates.get(event.ref)
    changes.journal.append(
        (
            event.position,
            recorded_at,
            event.ref.community,
            before.position if before else 0,
            tag_of(event.envelope.data),
            event.envelope.id,
            event.body.decode(),
        )
    )
    state = evolve_row(event, recorded_at, changes.aggregates)
    if entry.legs:
        post(event, entry, getattr(state, "gathering", None), changes)
    apply_reliability(event, changes)
    apply_acquaintance(event, state, changes)


def evolve_row(event: RecordedEvent, recorded_at: datetime, aggregates: dict[AggregateRef, AggregateRow]) -> State:
    """Update the row of the event's aggregate, or add one, and return the new state."""
    before = aggregates.get(event.ref)
    state: State = event.kind.evolve(before.state if before else None, event.envelope.data)
    if (due_at := deadline_of(state)) is not None:
        require_hours(due_at)
    if before:
        before.version, before.state, before.position = before.version + 1, state, event.position
    else:
        aggregates[event.ref] = AggregateRow(
            1, state, event.position, is_new=True, began=event.position, began_at=recorded_at
        )
    return state


def post(event: RecordedEvent, entry: Entry, gathering: UUID | None, changes: Changes) -> None:
    """Add a posting for each leg, with the balance after it, and update the tallies of members and pairs."""
    community, position, happened_at = event.ref.community, event.position, event.envelope.time
    fact = event.envelope.data
    rule = tag_of(fact)
    helps = is_help(fact)
    hours = require_hours(happened_at)
    if (weigh_at := weighting_time(fact, happened_at)) is not happened_at:
        hours = require_hours(weigh_at)
    for number, leg in enumerate(entry.legs):
        points, given, received = leg.points, leg.given, leg.received
        balance = balance_of((community, leg.member), position, changes)
        balance.postings += 1
        if balance.postings % FOLIO_LINES == 0:
            changes.folios.append((community, leg.member, balance.postings // FOLIO_LINES, position))
        match leg.account:
            case "main":
                after = balance.main = balance.main + points
            case "disputed":
                after = balance.disputed = balance.disputed + points
            case "stake":
                after = balance.stake = balance.stake + points
                if after < 0:
                    raise Bug(f"takes {-points} points from a stake of {after - points}")
            case _:
                assert_never(leg.account)
        if given:
            balance.given += given
            balance.recent_given += weight_in(given, hours)
            balance.settled += 1 if given > 0 else -1
            if leg.counterparty is not None:
                add_to_pair(community, leg.member, leg.counterparty, given, helps, changes)
        if received:
            balance.received += received
            balance.recent_received += weight_in(received, hours)
            balance.settled += 1 if received > 0 else -1
        if balance.given < 0 or balance.received < 0:
            raise Bug(f"reverses more than {leg.member} has given or received")
        changes.postings.append(
            (
                position,
                number,
                community,
                leg.member,
                leg.account,
                leg.counterparty,
                points,
                given,
                received,
                after,
                happened_at,
                rule,
                gathering,
            )
        )


def balance_of(key: AccountKey, position: int, changes: Changes) -> Balance:
    """Return the balance of a member. The first event of a member creates it."""
    balance = changes.balances.get(key)
    if balance is None:
        balance = changes.balances[key] = Balance(first=position)
    return balance


def require_hours(at: datetime) -> int:
    """Return the hour of a time, counted from the landmark of the weights.

    Raises: Bug, for a time whose weight is zero or too large, or that Postgres cannot store.
    """
    hours = hours_begun(at)
    if not EARLIEST_HOUR <= hours < LATEST_HOUR:
        raise Bug(f"{at} is outside the range of the books: 1970 to 2099")
    return hours


def pair_of(community: str, one: str, other: str, changes: Changes) -> PairChange:
    """Return the change of a pair of members, in any order.

    Raises: Bug, if both are the same member.
    """
    if one == other:
        raise Bug(f"{one} is on both sides of a pair")
    key = (community, one, other) if one < other else (community, other, one)
    pair = changes.pairs.get(key)
    if pair is None:
        pair = changes.pairs[key] = PairChange()
    return pair


def add_to_pair(community: str, giver: str, receiver: str, points: int, helps: bool, changes: Changes) -> None:
    pair = pair_of(community, giver, receiver, changes)
    helped = (1 if points > 0 else -1) if helps else 0
    if giver < receiver:
        pair.low_gave += points
        pair.low_helped += helped
    else:
        pair.high_gave += points
        pair.high_helped += helped


def apply_reliability(event: RecordedEvent, changes: Changes) -> None:
    """Count for the members who could be at fault in an introduction whether they kept their word."""
    for change in reliability_changes(event.envelope.data):
        balance = balance_of((event.ref.community, change.member), event.position, changes)
        balance.kept += change.kept
        balance.broken += change.broken


def apply_acquaintance(event: RecordedEvent, state: State, changes: Changes) -> None:
    """Count a contact or a one-to-one of two members."""
    met = acquaintance(event.envelope.data, state)
    if met is None:
        return
    pair = pair_of(event.ref.community, met.member, met.other, changes)
    if met.one_to_one:
        pair.one_to_ones += 1
    else:
        pair.contacts += 1
