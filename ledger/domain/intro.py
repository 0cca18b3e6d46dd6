"""Intro: a connector introduces an asker to a target, or, unasked, two members to each other (matchmaking).

`asked -> accepted -> consented -> made -> met -> closed`, or `offered -> consented -> made -> ...`;
side ways out: `declined`, `refused`, `withdrawn`, `expired`. Of an offer, `asker` and `target` are the two.
Who may do what, and when, is in `introducing`; what of it the asker can tell, in `visibility`.
"""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from ledger.domain.guard import Advice
from ledger.domain.refusals import Bug
from ledger.domain.values import (
    Amount,
    Command,
    Creation,
    Event,
    Instant,
    Lapse,
    Level,
    MemberId,
    State,
    Tags,
    become,
    tag_of,
)

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

# Commands


class ProposeIntro(Creation, frozen=True, kw_only=True):
    """Said by the asker it asks, said by the connector it offers.

    An offer names its `level`; an ask does not, for the connector picks it. `respond_by` is when silence
    ends: after now and not later than the community allows, which is also what it is when left out.
    `expects_percent` is how likely the asker thinks a yes: only they will see it again.
    """

    asker: MemberId
    connector: MemberId
    target: MemberId
    level: Level | None = None
    tags: Tags = ()
    respond_by: Instant | None = None
    expects_percent: Percent | None = None
    id: UUID | None = None
    gathering: UUID | None = None

    def own_id(self, community: str) -> UUID | None:
        return self.id


class AcceptIntro(Command, frozen=True, kw_only=True):
    """The connector is willing, and vouches this far.

    Levels: 1 a contact who expects the call, 2 plus information, 3 plus a testimonial, 4 an arranged call,
    5 an introduction in person.
    """

    level: Level


class DeclineIntro(Command, frozen=True, kw_only=True):
    """The connector would rather not. Silent towards the asker, unless `tell_now`."""

    tell_now: bool = False


class WithdrawIntro(Command, frozen=True, kw_only=True):
    """The asker, or the connector of an offer, takes it back before it is made.

    An asker always may, for they cannot know whether somebody has said no.
    """


class ConsentIntro(Command, frozen=True, kw_only=True):
    """The target, or each of the two of an offer, agrees to be introduced."""


class RefuseIntro(Command, frozen=True, kw_only=True):
    """The target, or either of the two of an offer, would rather not. Silent, unless `tell_now`."""

    tell_now: bool = False


class MakeIntro(Command, frozen=True, kw_only=True):
    """The connector has introduced them."""


class MeetIntro(Command, frozen=True, kw_only=True):
    """The asker, or either of the two of an offer, says that they have met."""


class CloseIntro(Command, frozen=True, kw_only=True):
    """It is over. Anyone in it may say so; a fault is owned up to by the one at fault alone."""

    outcome: Outcome
    fault: Fault = "none"


class LapseIntro(Lapse, frozen=True, kw_only=True):
    """Silence ends it: an unanswered one expires, an open one closes."""


IntroStep = AcceptIntro | DeclineIntro | WithdrawIntro | ConsentIntro | RefuseIntro | MakeIntro | MeetIntro | CloseIntro
IntroCommand = ProposeIntro | IntroStep | LapseIntro


def evolve(state: Intro | None, event: IntroEvent) -> Intro:
    """The state machine, whole: a pair that is not listed is corrupt history."""
    match state, event:
        case None, IntroAsked():
            return Asked(
                asker=event.asker,
                connector=event.connector,
                target=event.target,
                tags=event.tags,
                gathering=event.gathering,
                visible_until=event.visible_until,
                expects_percent=event.expects_percent,
                invited=event.invited,
                advice=event.advice,
                lapses_at=event.lapses_at,
            )
        case None, IntroOffered():
            return Offered(
                asker=event.asker,
                connector=event.connector,
                target=event.target,
                matchmade=True,
                level=event.level,
                points=event.points,
                tags=event.tags,
                gathering=event.gathering,
                lapses_at=event.lapses_at,
            )
        case Asked(), IntroAccepted():
            return become(Accepted, state, level=event.level, points=event.points, lapses_at=event.lapses_at)
        case Asked(), IntroDeclined():
            return become(Declined, state, tell_now=event.tell_now)
        case Offered(consented=()), IntroConsented():
            return become(Offered, state, consented=(event.member,))
        case Offered(consented=(first,)), IntroConsented() if event.member != first:
            return become(Consented, state)
        case Accepted(), IntroConsented():
            return become(Consented, state)
        case Offered() | Accepted(), IntroRefused():
            return become(Refused, state, tell_now=event.tell_now)
        case Asked() | Offered() | Accepted() | Consented(), IntroWithdrawn():
            return become(Withdrawn, state)
        case Declined() | Refused() | Expired(), IntroWithdrawn() if not state.matchmade:
            return become(Withdrawn, state)
        case Asked() | Offered() | Accepted(), IntroExpired():
            return become(Expired, state)
        case Consented(), IntroMade():
            return become(Made, state, stake=event.stake, made_at=event.made_at, lapses_at=event.lapses_at)
        case Made() as made, IntroMet():
            return become(Met, made)
        case (Made() | Met()) as made, IntroClosed() as closing:
            return become(Closed, made, outcome=closing.outcome, fault=closing.fault, settled=closing.settled)
        case _:
            raise Bug(f"{tag_of(event)} after {state and tag_of(state)}")
