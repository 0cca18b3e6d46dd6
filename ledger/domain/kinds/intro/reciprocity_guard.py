"""Reciprocity guard: weighs an ask by the standing of the asker. See docs/domain.md#reciprocity-guard.

The connector reads facts, and a riding asker reads ways to give. The guard weighs `intro.asked` alone: offered intros,
thanks and gifts are never blocked. It refuses asks if the policy's `guard` is `enforce`, and advises if it is `advise`.
"""

from datetime import datetime
from typing import Final, assert_never

from ledger.domain.values.advice import SUGGESTIONS_MAX, Advice, GuardFacts, Reason
from ledger.domain.values.policy import Policy
from ledger.domain.values.refusals import AskedBefore, InboundAsks, OpenAsks, ReciprocityLimit

UNAVAILABLE: Final = Advice(verdict="unavailable")


def is_riding(facts: GuardFacts, now: datetime, policy: Policy) -> bool:
    """Return whether the member is riding: all five conditions of docs/domain.md#riding hold at once.

    Net at or below -0.7 of the limit, at least 5 items received in 180 days, given/received under 0.2, older than
    90 days, not paused. The arithmetic is on whole numbers, so that no rounding decides.
    """
    return (
        not facts.paused
        and facts.since is not None
        and now - facts.since > policy.newcomer
        and facts.received_items >= policy.riding_received_min
        and 1_000 * facts.net <= -policy.riding_net_permille * facts.limit
        and 1_000 * facts.given < policy.riding_ratio_permille * facts.received
    )


def weigh(facts: GuardFacts | None, now: datetime, policy: Policy) -> Advice | None:
    """Return the advice on an ask at `now`; None if the guard is off.

    An invitation removes the reasons that protect the connector: `reciprocity_limit` and `inbound_asks`. See
    docs/domain.md#guard-reasons.
    """
    if policy.guard == "off":
        return None
    if facts is None:
        return UNAVAILABLE
    riding = is_riding(facts, now, policy)
    inbound_max = policy.inbound_asks_max
    if facts.inbound_max is not None:
        inbound_max = min(facts.inbound_max, inbound_max)  # A connector can set a lower cap only.
    again_at = facts.last_same_ask_at and facts.last_same_ask_at + policy.ask_again
    if again_at is not None and again_at <= now:
        again_at = None
    conditions: dict[Reason, bool] = {
        "reciprocity_limit": riding and not facts.invited,
        "open_asks": facts.open_asks >= policy.open_asks_max,
        "inbound_asks": facts.inbound_asks >= inbound_max and not facts.invited,
        "asked_before": again_at is not None,
    }
    return Advice(
        verdict="riding" if riding else "ok",
        reasons=tuple(reason for reason, is_met in conditions.items() if is_met),
        net=facts.net,
        limit=facts.limit,
        given=facts.given,
        received=facts.received,
        received_items=facts.received_items,
        attended=facts.attended,
        dues_paid=facts.dues_paid,
        open_asks=facts.open_asks,
        open_asks_max=policy.open_asks_max,
        inbound_asks=facts.inbound_asks,
        inbound_asks_max=inbound_max,
        again_at=again_at,
        ways=facts.ways[:SUGGESTIONS_MAX] if riding else (),
    )


def refuse_if_enforced(advice: Advice | None, policy: Policy) -> None:
    """Refuse the ask for its first reason, if the policy enforces the guard. See docs/domain.md#guard-modes.

    Raises: ReciprocityLimit, OpenAsks, InboundAsks or AskedBefore, with nothing recorded. The facts of the refusal are
    about the asker alone.
    """
    if policy.guard != "enforce" or advice is None or not advice.reasons:
        return
    reason = advice.reasons[0]
    match reason:
        case "reciprocity_limit":
            raise ReciprocityLimit(
                net=advice.net,
                limit=advice.limit,
                given=advice.given,
                received=advice.received,
                received_items=advice.received_items,
                ways=[str(way) for way in advice.ways],
            )
        case "open_asks":
            raise OpenAsks(open_asks=advice.open_asks, open_asks_max=advice.open_asks_max)
        case "inbound_asks":
            raise InboundAsks  # Without numbers: the asks of a connector are private.
        case "asked_before":
            raise AskedBefore(again_at=advice.again_at)
        case _:
            assert_never(reason)
