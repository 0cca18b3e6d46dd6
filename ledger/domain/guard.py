"""Guard: what is weighed when somebody asks for an introduction.

It tells the connector facts and the asker ways to give. Only `intro.asked` is guarded: an offer, a thank-you and a
gift are never blocked. It refuses where the community's policy says `enforce`, and advises where it says `advise`.
"""

from datetime import datetime
from typing import Annotated, Final, Literal, assert_never
from uuid import UUID

from msgspec import Meta, Struct

from ledger.domain.policy import Policy
from ledger.domain.refusals import AskedBefore, InboundAsks, OpenAsks, ReciprocityLimit
from ledger.domain.values import Amount, Instant, MemberId, Points, Tag

WAYS_MAX: Final = 3  # More is a list to read, not a thing to do.

Tally = Annotated[int, Meta(ge=0, le=2**53 - 1, description="How many.")]
SignedPoints = Annotated[int, Meta(ge=-(2**53 - 1), le=2**53 - 1)]
Verdict = Literal["ok", "riding", "unavailable"]
Reason = Literal["reciprocity_limit", "open_asks", "inbound_asks", "asked_before"]


class Way(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Something to give now: an `answer_ask` or `confirm_favour` by its `id`, a want by its `member` and `tag`."""

    way: Literal["answer_ask", "confirm_favour", "meet_want", "set_offers", "make_contact"]
    member: MemberId | None = None
    id: UUID | None = None
    tag: Tag | None = None

    def __str__(self) -> str:
        """Its words in a row: `meet_want bob tax`."""
        return " ".join(str(word) for word in (self.way, self.member, self.id, self.tag) if word is not None)


class Facts(Struct, frozen=True, kw_only=True):
    """What the books say when `member` asks a connector for an introduction to a target.

    `received_items` were received within the policy's `riding_within`; for as long counts what the member has done:
    gatherings `attended`, and `dues_paid` for them. `inbound_asks` reached the connector within `inbound_within`,
    whatever became of them. `open_asks` are those that the *asker* sees as pending: were a silent
    decline to free a place, the count would tell of it. `inbound_max` is the connector's own cap, None the community's.
    `since` is when the member was first seen, `invited` says that the connector's `welcome` names them, and
    `last_same_ask_at` is when the same asker last asked the same connector for the same target.
    """

    member: MemberId
    net: Points = 0
    limit: Points = 0
    given: Points = 0
    received: Points = 0
    received_items: int = 0
    attended: int = 0
    dues_paid: int = 0
    since: Instant | None = None
    paused: bool = False
    invited: bool = False
    open_asks: int = 0
    inbound_asks: int = 0
    inbound_max: int | None = None
    last_same_ask_at: Instant | None = None
    ways: tuple[Way, ...] = ()


class Advice(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the guard has to say of an ask. `reasons` are what a community that enforces refuses it for.

    `verdict` is of the asker alone: one who rides and was invited still rides. `unavailable`: the books could not be
    asked, and nothing is held against anybody. `ways` to give are told to one who rides.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    net: SignedPoints = 0
    limit: Amount = 0
    given: Amount = 0
    received: Amount = 0
    received_items: Tally = 0
    attended: Tally = 0
    dues_paid: Tally = 0
    open_asks: Tally = 0
    open_asks_max: Tally = 0
    inbound_asks: Tally = 0
    inbound_asks_max: Tally = 0
    again_at: Instant | None = None
    ways: tuple[Way, ...] = ()


UNAVAILABLE: Final = Advice(verdict="unavailable")


def is_riding(facts: Facts, now: datetime, policy: Policy) -> bool:
    """Whether the member takes and brings nothing, by the page: all five at once.

    Net at or below -0.7 of the limit, at least 5 items received in 180 days, given/received under 0.2, older than
    90 days, not paused. In whole numbers, so that no rounding decides it.
    """
    return (
        not facts.paused
        and facts.since is not None
        and now - facts.since > policy.newcomer
        and facts.received_items >= policy.riding_received_min
        and 1_000 * facts.net <= -policy.riding_net_permille * facts.limit
        and 1_000 * facts.given < policy.riding_ratio_permille * facts.received
    )


def weigh(facts: Facts | None, now: datetime, policy: Policy) -> Advice | None:
    """The advice on an ask made at `now`; None where the guard is off.

    An invitation by the connector drops the reasons that protect them: `reciprocity_limit` and `inbound_asks`.
    """
    if policy.guard == "off":
        return None
    if facts is None:
        return UNAVAILABLE
    riding = is_riding(facts, now, policy)
    inbound_max = policy.inbound_asks_max
    if facts.inbound_max is not None:
        inbound_max = min(facts.inbound_max, inbound_max)  # A connector may set fewer, not more.
    again_at = facts.last_same_ask_at and facts.last_same_ask_at + policy.ask_again
    if again_at is not None and again_at <= now:
        again_at = None
    against: dict[Reason, bool] = {
        "reciprocity_limit": riding and not facts.invited,
        "open_asks": facts.open_asks >= policy.open_asks_max,
        "inbound_asks": facts.inbound_asks >= inbound_max and not facts.invited,
        "asked_before": again_at is not None,
    }
    return Advice(
        verdict="riding" if riding else "ok",
        reasons=tuple(reason for reason, holds in against.items() if holds),
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
        ways=facts.ways[:WAYS_MAX] if riding else (),
    )


def refuse_if_enforced(advice: Advice | None, policy: Policy) -> None:
    """Refuses the ask for the first reason, where the policy enforces. Only what is the asker's own is told.

    Raises: ReciprocityLimit, OpenAsks, InboundAsks or AskedBefore.
    """
    if policy.guard != "enforce" or advice is None or not advice.reasons:
        return
    first = advice.reasons[0]
    match first:
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
            raise InboundAsks  # Without the numbers: how often somebody is asked is theirs.
        case "asked_before":
            raise AskedBefore(again_at=advice.again_at)
        case _:
            assert_never(first)
