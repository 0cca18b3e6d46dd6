"""Member: a person who has joined, and what they want, offer and are open to.

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

AsksIn = Annotated[int, Meta(ge=0, le=1_000, description="How many asks a member takes in the community's period.")]
Welcome = Annotated[tuple[MemberId, ...], Meta(max_length=100, description="Members whose asks are always invited.")]

# States


class MemberState(State, frozen=True, kw_only=True):
    """`joined_at` is when they first joined. No `asks_in` means the community's number."""

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
    """The member is away for a while."""


class Left(MemberState, frozen=True, kw_only=True, tag="left"):
    """The member takes no part any more; what they wanted, offered and were open to is cleared."""


Member = Active | Paused | Left

# Events


class MemberJoined(Event, frozen=True, kw_only=True, tag="member.joined"):
    """The member takes part, for the first time or again, since `joined_at`."""

    member: MemberId
    joined_at: Instant
    sponsor: MemberId | None = None


class MemberPaused(Event, frozen=True, kw_only=True, tag="member.paused"):
    """The member is away for a while."""

    member: MemberId


class MemberResumed(Event, frozen=True, kw_only=True, tag="member.resumed"):
    """The member is back."""

    member: MemberId


class MemberWantsSet(Event, frozen=True, kw_only=True, tag="member.wants-set"):
    """What the member is looking for, whole: sorted, and none twice."""

    member: MemberId
    tags: Tags = ()


class MemberOffersSet(Event, frozen=True, kw_only=True, tag="member.offers-set"):
    """What the member has to offer, whole: sorted, and none twice."""

    member: MemberId
    tags: Tags = ()


class MemberCapsSet(Event, frozen=True, kw_only=True, tag="member.caps-set"):
    """How many asks the member takes, and whose are always invited: sorted, and none twice."""

    member: MemberId
    asks_in: AsksIn | None = None
    welcome: Welcome = ()


class MemberLeft(Event, frozen=True, kw_only=True, tag="member.left"):
    """The member takes no part any more."""

    member: MemberId


MemberEvent = (
    MemberJoined | MemberPaused | MemberResumed | MemberWantsSet | MemberOffersSet | MemberCapsSet | MemberLeft
)

# Commands


class JoinMember(Creation, frozen=True, kw_only=True):
    """The member joins, on the word of a sponsor or of nobody, for the first time or after having left."""

    member: MemberId
    sponsor: MemberId | None = None

    def own_id(self, community: str) -> UUID:
        return membership_id(community, self.member)


class PauseMember(Command, frozen=True, kw_only=True):
    """The member will be away for a while."""


class ResumeMember(Command, frozen=True, kw_only=True):
    """The member is back."""


class SetWants(Command, frozen=True, kw_only=True):
    """The member says what they are looking for, in place of what they said before."""

    tags: Tags


class SetOffers(Command, frozen=True, kw_only=True):
    """The member says what they have to offer, in place of what they said before."""

    tags: Tags


class SetCaps(Command, frozen=True, kw_only=True):
    """The member says how many asks they take, and whose are always invited. What is left out is the community's."""

    asks_in: AsksIn | None = None
    welcome: Welcome = ()


class LeaveMember(Command, frozen=True, kw_only=True):
    """The member takes no part any more."""


MemberStep = PauseMember | ResumeMember | SetWants | SetOffers | SetCaps | LeaveMember
MemberCommand = JoinMember | MemberStep


def membership_id(community: str, member: MemberId) -> UUID:
    """RFC 9562 version 5 of the community and the member: nobody joins as two."""
    return uuid5(MEMBER_IDS, f"{community}/{member}")


def evolve(state: Member | None, event: MemberEvent) -> Member:
    """The state machine, whole: a pair that is not listed is corrupt history."""
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
    """The event that the command amounts to, or None when it is already so.

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
    if command.actor != command.member:
        raise NotYours(role="member")
    if command.sponsor == command.member:
        raise SelfDealing(roles=["member", "sponsor"])
    match state:
        case None | Left():
            return MemberJoined(member=command.member, joined_at=context.now, sponsor=command.sponsor)
        case Active() | Paused() if command.sponsor == state.sponsor:
            return None  # Already so: a repeated command is harmless.
        case _:
            raise AlreadyExists(kind="member")


def step(command: MemberStep, state: Member) -> MemberEvent | None:
    """What the member says of themself."""
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
    """Raises: WrongState, after the member has left."""
    if isinstance(state, Left):
        raise WrongState(expected="active or paused", found=tag_of(state))


def sorted_set(words: tuple[str, ...]) -> tuple[str, ...]:
    """The same said in another order, or twice, is the same."""
    return tuple(sorted(set(words)))
