"""What an event does beside moving points: who kept their word, who got to know whom, what counts as help."""

from datetime import datetime
from typing import Final

from msgspec import Struct

from ledger.domain.kinds import contact, favour, one_to_one
from ledger.domain.kinds.dispute import events as dispute_events
from ledger.domain.kinds.intro import events as intro_events
from ledger.domain.values.aggregate_types import Event, State, tag_of
from ledger.domain.values.ids import MemberId

HELP_EVENTS: Final = frozenset[type[Event]](
    {favour.FavourThanked, favour.FavourConfirmed, intro_events.IntroMade, intro_events.IntroMet},
)
HELP_TAGS: Final = frozenset(tag_of(event) for event in HELP_EVENTS)


class ReliabilityChange(Struct, frozen=True, gc=False):
    """What an introduction adds to the words that a member has kept, and to those they have broken."""

    member: MemberId
    kept: int
    broken: int


class Acquaintance(Struct, frozen=True, gc=False):
    """Two members have met, introduced or not, or, `one_to_one`, sat down together."""

    member: MemberId
    other: MemberId
    one_to_one: bool


def reliability_changes(event: Event) -> tuple[ReliabilityChange, ...]:
    """Those who could have been at fault in an introduction that is over: did they keep their word?

    Who is found at fault by a dispute only after it was closed has broken a word that counted as kept.
    """
    if type(event) is intro_events.IntroClosed:  # Asked of every event there is: it has to be quick.
        connector = reliability_change(event.connector, kept=event.fault != "connector")
        if event.matchmade:
            return (connector,)  # Nobody asked, so no asker could be at fault.
        return (connector, reliability_change(event.asker, kept=event.fault != "asker"))
    if type(event) is dispute_events.DisputeUpheld and event.after_closing and event.owed:
        return (ReliabilityChange(event.owed[0].payer, kept=-1, broken=1),)
    return ()


def reliability_change(member: MemberId, *, kept: bool) -> ReliabilityChange:
    return ReliabilityChange(member, kept=int(kept), broken=int(not kept))


def acquaintance(event: Event, after: State) -> Acquaintance | None:
    """Who got to know whom. A one-to-one was held when both have said so: see the state after the event."""
    if type(event) is contact.ContactMade:
        return Acquaintance(event.member, event.other, one_to_one=False)
    if type(event) is intro_events.IntroMet:
        return Acquaintance(event.asker, event.target, one_to_one=False)
    if type(event) is one_to_one.OneToOneHeld and type(after) is one_to_one.Held:
        return Acquaintance(event.member, event.other, one_to_one=True)
    return None


def is_help(event: Event) -> bool:
    """Whether what is given by it is a settled favour or introduction; or was, when it is reversed."""
    if isinstance(event, dispute_events.DisputeUpheld):
        return event.remedy == "reversal" and event.entry in HELP_TAGS
    return type(event) in HELP_EVENTS


def weighting_time(event: Event, happened_at: datetime) -> datetime:
    """When its points count from: those of a reversal, from when what it reverses happened, so that nothing stays."""
    if isinstance(event, dispute_events.DisputeUpheld) and event.remedy == "reversal":
        return event.happened_at
    return happened_at
