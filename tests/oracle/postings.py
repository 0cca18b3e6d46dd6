"""The posting rules of docs/domain.md: the legs that each event posts."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.oracle.aggregates import Aggregate, Charge, Event
from tests.oracle.legs import Legs, forgive, freeze, pay, put_at_stake, return_stake, reverse, unfreeze

# The member at fault for an introduction, by the reason of an upheld dispute of `intro.made`.
FAULTS: Final = {"asker_ghosted": "asker", "no_consent": "connector", "misdescribed": "connector"}

Find = Callable[[str, str], Aggregate]
"""Return the aggregate of this kind and id in the community of the event."""


def legs_of(event: Event, subject: Aggregate, policy: Mapping[str, Any], find: Find) -> Legs:
    """Return the legs that `event` posts. `subject` is its aggregate after the event."""
    facts = subject.facts
    match event.name:
        case "favour.thanked" | "favour.confirmed":
            return pay(facts["receiver"], subject.worth, to=facts["giver"])
        case "favour.forgiven":
            return forgive(facts["giver"], subject.worth, to=facts["receiver"])
        case "referral.qualified":
            return pay(facts["recipient"], subject.worth, to=facts["referrer"])
        case "referral.won":
            return referral_won(facts, policy, find)
        case "intro.made":
            return intro_made(subject)
        case "intro.met":
            return () if subject.matchmade else pay(facts["asker"], policy["met_points"], to=facts["target"])
        case "intro.closed":
            return intro_closed(subject, policy)
        case "dispute.opened":
            return each_payment(freeze, charge_of(subject, find))
        case "dispute.rejected" | "dispute.lapsed":
            return each_payment(unfreeze, charge_of(subject, find))
        case "dispute.upheld":
            return dispute_upheld(subject, find)
        case _:
            return ()


def referral_won(facts: Mapping[str, Any], policy: Mapping[str, Any], find: Find) -> Legs:
    """The recipient pays the band to the referrer, and a share to the referrer of the parent referral."""
    recipient = facts["recipient"]
    legs = pay(recipient, policy["band_points"][facts["band"]], to=facts["referrer"])
    if facts.get("parent") is not None:
        parent_referrer = find("referral", facts["parent"]).facts["referrer"]
        if parent_referrer != recipient:
            legs += pay(recipient, policy["parent_points"], to=parent_referrer)
    return legs


def intro_made(intro: Aggregate) -> Legs:
    """The asker pays the connector. In an offered intro, asker and target pay half each. The stake leaves `main`."""
    asker, connector, target = (intro.facts[role] for role in ("asker", "connector", "target"))
    if intro.matchmade:
        paid = pay(asker, intro.worth // 2, to=connector) + pay(target, intro.worth // 2, to=connector)
    else:
        paid = pay(asker, intro.worth, to=connector)
    return paid + put_at_stake(connector, intro.stake)


def intro_closed(intro: Aggregate, policy: Mapping[str, Any]) -> Legs:
    """Return the legs of a closed introduction, by its fault.

    The stake returns, except if the connector is at fault. An asker at fault pays both others. A connector at fault
    pays back and loses the stake. An upheld dispute of `intro.made` by the fault rule has settled the fault. After a
    reversal, a connector at fault loses only the stake.
    """
    facts, remedy = intro.facts, intro.remedies.get("intro.made")
    stake = return_stake(facts["connector"], intro.stake)
    if remedy == "fault" or facts["fault"] == "none":
        return stake
    if facts["fault"] == "asker":
        return stake + asker_fault(facts, policy["asker_fault_points"])
    return connector_fault(intro, 0 if remedy == "reversal" else intro.worth, account="stake")


def asker_fault(intro: Mapping[str, Any], penalty: int) -> Legs:
    """The asker pays the penalty to the target and to the connector."""
    return pay(intro["asker"], penalty, to=intro["target"]) + pay(intro["asker"], penalty, to=intro["connector"])


def connector_fault(intro: Aggregate, points: int, *, account: str) -> Legs:
    """Return `points` from `main` to the payers, and the stake from `account` to the disappointed members.

    Of an ask, the asker paid and the target is disappointed. Of an offered intro, both paid and both are disappointed.
    """
    asker, connector, target = (intro.facts[role] for role in ("asker", "connector", "target"))
    if not intro.matchmade:
        return pay(connector, points, to=asker) + pay(connector, intro.stake, to=target, account=account)
    half = intro.stake // 2
    return (
        pay(connector, points // 2, to=asker)
        + pay(connector, points // 2, to=target)
        + pay(connector, half, to=asker, account=account)
        + pay(connector, intro.stake - half, to=target, account=account)
    )


def dispute_upheld(dispute: Aggregate, find: Find) -> Legs:
    """Return the legs of an upheld dispute, by its remedy.

    A reversal undoes the entry. Under the fault rule the entry stands, and the member at fault pays from `main`. In the
    third case the parties have settled it themselves.
    """
    charge = charge_of(dispute, find)
    match dispute.facts["remedy"]:
        case "reversal":
            return each_payment(reverse, charge)
        case "fault":
            intro = find("intro", dispute.facts["about"])
            if FAULTS[dispute.facts["code"]] == "asker":
                return each_payment(unfreeze, charge) + asker_fault(intro.facts, dispute.penalty)
            return each_payment(unfreeze, charge) + connector_fault(intro, intro.worth, account="main")
        case _:
            return each_payment(unfreeze, charge)


def each_payment(movement: Callable[..., Legs], charge: Charge) -> Legs:
    """Return the legs of a movement, applied to every payment of a charge."""
    return tuple(leg for payer, payee, points in charge.payments for leg in movement(payer, points, payee=payee))


def charge_of(dispute: Aggregate, find: Find) -> Charge:
    """Return the charge of the disputed entry."""
    entry: str = dispute.facts["entry"]
    return find(entry.partition(".")[0], dispute.facts["about"]).charges[entry]
