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

# States


class IntroState(State, frozen=True, kw_only=True):
    """What an ask carries from the start: `visible_until` is when silence ends for the asker, whoever is silent;
    `expects_percent` is how likely they think a yes, `invited` and `advice` what the connector is told of them.
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
    """The asker waits for the connector, until `lapses_at`."""

    lapses_at: Instant


class LevelledState(IntroState, frozen=True, kw_only=True):
    """The connector has said how far they vouch."""

    level: Level
    points: Amount
    made_at: Instant | None = None


class Offered(LevelledState, frozen=True, kw_only=True, tag="offered"):
    """The connector would introduce the two; those in `consented` agree."""

    lapses_at: Instant
    consented: tuple[MemberId, ...] = ()


class Accepted(LevelledState, frozen=True, kw_only=True, tag="accepted"):
    """The connector is willing; the target has until `lapses_at` to consent."""

    lapses_at: Instant


class Consented(LevelledState, frozen=True, kw_only=True, tag="consented"):
    """Everybody agrees; the connector may make the introduction."""


class Made(LevelledState, frozen=True, kw_only=True, tag="made"):
    """They are introduced; `stake` points of the connector are at risk until it is closed."""

    stake: Amount
    lapses_at: Instant


class Met(LevelledState, frozen=True, kw_only=True, tag="met"):
    """They have met; `stake` points of the connector are at risk until it is closed."""

    stake: Amount
    lapses_at: Instant


class Closed(LevelledState, frozen=True, kw_only=True, tag="closed"):
    """It is over, this way, and by this one's fault. `settled`: by a dispute, which has made them pay."""

    outcome: Outcome
    fault: Fault
    settled: bool = False


class Declined(IntroState, frozen=True, kw_only=True, tag="declined"):
    """The connector would rather not. `lapses_at` is when silence would have ended."""

    lapses_at: Instant
    tell_now: bool = False


class Refused(LevelledState, frozen=True, kw_only=True, tag="refused"):
    """One who had to consent would rather not. `lapses_at` is when silence would have ended."""

    lapses_at: Instant
    tell_now: bool = False


class Withdrawn(IntroState, frozen=True, kw_only=True, tag="withdrawn"):
    """The one who began it took it back before it was made, whether or not they could know how it stood."""


class Expired(IntroState, frozen=True, kw_only=True, tag="expired"):
    """Silence ended it."""

    lapses_at: Instant


Intro = Asked | Offered | Accepted | Consented | Made | Met | Closed | Declined | Refused | Withdrawn | Expired
