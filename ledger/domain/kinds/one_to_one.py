"""One-to-one: two members take time for each other. It counts as held when both say so.

`booked -> held | cancelled`.
"""

from typing import assert_never
from uuid import UUID

from ledger.domain.values.aggregate_types import Command, Creation, Event, State, become, tag_of
from ledger.domain.values.context import Context
from ledger.domain.values.ids import MemberId
from ledger.domain.values.refusals import AlreadyExists, Bug, NotYours, SelfDealing, Unknown, WrongState

# States


class OneToOneState(State, frozen=True, kw_only=True):
    member: MemberId
    other: MemberId
    gathering: UUID | None = None


class Booked(OneToOneState, frozen=True, kw_only=True, tag="booked"):
    """It is to be. `said` names the one of the two who says that it was held, if there is one."""

    said: tuple[MemberId, ...] = ()


class Held(OneToOneState, frozen=True, kw_only=True, tag="held"):
    """Both say that it was held."""


class Cancelled(OneToOneState, frozen=True, kw_only=True, tag="cancelled"):
    """One of the two called it off."""


OneToOne = Booked | Held | Cancelled

# Events


class OneToOneBooked(Event, frozen=True, kw_only=True, tag="one-to-one.booked"):
    """The two mean to take time for each other."""

    member: MemberId
    other: MemberId
    gathering: UUID | None = None


class OneToOneHeld(Event, frozen=True, kw_only=True, tag="one-to-one.held"):
    """One of the two says that it was held. It counts with the second of these."""

    member: MemberId
    other: MemberId
    said_by: MemberId


class OneToOneCancelled(Event, frozen=True, kw_only=True, tag="one-to-one.cancelled"):
    """One of the two called it off."""

    member: MemberId
    other: MemberId


OneToOneEvent = OneToOneBooked | OneToOneHeld | OneToOneCancelled

# Commands


class BookOneToOne(Creation, frozen=True, kw_only=True):
    """Two members mean to take time for each other, says either of them."""

    member: MemberId
    other: MemberId
    gathering: UUID | None = None
    id: UUID | None = None

    def own_id(self, community: str) -> UUID | None:
        return self.id


class HoldOneToOne(Command, frozen=True, kw_only=True):
    """It was held, says one of the two; it counts when both say so."""


class CancelOneToOne(Command, frozen=True, kw_only=True):
    """Either of the two calls it off."""


OneToOneCommand = BookOneToOne | HoldOneToOne | CancelOneToOne


def evolve(state: OneToOne | None, event: OneToOneEvent) -> OneToOne:
    """The state machine, whole: a pair that is not listed is corrupt history."""
    match state, event:
        case None, OneToOneBooked():
            return Booked(member=event.member, other=event.other, gathering=event.gathering)
        case Booked(said=()), OneToOneHeld():
            return become(Booked, state, said=(event.said_by,))
        case Booked(said=(first,)), OneToOneHeld() if event.said_by != first:
            return become(Held, state)
        case Booked(), OneToOneCancelled():
            return become(Cancelled, state)
        case _:
            raise Bug(f"{tag_of(event)} after {state and tag_of(state)}")


def decide(command: OneToOneCommand, state: OneToOne | None, _context: Context) -> OneToOneEvent | None:
    """The event that the command amounts to, or None when it is already so.

    Raises: Refusal, with nothing recorded.
    """
    match command, state:
        case BookOneToOne(), None:
            return book(command)
        case BookOneToOne(), _:
            raise AlreadyExists(kind="one-to-one")
        case _, None:
            raise Unknown(kind="one-to-one")
        case HoldOneToOne(), _:
            return hold(command, state)
        case CancelOneToOne(), _:
            return cancel(command, state)
        case _:
            assert_never(command)


def book(command: BookOneToOne) -> OneToOneBooked:
    require_party(command.actor, command)
    if command.member == command.other:
        raise SelfDealing(roles=["member", "other"])
    return OneToOneBooked(member=command.member, other=command.other, gathering=command.gathering)


def hold(command: HoldOneToOne, state: OneToOne) -> OneToOneHeld | None:
    require_party(command.actor, state)
    match state:
        case Booked() if command.actor in state.said:
            return None  # Already so: a repeated command is harmless.
        case Booked():
            return OneToOneHeld(member=state.member, other=state.other, said_by=command.actor)
        case Held():
            return None
        case _:
            raise WrongState(expected="booked", found=tag_of(state))


def cancel(command: CancelOneToOne, state: OneToOne) -> OneToOneCancelled | None:
    require_party(command.actor, state)
    match state:
        case Booked():
            return OneToOneCancelled(member=state.member, other=state.other)
        case Cancelled():
            return None
        case _:
            raise WrongState(expected="booked", found=tag_of(state))


def require_party(actor: MemberId, of: BookOneToOne | OneToOne) -> None:
    if actor not in (of.member, of.other):
        raise NotYours(role="member or other")
