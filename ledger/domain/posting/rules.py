"""What every event posts: one table from event to entry, what it says in words, and those that move nothing."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, assert_never

from ledger.domain.kinds import attendance, contact, favour, gathering, member, one_to_one, publication, referral
from ledger.domain.kinds.dispute import events as dispute_events
from ledger.domain.kinds.intro import events as intro_events
from ledger.domain.kinds.transfers import transfers_of
from ledger.domain.values.aggregate_types import Event
from ledger.domain.values.entries import EMPTY_ENTRY, Entry, between_accounts, freeze, gift, pay, release, reverse


def transfer_entry(event: Event) -> Entry:
    return pay(transfers_of(event))


def intro_made(event: intro_events.IntroMade) -> Entry:
    return transfer_entry(event) + between_accounts(event.connector, "main", "stake", event.stake)


def intro_closed(event: intro_events.IntroClosed) -> Entry:
    if event.fault == "connector" and not event.settled:
        return transfer_entry(event)  # The stake is part of what they pay.
    return between_accounts(event.connector, "stake", "main", event.stake) + transfer_entry(event)


def dispute_upheld(event: dispute_events.DisputeUpheld) -> Entry:
    match event.remedy:
        case "reversal":
            return reverse(event.transfers)
        case "fault":
            return release(event.transfers) + pay(event.owed)
        case "none":
            return release(event.transfers)
        case _:
            assert_never(event.remedy)


RULES: Final[Mapping[type[Event], Callable[[Any], Entry]]] = MappingProxyType(
    {
        favour.FavourThanked: transfer_entry,
        favour.FavourConfirmed: transfer_entry,
        favour.FavourForgiven: lambda e: gift(e.giver, e.receiver, e.points),
        referral.ReferralQualified: transfer_entry,
        referral.ReferralWon: transfer_entry,
        intro_events.IntroMade: intro_made,
        intro_events.IntroMet: transfer_entry,
        intro_events.IntroClosed: intro_closed,
        dispute_events.DisputeOpened: lambda e: freeze(e.transfers),
        dispute_events.DisputeUpheld: dispute_upheld,
        dispute_events.DisputeRejected: lambda e: release(e.transfers),
        dispute_events.DisputeLapsed: lambda e: release(e.transfers),
    }
)

RULES_IN_WORDS: Final[Mapping[type[Event], str]] = MappingProxyType(
    {
        favour.FavourThanked: "The receiver owes the giver the points of the favour's size.",
        favour.FavourConfirmed: "The receiver owes the giver the points of the favour's size.",
        favour.FavourForgiven: "The giver makes it a gift: the points go back on `main`, the gross tallies stay.",
        referral.ReferralQualified: "The recipient owes the referrer the points of the referral's level.",
        referral.ReferralWon: (
            "The recipient owes the referrer the points of the business's band, and, when it grew out of an earlier "
            "referral that was won, that one's referrer the points for it."
        ),
        intro_events.IntroMade: (
            "The asker owes the connector the points of the level; of a match, each of the two owes half. From the "
            "policy's level on, half of the points go from the connector's `main` to their `stake`."
        ),
        intro_events.IntroMet: "The asker owes the target the points of the meeting; in a match, nobody owes anything.",
        intro_events.IntroClosed: (
            "The stake goes back to the connector. An asker at fault owes the target and the connector a penalty each; "
            "a connector at fault gives back what they were paid, and their stake to those let down."
        ),
        dispute_events.DisputeOpened: "What the disputed entry moved is set aside in `disputed`, on both sides.",
        dispute_events.DisputeUpheld: (
            "A reversal: what was set aside is nobody's any more, and the gross tallies are as if it had never been. "
            "By the fault rule: it goes back, and the one at fault pays."
        ),
        dispute_events.DisputeRejected: "What was set aside goes back: the entry stands.",
        dispute_events.DisputeLapsed: "Nobody judged it: what was set aside goes back, and the entry stands.",
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
        intro_events.IntroAsked,
        intro_events.IntroOffered,
        intro_events.IntroAccepted,
        intro_events.IntroDeclined,
        intro_events.IntroWithdrawn,
        intro_events.IntroConsented,
        intro_events.IntroRefused,
        intro_events.IntroExpired,
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


def rule_in_words(event: Event) -> str:
    """The rule that an event is posted by, in words."""
    return RULES_IN_WORDS.get(type(event), "Nothing moves.")


def entry_of(event: Event) -> Entry:
    """The entry an event posts; `EMPTY_ENTRY` for one that moves nothing."""
    rule = RULES.get(type(event))
    return rule(event) if rule else EMPTY_ENTRY
