"""Decisions about an introduction: the event of each command."""

from typing import assert_never
from uuid import UUID

from ledger.domain.kinds.dispute.lookup import dispute_need, open_dispute_in, upheld_dispute_in
from ledger.domain.kinds.dispute.states import Upheld
from ledger.domain.kinds.intro import reciprocity_guard
from ledger.domain.kinds.intro.commands import (
    AcceptIntro,
    CloseIntro,
    ConsentIntro,
    DeclineIntro,
    IntroCommand,
    LapseIntro,
    MakeIntro,
    MeetIntro,
    ProposeIntro,
    RefuseIntro,
    WithdrawIntro,
)
from ledger.domain.kinds.intro.events import (
    IntroAccepted,
    IntroAsked,
    IntroClosed,
    IntroConsented,
    IntroDeclined,
    IntroEvent,
    IntroExpired,
    IntroMade,
    IntroMet,
    IntroOffered,
    IntroRefused,
    IntroWithdrawn,
)
from ledger.domain.kinds.intro.silence import state_read_by
from ledger.domain.kinds.intro.states import (
    Accepted,
    Asked,
    Closed,
    Consented,
    Declined,
    Expired,
    Fault,
    Intro,
    Made,
    Met,
    Offered,
    Outcome,
    Refused,
    Withdrawn,
)
from ledger.domain.values.aggregate_types import tag_of
from ledger.domain.values.context import Context, Need, require_due
from ledger.domain.values.ids import MemberId
from ledger.domain.values.refusals import (
    AlreadyExists,
    ExpectationMisplaced,
    LevelMisplaced,
    NobodyAsked,
    NotDue,
    NotYours,
    RespondByOutOfRange,
    SelfDealing,
    UnderDispute,
    Unknown,
    WrongState,
)


def needs(command: IntroCommand, state: Intro | None, own_id: UUID) -> tuple[Need, ...]:
    """Return the need for the dispute of `intro.made`, for a closing."""
    match command, state:
        case CloseIntro() | LapseIntro(), Made() | Met():
            return (dispute_need(own_id, "intro.made"),)
        case _:
            return ()


def decide(command: IntroCommand, state: Intro | None, context: Context) -> IntroEvent | None:
    """Return the event to record, or None if nothing changes. See docs/domain.md#intro.

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
    """Return the event of an ask or an offered intro, by the role of the actor. The reciprocity guard weighs an ask."""
    if command.actor not in (command.asker, command.connector):
        raise NotYours(role="asker or connector")
    if len({command.asker, command.connector, command.target}) < 3:
        raise SelfDealing(roles=["asker", "connector", "target"])
    asked = command.actor == command.asker
    if asked != (command.level is None):
        raise LevelMisplaced(field="level")
    if not asked and command.expects_percent is not None:
        raise ExpectationMisplaced(field="expects_percent")
    latest = context.now + context.policy.intro_unanswered
    lapses_at = command.respond_by or latest
    if not context.now < lapses_at <= latest:
        raise RespondByOutOfRange(field="respond_by", latest=latest)
    if command.level is None:
        advice = reciprocity_guard.weigh(context.facts, context.now, context.policy)
        reciprocity_guard.refuse_if_enforced(advice, context.policy)
        return IntroAsked(
            asker=command.asker,
            connector=command.connector,
            target=command.target,
            tags=command.tags,
            gathering=command.gathering,
            lapses_at=lapses_at,
            visible_until=lapses_at + context.policy.intro_accepted,
            expects_percent=command.expects_percent,
            invited=context.facts is not None and context.facts.invited,
            advice=advice,
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
    require_role(command.actor, state.connector, role="connector")
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
            return None  # A repeat is a no-op.
        case _:
            raise WrongState(expected="asked", found=tag_of(state))


def decline(command: DeclineIntro, state: Intro) -> IntroDeclined | None:
    require_role(command.actor, state.connector, role="connector")
    match state:
        case Asked():
            return IntroDeclined(**parties(state), tell_now=command.tell_now)
        case Declined() if command.tell_now == state.tell_now:
            return None
        case _:
            raise WrongState(expected="asked", found=tag_of(state))


def withdraw(command: WithdrawIntro, state: Intro) -> IntroWithdrawn | None:
    """Return the event of a withdrawal. See docs/domain.md#withdrawing-an-intro."""
    if state.matchmade:
        require_role(command.actor, state.connector, role="connector")
    else:
        require_role(command.actor, state.asker, role="asker")
    match state:
        case Asked() | Offered() | Accepted() | Consented():
            return IntroWithdrawn(**parties(state))
        case Declined() | Refused() | Expired() if not state.matchmade:
            return IntroWithdrawn(**parties(state))  # A refusal would disclose that somebody said no.
        case Withdrawn():
            return None
        case _:
            expected = "offered or consented" if state.matchmade else "pending or not_now"
            raise WrongState(expected=expected, found=tag_of(state))


def consent(command: ConsentIntro, state: Intro) -> IntroConsented | None:
    require_introduced(command.actor, state)
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
    require_introduced(command.actor, state)
    match state:
        case Offered() | Accepted():
            return IntroRefused(**parties(state), member=command.actor, tell_now=command.tell_now)
        case Refused() if command.tell_now == state.tell_now:
            return None
        case _:
            raise WrongState(expected="offered or accepted", found=tag_of(state))


def make(command: MakeIntro, state: Intro, context: Context) -> IntroMade | None:
    require_role(command.actor, state.connector, role="connector")
    match state:
        case Consented():
            return IntroMade(
                **parties(state),
                points=state.points,
                stake=context.policy.stake_points(state.level, state.points),
                lapses_at=context.now + context.policy.intro_made,
                made_at=context.now,
                matchmade=state.matchmade,
            )
        case Made():
            return None
        case _:
            raise WrongState(expected="consented", found=tag_of(state))


def meet(command: MeetIntro, state: Intro, context: Context) -> IntroMet | None:
    if state.matchmade:
        require_introduced(command.actor, state)
    else:
        require_role(command.actor, state.asker, role="asker")  # The meeting costs the asker alone.
    match state:
        case Made():
            return IntroMet(**parties(state), points=0 if state.matchmade else context.policy.met_points)
        case Met():
            return None
        case _:
            raise WrongState(expected="made", found=state_read_by(command.actor, state, context.now))


def close(command: CloseIntro, state: Intro, context: Context) -> IntroClosed | None:
    """Return the event of a closing. A member can only admit their own fault. See docs/domain.md#fault."""
    require_role(command.actor, state.asker, state.connector, state.target, role="asker, connector or target")
    if command.fault == "asker":
        if state.matchmade:
            raise NobodyAsked
        require_role(command.actor, state.asker, role="asker")
    if command.fault == "connector":
        require_role(command.actor, state.connector, role="connector")
    match state:
        case Made() | Met():
            if (dispute := open_dispute_in(context)) is not None:
                raise UnderDispute(lapses_at=dispute.lapses_at)
            return closing_event(state, command.outcome, command.fault, context)
        case Closed() if command.outcome == state.outcome and (state.settled or command.fault == state.fault):
            return None
        case _:
            raise WrongState(expected="made or met", found=state_read_by(command.actor, state, context.now))


def lapse(state: Intro, context: Context) -> IntroExpired | IntroClosed | None:
    match state:
        case Asked() | Offered() | Accepted():
            require_due(state.lapses_at, context)
            return IntroExpired(**parties(state))
        case Made() | Met():
            require_due(state.lapses_at, context)
            if (dispute := open_dispute_in(context)) is not None:
                raise NotDue(due_at=dispute.lapses_at)
            return closing_event(state, "fell_silent", "none", context)
        case Expired() | Closed():
            return None
        case _:
            raise WrongState(expected="asked, offered, accepted, made or met", found=tag_of(state))


def closing_event(state: Made | Met, outcome: Outcome, fault: Fault, context: Context) -> IntroClosed:
    """Return the event of a closing. A fault that an upheld dispute settled replaces `fault`, and is not charged again.

    See docs/domain.md#closing-under-dispute.
    """
    match upheld_dispute_in(context):
        case Upheld(remedy="fault") as dispute:
            fault, settled, points = dispute.fault, True, state.points
        case Upheld(remedy="reversal"):
            settled, points = False, 0  # The dispute gave the points back.
        case _:
            settled, points = False, state.points
    return IntroClosed(
        **parties(state),
        outcome=outcome,
        fault=fault,
        points=points,
        stake=state.stake,
        penalty=context.policy.asker_fault_points if fault == "asker" and not settled else 0,
        matchmade=state.matchmade,
        settled=settled,
    )


def parties(state: Intro) -> dict[str, MemberId]:
    """Return the members of an intro, as fields of an event."""
    return {"asker": state.asker, "connector": state.connector, "target": state.target}


def require_role(actor: MemberId, *allowed: MemberId, role: str) -> None:
    """Check that the actor is an allowed member. Raises: NotYours, with nothing recorded."""
    if actor not in allowed:
        raise NotYours(role=role)


def require_introduced(actor: MemberId, state: Intro) -> None:
    """Check that the actor is the target, or, for an offered intro, either of the two members.

    Raises: NotYours, with nothing recorded.
    """
    if state.matchmade:
        require_role(actor, state.asker, state.target, role="asker or target")
    else:
        require_role(actor, state.target, role="target")
