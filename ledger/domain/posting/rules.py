"""Posting rules: the entry of every event, the text of every rule, and the events that post nothing.

See docs/domain.md#rules-for-every-event.
"""

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
        return transfer_entry(event)  # The stake is part of the payment.
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
        favour.FavourForgiven: "The giver forgives the debt: the points go back on `main`, and the gross tallies stay.",
        referral.ReferralQualified: "The recipient owes the referrer the points of the referral's level.",
        referral.ReferralWon: (
            "The recipient owes the referrer the points of the deal band. If the referral has a parent referral, the "
            "recipient also owes points to the referrer of the parent."
        ),
        intro_events.IntroMade: (
            "The asker owes the connector the points of the level; in an offered intro, each of the two members owes "
            "half. From the policy's stake level on, half of the points move from the connector's `main` to `stake`."
        ),
        intro_events.IntroMet: "The asker owes the target the points of a meeting; in an offered intro, nobody does.",
        intro_events.IntroClosed: (
            "The stake goes back to the connector. An asker at fault owes the target and the connector a penalty each. "
            "A connector at fault pays the points of the introduction back, and pays the stake to the target; in an "
            "offered intro, to both members."
        ),
        dispute_events.DisputeOpened: "The points of the disputed entry are set aside in `disputed`, on both sides.",
        dispute_events.DisputeUpheld: (
            "Reversal: the points that were set aside are removed, also from the gross tallies. Fault rule: they go "
            "back, and the member at fault pays. If the members settled it already, the points go back."
        ),
        dispute_events.DisputeRejected: "The entry stands, and the points that were set aside go back.",
        dispute_events.DisputeLapsed: "Nobody judged the dispute in time. The entry stands, and the points go back.",
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
    """Return the text of the posting rule of an event."""
    return RULES_IN_WORDS.get(type(event), "Nothing moves.")


def entry_of(event: Event) -> Entry:
    """Return the entry that an event posts; `EMPTY_ENTRY` if it posts nothing."""
    rule = RULES.get(type(event))
    return rule(event) if rule else EMPTY_ENTRY
