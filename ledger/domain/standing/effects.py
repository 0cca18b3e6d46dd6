"""Effects of an event beside its entry: reliability, acquaintance, help, and the time from which points decay."""

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
    """A change of the counts behind a member's reliability: intros without their fault, and intros with it."""

    member: MemberId
    kept: int
    broken: int


class Acquaintance(Struct, frozen=True, gc=False):
    """Two members have met, or, with `one_to_one`, held a one-to-one."""

    member: MemberId
    other: MemberId
    one_to_one: bool


def reliability_changes(event: Event) -> tuple[ReliabilityChange, ...]:
    """Return a change for each member who could be at fault in an intro that closes.

    A fault that a dispute finds after the closing moves one intro from `kept` to `broken`. See
    docs/domain.md#reliability.
    """
    if type(event) is intro_events.IntroClosed:  # Runs for every event, and `isinstance` is slower.
        connector = reliability_change(event.connector, kept=event.fault != "connector")
        if event.matchmade:
            return (connector,)  # An offered intro has no asker who could be at fault.
        return (connector, reliability_change(event.asker, kept=event.fault != "asker"))
    if type(event) is dispute_events.DisputeUpheld and event.after_closing and event.owed:
        return (ReliabilityChange(event.owed[0].payer, kept=-1, broken=1),)
    return ()


def reliability_change(member: MemberId, *, kept: bool) -> ReliabilityChange:
    return ReliabilityChange(member, kept=int(kept), broken=int(not kept))


def acquaintance(event: Event, after: State) -> Acquaintance | None:
    """Return the acquaintance that an event makes, or None. `after` is the state of the aggregate after the event.

    A one-to-one counts when both members recorded it. See docs/domain.md#held-by-both.
    """
    if type(event) is contact.ContactMade:
        return Acquaintance(event.member, event.other, one_to_one=False)
    if type(event) is intro_events.IntroMet:
        return Acquaintance(event.asker, event.target, one_to_one=False)
    if type(event) is one_to_one.OneToOneHeld and type(after) is one_to_one.Held:
        return Acquaintance(event.member, event.other, one_to_one=True)
    return None


def is_help(event: Event) -> bool:
    """Return whether the event settles a favour or an introduction, or reverses the entry of one."""
    if isinstance(event, dispute_events.DisputeUpheld):
        return event.remedy == "reversal" and event.entry in HELP_TAGS
    return type(event) in HELP_EVENTS


def weighting_time(event: Event, happened_at: datetime) -> datetime:
    """Return the time from which the points of an event decay: for a reversal, the time of the reversed entry.

    So nothing of the entry remains in the recent standing. See docs/domain.md#dispute-reversal.
    """
    if isinstance(event, dispute_events.DisputeUpheld) and event.remedy == "reversal":
        return event.happened_at
    return happened_at
