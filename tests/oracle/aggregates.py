"""Events as plain JSON facts, and the aggregates that they make up (docs/domain.md, "Lifecycles").

The points of an entry follow from sizes, levels and bands. The oracle reads no number of an event, except those of a
published policy. An event names the version of the policy of its decision.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

DEFAULT_POLICY: Final[Mapping[str, Any]] = {
    "size_points": {"small": 60, "medium": 120, "large": 240},
    "level_points": {"1": 30, "2": 60, "3": 120, "4": 240, "5": 360},
    "band_points": {"S": 60, "M": 120, "L": 240, "XL": 480},
    "parent_points": 60,
    "met_points": 30,
    "asker_fault_points": 60,
    "stake_from_level": 3,
}
COMPUTED_FACTS: Final = frozenset({"points", "stake", "penalty", "parent_points", "transfers", "owed"})
PARTIES: Final = {
    "favour": ("giver", "receiver"),
    "referral": ("referrer", "recipient"),
    "intro": ("asker", "connector", "target"),
    "dispute": ("opener",),
    "member": ("member",),
    "gathering": ("host",),
    "attendance": ("member",),
    "contact": ("member", "other"),
    "one-to-one": ("member", "other"),
    "policy": (),
}
# The state after each event that changes it. Two events need both parties: `Aggregate.state_after` decides them.
STATES: Final = {
    "favour.thanked": "posted",
    "favour.claimed": "claimed",
    "favour.confirmed": "posted",
    "favour.refused": "refused",
    "favour.lapsed": "lapsed",
    "favour.forgiven": "forgiven",
    **{f"referral.{name}": name for name in ("given", "qualified", "disqualified", "contacted", "won", "lost")},
    "referral.lapsed": "lapsed",
    **{f"intro.{name}": name for name in ("asked", "offered", "accepted", "declined", "withdrawn", "refused")},
    **{f"intro.{name}": name for name in ("expired", "made", "met", "closed")},
    **{f"dispute.{name}": name for name in ("opened", "upheld", "rejected", "lapsed")},
    "member.joined": "active",
    "member.paused": "paused",
    "member.resumed": "active",
    "member.left": "left",
    "gathering.held": "held",
    "attendance.attended": "attended",
    "attendance.dues-paid": "paid",
    "contact.made": "made",
    "one-to-one.booked": "booked",
    "one-to-one.cancelled": "cancelled",
    "policy.published": "published",
}
# States with a deadline.
OPEN_STATES: Final = {
    "favour": ("claimed",),
    "referral": ("given", "qualified", "contacted"),
    "intro": ("asked", "offered", "accepted", "made", "met"),
    "dispute": ("opened",),
}


class StoredEvent(Protocol):
    """An event as the log stores it: `body` is the JSON of its envelope."""

    @property
    def position(self) -> int: ...
    @property
    def recorded_at_us(self) -> int: ...
    @property
    def body(self) -> bytes: ...


class Payment(NamedTuple):
    """The points that an entry charged one member in favour of another."""

    payer: str
    payee: str
    points: int


class Charge(NamedTuple):
    """All payments of one entry, and the time of its event."""

    happened_at: datetime
    payments: tuple[Payment, ...]


@dataclass(frozen=True)
class Event:
    """One event. `facts` are its fields without the numbers that the product computed."""

    position: int
    name: str
    happened_at: datetime
    community: str
    kind: str
    id: str
    facts: Mapping[str, Any]
    policy_version: int = 1
    event_id: str = ""
    recorded_at_us: int = 0

    @property
    def reverses(self) -> bool:
        return self.name == "dispute.upheld" and self.facts["remedy"] == "reversal"


def stated_facts(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an event's JSON without the numbers that the product computed."""
    return {name: fact for name, fact in data.items() if name not in COMPUTED_FACTS}


def read_event(stored: StoredEvent) -> Event:
    """Read an event from the JSON of its envelope."""
    envelope = json.loads(stored.body)
    kind, own_id = envelope["subject"].split("/")
    return Event(
        position=stored.position,
        name=envelope["data"]["event"],
        happened_at=datetime.fromisoformat(envelope["time"]),
        community=envelope["source"].rpartition("/")[2],
        kind=kind,
        id=own_id,
        facts=stated_facts(envelope["data"]),
        policy_version=envelope["policyversion"],
        event_id=envelope["id"],
        recorded_at_us=stored.recorded_at_us,
    )


@dataclass
class Aggregate:
    """One aggregate: its state, the facts of all its events, and its points by policy."""

    parties: tuple[str | None, ...]
    first_event: str
    began: int  # The position of the first event.
    began_at_us: int
    version: int = 0
    position: int = 0
    state: str = ""
    facts: dict[str, Any] = field(default_factory=dict[str, Any])  # A later event overwrites an earlier one.
    tags: dict[str, list[str]] = field(default_factory=dict[str, list[str]])  # Of a member: `want` and `offer`.
    consents: int = 0
    confirmations: int = 0  # Of a one-to-one: how many of the two confirmed it.
    worth: int = 0
    stake: int = 0
    penalty: int = 0  # Of a dispute: the points that an asker at fault owes to each of the two others.
    charges: dict[str, Charge] = field(default_factory=dict[str, Charge])  # By the name of the event.
    remedies: dict[str, str] = field(default_factory=dict[str, str])  # By the disputed entry, if it was upheld.

    @property
    def gathering(self) -> str | None:
        return self.facts.get("gathering")

    @property
    def matchmade(self) -> bool:
        return self.first_event == "intro.offered"

    def apply(self, event: Event, policy: Mapping[str, Any]) -> None:
        self.version, self.position = self.version + 1, event.position
        self.facts |= event.facts
        self.consents += event.name == "intro.consented"
        self.confirmations += event.name == "one-to-one.held"
        match event.name:
            case "member.wants-set" | "member.offers-set":
                self.tags[event.name.removeprefix("member.").removesuffix("s-set")] = event.facts.get("tags", [])
            case "member.left":
                self.tags = {}
            case _:
                pass
        self.state = self.state_after(event)
        self.set_points(event, policy)

    def state_after(self, event: Event) -> str:
        match event.name:
            case "intro.consented":
                return "offered" if self.matchmade and self.consents < 2 else "consented"  # Both must consent.
            case "one-to-one.held":
                return "held" if self.confirmations == 2 else "booked"  # A one-to-one needs both confirmations.
            case _:
                return STATES.get(event.name, self.state)

    def set_points(self, event: Event, policy: Mapping[str, Any]) -> None:
        """Set the points of the aggregate by the policy of the event that settles it."""
        match event.name:
            case "favour.thanked" | "favour.claimed":
                self.worth = policy["size_points"][self.facts["size"]]
            case "referral.given" | "intro.offered" | "intro.accepted":
                self.worth = policy["level_points"][str(self.facts["level"])]
            case "intro.made":
                self.stake = self.worth // 2 if self.facts["level"] >= policy["stake_from_level"] else 0
            case "dispute.opened":
                self.penalty = policy["asker_fault_points"]
            case _:
                pass
