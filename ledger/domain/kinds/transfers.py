"""Transfers of an event: who pays whom, and how many points.

Posting makes entries of transfers, and a dispute can reverse them.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, assert_never

from ledger.domain.kinds import favour, referral
from ledger.domain.kinds.intro import events as intro_events
from ledger.domain.values.aggregate_types import Event
from ledger.domain.values.entries import Transfer
from ledger.domain.values.ids import MemberId
from ledger.domain.values.points import Account, Points

Transfers = tuple[Transfer, ...]


def debt(payer: MemberId, payee: MemberId, points: Points, *, payer_account: Account = "main") -> Transfers:
    """Return one transfer; none for 0 points."""
    return (Transfer(payer, payee, points, payer_account),) if points else ()


def favour_done(event: favour.FavourThanked | favour.FavourConfirmed) -> Transfers:
    return debt(event.receiver, event.giver, event.points)


def referral_qualified(event: referral.ReferralQualified) -> Transfers:
    return debt(event.recipient, event.referrer, event.points)


def referral_won(event: referral.ReferralWon) -> Transfers:
    """Return the transfers from the recipient to the referrer and to the parent's referrer.

    See docs/domain.md#parent-referral.
    """
    won = debt(event.recipient, event.referrer, event.points)
    if event.parent_referrer is None:
        return won
    return won + debt(event.recipient, event.parent_referrer, event.parent_points)


def intro_made(event: intro_events.IntroMade) -> Transfers:
    """Return the transfer from the asker, or from both members of an offered intro. See docs/domain.md#intro-points."""
    if event.matchmade:
        half = event.points // 2
        return debt(event.asker, event.connector, half) + debt(event.target, event.connector, half)
    return debt(event.asker, event.connector, event.points)


def intro_met(event: intro_events.IntroMet) -> Transfers:
    return debt(event.asker, event.target, event.points)


def intro_closed(event: intro_events.IntroClosed) -> Transfers:
    if event.settled:
        return ()  # An upheld dispute charged the member at fault already.
    match event.fault:
        case "none":
            return ()
        case "asker":
            return asker_fault(event, event.penalty)
        case "connector":
            return connector_fault(event, stake_account="stake")
        case _:
            assert_never(event.fault)


def asker_fault(event: intro_events.IntroMade | intro_events.IntroClosed, penalty: Points) -> Transfers:
    """Return the transfers from an asker at fault: `penalty` points each to the target and the connector.

    See docs/domain.md#asker-at-fault.
    """
    return debt(event.asker, event.target, penalty) + debt(event.asker, event.connector, penalty)


def connector_fault(event: intro_events.IntroMade | intro_events.IntroClosed, *, stake_account: Account) -> Transfers:
    """Return the transfers from a connector at fault: the points of `made` back to their payers, and the stake.

    The stake is paid from `stake_account` to the target. In an offered intro, each of the two members gets half of it,
    and the target the odd point. See docs/domain.md#connector-at-fault.
    """
    asker, connector, target = event.asker, event.connector, event.target
    if event.matchmade:
        half, half_stake = event.points // 2, event.stake // 2
        return (
            debt(connector, asker, half)
            + debt(connector, target, half)
            + debt(connector, asker, half_stake, payer_account=stake_account)
            + debt(connector, target, event.stake - half_stake, payer_account=stake_account)
        )
    return debt(connector, asker, event.points) + debt(connector, target, event.stake, payer_account=stake_account)


TRANSFERS: Final[Mapping[type[Event], Callable[[Any], Transfers]]] = MappingProxyType(
    {
        favour.FavourThanked: favour_done,
        favour.FavourConfirmed: favour_done,
        referral.ReferralQualified: referral_qualified,
        referral.ReferralWon: referral_won,
        intro_events.IntroMade: intro_made,
        intro_events.IntroMet: intro_met,
        intro_events.IntroClosed: intro_closed,
    }
)


def transfers_of(event: Event) -> Transfers:
    """Return the transfers of an event; none if no member pays for it."""
    rule = TRANSFERS.get(type(event))
    return rule(event) if rule else ()
