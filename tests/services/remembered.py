"""What was, by the page of the domain alone: brute sums over the legs of every entry, in plain Python.

It knows an event's envelope and, by `tests.books.page`, what the page has it post; no posting rule, and no query.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ledger.envelope import RecordedEvent
from tests.books.page import Leg, PageBooks

SUMS: Final[tuple[str, ...]] = ("main", "stake", "disputed", "net", "given", "received")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    """What one event posted, and when."""

    position: int
    event_id: str
    event: str
    community: str
    happened_at: datetime
    recorded_at: datetime
    legs: tuple[Leg, ...]


@dataclass(frozen=True)
class Remembered:
    """All entries of a history, in the order in which they were recorded."""

    entries: tuple[Entry, ...]

    def known(self, known_at: datetime | None, as_of: datetime | None, community: str) -> list[Entry]:
        """What had happened by one time, as far as it was recorded by another."""
        return [
            entry
            for entry in self.entries
            if entry.community == community
            and (known_at is None or entry.recorded_at <= known_at)
            and (as_of is None or entry.happened_at <= as_of)
        ]


def remembered(events: Iterable[RecordedEvent]) -> Remembered:
    events = list(events)
    page = PageBooks().record(events)
    entries: list[Entry] = []
    for event in events:
        if event.position not in page.legs:
            continue
        envelope = json.loads(event.body)
        entries.append(
            Entry(
                position=event.position,
                event_id=envelope["id"],
                event=envelope["data"]["event"],
                community=envelope["source"].rpartition("/")[2],
                happened_at=datetime.fromisoformat(envelope["time"]),
                recorded_at=EPOCH + timedelta(microseconds=event.recorded_at_us),
                legs=tuple(page.legs[event.position].elements()),
            )
        )
    return Remembered(tuple(entries))


def sums_of(legs: Iterable[Leg]) -> dict[str, int]:
    """Accounts and gross tallies."""
    sums = Counter[str]()
    for _, account, _, points, given, received in legs:
        sums[account] += points
        sums["net"] += points
        sums["given"] += given
        sums["received"] += received
    return {name: sums[name] for name in SUMS}


def theirs(entries: Iterable[Entry], member: str, other: str | None = None) -> list[Leg]:
    """The legs of a member, or those that a member has with another."""
    return [leg for entry in entries for leg in entry.legs if leg[0] == member and other in (None, leg[2])]


def without(view: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in view.items() if name not in names}
