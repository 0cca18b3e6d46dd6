"""Member: a person who joined, with their wants, offers and caps.

`active <-> paused`, `active | paused -> left`, `left -> active`. A member need not have joined to appear in events.
"""

from typing import Annotated, Final, assert_never
from uuid import UUID, uuid5

from msgspec import Meta

from ledger.domain.values.aggregate_types import Command, Creation, Event, State, become, tag_of
from ledger.domain.values.context import Context
from ledger.domain.values.ids import Instant, MemberId, Tags
from ledger.domain.values.refusals import AlreadyExists, Bug, NotYours, SelfDealing, Unknown, WrongState

MEMBER_IDS: Final = UUID("308df44d-4a71-5fdb-870c-a56bc13041e3")

AsksIn = Annotated[
    int,
    Meta(
        ge=0, le=1_000, description="Highest number of asks that the member takes within the policy's `inbound_within`."
    ),
]
Welcome = Annotated[tuple[MemberId, ...], Meta(max_length=100, description="Members whose asks are always invited.")]

# States


class MemberState(State, frozen=True, kw_only=True):
    """`joined_at` is the time of the first joining. Without `asks_in`, the policy's number holds."""

    member: MemberId
    joined_at: Instant
    sponsor: MemberId | None = None
    wants: Tags = ()
    offers: Tags = ()
    asks_in: AsksIn | None = None
    welcome: Welcome = ()


class Active(MemberState, frozen=True, kw_only=True, tag="active"):
    """The member takes part."""


class Paused(MemberState, frozen=True, kw_only=True, tag="paused"):
    """The member takes no part for a while."""


class Left(MemberState, frozen=True, kw_only=True, tag="left"):
    """The member left the community. Wants, offers and caps are cleared."""


Member = Active | Paused | Left

# Events


class MemberJoined(Event, frozen=True, kw_only=True, tag="member.joined"):
    """The member joins at `joined_at`, for the first time or again."""

    member: MemberId
    joined_at: Instant
    sponsor: MemberId | None = None


class MemberPaused(Event, frozen=True, kw_only=True, tag="member.paused"):
    """The member takes no part for a while."""

    member: MemberId


class MemberResumed(Event, frozen=True, kw_only=True, tag="member.resumed"):
    """The member takes part again after a pause."""

    member: MemberId


class MemberWantsSet(Event, frozen=True, kw_only=True, tag="member.wants-set"):
    """The member replaces their wants. The tags are sorted, without duplicates."""

    member: MemberId
    tags: Tags = ()


class MemberOffersSet(Event, frozen=True, kw_only=True, tag="member.offers-set"):
    """The member replaces their offers. The tags are sorted, without duplicates."""

    member: MemberId
    tags: Tags = ()


class MemberCapsSet(Event, frozen=True, kw_only=True, tag="member.caps-set"):
    """The member replaces their caps. The members in `welcome` are sorted, without duplicates."""

    member: MemberId
    asks_in: AsksIn | None = None
    welcome: Welcome = ()


class MemberLeft(Event, frozen=True, kw_only=True, tag="member.left"):
    """The member leaves the community."""

    member: MemberId


MemberEvent = (
    MemberJoined | MemberPaused | MemberResumed | MemberWantsSet | MemberOffersSet | MemberCapsSet | MemberLeft
)

# Commands


class JoinMember(Creation, frozen=True, kw_only=True):
    """Join the community, with or without a sponsor, for the first time or after leaving."""

    member: MemberId
    sponsor: MemberId | None = None

    def own_id(self, community: str) -> UUID:
        return membership_id(community, self.member)


class PauseMember(Command, frozen=True, kw_only=True):
    """Pause the membership, as the member."""


class ResumeMember(Command, frozen=True, kw_only=True):
    """Resume the membership after a pause, as the member."""


class SetWants(Command, frozen=True, kw_only=True):
    """Replace the member's wants, as that member."""

    tags: Tags


class SetOffers(Command, frozen=True, kw_only=True):
    """Replace the member's offers, as that member."""

    tags: Tags


class SetCaps(Command, frozen=True, kw_only=True):
    """Replace the member's caps, as that member. Without `asks_in`, the policy's number holds."""

    asks_in: AsksIn | None = None
    welcome: Welcome = ()


class LeaveMember(Command, frozen=True, kw_only=True):
    """Leave the community, as the member."""


MemberStep = PauseMember | ResumeMember | SetWants | SetOffers | SetCaps | LeaveMember
MemberCommand = JoinMember | MemberStep


def membership_id(community: str, member: MemberId) -> UUID:
    """Return UUIDv5 (RFC 9562) of the community and the member, so that nobody joins twice."""
    return uuid5(MEMBER_IDS, f"{community}/{member}")


def evolve(state: Member | None, event: MemberEvent) -> Member:
    """Return the state after `event`. Raises: Bug, if the history is corrupt (a pair that is not listed)."""
    match state, event:
        case None, MemberJoined():
            return Active(member=event.member, joined_at=event.joined_at, sponsor=event.sponsor)
        case Left(), MemberJoined():
            return become(Active, state, sponsor=event.sponsor)
        case Active(), MemberPaused():
            return become(Paused, state)
        case Paused(), MemberResumed():
            return become(Active, state)
        case Active() | Paused(), MemberWantsSet():
            return become(type(state), state, wants=event.tags)
        case Active() | Paused(), MemberOffersSet():
            return become(type(state), state, offers=event.tags)
        case Active() | Paused(), MemberCapsSet():
            return become(type(state), state, asks_in=event.asks_in, welcome=event.welcome)
        case Active() | Paused(), MemberLeft():
            return Left(member=state.member, joined_at=state.joined_at, sponsor=state.sponsor)
        case _:
            raise Bug(f"{tag_of(event)} after {state and tag_of(state)}")


def decide(command: MemberCommand, state: Member | None, context: Context) -> MemberEvent | None:
    """Return the event to record, or None if nothing changes. See docs/domain.md#member.

    Raises: Refusal, with nothing recorded.
    """
    match command, state:
        case JoinMember(), _:
            return join(command, state, context)
        case _, None:
            raise Unknown(kind="member")
        case _:
            if command.actor != state.member:
                raise NotYours(role="member")
            return step(command, state)


def join(command: JoinMember, state: Member | None, context: Context) -> MemberJoined | None:
    """Return the event of a joining; None if the member has joined with the same sponsor.

    See docs/domain.md#sponsor.
    """
    if command.actor != command.member:
        raise NotYours(role="member")
    if command.sponsor == command.member:
        raise SelfDealing(roles=["member", "sponsor"])
    match state:
        case None | Left():
            return MemberJoined(member=command.member, joined_at=context.now, sponsor=command.sponsor)
        case Active() | Paused() if command.sponsor == state.sponsor:
            return None  # A repeat is a no-op.
        case _:
            raise AlreadyExists(kind="member")


def step(command: MemberStep, state: Member) -> MemberEvent | None:
    """Return the event of a command by a member who has joined."""
    match command:
        case PauseMember():
            return pause(state)
        case ResumeMember():
            return resume(state)
        case SetWants():
            return set_wants(command, state)
        case SetOffers():
            return set_offers(command, state)
        case SetCaps():
            return set_caps(command, state)
        case LeaveMember():
            return leave(state)
        case _:
            assert_never(command)


def pause(state: Member) -> MemberPaused | None:
    match state:
        case Active():
            return MemberPaused(member=state.member)
        case Paused():
            return None
        case _:
            raise WrongState(expected="active", found=tag_of(state))


def resume(state: Member) -> MemberResumed | None:
    match state:
        case Paused():
            return MemberResumed(member=state.member)
        case Active():
            return None
        case _:
            raise WrongState(expected="paused", found=tag_of(state))


def set_wants(command: SetWants, state: Member) -> MemberWantsSet | None:
    require_present(state)
    tags = sorted_set(command.tags)
    return MemberWantsSet(member=state.member, tags=tags) if tags != state.wants else None


def set_offers(command: SetOffers, state: Member) -> MemberOffersSet | None:
    require_present(state)
    tags = sorted_set(command.tags)
    return MemberOffersSet(member=state.member, tags=tags) if tags != state.offers else None


def set_caps(command: SetCaps, state: Member) -> MemberCapsSet | None:
    require_present(state)
    welcome = sorted_set(command.welcome)
    if (command.asks_in, welcome) == (state.asks_in, state.welcome):
        return None
    return MemberCapsSet(member=state.member, asks_in=command.asks_in, welcome=welcome)


def leave(state: Member) -> MemberLeft | None:
    return MemberLeft(member=state.member) if not isinstance(state, Left) else None


def require_present(state: Member) -> None:
    """Check that the member has not left. Raises: WrongState, with nothing recorded."""
    if isinstance(state, Left):
        raise WrongState(expected="active or paused", found=tag_of(state))


def sorted_set(items: tuple[str, ...]) -> tuple[str, ...]:
    """Return the items sorted and without duplicates, so that equal sets are equal tuples."""
    return tuple(sorted(set(items)))
