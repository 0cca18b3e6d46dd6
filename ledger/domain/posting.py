"""What every event posts: one table from event to entry, what it says in words, and those that move nothing."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, assert_never

from ledger.domain import (
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
from ledger.domain.entry import NOTHING, Entry, frozen, gift, paid, reversal, thawed, within
from ledger.domain.transfers import transfers_of
from ledger.domain.values import Event


def transferred(event: Event) -> Entry:
    return paid(transfers_of(event))


def intro_made(event: intro.IntroMade) -> Entry:
    return transferred(event) + within(event.connector, "main", "stake", event.stake)


def intro_closed(event: intro.IntroClosed) -> Entry:
    if event.fault == "connector" and not event.settled:
        return transferred(event)  # The stake is part of what they pay.
    return within(event.connector, "stake", "main", event.stake) + transferred(event)


def dispute_upheld(event: dispute.DisputeUpheld) -> Entry:
    match event.remedy:
        case "reversal":
            return reversal(event.transfers)
        case "fault":
            return thawed(event.transfers) + paid(event.owed)
        case "none":
            return thawed(event.transfers)
        case _:
            assert_never(event.remedy)


RULES: Final[Mapping[type[Event], Callable[[Any], Entry]]] = MappingProxyType(
    {
        favour.FavourThanked: transferred,
        favour.FavourConfirmed: transferred,
        favour.FavourForgiven: lambda e: gift(e.giver, e.receiver, e.points),
        referral.ReferralQualified: transferred,
        referral.ReferralWon: transferred,
        intro.IntroMade: intro_made,
        intro.IntroMet: transferred,
        intro.IntroClosed: intro_closed,
        dispute.DisputeOpened: lambda e: frozen(e.transfers),
        dispute.DisputeUpheld: dispute_upheld,
        dispute.DisputeRejected: lambda e: thawed(e.transfers),
        dispute.DisputeLapsed: lambda e: thawed(e.transfers),
    }
)

SAYS: Final[Mapping[type[Event], str]] = MappingProxyType(
    {
        favour.FavourThanked: "The receiver owes the giver the points of the favour's size.",
        favour.FavourConfirmed: "The receiver owes the giver the points of the favour's size.",
        favour.FavourForgiven: "The giver makes it a gift: the points go back on `main`, the gross tallies stay.",
        referral.ReferralQualified: "The recipient owes the referrer the points of the referral's level.",
        referral.ReferralWon: (
            "The recipient owes the referrer the points of the business's band, and, when it grew out of an earlier "
            "referral that was won, that one's referrer the points for it."
        ),
        intro.IntroMade: (
            "The asker owes the connector the points of the level; of a match, each of the two owes half. From the "
            "policy's level on, half of the points go from the connector's `main` to their `stake`."
        ),
        intro.IntroMet: "The asker owes the target the points for the meeting; of a match, nobody owes anything.",
        intro.IntroClosed: (
            "The stake goes back to the connector. An asker at fault owes the target and the connector a penalty each; "
            "a connector at fault gives back what they were paid, and their stake to those let down."
        ),
        dispute.DisputeOpened: "What the disputed entry moved is set aside in `disputed`, on both sides.",
        dispute.DisputeUpheld: (
            "A reversal: what was set aside is nobody's any more, and the gross tallies are as if it had never been. "
            "By the fault rule: it goes back, and the one at fault pays."
        ),
        dispute.DisputeRejected: "What was set aside goes back: the entry stands.",
        dispute.DisputeLapsed: "Nobody judged it: what was set aside goes back, and the entry stands.",
    }
)

MOVES_NOTHING: Final = frozenset[type[Event]](
    {
        favour.FavourClaimed,
        favour.FavourRefused,
        favour.FavourLapsed,
        referral.ReferralGiven,
        referral.ReferralDisqualified,
        referral.ReferralContacted,
        referral.ReferralLost,
        referral.ReferralLapsed,
        intro.IntroAsked,
        intro.IntroOffered,
        intro.IntroAccepted,
        intro.IntroDeclined,
        intro.IntroWithdrawn,
        intro.IntroConsented,
        intro.IntroRefused,
        intro.IntroExpired,
        member.MemberJoined,
        member.MemberPaused,
        member.MemberResumed,
        member.MemberWantsSet,
        member.MemberOffersSet,
        member.MemberCapsSet,
        member.MemberLeft,
        gathering.GatheringHeld,
        attendance.AttendanceAttended,
        attendance.AttendanceDuesPaid,
        contact.ContactMade,
        one_to_one.OneToOneBooked,
        one_to_one.OneToOneHeld,
        one_to_one.OneToOneCancelled,
        publication.PolicyPublished,
    }
)


def rule_says(event: Event) -> str:
    """The rule that an event is posted by, in words."""
    return SAYS.get(type(event), "Nothing moves.")


def entry_of(event: Event) -> Entry:
    """The entry an event posts; `NOTHING` for one that moves nothing."""
    rule = RULES.get(type(event))
    return rule(event) if rule else NOTHING
