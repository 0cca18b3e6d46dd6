"""The fold: a batch of events, with what the books held before, becomes the rows to write. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime
from typing import Any, Final, assert_never, cast
from uuid import UUID

from msgspec import Struct

from ledger.domain.catalog.kinds import KINDS, MEMBER, deadline_of
from ledger.domain.kinds.member import Active, Member
from ledger.domain.posting.rules import entry_of
from ledger.domain.standing.effects import acquaintance, is_help, reliability_changes, weighting_time
from ledger.domain.standing.indices import hours_begun, weight_in
from ledger.domain.values.aggregate_types import State, tag_of
from ledger.domain.values.entries import Entry
from ledger.domain.values.refusals import Bug
from ledger.envelope import AggregateRef, Poison, RecordedEvent, decode_state, encode_state

PARTIES_MAX: Final = 3
FOLIO_LINES: Final = 2_048  # A member's postings that fill a folio. Other books than these need another rebuild.
EARLIEST_HOUR: Final = hours_begun(datetime(1970, 1, 1, tzinfo=UTC))  # Between these, a weight is exact.
LATEST_HOUR: Final = hours_begun(datetime(2100, 1, 1, tzinfo=UTC))

Holder = tuple[str, str]  # community, member
PairKey = tuple[str, str, str]  # community, and two members in the order of their ids
Folio = tuple[str, str, int, int]  # community, member, number, and the position of the entry that filled it


class Balance(Struct, gc=False):
    """What a member has: a row of the table, but for its key."""

    main: int = 0
    stake: int = 0
    disputed: int = 0
    given: int = 0
    received: int = 0
    recent_given: int = 0
    recent_received: int = 0
    settled: int = 0
    kept: int = 0
    broken: int = 0
    postings: int = 0
    first: int = 0


class PairChange(Struct, gc=False):
    """What is added to the row of a pair."""

    low_gave: int = 0
    high_gave: int = 0
    low_helped: int = 0
    high_helped: int = 0
    contacts: int = 0
    one_to_ones: int = 0


class Held(Struct, gc=False):
    """An aggregate as the books hold it, or, if it is new, will hold it."""

    version: int
    state: State
    position: int
    is_new: bool = False
    began: int = 0
    began_at: datetime | None = None


class Batch(Struct, frozen=True):
    """Events with the entries they post, in order and without gaps."""

    events: Sequence[RecordedEvent]
    entries: Sequence[Entry]

    @property
    def holders(self) -> set[Holder]:
        """The members whose balances change."""
        found: set[Holder] = set()
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


class Changes(Struct):
    """What a batch amounts to: the rows to write, and what the books will hold of everything that it touches."""

    first: int
    last: int
    last_event_id: str
    journal: list[tuple[Any, ...]]
    postings: list[tuple[Any, ...]]
    balances: dict[Holder, Balance]
    pairs: dict[PairKey, PairChange]
    held: dict[AggregateRef, Held]
    folios: list[Folio]


def batch_of(events: Sequence[RecordedEvent]) -> Batch:
    """Raises: Poison, at an event that no rule can post; Bug, when there is a gap between them."""
    if events[-1].position - events[0].position + 1 != len(events):
        raise Bug(f"{len(events)} events from {events[0].position} to {events[-1].position}")
    return Batch(events, [posted_by(event) for event in events])


def posted_by(event: RecordedEvent) -> Entry:
    try:
        return entry_of(event.envelope.data)
    except Bug as bug:
        raise Poison(event.position, str(bug)) from bug


def begun(batch: Batch, balances: Mapping[Holder, Balance], held: Mapping[AggregateRef, Held]) -> Changes:
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
        held={ref: Held(known.version, known.state, known.position) for ref, known in held.items()},
        folios=[],
    )


def fold(part: Iterable[tuple[RecordedEvent, Entry]], changes: Changes) -> None:
    """Add what the next events of the batch amount to.

    Raises: Poison, at the first event that cannot follow what came before it.
    """
    for event, entry in part:
        try:
            take(event, entry, changes)
        except Bug as bug:
            raise Poison(event.position, str(bug)) from bug


def take(event: RecordedEvent, entry: Entry, changes: Changes) -> None:
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
    state = evolve(event, recorded_at, changes.held)
    if entry.legs:
        post(event, entry, getattr(state, "gathering", None), changes)
    try_them(event, changes)
    acquaint(event, state, changes)


def evolve(event: RecordedEvent, recorded_at: datetime, held: dict[AggregateRef, Held]) -> State:
    before = held.get(event.ref)
    state: State = event.kind.evolve(before.state if before else None, event.envelope.data)
    if (due_at := deadline_of(state)) is not None:
        known_hours(due_at)
    if before:
        before.version, before.state, before.position = before.version + 1, state, event.position
    else:
        held[event.ref] = Held(1, state, event.position, is_new=True, began=event.position, began_at=recorded_at)
    return state


def post(event: RecordedEvent, entry: Entry, gathering: UUID | None, changes: Changes) -> None:
    """The entry's legs, each with the balance it leaves, and what they add to the tallies of members and pairs."""
    community, position, happened_at = event.ref.community, event.position, event.envelope.time
    fact = event.envelope.data
    rule = tag_of(fact)
    helps = is_help(fact)
    hours = known_hours(happened_at)
    if (weigh_at := weighting_time(fact, happened_at)) is not happened_at:
        hours = known_hours(weigh_at)
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
                gave(community, leg.member, leg.counterparty, given, helps, changes)
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


def balance_of(holder: Holder, position: int, changes: Changes) -> Balance:
    balance = changes.balances.get(holder)
    if balance is None:
        balance = changes.balances[holder] = Balance(first=position)
    return balance


def known_hours(at: datetime) -> int:
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


def gave(community: str, giver: str, receiver: str, points: int, helps: bool, changes: Changes) -> None:
    pair = pair_of(community, giver, receiver, changes)
    helped = (1 if points > 0 else -1) if helps else 0
    if giver < receiver:
        pair.low_gave += points
        pair.low_helped += helped
    else:
        pair.high_gave += points
        pair.high_helped += helped


def try_them(event: RecordedEvent, changes: Changes) -> None:
    """Those who could have been at fault in an introduction: did they keep their word?"""
    for trial in reliability_changes(event.envelope.data):
        balance = balance_of((event.ref.community, trial.member), event.position, changes)
        balance.kept += trial.kept
        balance.broken += trial.broken


def acquaint(event: RecordedEvent, state: State, changes: Changes) -> None:
    """Two members who have met, or sat down together."""
    met = acquaintance(event.envelope.data, state)
    if met is None:
        return
    pair = pair_of(event.ref.community, met.member, met.other, changes)
    if met.one_to_one:
        pair.one_to_ones += 1
    else:
        pair.contacts += 1


# Rows


def balance_row(holder: Holder, balance: Balance) -> tuple[Any, ...]:
    return (
        *holder,
        balance.main,
        balance.stake,
        balance.disputed,
        balance.given,
        balance.received,
        str(balance.recent_given),
        str(balance.recent_received),
        balance.settled,
        balance.kept,
        balance.broken,
        balance.postings,
        balance.first,
    )


def pair_row(key: PairKey, pair: PairChange) -> tuple[Any, ...]:
    return (
        *key,
        pair.low_gave,
        pair.high_gave,
        pair.low_helped,
        pair.high_helped,
        pair.contacts,
        pair.one_to_ones,
    )


def new_row(ref: AggregateRef, held: Held) -> tuple[Any, ...]:
    """A row of an aggregate that the books do not hold yet."""
    concerned = KINDS[ref.kind].concerned(held.state)
    parties = (*concerned, *[None] * (PARTIES_MAX - len(concerned)))
    return (*moved_row(ref, held), held.began, held.began_at, *parties, getattr(held.state, "gathering", None))


def moved_row(ref: AggregateRef, held: Held) -> tuple[Any, ...]:
    """What changes in the row of an aggregate."""
    facts = encode_state(held.state).decode()
    return ref.community, ref.kind, ref.id, held.version, held.position, tag_of(held.state), facts


def deadline_rows(held: Mapping[AggregateRef, Held]) -> list[tuple[Any, ...]]:
    """When aggregates end by themselves, those that do."""
    due = ((ref, deadline_of(aggregate.state)) for ref, aggregate in held.items())
    return [(ref.community, ref.kind, ref.id, due_at) for ref, due_at in due if due_at is not None]


def members_of(held: Mapping[AggregateRef, Held]) -> list[tuple[str, Member]]:
    """The members among them, each with their community."""
    return [(ref.community, cast("Member", it.state)) for ref, it in held.items() if ref.kind == MEMBER.name]


def tag_rows(members: Iterable[tuple[str, Member]]) -> list[tuple[str, str, str, str]]:
    """What members, each with their community, look for and have to give: only those who are there."""
    rows: list[tuple[str, str, str, str]] = []
    for community, member in members:
        match member:
            case Active():
                rows += [(community, member.member, "want", tag) for tag in member.wants]
                rows += [(community, member.member, "offer", tag) for tag in member.offers]
            case _:
                pass
    return rows


def topic_rows(held: Mapping[AggregateRef, Held]) -> list[tuple[str, str, str, int]]:
    """What new referrals and introductions are about."""
    return [
        (ref.community, ref.kind, tag, aggregate.began)
        for ref, aggregate in held.items()
        if aggregate.is_new
        for tag in set(getattr(aggregate.state, "tags", ()))
    ]


def held_from(row: Mapping[str, Any]) -> tuple[AggregateRef, Held]:
    ref = AggregateRef(row["community"], row["kind"], row["id"])
    return ref, Held(row["version"], decode_state(ref.kind, row["facts"]), row["position"])


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows turned on their side, for `unnest`: also when there are none."""
    turned = [list(column) for column in zip(*rows, strict=True)]
    return turned or [[] for _ in range(width)]
