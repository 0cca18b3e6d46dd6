"""The kinds of aggregate, with the states, events and functions of each."""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, cast, get_args

from msgspec import Struct

from ledger.domain.kinds import (
    attendance,
    contact,
    dispute,
    favour,
    gathering,
    intro,
    member,
    one_to_one,
    publication,
    referral,
)
from ledger.domain.kinds.dispute import decision as dispute_decision
from ledger.domain.kinds.dispute import events as dispute_events
from ledger.domain.kinds.dispute import evolution as dispute_evolution
from ledger.domain.kinds.dispute import states as dispute_states
from ledger.domain.kinds.intro import decision as intro_decision
from ledger.domain.kinds.intro import events as intro_events
from ledger.domain.kinds.intro import evolution as intro_evolution
from ledger.domain.kinds.intro import states as intro_states
from ledger.domain.kinds.intro.silence import version_read_by
from ledger.domain.values.aggregate_types import Event, State, tag_of
from ledger.domain.values.context import Context, Needs, no_needs

AnyEvent = (
    favour.FavourEvent
    | referral.ReferralEvent
    | intro_events.IntroEvent
    | dispute_events.DisputeEvent
    | member.MemberEvent
    | gathering.GatheringEvent
    | attendance.AttendanceEvent
    | contact.ContactEvent
    | one_to_one.OneToOneEvent
    | publication.PublicationEvent
)


def union_members(union: Any) -> tuple[Any, ...]:
    """Return the types of a union; of a single type, a tuple of it alone."""
    return get_args(union) or (union,)


def real_version(_member: str, _state: State, version: int, _now: datetime) -> int:
    """Return `version`: most kinds hide nothing from a member who may read them."""
    return version


class Kind(Struct, frozen=True, kw_only=True):
    """A kind of aggregate: its names, states, events and functions, and the members whom it concerns."""

    name: str
    plural: str  # For routes: `favours`.
    about: str | None  # The description in the API documentation.
    states: Any  # The union of the states, or the only state. msgspec decodes with it.
    events: tuple[type[Event], ...]
    decide: Callable[[Any, Any, Context], Any]  # Returns an event of the kind, or None.
    evolve: Callable[[Any, Any], State]
    needs: Needs = no_needs
    parties: tuple[str, ...]  # Fields of every state. Each names a member whom the aggregate concerns, in a role.
    others: str | None = None  # Field of every state. It lists further members whom the aggregate concerns.
    version_read_by: Callable[[str, Any, int, datetime], int] = real_version  # Version that a member reads at a time.
    private: bool = False  # Only the members whom the aggregate concerns may read it.
    recurs: bool = False  # The creating event can occur again: a member can join again.
    lapsing: tuple[type[State], ...] = ()  # States with a deadline, in their field `lapses_at`.

    def concerned(self, state: State) -> tuple[str, ...]:
        """Return the members whom a state concerns, at most three: in the order of `parties`, then the others."""
        named = [getattr(state, role) for role in self.parties]
        if self.others is not None:
            named += [member for member in getattr(state, self.others) if member not in named]
        return tuple(named)


FAVOUR: Final = Kind(
    name="favour",
    plural="favours",
    about=favour.__doc__,
    private=True,
    states=favour.Favour,
    events=union_members(favour.FavourEvent),
    decide=favour.decide,
    evolve=favour.evolve,
    needs=favour.needs,
    parties=("giver", "receiver"),
    lapsing=(favour.Claimed,),
)
REFERRAL: Final = Kind(
    name="referral",
    plural="referrals",
    about=referral.__doc__,
    private=True,
    states=referral.Referral,
    events=union_members(referral.ReferralEvent),
    decide=referral.decide,
    evolve=referral.evolve,
    needs=referral.needs,
    parties=("referrer", "recipient"),
    lapsing=(referral.Given, referral.Qualified, referral.Contacted),
)
INTRO: Final = Kind(
    name="intro",
    plural="intros",
    about=intro.__doc__,
    private=True,
    states=intro_states.Intro,
    events=union_members(intro_events.IntroEvent),
    decide=intro_decision.decide,
    evolve=intro_evolution.evolve,
    needs=intro_decision.needs,
    parties=("asker", "connector", "target"),
    lapsing=(intro_states.Asked, intro_states.Offered, intro_states.Accepted, intro_states.Made, intro_states.Met),
    version_read_by=version_read_by,
)
DISPUTE: Final = Kind(
    name="dispute",
    plural="disputes",
    about=dispute.__doc__,
    private=True,
    states=dispute_states.Dispute,
    events=union_members(dispute_events.DisputeEvent),
    decide=dispute_decision.decide,
    evolve=dispute_evolution.evolve,
    needs=dispute_decision.needs,
    parties=("opener",),
    others="parties",
    lapsing=(dispute_states.Opened,),
)
MEMBER: Final = Kind(
    name="member",
    plural="members",
    about=member.__doc__,
    states=member.Member,
    events=union_members(member.MemberEvent),
    decide=member.decide,
    evolve=member.evolve,
    parties=("member",),
    recurs=True,
)
GATHERING: Final = Kind(
    name="gathering",
    plural="gatherings",
    about=gathering.__doc__,
    states=gathering.Gathering,
    events=union_members(gathering.GatheringEvent),
    decide=gathering.decide,
    evolve=gathering.evolve,
    parties=("host",),
)
ATTENDANCE: Final = Kind(
    name="attendance",
    plural="attendances",
    about=attendance.__doc__,
    states=attendance.Attendance,
    events=union_members(attendance.AttendanceEvent),
    decide=attendance.decide,
    evolve=attendance.evolve,
    needs=attendance.needs,
    parties=("member",),
)
CONTACT: Final = Kind(
    name="contact",
    plural="contacts",
    about=contact.__doc__,
    states=contact.Contact,
    events=union_members(contact.ContactEvent),
    decide=contact.decide,
    evolve=contact.evolve,
    parties=("member", "other"),
)
ONE_TO_ONE: Final = Kind(
    name="one-to-one",
    plural="one-to-ones",
    about=one_to_one.__doc__,
    states=one_to_one.OneToOne,
    events=union_members(one_to_one.OneToOneEvent),
    decide=one_to_one.decide,
    evolve=one_to_one.evolve,
    parties=("member", "other"),
)
POLICY: Final = Kind(
    name="policy",
    plural="policies",
    about=publication.__doc__,
    states=publication.Publication,
    events=union_members(publication.PublicationEvent),
    decide=publication.decide,
    evolve=publication.evolve,
    parties=(),
    recurs=True,
)
KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            FAVOUR,
            REFERRAL,
            INTRO,
            DISPUTE,
            MEMBER,
            GATHERING,
            ATTENDANCE,
            CONTACT,
            ONE_TO_ONE,
            POLICY,
        )
    }
)
KIND_OF_EVENT: Final[Mapping[type[Event], Kind]] = MappingProxyType(
    {event: kind for kind in KINDS.values() for event in kind.events}
)
EVENTS: Final[Mapping[str, type[Event]]] = MappingProxyType({tag_of(event): event for event in KIND_OF_EVENT})

LAPSING_STATES: Final = frozenset(state for kind in KINDS.values() for state in kind.lapsing)


def deadline_of(state: State) -> datetime | None:
    """Return the time at which an aggregate in this state ends by itself; None if it has no deadline."""
    if type(state) not in LAPSING_STATES:
        return None
    return cast("datetime", cast("Any", state).lapses_at)  # Every lapsing state has it.
