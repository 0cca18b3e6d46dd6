"""Events of an introduction."""

from uuid import UUID

from ledger.domain.kinds.intro.states import Fault, Outcome, Percent
from ledger.domain.values.advice import Advice
from ledger.domain.values.aggregate_types import Event
from ledger.domain.values.ids import Instant, MemberId, Tags
from ledger.domain.values.points import Amount, Level

# Events


class IntroEventBase(Event, frozen=True, kw_only=True):
    asker: MemberId
    connector: MemberId
    target: MemberId


class IntroAsked(IntroEventBase, frozen=True, kw_only=True, tag="intro.asked"):
    """The asker would like the connector to introduce them to the target.

    `visible_until` is when silence ends for the asker, whoever is silent: it is the same for every silence, so that
    it tells none from another. `expects_percent` is how likely the asker thinks a yes, for their eyes alone;
    `advice` is for the connector, and `invited` says that the connector always welcomes their asks.
    """

    lapses_at: Instant
    tags: Tags = ()
    gathering: UUID | None = None
    visible_until: Instant | None = None
    expects_percent: Percent | None = None
    invited: bool = False
    advice: Advice | None = None


class IntroOffered(IntroEventBase, frozen=True, kw_only=True, tag="intro.offered"):
    """Matchmaking: the connector would introduce two members who did not ask."""

    level: Level
    points: Amount
    lapses_at: Instant
    tags: Tags = ()
    gathering: UUID | None = None


class IntroAccepted(IntroEventBase, frozen=True, kw_only=True, tag="intro.accepted"):
    """The connector is willing, and vouches this far."""

    level: Level
    points: Amount
    lapses_at: Instant


class IntroDeclined(IntroEventBase, frozen=True, kw_only=True, tag="intro.declined"):
    """The connector would rather not."""

    tell_now: bool = False


class IntroWithdrawn(IntroEventBase, frozen=True, kw_only=True, tag="intro.withdrawn"):
    """The asker, or the connector of an offer, took it back before it was made."""


class IntroConsented(IntroEventBase, frozen=True, kw_only=True, tag="intro.consented"):
    """`member` agrees to be introduced."""

    member: MemberId


class IntroRefused(IntroEventBase, frozen=True, kw_only=True, tag="intro.refused"):
    """`member` would rather not be introduced."""

    member: MemberId
    tell_now: bool = False


class IntroExpired(IntroEventBase, frozen=True, kw_only=True, tag="intro.expired"):
    """Nobody answered in time."""


class IntroMade(IntroEventBase, frozen=True, kw_only=True, tag="intro.made"):
    """They are introduced. `points` is what it is worth in all, `stake` what the connector puts at risk."""

    points: Amount
    stake: Amount
    lapses_at: Instant
    made_at: Instant | None = None  # Of older ones it is not known.
    matchmade: bool = False


class IntroMet(IntroEventBase, frozen=True, kw_only=True, tag="intro.met"):
    """They have met: the asker owes the target `points` for the hour, none when nobody asked."""

    points: Amount


class IntroClosed(IntroEventBase, frozen=True, kw_only=True, tag="intro.closed"):
    """It is over.

    `points` were those of made, none if they have been reversed; `stake` is what was at risk, `penalty` what a fault
    of the asker costs. When a dispute `settled` the fault, they have paid for it already.
    """

    outcome: Outcome
    fault: Fault
    points: Amount
    stake: Amount
    penalty: Amount = 0
    matchmade: bool = False
    settled: bool = False


IntroEvent = (
    IntroAsked
    | IntroOffered
    | IntroAccepted
    | IntroDeclined
    | IntroWithdrawn
    | IntroConsented
    | IntroRefused
    | IntroExpired
    | IntroMade
    | IntroMet
    | IntroClosed
)
