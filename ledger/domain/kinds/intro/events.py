"""Events of an introduction."""

from uuid import UUID

from ledger.domain.kinds.intro.states import Fault, Outcome, Percent
from ledger.domain.values.advice import Advice
from ledger.domain.values.aggregate_types import Event
from ledger.domain.values.ids import Instant, MemberId, Tags
from ledger.domain.values.points import Amount, Level


class IntroEventBase(Event, frozen=True, kw_only=True):
    asker: MemberId
    connector: MemberId
    target: MemberId


class IntroAsked(IntroEventBase, frozen=True, kw_only=True, tag="intro.asked"):
    """The asker asks the connector for an introduction to the target.

    `visible_until` is the time from which the asker reads `not_now`. It is the same for every silence, so that it
    discloses nothing about who was silent. `expects_percent` is the chance of a yes that the asker expects; only the
    asker reads it. `advice` is the result of the reciprocity guard. `invited`: the connector's `welcome` names the
    asker.
    """

    lapses_at: Instant
    tags: Tags = ()
    gathering: UUID | None = None
    visible_until: Instant | None = None
    expects_percent: Percent | None = None
    invited: bool = False
    advice: Advice | None = None


class IntroOffered(IntroEventBase, frozen=True, kw_only=True, tag="intro.offered"):
    """The connector offers to introduce two members who did not ask (matchmaking)."""

    level: Level
    points: Amount
    lapses_at: Instant
    tags: Tags = ()
    gathering: UUID | None = None


class IntroAccepted(IntroEventBase, frozen=True, kw_only=True, tag="intro.accepted"):
    """The connector accepts the ask, and chooses how far to vouch."""

    level: Level
    points: Amount
    lapses_at: Instant


class IntroDeclined(IntroEventBase, frozen=True, kw_only=True, tag="intro.declined"):
    """The connector declines the ask."""

    tell_now: bool = False


class IntroWithdrawn(IntroEventBase, frozen=True, kw_only=True, tag="intro.withdrawn"):
    """The asker, or the connector of an offered intro, withdraws it before it is made."""


class IntroConsented(IntroEventBase, frozen=True, kw_only=True, tag="intro.consented"):
    """`member` agrees to be introduced."""

    member: MemberId


class IntroRefused(IntroEventBase, frozen=True, kw_only=True, tag="intro.refused"):
    """`member` refuses to be introduced."""

    member: MemberId
    tell_now: bool = False


class IntroExpired(IntroEventBase, frozen=True, kw_only=True, tag="intro.expired"):
    """Nobody answered in time."""


class IntroMade(IntroEventBase, frozen=True, kw_only=True, tag="intro.made"):
    """The members are introduced.

    `points` is the worth of the introduction in total, and `stake` the points that the connector puts at risk.
    """

    points: Amount
    stake: Amount
    lapses_at: Instant
    made_at: Instant | None = None  # Older events do not carry it.
    matchmade: bool = False


class IntroMet(IntroEventBase, frozen=True, kw_only=True, tag="intro.met"):
    """The members have met. The asker owes the target `points`, which are 0 for an offered intro."""

    points: Amount


class IntroClosed(IntroEventBase, frozen=True, kw_only=True, tag="intro.closed"):
    """The intro is over.

    `points` are those of `intro.made`, or 0 if a dispute reversed them. `stake` is the points at risk. `penalty` is the
    points that an asker at fault pays, to the target and to the connector each. `settled`: an upheld dispute charged
    the member at fault already.
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
