"""Everything the ledger knows how to do, as tables: kinds of aggregate, events, operations."""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, cast, get_args

from msgspec import Struct

from ledger.domain import (
    attendance,
    contact,
    dispute,
    disputed,
    favour,
    gathering,
    intro,
    introducing,
    member,
    one_to_one,
    publication,
    referral,
)
from ledger.domain.context import Context, Needs, no_needs
from ledger.domain.values import Command, Creation, Event, Lapse, State, tag_of
from ledger.domain.visibility import version_seen

AnyEvent = (
    favour.FavourEvent
    | referral.ReferralEvent
    | intro.IntroEvent
    | dispute.DisputeEvent
    | member.MemberEvent
    | gathering.GatheringEvent
    | attendance.AttendanceEvent
    | contact.ContactEvent
    | one_to_one.OneToOneEvent
    | publication.PublicationEvent
)


def alternatives(union: Any) -> tuple[Any, ...]:
    """The types of a union; of a type that stands alone, itself."""
    return get_args(union) or (union,)


def all_of_it(_member: str, _state: State, version: int, _now: datetime) -> int:
    """Most kinds have nothing to hide from anybody who may read them."""
    return version


class Kind(Struct, frozen=True, kw_only=True):
    """A kind of aggregate: its states and events, and the functions that are its life."""

    name: str
    states: Any  # The union, or the only one; msgspec decodes with it.
    events: tuple[type[Event], ...]
    decide: Callable[[Any, Any, Context], Any]  # An event of the kind, or None.
    evolve: Callable[[Any, Any], State]
    needs: Needs = no_needs
    parties: tuple[str, ...]  # Of every state: the fields that name the members whom it concerns, each in a role.
    others: str | None = None  # Of every state: the field that lists members whom it concerns besides.
    version_seen: Callable[[str, Any, int, datetime], int] = all_of_it  # By a member, at a time.
    recurs: bool = False  # Whether what creates it may also happen to it later: a member joins again.
    lapsing: tuple[type[State], ...] = ()  # The states that end by themselves, at their `lapses_at`.

    def concerned(self, state: State) -> tuple[str, ...]:
        """The members whom it concerns, at most three: those in a role, in the order of `parties`, then the others."""
        named = [getattr(state, role) for role in self.parties]
        if self.others is not None:
            named += [member for member in getattr(state, self.others) if member not in named]
        return tuple(named)


FAVOUR: Final = Kind(
    name="favour",
    states=favour.Favour,
    events=alternatives(favour.FavourEvent),
    decide=favour.decide,
    evolve=favour.evolve,
    needs=favour.needs,
    parties=("giver", "receiver"),
    lapsing=(favour.Claimed,),
)
REFERRAL: Final = Kind(
    name="referral",
    states=referral.Referral,
    events=alternatives(referral.ReferralEvent),
    decide=referral.decide,
    evolve=referral.evolve,
    needs=referral.needs,
    parties=("referrer", "recipient"),
    lapsing=(referral.Given, referral.Qualified, referral.Contacted),
)
INTRO: Final = Kind(
    name="intro",
    states=intro.Intro,
    events=alternatives(intro.IntroEvent),
    decide=introducing.decide,
    evolve=intro.evolve,
    needs=introducing.needs,
    parties=("asker", "connector", "target"),
    lapsing=(intro.Asked, intro.Offered, intro.Accepted, intro.Made, intro.Met),
    version_seen=version_seen,
)
DISPUTE: Final = Kind(
    name="dispute",
    states=disputed.Dispute,
    events=alternatives(dispute.DisputeEvent),
    decide=dispute.decide,
    evolve=dispute.evolve,
    needs=dispute.needs,
    parties=("opener",),
    others="parties",
    lapsing=(disputed.Opened,),
)
MEMBER: Final = Kind(
    name="member",
    states=member.Member,
    events=alternatives(member.MemberEvent),
    decide=member.decide,
    evolve=member.evolve,
    parties=("member",),
    recurs=True,
)
GATHERING: Final = Kind(
    name="gathering",
    states=gathering.Gathering,
    events=alternatives(gathering.GatheringEvent),
    decide=gathering.decide,
    evolve=gathering.evolve,
    parties=("host",),
)
ATTENDANCE: Final = Kind(
    name="attendance",
    states=attendance.Attendance,
    events=alternatives(attendance.AttendanceEvent),
    decide=attendance.decide,
    evolve=attendance.evolve,
    needs=attendance.needs,
    parties=("member",),
)
CONTACT: Final = Kind(
    name="contact",
    states=contact.Contact,
    events=alternatives(contact.ContactEvent),
    decide=contact.decide,
    evolve=contact.evolve,
    parties=("member", "other"),
)
ONE_TO_ONE: Final = Kind(
    name="one-to-one",
    states=one_to_one.OneToOne,
    events=alternatives(one_to_one.OneToOneEvent),
    decide=one_to_one.decide,
    evolve=one_to_one.evolve,
    parties=("member", "other"),
)
POLICY: Final = Kind(
    name="policy",
    states=publication.Publication,
    events=alternatives(publication.PublicationEvent),
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


LAPSING: Final = frozenset(state for kind in KINDS.values() for state in kind.lapsing)


class Operation(Struct, frozen=True, kw_only=True):
    """Something a caller may ask for, by name: a command on a kind of aggregate."""

    kind: Kind
    command: type[Command]
    moderated: bool = False  # Not for everybody who may write.

    @property
    def creates(self) -> bool:
        return issubclass(self.command, Creation)


OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType(
    {
        "favour.record": Operation(kind=FAVOUR, command=favour.RecordFavour),
        "favour.confirm": Operation(kind=FAVOUR, command=favour.ConfirmFavour),
        "favour.refuse": Operation(kind=FAVOUR, command=favour.RefuseFavour),
        "favour.forgive": Operation(kind=FAVOUR, command=favour.ForgiveFavour),
        "referral.give": Operation(kind=REFERRAL, command=referral.GiveReferral),
        "referral.qualify": Operation(kind=REFERRAL, command=referral.QualifyReferral),
        "referral.disqualify": Operation(kind=REFERRAL, command=referral.DisqualifyReferral),
        "referral.contact": Operation(kind=REFERRAL, command=referral.ContactReferral),
        "referral.win": Operation(kind=REFERRAL, command=referral.WinReferral),
        "referral.lose": Operation(kind=REFERRAL, command=referral.LoseReferral),
        "intro.propose": Operation(kind=INTRO, command=intro.ProposeIntro),
        "intro.accept": Operation(kind=INTRO, command=intro.AcceptIntro),
        "intro.decline": Operation(kind=INTRO, command=intro.DeclineIntro),
        "intro.withdraw": Operation(kind=INTRO, command=intro.WithdrawIntro),
        "intro.consent": Operation(kind=INTRO, command=intro.ConsentIntro),
        "intro.refuse": Operation(kind=INTRO, command=intro.RefuseIntro),
        "intro.make": Operation(kind=INTRO, command=intro.MakeIntro),
        "intro.meet": Operation(kind=INTRO, command=intro.MeetIntro),
        "intro.close": Operation(kind=INTRO, command=intro.CloseIntro),
        "dispute.open": Operation(kind=DISPUTE, command=dispute.OpenDispute),
        "dispute.uphold": Operation(kind=DISPUTE, command=dispute.UpholdDispute, moderated=True),
        "dispute.reject": Operation(kind=DISPUTE, command=dispute.RejectDispute, moderated=True),
        "member.join": Operation(kind=MEMBER, command=member.JoinMember),
        "member.pause": Operation(kind=MEMBER, command=member.PauseMember),
        "member.resume": Operation(kind=MEMBER, command=member.ResumeMember),
        "member.wants": Operation(kind=MEMBER, command=member.SetWants),
        "member.offers": Operation(kind=MEMBER, command=member.SetOffers),
        "member.caps": Operation(kind=MEMBER, command=member.SetCaps),
        "member.leave": Operation(kind=MEMBER, command=member.LeaveMember),
        "gathering.hold": Operation(kind=GATHERING, command=gathering.HoldGathering),
        "attendance.attend": Operation(kind=ATTENDANCE, command=attendance.Attend),
        "attendance.pay": Operation(kind=ATTENDANCE, command=attendance.PayDues),
        "contact.make": Operation(kind=CONTACT, command=contact.MakeContact),
        "one-to-one.book": Operation(kind=ONE_TO_ONE, command=one_to_one.BookOneToOne),
        "one-to-one.hold": Operation(kind=ONE_TO_ONE, command=one_to_one.HoldOneToOne),
        "one-to-one.cancel": Operation(kind=ONE_TO_ONE, command=one_to_one.CancelOneToOne),
        "policy.publish": Operation(kind=POLICY, command=publication.PublishPolicy, moderated=True),
    }
)

# Only kinds that have deadlines.
LAPSES: Final[Mapping[str, type[Lapse]]] = MappingProxyType(
    {
        "favour": favour.LapseFavour,
        "referral": referral.LapseReferral,
        "intro": intro.LapseIntro,
        "dispute": dispute.LapseDispute,
    }
)


def deadline_of(state: State) -> datetime | None:
    """When it ends by itself, if nobody moves it before; None, when it does not."""
    if type(state) not in LAPSING:
        return None
    return cast("datetime", cast("Any", state).lapses_at)  # Each of them has it.
