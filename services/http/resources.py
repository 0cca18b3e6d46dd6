"""Resources: the view of each kind, and the part of it that a viewer may read."""

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
    """`version` counts its events and is its ETag; `position` is that of the last one in the log."""

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
    """With the asker as its viewer an ask is `pending` until it is made, or `not_now` from `visible_until` on."""

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
    """`transfers` are the disputed points; `owed` is what it costs the one at `fault`, if it is upheld."""

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
    """`asks_in` and `welcome` are shown to the member alone."""

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
    """`said` names the one of the two who says that it was held, if only one does."""

    state: Literal["booked", "held", "cancelled"]
    member: str
    other: str
    said: list[str] = []


class PolicyView(View, frozen=True, kw_only=True):
    """The newest versions, by when they start: the one in force and all that are scheduled."""

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
    """An aggregate to be shown. `began` and `position` are those of its first and its last event."""

    kind: str
    id: UUID
    version: int
    began: int
    position: int
    state: State


def view_of(held: Resource, viewer: str | None, now: datetime) -> View:
    """What the viewer may see of it at `now`; everything, when it is nobody's eyes but a service's.

    Raises: NotYours, when it is private and the viewer is not in it.
    """
    kind = KINDS[held.kind]
    if viewer is not None and kind.private and viewer not in kind.concerned(held.state):
        raise NotYours(role="party")
    facts: dict[str, Any] = {name: fact for name, fact in msgspec.structs.asdict(held.state).items() if fact != ()}
    facts["state"] = tag_of(held.state)
    version, position = held.version, held.position
    match held.kind:
        case "intro" if viewer is not None:
            intro: Any = held.state
            version = version_read_by(viewer, intro, held.version, now)
            if seen := asker_state(intro, now) if viewer == intro.asker else None:
                facts = {name: facts[name] for name in FIELDS_OF_SILENCE if name in facts} | {"state": seen}
                position = held.began
            facts |= personal_fields(viewer, intro)
        case "member" if viewer not in (None, facts["member"]):
            facts |= {"asks_in": None, "welcome": []}
        case _:
            pass
    return VIEWS[held.kind](id=held.id, version=version, position=position, **facts)


FIELDS_OF_SILENCE: Final = (
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
"""What an ask said when it was asked: the same, whatever has become of it since."""


def personal_fields(viewer: str, intro: Intro) -> dict[str, Any]:
    """What the asker hopes is theirs; the guard tells the connector facts, and the asker their own and ways to give."""
    match viewer:
        case intro.asker:
            return {"advice": advice_to_asker(intro.advice)}
        case intro.connector:
            return {"expects_percent": None, "advice": advice_to_connector(intro.advice)}
        case _:
            return {"expects_percent": None, "advice": None}


def advice_to_asker(advice: Advice | None) -> Advice | None:
    """How often somebody else is asked is theirs."""
    if advice is None:
        return None
    reasons = tuple(reason for reason in advice.reasons if reason != "inbound_asks")
    return msgspec.structs.replace(advice, reasons=reasons, inbound_asks=0, inbound_asks_max=0)


def advice_to_connector(advice: Advice | None) -> Advice | None:
    """Ways to give name others, and what they wait for: that is between them and the asker."""
    return msgspec.structs.replace(advice, ways=()) if advice is not None else None
