"""Views: how a favour, referral or intro is shown. The same after a command as from the books."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, cast
from uuid import UUID

import msgspec
from msgspec import Struct

from ledger.domain.intro import Fault, Outcome
from ledger.domain.referral import Disqualification
from ledger.domain.values import Band, Instant, Level, Points, Size, State, tag_of


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
    band: Band | None = None
    reason: Disqualification | None = None


class IntroView(View, frozen=True, kw_only=True):
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
    ]
    asker: str
    connector: str
    target: str
    matchmade: bool = False
    tags: list[str] = []
    level: Level | None = None
    points: Points | None = None
    stake: Points | None = None
    consented: list[str] = []
    tell_now: bool = False
    outcome: Outcome | None = None
    fault: Fault | None = None


VIEWS: Final[Mapping[str, type[View]]] = MappingProxyType(
    {"favour": FavourView, "referral": ReferralView, "intro": IntroView}
)
PLURALS: Final[Mapping[str, str]] = MappingProxyType({"favour": "favours", "referral": "referrals", "intro": "intros"})


def view_of(kind: str, aggregate_id: str | UUID, version: int, position: int, state: State) -> View:
    facts = {name: fact for name, fact in msgspec.structs.asdict(state).items() if fact != ()}
    return VIEWS[kind](
        id=aggregate_id if isinstance(aggregate_id, UUID) else UUID(aggregate_id),
        version=version,
        position=position,
        **cast("Any", {"state": tag_of(state), **facts}),
    )
