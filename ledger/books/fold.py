"""The fold: a batch of events and the rows before it become the rows to write. Pure."""

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

FOLIO_LINES: Final = 2_048  # A member's postings that fill a folio. Other books than these need another rebuild.
EARLIEST_HOUR: Final = hours_begun(datetime(1970, 1, 1, tzinfo=UTC))  # Between these, a weight is exact.
LATEST_HOUR: Final = hours_begun(datetime(2100, 1, 1, tzinfo=UTC))


class Batch(Struct, frozen=True):
    """Events with the entries they post, in order and without gaps."""

    events: Sequence[RecordedEvent]
    entries: Sequence[Entry]

    @property
    def holders(self) -> set[AccountKey]:
        """The members whose balances change."""
        found: set[AccountKey] = set()
        for event, entry in zip(self.events, self.entries, strict=True):
            community = event.ref.community
            for leg in entry.legs:
                found.add((community, leg.member))
            for trial in reliability_changes(event.envelope.data):
                found.add((community, trial.member))
        return found

    @property
    def refs(self) -> set[AggregateRef]:
        """The aggregates that change."""
        return {event.ref for event in self.events}


def batch_of(events: Sequence[RecordedEvent]) -> Batch:
    """Raises: Poison, at an event that no rule can post; Bug, when there is a gap between them."""
    if events[-1].position - events[0].position + 1 != len(events):
        raise Bug(f"{len(events)} events from {events[0].position} to {events[-1].position}")
    return Batch(events, [entry_for(event) for event in events])


def entry_for(event: RecordedEvent) -> Entry:
    try:
        return entry_of(event.envelope.data)
    except Bug as bug:
        raise Poison(event.position, str(bug)) from bug


def changes_from(
    batch: Batch, balances: Mapping[AccountKey, Balance], held: Mapping[AggregateRef, AggregateRow]
) -> Changes:
    """A batch before any of it is folded; `balances` and `held` are what the books hold, and stay as they are."""
    first, last = batch.events[0], batch.events[-1]
    return Changes(
        first.position,
        last.position,
        last.envelope.id,
        journal=[],
        postings=[],
        balances={holder: copy(balance) for holder, balance in balances.items()},
        pairs={},
        held={ref: AggregateRow(known.version, known.state, known.position) for ref, known in held.items()},
        folios=[],
    )


def fold(part: Iterable[tuple[RecordedEvent, Entry]], changes: Changes) -> None:
    """Add what the next events of the batch amount to.

    Raises: Poison, at the first event that cannot follow what came before it.
    """
    for event, entry in part:
        try:
            apply_event(event, entry, changes)
        except Bug as bug:
            raise Poison(event.position, str(bug)) from bug


def apply_event(event: RecordedEvent, entry: Entry, changes: Changes) -> None:
    """Raises: Bug, when the event cannot follow what came before it, or breaks what always holds."""
    recorded_at = datetime.fromtimestamp(event.recorded_at_us / 1_000_000, UTC)
    before = changes.held.get(event.ref)
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
    state = evolve_row(event, recorded_at, changes.held)
    if entry.legs:
        post(event, entry, getattr(state, "gathering", None), changes)
    apply_reliability(event, changes)
    apply_acquaintance(event, state, changes)


def evolve_row(event: RecordedEvent, recorded_at: datetime, held: dict[AggregateRef, AggregateRow]) -> State:
    before = held.get(event.ref)
    state: State = event.kind.evolve(before.state if before else None, event.envelope.data)
    if (due_at := deadline_of(state)) is not None:
        require_hours(due_at)
    if before:
        before.version, before.state, before.position = before.version + 1, state, event.position
    else:
        held[event.ref] = AggregateRow(
            1, state, event.position, is_new=True, began=event.position, began_at=recorded_at
        )
    return state


def post(event: RecordedEvent, entry: Entry, gathering: UUID | None, changes: Changes) -> None:
    """The entry's legs, each with the balance it leaves, and what they add to the tallies of members and pairs."""
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
                    raise Bug(f"takes {-points} from a stake of {after - points}")
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
            raise Bug(f"takes back more than {leg.member} has given or received")
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


def balance_of(holder: AccountKey, position: int, changes: Changes) -> Balance:
    balance = changes.balances.get(holder)
    if balance is None:
        balance = changes.balances[holder] = Balance(first=position)
    return balance


def require_hours(at: datetime) -> int:
    """The hour in which it lies.

    Raises: Bug, for a time that weighs nothing or more than can be counted, or that Postgres cannot keep.
    """
    hours = hours_begun(at)
    if not EARLIEST_HOUR <= hours < LATEST_HOUR:
        raise Bug(f"{at} is not a time that the books know")
    return hours


def pair_of(community: str, one: str, other: str, changes: Changes) -> PairChange:
    if one == other:
        raise Bug(f"{one} cannot be the other side too")
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
    """Those who could have been at fault in an introduction: did they keep their word?"""
    for trial in reliability_changes(event.envelope.data):
        balance = balance_of((event.ref.community, trial.member), event.position, changes)
        balance.kept += trial.kept
        balance.broken += trial.broken


def apply_acquaintance(event: RecordedEvent, state: State, changes: Changes) -> None:
    """Two members who have met, or sat down together."""
    met = acquaintance(event.envelope.data, state)
    if met is None:
        return
    pair = pair_of(event.ref.community, met.member, met.other, changes)
    if met.one_to_one:
        pair.one_to_ones += 1
    else:
        pair.contacts += 1
