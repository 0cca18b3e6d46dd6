"""Intro: a connector introduces an asker to a target, or, unasked, two members to each other (matchmaking).

`asked -> accepted -> consented -> made -> met -> closed`, or `offered -> consented -> made -> ...`;
side ways out: `declined`, `refused`, `withdrawn`, `expired`. Of an offer, `asker` and `target` are the two.
"""

from typing import Literal, assert_never
from uuid import UUID

from ledger.domain.context import Context, only_if_due
from ledger.domain.refusals import (
    AlreadyExists,
    Bug,
    LevelMisplaced,
    NobodyAsked,
    NotYours,
    RespondByOutOfRange,
    SelfDealing,
    Unknown,
    WrongState,
)
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

# States


class IntroState(State, frozen=True, kw_only=True):
    asker: MemberId
    connector: MemberId
    target: MemberId
    matchmade: bool = False
    tags: Tags = ()
    gathering: UUID | None = None


class Asked(IntroState, frozen=True, kw_only=True, tag="asked"):
    """The asker waits for the connector, until `lapses_at`."""

    lapses_at: Instant


class LevelledState(IntroState, frozen=True, kw_only=True):
    """The connector has said how far they vouch."""

    level: Level
    points: Amount


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
    """It is over, this way, and by this one's fault."""

    outcome: Outcome
    fault: Fault


class Declined(IntroState, frozen=True, kw_only=True, tag="declined"):
    """The connector would rather not. `lapses_at` is when silence would have ended."""

    lapses_at: Instant
    tell_now: bool = False


class Refused(LevelledState, frozen=True, kw_only=True, tag="refused"):
    """One who had to consent would rather not. `lapses_at` is when silence would have ended."""

    lapses_at: Instant
    tell_now: bool = False


class Withdrawn(IntroState, frozen=True, kw_only=True, tag="withdrawn"):
    """The one who began it took it back before it was made."""


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
    """The asker would like the connector to introduce them to the target."""

    lapses_at: Instant
    tags: Tags = ()
    gathering: UUID | None = None


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
    matchmade: bool = False


class IntroMet(IntroEventBase, frozen=True, kw_only=True, tag="intro.met"):
    """They have met: the asker owes the target `points` for the hour, none when nobody asked."""

    points: Amount


class IntroClosed(IntroEventBase, frozen=True, kw_only=True, tag="intro.closed"):
    """It is over.

    `points` were those of made, `stake` is what was at risk, `penalty` what a fault of the asker costs.
    """

    outcome: Outcome
    fault: Fault
    points: Amount
    stake: Amount
    penalty: Amount = 0
    matchmade: bool = False


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
    """

    asker: MemberId
    connector: MemberId
    target: MemberId
    level: Level | None = None
    tags: Tags = ()
    respond_by: Instant | None = None
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
    """The asker, or the connector of an offer, takes it back before it is made."""


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
        case Asked() | Offered() | Accepted(), IntroExpired():
            return become(Expired, state)
        case Consented(), IntroMade():
            return become(Made, state, stake=event.stake, lapses_at=event.lapses_at)
        case Made() as made, IntroMet():
            return become(Met, made)
        case (Made() | Met()) as made, IntroClosed() as closing:
            return become(Closed, made, outcome=closing.outcome, fault=closing.fault)
        case _:
            raise Bug(f"{tag_of(event)} after {state and tag_of(state)}")


def decide(command: IntroCommand, state: Intro | None, context: Context) -> IntroEvent | None:
    """The event that the command amounts to, or None when it is already so.

    Raises: Refusal, with nothing recorded.
    """
    match command, state:
        case ProposeIntro(), None:
            return propose(command, context)
        case ProposeIntro(), _:
            raise AlreadyExists(kind="intro")
        case _, None:
            raise Unknown(kind="intro")
        case AcceptIntro(), _:
            return accept(command, state, context)
        case DeclineIntro(), _:
            return decline(command, state)
        case WithdrawIntro(), _:
            return withdraw(command, state)
        case ConsentIntro(), _:
            return consent(command, state)
        case RefuseIntro(), _:
            return refuse(command, state)
        case MakeIntro(), _:
            return make(command, state, context)
        case MeetIntro(), _:
            return meet(command, state, context)
        case CloseIntro(), _:
            return close(command, state, context)
        case LapseIntro(), _:
            return lapse(state, context)
        case _:
            assert_never(command)


def propose(command: ProposeIntro, context: Context) -> IntroAsked | IntroOffered:
    if command.actor not in (command.asker, command.connector):
        raise NotYours(role="asker or connector")
    if len({command.asker, command.connector, command.target}) < 3:
        raise SelfDealing(roles=["asker", "connector", "target"])
    asked = command.actor == command.asker
    if asked != (command.level is None):
        raise LevelMisplaced(field="level")
    latest = context.now + context.policy.intro_unanswered
    lapses_at = command.respond_by or latest
    if not context.now < lapses_at <= latest:
        raise RespondByOutOfRange(field="respond_by", latest=latest)
    if command.level is None:
        return IntroAsked(
            asker=command.asker,
            connector=command.connector,
            target=command.target,
            tags=command.tags,
            gathering=command.gathering,
            lapses_at=lapses_at,
        )
    return IntroOffered(
        asker=command.asker,
        connector=command.connector,
        target=command.target,
        level=command.level,
        points=context.policy.level_points[command.level],
        tags=command.tags,
        gathering=command.gathering,
        lapses_at=lapses_at,
    )


def accept(command: AcceptIntro, state: Intro, context: Context) -> IntroAccepted | None:
    only(command.actor, state.connector, role="connector")
    match state:
        case Asked():
            return IntroAccepted(
                asker=state.asker,
                connector=state.connector,
                target=state.target,
                level=command.level,
                points=context.policy.level_points[command.level],
                lapses_at=context.now + context.policy.intro_accepted,
            )
        case Accepted() if command.level == state.level:
            return None  # Already so: a repeated command is harmless.
        case _:
            raise WrongState(expected="asked", found=tag_of(state))


def decline(command: DeclineIntro, state: Intro) -> IntroDeclined | None:
    only(command.actor, state.connector, role="connector")
    match state:
        case Asked():
            return IntroDeclined(**parties(state), tell_now=command.tell_now)
        case Declined() if command.tell_now == state.tell_now:
            return None
        case _:
            raise WrongState(expected="asked", found=tag_of(state))


def withdraw(command: WithdrawIntro, state: Intro) -> IntroWithdrawn | None:
    if state.matchmade:
        only(command.actor, state.connector, role="connector")
    else:
        only(command.actor, state.asker, role="asker")
    match state:
        case Asked() | Offered() | Accepted() | Consented():
            return IntroWithdrawn(**parties(state))
        case Withdrawn():
            return None
        case _:
            raise WrongState(expected="asked, offered, accepted or consented", found=tag_of(state))


def consent(command: ConsentIntro, state: Intro) -> IntroConsented | None:
    only_the_introduced(command.actor, state)
    match state:
        case Offered() if command.actor in state.consented:
            return None
        case Offered() | Accepted():
            return IntroConsented(**parties(state), member=command.actor)
        case Consented():
            return None
        case _:
            raise WrongState(expected="offered or accepted", found=tag_of(state))


def refuse(command: RefuseIntro, state: Intro) -> IntroRefused | None:
    only_the_introduced(command.actor, state)
    match state:
        case Offered() | Accepted():
            return IntroRefused(**parties(state), member=command.actor, tell_now=command.tell_now)
        case Refused() if command.tell_now == state.tell_now:
            return None
        case _:
            raise WrongState(expected="offered or accepted", found=tag_of(state))


def make(command: MakeIntro, state: Intro, context: Context) -> IntroMade | None:
    only(command.actor, state.connector, role="connector")
    match state:
        case Consented():
            return IntroMade(
                **parties(state),
                points=state.points,
                stake=context.policy.stake_points(state.level, state.points),
                lapses_at=context.now + context.policy.intro_made,
                matchmade=state.matchmade,
            )
        case Made():
            return None
        case _:
            raise WrongState(expected="consented", found=tag_of(state))


def meet(command: MeetIntro, state: Intro, context: Context) -> IntroMet | None:
    if state.matchmade:
        only_the_introduced(command.actor, state)
    else:
        only(command.actor, state.asker, role="asker")  # It costs them, so it is theirs to say.
    match state:
        case Made():
            return IntroMet(**parties(state), points=0 if state.matchmade else context.policy.met_points)
        case Met():
            return None
        case _:
            raise WrongState(expected="made", found=tag_of(state))


def close(command: CloseIntro, state: Intro, context: Context) -> IntroClosed | None:
    only(command.actor, state.asker, state.connector, state.target, role="asker, connector or target")
    if command.fault == "asker":
        if state.matchmade:
            raise NobodyAsked
        only(command.actor, state.asker, role="asker")
    if command.fault == "connector":
        only(command.actor, state.connector, role="connector")
    match state:
        case Made() | Met():
            return closed(state, command.outcome, command.fault, context)
        case Closed() if (command.outcome, command.fault) == (state.outcome, state.fault):
            return None
        case _:
            raise WrongState(expected="made or met", found=tag_of(state))


def lapse(state: Intro, context: Context) -> IntroExpired | IntroClosed | None:
    match state:
        case Asked() | Offered() | Accepted():
            only_if_due(state.lapses_at, context)
            return IntroExpired(**parties(state))
        case Made() | Met():
            only_if_due(state.lapses_at, context)
            return closed(state, "fell_silent", "none", context)
        case Expired() | Closed():
            return None
        case _:
            raise WrongState(expected="asked, offered, accepted, made or met", found=tag_of(state))


def closed(state: Made | Met, outcome: Outcome, fault: Fault, context: Context) -> IntroClosed:
    return IntroClosed(
        **parties(state),
        outcome=outcome,
        fault=fault,
        points=state.points,
        stake=state.stake,
        penalty=context.policy.asker_fault_points if fault == "asker" else 0,
        matchmade=state.matchmade,
    )


def parties(state: Intro) -> dict[str, MemberId]:
    return {"asker": state.asker, "connector": state.connector, "target": state.target}


def only(actor: MemberId, *allowed: MemberId, role: str) -> None:
    if actor not in allowed:
        raise NotYours(role=role)


def only_the_introduced(actor: MemberId, state: Intro) -> None:
    """Those whose consent it takes: the target, and of an offer both."""
    if state.matchmade:
        only(actor, state.asker, state.target, role="asker or target")
    else:
        only(actor, state.target, role="target")
