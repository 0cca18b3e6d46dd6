"""One-to-one: two members take time for each other. It counts as held when both have stated it.

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
    """The two members plan to meet. `said` names the one who stated that it was held, if one did."""

    said: tuple[MemberId, ...] = ()


class Held(OneToOneState, frozen=True, kw_only=True, tag="held"):
    """Both members stated that the one-to-one was held."""


class Cancelled(OneToOneState, frozen=True, kw_only=True, tag="cancelled"):
    """One of the two members cancelled the one-to-one."""


OneToOne = Booked | Held | Cancelled

# Events


class OneToOneBooked(Event, frozen=True, kw_only=True, tag="one-to-one.booked"):
    """Two members plan to take time for each other."""

    member: MemberId
    other: MemberId
    gathering: UUID | None = None


class OneToOneHeld(Event, frozen=True, kw_only=True, tag="one-to-one.held"):
    """One of the two members states that the one-to-one was held. It counts with the second of these events."""

    member: MemberId
    other: MemberId
    said_by: MemberId


class OneToOneCancelled(Event, frozen=True, kw_only=True, tag="one-to-one.cancelled"):
    """One of the two members cancels the one-to-one."""

    member: MemberId
    other: MemberId


OneToOneEvent = OneToOneBooked | OneToOneHeld | OneToOneCancelled

# Commands


class BookOneToOne(Creation, frozen=True, kw_only=True):
    """Book a one-to-one, as either of the two members."""

    member: MemberId
    other: MemberId
    gathering: UUID | None = None
    id: UUID | None = None

    def own_id(self, community: str) -> UUID | None:
        return self.id


class HoldOneToOne(Command, frozen=True, kw_only=True):
    """State that the one-to-one was held, as either of the two members. It counts when both have stated it."""


class CancelOneToOne(Command, frozen=True, kw_only=True):
    """Cancel a booked one-to-one, as either of the two members."""


OneToOneCommand = BookOneToOne | HoldOneToOne | CancelOneToOne


def evolve(state: OneToOne | None, event: OneToOneEvent) -> OneToOne:
    """Return the state after `event`. Raises: Bug, if the history is corrupt (a pair that is not listed)."""
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
    """Return the event to record, or None if nothing changes. See docs/domain.md#one-to-one.

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
    """Return the event of a statement by one of the two members. See docs/domain.md#held-by-both."""
    require_party(command.actor, state)
    match state:
        case Booked() if command.actor in state.said:
            return None  # A repeat is a no-op.
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


def require_party(actor: MemberId, parties: BookOneToOne | OneToOne) -> None:
    """Check that the actor is one of the two members. Raises: NotYours, with nothing recorded."""
    if actor not in (parties.member, parties.other):
        raise NotYours(role="member or other")
