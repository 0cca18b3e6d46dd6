"""Contact: two members have met, at a gathering or not.

`made`.
"""

from typing import Final, assert_never
from uuid import UUID, uuid5

from ledger.domain.values.aggregate_types import Creation, Event, State, tag_of
from ledger.domain.values.context import Context
from ledger.domain.values.ids import MemberId
from ledger.domain.values.refusals import Bug, NotYours, SelfDealing

CONTACT_IDS: Final = UUID("f7fed57d-927e-5e99-aeb9-27d180f58486")

# States


class Made(State, frozen=True, kw_only=True, tag="made"):
    """The two have met."""

    member: MemberId
    other: MemberId
    gathering: UUID | None = None


Contact = Made

# Events


class ContactMade(Event, frozen=True, kw_only=True, tag="contact.made"):
    """The two have met."""

    member: MemberId
    other: MemberId
    gathering: UUID | None = None


ContactEvent = ContactMade

# Commands


class MakeContact(Creation, frozen=True, kw_only=True):
    """Two members have met, says either of them. One for each two: the first that is said stays."""

    member: MemberId
    other: MemberId
    gathering: UUID | None = None

    def own_id(self, community: str) -> UUID:
        """RFC 9562 version 5 of the community and the two, sorted: whoever says it first or second, it is one."""
        first, second = sorted((self.member, self.other))
        return uuid5(CONTACT_IDS, f"{community}/{first}/{second}")


ContactCommand = MakeContact


def evolve(state: Contact | None, event: ContactEvent) -> Contact:
    """The state machine, whole: a second event is corrupt history."""
    if state is not None:
        raise Bug(f"{tag_of(event)} after {tag_of(state)}")
    return Made(member=event.member, other=event.other, gathering=event.gathering)


def decide(command: ContactCommand, state: Contact | None, _context: Context) -> ContactEvent | None:
    """The event that the command amounts to, or None when it is already so.

    Raises: Refusal, with nothing recorded.
    """
    match command:
        case MakeContact():
            return make(command, state)
        case _:
            assert_never(command)


def make(command: MakeContact, state: Contact | None) -> ContactMade | None:
    if command.actor not in (command.member, command.other):
        raise NotYours(role="member or other")
    if command.member == command.other:
        raise SelfDealing(roles=["member", "other"])
    if state is not None:
        return None  # Already so: a repeated command is harmless.
    return ContactMade(member=command.member, other=command.other, gathering=command.gathering)
