"""Resources: the view of each kind of aggregate, and the part of it that a viewer may read."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from ledger.domain.catalog.kinds import KINDS
from ledger.domain.kinds.dispute.states import Code, DisputedEntry, Remedy
from ledger.domain.kinds.intro.silence import asker_state, version_read_by
from ledger.domain.kinds.intro.states import Fault, Intro, Outcome
from ledger.domain.kinds.publication import PolicyVersion
from ledger.domain.kinds.referral import Disqualification
from ledger.domain.values.advice import Advice
from ledger.domain.values.aggregate_types import State, tag_of
from ledger.domain.values.entries import Transfer
from ledger.domain.values.ids import Instant
from ledger.domain.values.points import DealBand, Level, Points, Size
from ledger.domain.values.refusals import NotYours


class View(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`version` is the number of events, and the ETag. `position` is the log position of the last event."""

    id: UUID
    version: int
    position: int
    gathering: UUID | None = None
    lapses_at: Instant | None = None


class FavourView(View, frozen=True, kw_only=True):
    state: Literal["claimed", "posted", "refused", "lapsed", "forgiven"]
    giver: str
    receiver: str
    size: Size
    points: Points


class ReferralView(View, frozen=True, kw_only=True):
    state: Literal["given", "qualified", "contacted", "won", "lost", "lapsed", "disqualified"]
    referrer: str
    recipient: str
    prospect: str
    level: Level
    points: Points
    tags: list[str] = []
    parent: UUID | None = None
    parent_referrer: str | None = None
    qualified: bool = False
    band: DealBand | None = None
    reason: Disqualification | None = None


class IntroView(View, frozen=True, kw_only=True):
    """With the asker as viewer, an ask is `pending` until it is made, and `not_now` from `visible_until` on."""

    state: Literal[
        "asked",
        "offered",
        "accepted",
        "consented",
        "made",
        "met",
        "closed",
        "declined",
        "refused",
        "withdrawn",
        "expired",
        "pending",
        "not_now",
    ]
    asker: str
    connector: str
    target: str
    matchmade: bool = False
    tags: list[str] = []
    visible_until: Instant | None = None
    expects_percent: int | None = None
    invited: bool = False
    advice: Advice | None = None
    level: Level | None = None
    points: Points | None = None
    stake: Points | None = None
    made_at: Instant | None = None
    consented: list[str] = []
    tell_now: bool = False
    outcome: Outcome | None = None
    fault: Fault | None = None
    settled: bool = False


class DisputeView(View, frozen=True, kw_only=True):
    """`transfers` are the disputed points. `owed` is the cost for the member at `fault` if the dispute is upheld."""

    state: Literal["opened", "upheld", "rejected", "lapsed"]
    about: UUID
    entry: DisputedEntry
    entry_id: UUID
    happened_at: Instant
    opener: str
    code: Code
    parties: list[str]
    transfers: list[Transfer]
    fault: Fault = "none"
    owed: list[Transfer] = []
    remedy: Remedy | None = None


class MemberView(View, frozen=True, kw_only=True):
    """Only the member reads `asks_in` and `welcome`."""

    state: Literal["active", "paused", "left"]
    member: str
    joined_at: Instant
    sponsor: str | None = None
    wants: list[str] = []
    offers: list[str] = []
    asks_in: int | None = None
    welcome: list[str] = []


class GatheringView(View, frozen=True, kw_only=True):
    state: Literal["held"]
    host: str
    held_at: Instant
    dues: bool = False


class AttendanceView(View, frozen=True, kw_only=True):
    state: Literal["attended", "paid"]
    member: str
    host: str
    dues: bool = False


class ContactView(View, frozen=True, kw_only=True):
    state: Literal["made"]
    member: str
    other: str


class OneToOneView(View, frozen=True, kw_only=True):
    """`said` names the member who stated that it was held, if only one of the two has."""

    state: Literal["booked", "held", "cancelled"]
    member: str
    other: str
    said: list[str] = []


class PolicyView(View, frozen=True, kw_only=True):
    """The newest versions in the order of their start: the one in force, and all scheduled ones."""

    state: Literal["published"]
    versions: list[PolicyVersion]


VIEWS: Final[Mapping[str, type[View]]] = MappingProxyType(
    {
        "favour": FavourView,
        "referral": ReferralView,
        "intro": IntroView,
        "dispute": DisputeView,
        "member": MemberView,
        "gathering": GatheringView,
        "attendance": AttendanceView,
        "contact": ContactView,
        "one-to-one": OneToOneView,
        "policy": PolicyView,
    }
)


class Resource(Struct, frozen=True, kw_only=True):
    """An aggregate to read. `began` and `position` are the log positions of its first and its last event."""

    kind: str
    id: UUID
    version: int
    began: int
    position: int
    state: State


def view_of(resource: Resource, viewer: str | None, now: datetime) -> View:
    """Return what the viewer may read of a resource at `now`. Without a viewer, return everything.

    Raises: NotYours, if the kind is private and the viewer is not a party.
    """
    kind = KINDS[resource.kind]
    if viewer is not None and kind.private and viewer not in kind.concerned(resource.state):
        raise NotYours(role="party")
    facts: dict[str, Any] = {name: fact for name, fact in msgspec.structs.asdict(resource.state).items() if fact != ()}
    facts["state"] = tag_of(resource.state)
    version, position = resource.version, resource.position
    match resource.kind:
        case "intro" if viewer is not None:
            intro: Any = resource.state
            version = version_read_by(viewer, intro, resource.version, now)
            if visible_state := asker_state(intro, now) if viewer == intro.asker else None:
                facts = {name: facts[name] for name in FIELDS_OF_AN_ASK if name in facts} | {"state": visible_state}
                position = resource.began
            facts |= personal_fields(viewer, intro)
        case "member" if viewer not in (None, facts["member"]):
            facts |= {"asks_in": None, "welcome": []}
        case _:
            pass
    return VIEWS[resource.kind](id=resource.id, version=version, position=position, **facts)


FIELDS_OF_AN_ASK: Final = (
    "asker",
    "connector",
    "target",
    "tags",
    "gathering",
    "visible_until",
    "expects_percent",
    "invited",
    "advice",
)
"""The fields that an asker reads while the ask is `pending` or `not_now`. No later event changes them."""


def personal_fields(viewer: str, intro: Intro) -> dict[str, Any]:
    """Return the fields of an intro that depend on the role of the viewer.

    Only the asker reads `expects_percent` and ways to give. The connector reads the facts of the guard, and the target
    reads neither. See docs/domain.md#advice-and-expectation.
    """
    match viewer:
        case intro.asker:
            return {"advice": advice_to_asker(intro.advice)}
        case intro.connector:
            return {"expects_percent": None, "advice": advice_to_connector(intro.advice)}
        case _:
            return {"expects_percent": None, "advice": None}


def advice_to_asker(advice: Advice | None) -> Advice | None:
    """Return the advice without the number of asks to the connector, which is the connector's own."""
    if advice is None:
        return None
    reasons = tuple(reason for reason in advice.reasons if reason != "inbound_asks")
    return msgspec.structs.replace(advice, reasons=reasons, inbound_asks=0, inbound_asks_max=0)


def advice_to_connector(advice: Advice | None) -> Advice | None:
    """Return the advice without ways to give, because they name other members and their open requests."""
    return msgspec.structs.replace(advice, ways=()) if advice is not None else None
