"""What every event posts: one table from event to entry, and the list of those that move nothing."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, assert_never

from ledger.domain import favour, intro, referral
from ledger.domain.entry import NOTHING, Entry, gift, transfer, within
from ledger.domain.values import Event


def referral_won(event: referral.ReferralWon) -> Entry:
    entry = transfer(event.recipient, event.referrer, event.points)
    if event.parent_referrer is None:
        return entry
    return entry + transfer(event.recipient, event.parent_referrer, event.parent_points)


def intro_made(event: intro.IntroMade) -> Entry:
    return paid_to_connector(event) + within(event.connector, "main", "stake", event.stake)


def paid_to_connector(event: intro.IntroMade) -> Entry:
    if event.matchmade:
        half = event.points // 2
        return transfer(event.asker, event.connector, half) + transfer(event.target, event.connector, half)
    return transfer(event.asker, event.connector, event.points)


def intro_met(event: intro.IntroMet) -> Entry:
    return transfer(event.asker, event.target, event.points)


def intro_closed(event: intro.IntroClosed) -> Entry:
    match event.fault:
        case "none":
            return within(event.connector, "stake", "main", event.stake)
        case "asker":
            return (
                within(event.connector, "stake", "main", event.stake)
                + transfer(event.asker, event.target, event.penalty)
                + transfer(event.asker, event.connector, event.penalty)
            )
        case "connector":
            return made_good(event)
        case _:
            assert_never(event.fault)


def made_good(event: intro.IntroClosed) -> Entry:
    """The connector gives back what they were paid, to those who paid; the stake goes to those let down."""
    if event.matchmade:
        pair = (event.asker, event.target)
        repaid = [(member, event.points // 2) for member in pair]
        staked = [(event.asker, event.stake // 2), (event.target, event.stake - event.stake // 2)]
    else:
        repaid, staked = [(event.asker, event.points)], [(event.target, event.stake)]
    entry = NOTHING
    for member, points in repaid:
        entry += transfer(event.connector, member, points)
    for member, points in staked:
        entry += transfer(event.connector, member, points, payer_account="stake")
    return entry


RULES: Final[Mapping[type[Event], Callable[[Any], Entry]]] = MappingProxyType(
    {
        favour.FavourThanked: lambda e: transfer(e.receiver, e.giver, e.points),
        favour.FavourConfirmed: lambda e: transfer(e.receiver, e.giver, e.points),
        favour.FavourForgiven: lambda e: gift(e.giver, e.receiver, e.points),
        referral.ReferralQualified: lambda e: transfer(e.recipient, e.referrer, e.points),
        referral.ReferralWon: referral_won,
        intro.IntroMade: intro_made,
        intro.IntroMet: intro_met,
        intro.IntroClosed: intro_closed,
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
    }
)


def entry_of(event: Event) -> Entry:
    """The entry an event posts; `NOTHING` for one that moves nothing."""
    rule = RULES.get(type(event))
    return rule(event) if rule else NOTHING
