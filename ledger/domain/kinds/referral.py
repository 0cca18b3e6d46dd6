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
    qualified: bool = False  # It stays true when the referral lapses later.


class Given(ReferralState, frozen=True, kw_only=True, tag="given"):
    """The recipient has until `lapses_at` to qualify or disqualify the referral."""

    lapses_at: Instant


class Qualified(ReferralState, frozen=True, kw_only=True, tag="qualified"):
    """The recipient agreed that the referral is real, and owes the points of its level."""

    lapses_at: Instant
    qualified: bool = True


class Contacted(ReferralState, frozen=True, kw_only=True, tag="contacted"):
    """The recipient contacted the prospect."""

    lapses_at: Instant
    qualified: bool = True


class Won(ReferralState, frozen=True, kw_only=True, tag="won"):
    """The referral led to business of this deal band."""

    band: DealBand
    qualified: bool = True


class Lost(ReferralState, frozen=True, kw_only=True, tag="lost"):
    """The referral did not lead to business."""

    qualified: bool = True


class Lapsed(ReferralState, frozen=True, kw_only=True, tag="lapsed"):
    """The recipient did not answer or finish the referral in time."""


class Disqualified(ReferralState, frozen=True, kw_only=True, tag="disqualified"):
    """The recipient stated that the referral is not real, with a reason."""

    reason: Disqualification


Referral = Given | Qualified | Contacted | Won | Lost | Lapsed | Disqualified

# Events


class ReferralEventBase(Event, frozen=True, kw_only=True):
    referrer: MemberId
    recipient: MemberId


class ReferralGiven(ReferralEventBase, frozen=True, kw_only=True, tag="referral.given"):
    """The referrer sends a prospect to the recipient. It posts nothing, so that nobody can farm a quota."""

    prospect: ProspectId
    level: Level
    points: Amount
    lapses_at: Instant
    tags: Tags = ()
    gathering: UUID | None = None
    parent: UUID | None = None
    parent_referrer: MemberId | None = None


class ReferralQualified(ReferralEventBase, frozen=True, kw_only=True, tag="referral.qualified"):
    """The recipient agrees that the referral is real, and owes the points of its level."""

    points: Amount
    lapses_at: Instant


class ReferralDisqualified(ReferralEventBase, frozen=True, kw_only=True, tag="referral.disqualified"):
    """The recipient states that the referral is not real, with a reason."""

    reason: Disqualification


class ReferralContacted(ReferralEventBase, frozen=True, kw_only=True, tag="referral.contacted"):
    """The recipient contacted the prospect."""

    lapses_at: Instant


class ReferralWon(ReferralEventBase, frozen=True, kw_only=True, tag="referral.won"):
    """The referral led to business. If it has a parent, the referrer of the parent gets points too."""

    band: DealBand
    points: Amount
    parent_referrer: MemberId | None = None
    parent_points: Amount = 0


class ReferralLost(ReferralEventBase, frozen=True, kw_only=True, tag="referral.lost"):
    """The referral did not lead to business."""


class ReferralLapsed(ReferralEventBase, frozen=True, kw_only=True, tag="referral.lapsed"):
    """The recipient did not answer or finish the referral in time."""


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
    """Send a prospect to a recipient, as the referrer. There is one referral per referrer, recipient and prospect."""

    referrer: MemberId
    recipient: MemberId
    prospect: ProspectId
    level: Level
    tags: Tags = ()
    gathering: UUID | None = None
    parent: UUID | None = None

    def own_id(self, community: str) -> UUID:
        """Return UUIDv5 (RFC 9562) of the community and the three parties.

        See docs/domain.md#one-referral-per-prospect.
        """
        return uuid5(REFERRAL_IDS, f"{community}/{self.referrer}/{self.recipient}/{self.prospect}")


class QualifyReferral(Command, frozen=True, kw_only=True):
    """Agree that the referral is real, as its recipient."""


class DisqualifyReferral(Command, frozen=True, kw_only=True):
    """State that the referral is not real, as its recipient, with a reason."""

    reason: Disqualification


class ContactReferral(Command, frozen=True, kw_only=True):
    """Record that the prospect was contacted, as the recipient."""


class WinReferral(Command, frozen=True, kw_only=True):
    """Record that the referral led to business of this deal band, as its recipient."""

    band: DealBand


class LoseReferral(Command, frozen=True, kw_only=True):
    """Record that the referral did not lead to business, as its recipient."""


class LapseReferral(Lapse, frozen=True, kw_only=True):
    """End a referral that the recipient did not answer or finish in time."""


RecipientCommand = QualifyReferral | DisqualifyReferral | ContactReferral | WinReferral | LoseReferral
ReferralCommand = GiveReferral | RecipientCommand | LapseReferral


def evolve(state: Referral | None, event: ReferralEvent) -> Referral:
    """Return the state after `event`. Raises: Bug, if the history is corrupt (a pair that is not listed)."""
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
    """Return the need for the parent referral, if the command names one."""
    if isinstance(command, GiveReferral) and command.parent is not None:
        return (StateOf("referral", command.parent),)
    return ()


def decide(command: ReferralCommand, state: Referral | None, context: Context) -> ReferralEvent | None:
    """Return the event to record, or None if nothing changes. See docs/domain.md#referral.

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
    """Return the event of a new referral. Its parent must be won. See docs/domain.md#parent-referral."""
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
            case other:
                raise Bug(f"{other} is no referral")
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
    """Return the event of a step that only the recipient can take."""
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
            return None  # A repeat is a no-op.
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
    """Return the event of a win, with the points of the parent's referrer. See docs/domain.md#parent-referral."""
    pays_parent = state.parent_referrer not in (None, state.recipient)  # Nobody pays themself.
    return ReferralWon(
        referrer=state.referrer,
        recipient=state.recipient,
        band=command.band,
        points=context.policy.band_points[command.band],
        parent_referrer=state.parent_referrer if pays_parent else None,
        parent_points=context.policy.parent_points if pays_parent else 0,
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
