"""Referral: a referrer sends a prospect to a recipient.

`given -> qualified -> contacted -> won | lost | lapsed`, `given -> disqualified | lapsed`.
"""

from typing import Final, Literal, assert_never
from uuid import UUID, uuid5

from ledger.domain.values.aggregate_types import Command, Creation, Event, Lapse, State, become, tag_of
from ledger.domain.values.context import Context, Need, StateOf, require_due
from ledger.domain.values.ids import Instant, MemberId, ProspectId, Tags
from ledger.domain.values.points import Amount, DealBand, Level
from ledger.domain.values.refusals import AlreadyExists, Bug, NotYours, ParentNotWon, SelfDealing, Unknown, WrongState

REFERRAL_IDS: Final = UUID("6f1d0c0e-35f5-5f0e-9f4b-0f4a8f1f7a52")

Disqualification = Literal["not_a_fit", "no_consent", "duplicate", "unreachable"]

# States


class ReferralState(State, frozen=True, kw_only=True):
    referrer: MemberId
    recipient: MemberId
    prospect: ProspectId
    level: Level
    points: Amount
    tags: Tags = ()
    gathering: UUID | None = None
    parent: UUID | None = None
    parent_referrer: MemberId | None = None
    qualified: bool = False  # For good: also of one that lapsed afterwards.


class Given(ReferralState, frozen=True, kw_only=True, tag="given"):
    """The recipient has until `lapses_at` to say whether it is a real referral."""

    lapses_at: Instant


class Qualified(ReferralState, frozen=True, kw_only=True, tag="qualified"):
    """The recipient agrees that it is a real referral, and owes for it."""

    lapses_at: Instant
    qualified: bool = True


class Contacted(ReferralState, frozen=True, kw_only=True, tag="contacted"):
    """The recipient has spoken with the prospect."""

    lapses_at: Instant
    qualified: bool = True


class Won(ReferralState, frozen=True, kw_only=True, tag="won"):
    """It became business, of this band."""

    band: DealBand
    qualified: bool = True


class Lost(ReferralState, frozen=True, kw_only=True, tag="lost"):
    """It did not become business."""

    qualified: bool = True


class Lapsed(ReferralState, frozen=True, kw_only=True, tag="lapsed"):
    """Nobody said how it ended."""


class Disqualified(ReferralState, frozen=True, kw_only=True, tag="disqualified"):
    """The recipient says that it is not a real referral."""

    reason: Disqualification


Referral = Given | Qualified | Contacted | Won | Lost | Lapsed | Disqualified

# Events


class ReferralGiven(Event, frozen=True, kw_only=True, tag="referral.given"):
    """A prospect is sent to the recipient. Nothing is owed, so that quotas cannot be farmed."""

    referrer: MemberId
    recipient: MemberId
    prospect: ProspectId
    level: Level
    points: Amount
    lapses_at: Instant
    tags: Tags = ()
    gathering: UUID | None = None
    parent: UUID | None = None
    parent_referrer: MemberId | None = None


class ReferralQualified(Event, frozen=True, kw_only=True, tag="referral.qualified"):
    """The recipient agrees that it is a real referral."""

    referrer: MemberId
    recipient: MemberId
    points: Amount
    lapses_at: Instant


class ReferralDisqualified(Event, frozen=True, kw_only=True, tag="referral.disqualified"):
    """The recipient says that it is not a real referral, and why."""

    referrer: MemberId
    recipient: MemberId
    reason: Disqualification


class ReferralContacted(Event, frozen=True, kw_only=True, tag="referral.contacted"):
    """The recipient has spoken with the prospect."""

    referrer: MemberId
    recipient: MemberId
    lapses_at: Instant


class ReferralWon(Event, frozen=True, kw_only=True, tag="referral.won"):
    """It became business. When it grew out of an earlier won referral, that one's referrer gets a share."""

    referrer: MemberId
    recipient: MemberId
    band: DealBand
    points: Amount
    parent_referrer: MemberId | None = None
    parent_points: Amount = 0


class ReferralLost(Event, frozen=True, kw_only=True, tag="referral.lost"):
    """It did not become business."""

    referrer: MemberId
    recipient: MemberId


class ReferralLapsed(Event, frozen=True, kw_only=True, tag="referral.lapsed"):
    """It was not answered, or not finished, in time."""

    referrer: MemberId
    recipient: MemberId


ReferralEvent = (
    ReferralGiven
    | ReferralQualified
    | ReferralDisqualified
    | ReferralContacted
    | ReferralWon
    | ReferralLost
    | ReferralLapsed
)

# Commands


class GiveReferral(Creation, frozen=True, kw_only=True):
    """The referrer sends a prospect to the recipient. One for each (referrer, recipient, prospect)."""

    referrer: MemberId
    recipient: MemberId
    prospect: ProspectId
    level: Level
    tags: Tags = ()
    gathering: UUID | None = None
    parent: UUID | None = None

    def own_id(self, community: str) -> UUID:
        """RFC 9562 version 5 of the community and the three parties: a second one meets the first."""
        return uuid5(REFERRAL_IDS, f"{community}/{self.referrer}/{self.recipient}/{self.prospect}")


class QualifyReferral(Command, frozen=True, kw_only=True):
    """The recipient agrees that it is a real referral."""


class DisqualifyReferral(Command, frozen=True, kw_only=True):
    """The recipient says that it is not a real referral."""

    reason: Disqualification


class ContactReferral(Command, frozen=True, kw_only=True):
    """The recipient has spoken with the prospect."""


class WinReferral(Command, frozen=True, kw_only=True):
    """It became business, of this band."""

    band: DealBand


class LoseReferral(Command, frozen=True, kw_only=True):
    """It did not become business."""


class LapseReferral(Lapse, frozen=True, kw_only=True):
    """It was not answered, or not finished, in time."""


RecipientCommand = QualifyReferral | DisqualifyReferral | ContactReferral | WinReferral | LoseReferral
ReferralCommand = GiveReferral | RecipientCommand | LapseReferral


def evolve(state: Referral | None, event: ReferralEvent) -> Referral:
    """The state machine, whole: a pair that is not listed is corrupt history."""
    match state, event:
        case None, ReferralGiven():
            return Given(
                referrer=event.referrer,
                recipient=event.recipient,
                prospect=event.prospect,
                level=event.level,
                points=event.points,
                tags=event.tags,
                gathering=event.gathering,
                parent=event.parent,
                parent_referrer=event.parent_referrer,
                lapses_at=event.lapses_at,
            )
        case Given(), ReferralQualified():
            return become(Qualified, state, lapses_at=event.lapses_at, qualified=True)
        case Given(), ReferralDisqualified():
            return become(Disqualified, state, reason=event.reason)
        case Qualified(), ReferralContacted():
            return become(Contacted, state, lapses_at=event.lapses_at)
        case Qualified() | Contacted(), ReferralWon():
            return become(Won, state, band=event.band)
        case Qualified() | Contacted(), ReferralLost():
            return become(Lost, state)
        case Given() | Qualified() | Contacted(), ReferralLapsed():
            return become(Lapsed, state)
        case _:
            raise Bug(f"{tag_of(event)} after {state and tag_of(state)}")


def needs(command: ReferralCommand, _state: Referral | None, _id: UUID) -> tuple[Need, ...]:
    """The referral that this one grew out of."""
    if isinstance(command, GiveReferral) and command.parent is not None:
        return (StateOf("referral", command.parent),)
    return ()


def decide(command: ReferralCommand, state: Referral | None, context: Context) -> ReferralEvent | None:
    """The event that the command amounts to, or None when it is already so.

    Raises: Refusal, with nothing recorded.
    """
    match command, state:
        case GiveReferral(), None:
            return give(command, context)
        case GiveReferral(), _:
            raise AlreadyExists(kind="referral")
        case _, None:
            raise Unknown(kind="referral")
        case LapseReferral(), _:
            return lapse(state, context)
        case _:
            if command.actor != state.recipient:
                raise NotYours(role="recipient")
            return recipient_step(command, state, context)


def give(command: GiveReferral, context: Context) -> ReferralGiven:
    if command.actor != command.referrer:
        raise NotYours(role="referrer")
    if len({command.referrer, command.recipient, command.prospect}) < 3:
        raise SelfDealing(roles=["referrer", "recipient", "prospect"])
    parent_referrer = None
    if command.parent is not None:
        match context.found[StateOf("referral", command.parent)]:
            case Won() as parent:
                parent_referrer = parent.referrer
            case None:
                raise Unknown(kind="referral", id=command.parent)
            case State() as parent:
                raise ParentNotWon(parent=command.parent, found=tag_of(parent))
            case happened:
                raise Bug(f"{happened} is no referral")
    return ReferralGiven(
        referrer=command.referrer,
        recipient=command.recipient,
        prospect=command.prospect,
        level=command.level,
        points=context.policy.level_points[command.level],
        tags=command.tags,
        gathering=command.gathering,
        parent=command.parent,
        parent_referrer=parent_referrer,
        lapses_at=context.now + context.policy.referral_unanswered,
    )


def recipient_step(command: RecipientCommand, state: Referral, context: Context) -> ReferralEvent | None:
    """What the recipient says of it."""
    referrer, recipient = state.referrer, state.recipient
    open_until = context.now + context.policy.referral_open
    match command, state:
        case QualifyReferral(), Given():
            return ReferralQualified(referrer=referrer, recipient=recipient, points=state.points, lapses_at=open_until)
        case DisqualifyReferral(), Given():
            return ReferralDisqualified(referrer=referrer, recipient=recipient, reason=command.reason)
        case ContactReferral(), Qualified():
            return ReferralContacted(referrer=referrer, recipient=recipient, lapses_at=open_until)
        case WinReferral(), Qualified() | Contacted():
            return win(command, state, context)
        case LoseReferral(), Qualified() | Contacted():
            return ReferralLost(referrer=referrer, recipient=recipient)
        case (QualifyReferral(), Qualified()) | (ContactReferral(), Contacted()) | (LoseReferral(), Lost()):
            return None  # Already so: a repeated command is harmless.
        case DisqualifyReferral(), Disqualified() if command.reason == state.reason:
            return None
        case WinReferral(), Won() if command.band == state.band:
            return None
        case ((QualifyReferral() | DisqualifyReferral()), _):
            raise WrongState(expected="given", found=tag_of(state))
        case ContactReferral(), _:
            raise WrongState(expected="qualified", found=tag_of(state))
        case ((WinReferral() | LoseReferral()), _):
            raise WrongState(expected="qualified or contacted", found=tag_of(state))
        case _:
            assert_never(command)


def win(command: WinReferral, state: Qualified | Contacted, context: Context) -> ReferralWon:
    # A recipient who referred the parent owes themself nothing.
    shared = state.parent_referrer not in (None, state.recipient)
    return ReferralWon(
        referrer=state.referrer,
        recipient=state.recipient,
        band=command.band,
        points=context.policy.band_points[command.band],
        parent_referrer=state.parent_referrer if shared else None,
        parent_points=context.policy.parent_points if shared else 0,
    )


def lapse(state: Referral, context: Context) -> ReferralLapsed | None:
    match state:
        case Given() | Qualified() | Contacted():
            require_due(state.lapses_at, context)
            return ReferralLapsed(referrer=state.referrer, recipient=state.recipient)
        case Lapsed():
            return None
        case _:
            raise WrongState(expected="given, qualified or contacted", found=tag_of(state))
