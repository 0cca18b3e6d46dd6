"""Everything the ledger knows how to do, as tables: kinds of aggregate, events, operations."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, get_args

from msgspec import Struct

from ledger.domain import favour, intro, referral
from ledger.domain.context import Context, Needs, no_needs
from ledger.domain.values import Command, Creation, Event, Lapse, State, tag_of

AnyEvent = favour.FavourEvent | referral.ReferralEvent | intro.IntroEvent


class Kind(Struct, frozen=True, kw_only=True):
    """A kind of aggregate: its states and events, and the functions that are its life."""

    name: str
    states: Any  # The union; msgspec decodes with it.
    events: tuple[type[Event], ...]
    decide: Callable[[Any, Any, Context], Any]  # An event of the kind, or None.
    evolve: Callable[[Any, Any], State]
    needs: Needs = no_needs


FAVOUR: Final = Kind(
    name="favour",
    states=favour.Favour,
    events=get_args(favour.FavourEvent),
    decide=favour.decide,
    evolve=favour.evolve,
)
REFERRAL: Final = Kind(
    name="referral",
    states=referral.Referral,
    events=get_args(referral.ReferralEvent),
    decide=referral.decide,
    evolve=referral.evolve,
    needs=referral.needs,
)
INTRO: Final = Kind(
    name="intro",
    states=intro.Intro,
    events=get_args(intro.IntroEvent),
    decide=intro.decide,
    evolve=intro.evolve,
)
KINDS: Final[Mapping[str, Kind]] = MappingProxyType({kind.name: kind for kind in (FAVOUR, REFERRAL, INTRO)})
KIND_OF_EVENT: Final[Mapping[type[Event], Kind]] = MappingProxyType(
    {event: kind for kind in KINDS.values() for event in kind.events}
)
EVENTS: Final[Mapping[str, type[Event]]] = MappingProxyType({tag_of(event): event for event in KIND_OF_EVENT})


class Operation(Struct, frozen=True, kw_only=True):
    """Something a caller may ask for, by name: a command on a kind of aggregate."""

    kind: Kind
    command: type[Command]

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
    }
)

LAPSES: Final[Mapping[str, type[Lapse]]] = MappingProxyType(
    {"favour": favour.LapseFavour, "referral": referral.LapseReferral, "intro": intro.LapseIntro}
)
