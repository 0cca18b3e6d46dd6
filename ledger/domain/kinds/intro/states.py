"""States of an introduction."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from ledger.domain.values.advice import Advice
from ledger.domain.values.aggregate_types import State
from ledger.domain.values.ids import Instant, MemberId, Tags
from ledger.domain.values.points import Amount, Level

Outcome = Literal["fruitful", "no_result", "fell_silent"]
Fault = Literal["none", "asker", "connector"]
Percent = Annotated[int, Meta(ge=0, le=100)]


class IntroState(State, frozen=True, kw_only=True):
    """The fields of every intro.

    `visible_until` is the time from which the asker reads `not_now`. `expects_percent` is the chance of a yes that the
    asker expects. `invited` and `advice` are about the asker, for the connector.
    """

    asker: MemberId
    connector: MemberId
    target: MemberId
    matchmade: bool = False
    tags: Tags = ()
    gathering: UUID | None = None
    visible_until: Instant | None = None
    expects_percent: Percent | None = None
    invited: bool = False
    advice: Advice | None = None


class Asked(IntroState, frozen=True, kw_only=True, tag="asked"):
    """The connector has until `lapses_at` to accept or decline the ask."""

    lapses_at: Instant


class LevelledState(IntroState, frozen=True, kw_only=True):
    """The fields of an intro with a level, which the connector chose."""

    level: Level
    points: Amount
    made_at: Instant | None = None


class Offered(LevelledState, frozen=True, kw_only=True, tag="offered"):
    """The connector offers to introduce two members. Those in `consented` agree."""

    lapses_at: Instant
    consented: tuple[MemberId, ...] = ()


class Accepted(LevelledState, frozen=True, kw_only=True, tag="accepted"):
    """The connector accepted the ask. The target has until `lapses_at` to consent."""

    lapses_at: Instant


class Consented(LevelledState, frozen=True, kw_only=True, tag="consented"):
    """Everybody agrees, and the connector can make the introduction."""


class Made(LevelledState, frozen=True, kw_only=True, tag="made"):
    """The members are introduced. `stake` points of the connector are at risk until the intro closes."""

    stake: Amount
    lapses_at: Instant


class Met(LevelledState, frozen=True, kw_only=True, tag="met"):
    """The members have met. `stake` points of the connector are at risk until the intro closes."""

    stake: Amount
    lapses_at: Instant


class Closed(LevelledState, frozen=True, kw_only=True, tag="closed"):
    """The intro is over. `settled`: an upheld dispute charged the member at fault already."""

    outcome: Outcome
    fault: Fault
    settled: bool = False


class Declined(IntroState, frozen=True, kw_only=True, tag="declined"):
    """The connector declined the ask. A silence would have ended at `lapses_at`."""

    lapses_at: Instant
    tell_now: bool = False


class Refused(LevelledState, frozen=True, kw_only=True, tag="refused"):
    """A member whose consent was needed refused. A silence would have ended at `lapses_at`."""

    lapses_at: Instant
    tell_now: bool = False


class Withdrawn(IntroState, frozen=True, kw_only=True, tag="withdrawn"):
    """The member who began the intro withdrew it before it was made, perhaps after a no that they cannot know of."""


class Expired(IntroState, frozen=True, kw_only=True, tag="expired"):
    """Nobody answered in time."""

    lapses_at: Instant


Intro = Asked | Offered | Accepted | Consented | Made | Met | Closed | Declined | Refused | Withdrawn | Expired
