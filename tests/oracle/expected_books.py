"""The expected books of a history: a second fold of the events, written from docs/domain.md alone.

The oracle is independent: no module of this package imports a module of the product.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.oracle.aggregates import (
    DEFAULT_POLICY,
    OPEN_STATES,
    PARTIES,
    Aggregate,
    Charge,
    Event,
    Payment,
    StoredEvent,
    read_event,
)
from tests.oracle.legs import Leg, Legs
from tests.oracle.postings import Find, charge_of, legs_of
from tests.oracle.tallies import HELP, Tallies

Key = tuple[str, str, str]  # Community, kind and id.
Row = tuple[Any, ...]


@dataclass
class ExpectedBooks:
    """All rows that the books must hold after the applied events."""

    journal: list[Row] = field(default_factory=list[Row])
    legs: dict[int, Counter[Leg]] = field(default_factory=dict[int, Counter[Leg]])  # By position.
    # By position: the time of the event, the rule that posted the entry, and its gathering.
    headings: dict[int, Row] = field(default_factory=dict[int, Row])
    aggregates: dict[Key, Aggregate] = field(default_factory=dict[Key, Aggregate])
    tallies: Tallies = field(default_factory=Tallies)
    policies: dict[tuple[str, int], Mapping[str, Any]] = field(default_factory=dict[tuple[str, int], Mapping[str, Any]])

    def record(self, events: Iterable[StoredEvent]) -> "ExpectedBooks":
        """Apply events as the log stores them, and keep their journal rows."""
        for stored in events:
            event = read_event(stored)
            before = self.aggregates.get((event.community, event.kind, event.id))
            own = (event.position, event.recorded_at_us, event.community, before.position if before else 0)
            self.journal.append((*own, event.name, event.event_id, stored.body.decode()))
            self.apply(event)
        return self

    def apply(self, event: Event) -> Legs:
        """Apply one event. Return the legs of its entry, or nothing if it posts nothing."""
        policy = self.policy_of(event)
        find = self.finder(event.community)
        subject = self.subject_of(event)
        subject.apply(event, policy)
        if event.name == "dispute.upheld":
            disputed = find(event.facts["entry"].partition(".")[0], event.facts["about"])
            disputed.remedies[event.facts["entry"]] = event.facts["remedy"]
        legs = legs_of(event, subject, policy, find)
        if legs:
            self.post(event, subject, legs, find)
        self.tallies.count(event, subject, find)
        if event.name == "policy.published":
            published: Mapping[str, Any] = event.facts["policy"]
            self.policies[event.community, published["version"]] = published
        return legs

    def post(self, event: Event, subject: Aggregate, legs: Legs, find: Find) -> None:
        self.legs[event.position] = Counter(legs)
        self.headings[event.position] = (event.happened_at, event.name, subject.gathering)
        subject.charges[event.name] = Charge(
            event.happened_at,
            tuple(Payment(leg.member, str(leg.counterparty), leg.received) for leg in legs if leg.received > 0),
        )
        weighed_at, is_help = event.happened_at, event.name in HELP
        if event.reverses:
            weighed_at, is_help = charge_of(subject, find).happened_at, event.facts["entry"] in HELP
        for leg in legs:
            self.tallies.post(event, leg, weighed_at=weighed_at, is_help=is_help)

    def policy_of(self, event: Event) -> Mapping[str, Any]:
        return DEFAULT_POLICY if event.policy_version == 1 else self.policies[event.community, event.policy_version]

    def subject_of(self, event: Event) -> Aggregate:
        """Return the aggregate of the event. The first event of an aggregate creates it."""
        parties = tuple(event.facts.get(role) for role in PARTIES[event.kind])
        new = Aggregate(parties, event.name, event.position, event.recorded_at_us)
        return self.aggregates.setdefault((event.community, event.kind, event.id), new)

    def finder(self, community: str) -> Find:
        return lambda kind, own_id: self.aggregates[community, kind, own_id]

    @property
    def deadlines(self) -> set[Row]:
        return {
            (*key, datetime.fromisoformat(aggregate.facts["lapses_at"]))
            for key, aggregate in self.aggregates.items()
            if aggregate.state in OPEN_STATES.get(key[1], ())
        }

    @property
    def tags(self) -> set[Row]:
        """Return the wants and offers of each active member."""
        return {
            (community, *aggregate.parties, side, tag)
            for (community, kind, _), aggregate in self.aggregates.items()
            if kind == "member" and aggregate.state == "active"
            for side, tags in aggregate.tags.items()
            for tag in tags
        }

    @property
    def topics(self) -> set[Row]:
        """Return the tags of each referral and introduction."""
        return {
            (community, kind, tag, aggregate.began)
            for (community, kind, _), aggregate in self.aggregates.items()
            if kind in ("referral", "intro")
            for tag in aggregate.facts.get("tags", [])
        }
