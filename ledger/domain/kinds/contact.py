"""Contact: two members have met, at a gathering or elsewhere.

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
    """The two members have met."""

    member: MemberId
    other: MemberId
    gathering: UUID | None = None


Contact = Made

# Events


class ContactMade(Event, frozen=True, kw_only=True, tag="contact.made"):
    """Two members have met."""

    member: MemberId
    other: MemberId
    gathering: UUID | None = None


ContactEvent = ContactMade

# Commands


class MakeContact(Creation, frozen=True, kw_only=True):
    """Record that two members have met, as either of them. There is one contact per pair: the first record stays."""

    member: MemberId
    other: MemberId
    gathering: UUID | None = None

    def own_id(self, community: str) -> UUID:
        """Return UUIDv5 (RFC 9562) of the community and the two members, sorted, so that a pair has one contact."""
        first, second = sorted((self.member, self.other))
        return uuid5(CONTACT_IDS, f"{community}/{first}/{second}")


ContactCommand = MakeContact


def evolve(state: Contact | None, event: ContactEvent) -> Contact:
    """Return the state after `event`. Raises: Bug, if the history is corrupt (a second event)."""
    if state is not None:
        raise Bug(f"{tag_of(event)} after {tag_of(state)}")
    return Made(member=event.member, other=event.other, gathering=event.gathering)


def decide(command: ContactCommand, state: Contact | None, _context: Context) -> ContactEvent | None:
    """Return the event to record, or None if nothing changes. See docs/domain.md#contact.

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
        return None  # A repeat is a no-op.
    return ContactMade(member=command.member, other=command.other, gathering=command.gathering)
