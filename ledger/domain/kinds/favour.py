"""Favour: a giver did something for a receiver.

`claimed -> posted | refused | lapsed`, `posted -> forgiven`.
"""

from typing import assert_never
from uuid import UUID

from ledger.domain.kinds.dispute.lookup import dispute_need, open_dispute_in, upheld_dispute_in
from ledger.domain.values.aggregate_types import Command, Creation, Event, Lapse, State, become, tag_of
from ledger.domain.values.context import Context, Need, require_due
from ledger.domain.values.ids import Instant, MemberId
from ledger.domain.values.points import Amount, Size
from ledger.domain.values.refusals import AlreadyExists, Bug, NotYours, SelfDealing, UnderDispute, Unknown, WrongState

# States


class FavourState(State, frozen=True, kw_only=True):
    giver: MemberId
    receiver: MemberId
    size: Size
    points: Amount
    gathering: UUID | None = None


class Claimed(FavourState, frozen=True, kw_only=True, tag="claimed"):
    """The giver claims the favour. The receiver has until `lapses_at` to confirm or refuse it."""

    lapses_at: Instant


class Posted(FavourState, frozen=True, kw_only=True, tag="posted"):
    """Both members agree, and the receiver owes the points."""


class Refused(FavourState, frozen=True, kw_only=True, tag="refused"):
    """The receiver refused the claim."""


class Lapsed(FavourState, frozen=True, kw_only=True, tag="lapsed"):
    """The receiver did not answer the claim in time. Silence is not consent."""


class Forgiven(FavourState, frozen=True, kw_only=True, tag="forgiven"):
    """The giver forgave the debt. The gross tallies stay."""


Favour = Claimed | Posted | Refused | Lapsed | Forgiven

# Events


class FavourThanked(Event, frozen=True, kw_only=True, tag="favour.thanked"):
    """The receiver records a favour. The points are due at once."""

    giver: MemberId
    receiver: MemberId
    size: Size
    points: Amount
    gathering: UUID | None = None


class FavourClaimed(Event, frozen=True, kw_only=True, tag="favour.claimed"):
    """The giver claims a favour. The points are due when the receiver confirms it."""

    giver: MemberId
    receiver: MemberId
    size: Size
    points: Amount
    lapses_at: Instant
    gathering: UUID | None = None


class FavourConfirmed(Event, frozen=True, kw_only=True, tag="favour.confirmed"):
    """The receiver confirms the claim. The points are due."""

    giver: MemberId
    receiver: MemberId
    points: Amount


class FavourRefused(Event, frozen=True, kw_only=True, tag="favour.refused"):
    """The receiver refuses the claim."""

    giver: MemberId
    receiver: MemberId


class FavourLapsed(Event, frozen=True, kw_only=True, tag="favour.lapsed"):
    """The receiver did not answer the claim in time."""

    giver: MemberId
    receiver: MemberId


class FavourForgiven(Event, frozen=True, kw_only=True, tag="favour.forgiven"):
    """The giver forgives the debt of a posted favour."""

    giver: MemberId
    receiver: MemberId
    points: Amount


FavourEvent = FavourThanked | FavourClaimed | FavourConfirmed | FavourRefused | FavourLapsed | FavourForgiven

# Commands


class RecordFavour(Creation, frozen=True, kw_only=True):
    """Record a favour: a thank-you if the actor is the receiver, a claim if the actor is the giver."""

    giver: MemberId
    receiver: MemberId
    size: Size
    id: UUID | None = None
    gathering: UUID | None = None

    def own_id(self, community: str) -> UUID | None:
        return self.id


class ConfirmFavour(Command, frozen=True, kw_only=True):
    """Confirm a claimed favour, as its receiver."""


class RefuseFavour(Command, frozen=True, kw_only=True):
    """Refuse a claimed favour, as its receiver."""


class ForgiveFavour(Command, frozen=True, kw_only=True):
    """Forgive the debt of a posted favour, as its giver."""


class LapseFavour(Lapse, frozen=True, kw_only=True):
    """End a claim that the receiver did not answer in time."""


FavourCommand = RecordFavour | ConfirmFavour | RefuseFavour | ForgiveFavour | LapseFavour


def evolve(state: Favour | None, event: FavourEvent) -> Favour:
    """Return the state after `event`. Raises: Bug, if the history is corrupt (a pair that is not listed)."""
    match state, event:
        case None, FavourThanked():
            return Posted(
                giver=event.giver,
                receiver=event.receiver,
                size=event.size,
                points=event.points,
                gathering=event.gathering,
            )
        case None, FavourClaimed():
            return Claimed(
                giver=event.giver,
                receiver=event.receiver,
                size=event.size,
                points=event.points,
                gathering=event.gathering,
                lapses_at=event.lapses_at,
            )
        case Claimed(), FavourConfirmed():
            return become(Posted, state)
        case Claimed(), FavourRefused():
            return become(Refused, state)
        case Claimed(), FavourLapsed():
            return become(Lapsed, state)
        case Posted(), FavourForgiven():
            return become(Forgiven, state)
        case _:
            raise Bug(f"{tag_of(event)} after {state and tag_of(state)}")


def needs(command: FavourCommand, state: Favour | None, own_id: UUID) -> tuple[Need, ...]:
    """Return the possible disputes of the debt, for a forgiveness. The debt was thanked for or confirmed."""
    match command, state:
        case ForgiveFavour(), Posted():
            return dispute_need(own_id, "favour.thanked"), dispute_need(own_id, "favour.confirmed")
        case _:
            return ()


def decide(command: FavourCommand, state: Favour | None, context: Context) -> FavourEvent | None:
    """Return the event to record, or None if nothing changes. See docs/domain.md#favour.

    Raises: Refusal, with nothing recorded.
    """
    match command, state:
        case RecordFavour(), None:
            return record(command, context)
        case RecordFavour(), _:
            raise AlreadyExists(kind="favour")
        case _, None:
            raise Unknown(kind="favour")
        case ConfirmFavour(), _:
            return confirm(command, state)
        case RefuseFavour(), _:
            return refuse(command, state)
        case ForgiveFavour(), _:
            return forgive(command, state, context)
        case LapseFavour(), _:
            return lapse(state, context)
        case _:
            assert_never(command)


def record(command: RecordFavour, context: Context) -> FavourThanked | FavourClaimed:
    """Return the event of a thank-you or a claim, by the role of the actor. See docs/domain.md#thanks-and-claims."""
    if command.giver == command.receiver:
        raise SelfDealing(roles=["giver", "receiver"])
    points = context.policy.size_points[command.size]
    if command.actor == command.receiver:
        return FavourThanked(
            giver=command.giver,
            receiver=command.receiver,
            size=command.size,
            points=points,
            gathering=command.gathering,
        )
    if command.actor == command.giver:
        return FavourClaimed(
            giver=command.giver,
            receiver=command.receiver,
            size=command.size,
            points=points,
            gathering=command.gathering,
            lapses_at=context.now + context.policy.favour_claim,
        )
    raise NotYours(role="giver or receiver")


def confirm(command: ConfirmFavour, state: Favour) -> FavourConfirmed | None:
    if command.actor != state.receiver:
        raise NotYours(role="receiver")
    match state:
        case Claimed():
            return FavourConfirmed(giver=state.giver, receiver=state.receiver, points=state.points)
        case Posted():
            return None  # A repeat is a no-op.
        case _:
            raise WrongState(expected="claimed", found=tag_of(state))


def refuse(command: RefuseFavour, state: Favour) -> FavourRefused | None:
    if command.actor != state.receiver:
        raise NotYours(role="receiver")
    match state:
        case Claimed():
            return FavourRefused(giver=state.giver, receiver=state.receiver)
        case Refused():
            return None
        case _:
            raise WrongState(expected="claimed", found=tag_of(state))


def forgive(command: ForgiveFavour, state: Favour, context: Context) -> FavourForgiven | None:
    """Return the event of a forgiveness. An open or upheld dispute prevents it. See docs/domain.md#forgiven-favour."""
    if command.actor != state.giver:
        raise NotYours(role="giver")
    match state:
        case Posted():
            if (dispute := open_dispute_in(context)) is not None:
                raise UnderDispute(lapses_at=dispute.lapses_at)
            if upheld_dispute_in(context) is not None:
                raise WrongState(expected="posted", found="disputed")  # The reversal removed the debt.
            return FavourForgiven(giver=state.giver, receiver=state.receiver, points=state.points)
        case Forgiven():
            return None
        case _:
            raise WrongState(expected="posted", found=tag_of(state))


def lapse(state: Favour, context: Context) -> FavourLapsed | None:
    match state:
        case Claimed():
            require_due(state.lapses_at, context)
            return FavourLapsed(giver=state.giver, receiver=state.receiver)
        case Lapsed():
            return None
        case _:
            raise WrongState(expected="claimed", found=tag_of(state))
