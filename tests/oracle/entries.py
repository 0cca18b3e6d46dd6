"""The entries of a history, and sums over their legs by time of happening and by time of recording."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from tests.oracle.aggregates import Event, StoredEvent, read_event
from tests.oracle.expected_books import ExpectedBooks
from tests.oracle.legs import ACCOUNTS, Leg

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    """The entry of one event, and its times."""

    position: int
    event_id: str
    event: str
    community: str
    happened_at: datetime
    recorded_at: datetime
    legs: tuple[Leg, ...]


@dataclass(frozen=True)
class EntryHistory:
    """All entries of a history, in the order of recording."""

    entries: tuple[Entry, ...]

    def known(self, known_at: datetime | None, as_of: datetime | None, community: str) -> list[Entry]:
        """Return the entries that had happened by `as_of` and had been recorded by `known_at`."""
        return [
            entry
            for entry in self.entries
            if entry.community == community
            and (known_at is None or entry.recorded_at <= known_at)
            and (as_of is None or entry.happened_at <= as_of)
        ]


def entry_history(events: Iterable[StoredEvent]) -> EntryHistory:
    """Return the entries that these events must post. The events are the first of a log."""
    events = list(events)
    legs = ExpectedBooks().record(events).legs
    read = [read_event(event) for event in events]
    return EntryHistory(tuple(to_entry(event, legs[event.position]) for event in read if event.position in legs))


def to_entry(event: Event, legs: Counter[Leg]) -> Entry:
    return Entry(
        position=event.position,
        event_id=event.event_id,
        event=event.name,
        community=event.community,
        happened_at=event.happened_at,
        recorded_at=EPOCH + timedelta(microseconds=event.recorded_at_us),
        legs=tuple(legs.elements()),
    )


def sums_of(legs: Iterable[Leg]) -> dict[str, int]:
    """Sum the legs by account, over all accounts (`net`), and by gross tally."""
    sums: dict[str, int] = dict.fromkeys((*ACCOUNTS, "net", "given", "received"), 0)
    for leg in legs:
        sums[leg.account] += leg.points
        sums["net"] += leg.points
        sums["given"] += leg.given
        sums["received"] += leg.received
    return sums


def legs_of_member(entries: Iterable[Entry], member: str, other: str | None = None) -> list[Leg]:
    """Return the legs of a member. With `other`, return only those with that counterparty."""
    return [
        leg
        for entry in entries
        for leg in entry.legs
        if leg.member == member and (other is None or leg.counterparty == other)
    ]
