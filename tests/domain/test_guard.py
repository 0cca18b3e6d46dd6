"""Reciprocity guard: the members who ride, the advice for a connector, and the refusal of an ask."""

from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.domain.kinds.intro.reciprocity_guard import is_riding, refuse_if_enforced, weigh
from ledger.domain.values.advice import Advice, GuardFacts, Reason, Suggestion
from ledger.domain.values.policy import DEFAULT_POLICY, Policy
from ledger.domain.values.refusals import AskedBefore, Bug, InboundAsks, OpenAsks, ReciprocityLimit, Refusal
from tests.domain.spec import MOMENT, NOW, days, stored
from tests.domain.strategies import structs_of

ADVISE: Final = DEFAULT_POLICY
ENFORCE: Final = Policy(guard="enforce")
OFF: Final = Policy(guard="off")
EVENING: Final = UUID("0190f000-0000-7000-8000-000000000001")

WAYS: Final = (
    Suggestion(way="answer_ask", id=EVENING),
    Suggestion(way="meet_want", member="bob", tag="tax"),
    Suggestion(way="set_offers"),
)
NEW: Final = GuardFacts(member="ada", limit=120)
RIDER: Final = GuardFacts(
    member="ada",
    net=-84,  # 0.7 of the limit.
    limit=120,
    given=119,
    received=600,
    received_items=5,
    since=NOW - days(90) - MOMENT,
    ways=WAYS,
)


def told(facts: GuardFacts, policy: Policy = ADVISE) -> Advice:
    advice = weigh(facts, NOW, policy)
    assert advice is not None
    return advice


def refused(facts: GuardFacts) -> Refusal:
    with pytest.raises(Refusal) as caught:
        refuse_if_enforced(weigh(facts, NOW, ENFORCE), ENFORCE)
    return caught.value


# Riding


def test_one_who_meets_all_of_the_rule_rides() -> None:
    assert is_riding(RIDER, NOW, DEFAULT_POLICY)


@pytest.mark.parametrize(
    "better",
    [
        replace(RIDER, net=-83),
        replace(RIDER, limit=121),
        replace(RIDER, given=120),  # 0.2 is not under 0.2.
        replace(RIDER, received=595),
        replace(RIDER, received_items=4),
        replace(RIDER, since=NOW - days(90)),
        replace(RIDER, since=None),
        replace(RIDER, paused=True),
    ],
)
def test_one_who_just_misses_a_part_of_it_does_not(better: GuardFacts) -> None:
    assert not is_riding(better, NOW, DEFAULT_POLICY)


@pytest.mark.parametrize(
    "milder",
    [
        Policy(riding_net_permille=701),
        Policy(riding_ratio_permille=198),
        Policy(riding_received_min=6),
        Policy(newcomer=days(91)),
    ],
)
def test_the_rule_is_the_policys(milder: Policy) -> None:
    assert not is_riding(RIDER, NOW, milder)


def rides_by_the_page(facts: GuardFacts, now: datetime) -> bool:
    """Return whether the rule of docs/domain.md#riding holds for these facts.

    A member rides if all of this holds: net is at or below -0.7 of the limit; at least 5 items were received in 180
    days; given/received is under 0.2; the member joined more than 90 days ago and is not paused.
    """
    if facts.paused or facts.received == 0 or facts.since is None:
        return False
    old = now > facts.since + timedelta(days=90)
    deep = Fraction(facts.net) <= Fraction(-7, 10) * facts.limit
    return old and deep and facts.received_items >= 5 and Fraction(facts.given, facts.received) < Fraction(2, 10)


riders = structs_of(
    GuardFacts,
    net=st.integers(-(2**53), 2**53) | st.integers(-90, -80),
    limit=st.integers(120, 2_400) | st.just(120),
    given=st.integers(0, 2**53) | st.integers(115, 125),
    received=st.integers(0, 2**53) | st.integers(590, 605),
    received_items=st.integers(0, 10),
    since=st.none() | st.integers(85 * 24, 95 * 24).map(lambda hours: NOW - timedelta(hours=hours)),
    last_same_ask_at=st.none(),
    ways=st.just(()),
)


@given(facts=riders)
@example(facts=RIDER)
@example(facts=replace(RIDER, received=0, given=0))
def test_who_rides_is_what_the_page_says(facts: GuardFacts) -> None:
    assert is_riding(facts, NOW, DEFAULT_POLICY) == rides_by_the_page(facts, NOW)


# Advice


def test_a_guard_that_is_off_says_nothing_whether_or_not_the_books_do() -> None:
    assert weigh(RIDER, NOW, OFF) is None
    assert weigh(None, NOW, OFF) is None


@pytest.mark.parametrize("policy", [ADVISE, ENFORCE])
def test_when_the_books_cannot_be_asked_nothing_is_held_against_anybody(policy: Policy) -> None:
    advice = weigh(None, NOW, policy)
    assert advice == Advice(verdict="unavailable")
    refuse_if_enforced(advice, policy)


def test_nothing_speaks_against_one_who_is_new() -> None:
    assert told(NEW) == Advice(verdict="ok", limit=120, open_asks_max=5, inbound_asks_max=4)


def test_the_connector_is_told_the_facts_and_the_asker_three_ways_to_give() -> None:
    more = replace(RIDER, open_asks=4, inbound_asks=3, ways=(*WAYS, Suggestion(way="make_contact", member="cyd")))
    assert told(more) == Advice(
        verdict="riding",
        reasons=("reciprocity_limit",),
        net=-84,
        limit=120,
        given=119,
        received=600,
        received_items=5,
        open_asks=4,
        open_asks_max=5,
        inbound_asks=3,
        inbound_asks_max=4,
        ways=WAYS,
    )


def test_one_who_does_not_ride_is_told_no_ways() -> None:
    assert told(replace(NEW, ways=WAYS)).ways == ()


@pytest.mark.parametrize(("open_asks", "reasons"), [(4, ()), (5, ("open_asks",)), (6, ("open_asks",))])
def test_five_asks_may_be_open_and_no_sixth(open_asks: int, reasons: tuple[Reason, ...]) -> None:
    assert told(replace(NEW, open_asks=open_asks)).reasons == reasons


@pytest.mark.parametrize(
    ("inbound_max", "counts"), [(None, 4), (4, 4), (2, 2), (0, 0), (1_000, 4)], ids=["unset", "4", "2", "0", "1000"]
)
def test_a_connector_is_asked_as_often_as_the_community_allows_or_they_do_if_fewer(
    inbound_max: int | None, counts: int
) -> None:
    capped = replace(NEW, inbound_max=inbound_max)
    full = told(replace(capped, inbound_asks=counts))
    assert (full.reasons, full.inbound_asks_max) == (("inbound_asks",), counts)
    if counts:
        assert told(replace(capped, inbound_asks=counts - 1)).reasons == ()


def test_the_same_is_asked_again_after_thirty_days_and_not_a_moment_before() -> None:
    assert told(replace(NEW, last_same_ask_at=NOW - days(30))) == told(NEW)
    early = told(replace(NEW, last_same_ask_at=NOW - days(30) + MOMENT))
    assert (early.reasons, early.again_at) == (("asked_before",), NOW + MOMENT)


def test_the_caps_are_the_policys() -> None:
    wide = Policy(open_asks_max=50, inbound_asks_max=40, ask_again=days(3))
    asked = replace(NEW, open_asks=49, inbound_asks=39, last_same_ask_at=NOW - days(3))
    assert told(asked, wide).reasons == ()
    assert told(replace(asked, open_asks=50, inbound_asks=40), wide).reasons == ("open_asks", "inbound_asks")


EVERY_REASON: Final = replace(RIDER, open_asks=5, inbound_asks=4, last_same_ask_at=NOW)


def test_the_reasons_stand_in_one_order() -> None:
    assert told(EVERY_REASON).reasons == ("reciprocity_limit", "open_asks", "inbound_asks", "asked_before")


def test_an_invitation_drops_what_protects_the_connector_and_keeps_the_facts() -> None:
    invited = told(replace(EVERY_REASON, invited=True))
    assert invited == replace(told(EVERY_REASON), reasons=("open_asks", "asked_before"))
    assert invited.verdict == "riding"


facts_of_any_kind = structs_of(GuardFacts, open_asks=st.integers(0, 7), inbound_asks=st.integers(0, 6)) | riders


@given(facts=facts_of_any_kind, policy=st.sampled_from([ADVISE, ENFORCE]))
def test_an_invitation_never_makes_it_harder_to_ask(facts: GuardFacts, policy: Policy) -> None:
    stranger, invited = (told(replace(facts, invited=invited), policy) for invited in (False, True))
    assert set(invited.reasons) == set(stranger.reasons) - {"reciprocity_limit", "inbound_asks"}


@given(facts=riders, given_more=st.integers(0, 2_000))
def test_giving_never_makes_it_harder_to_ask(facts: GuardFacts, given_more: int) -> None:
    better = replace(facts, net=facts.net + given_more, given=facts.given + given_more)
    assert set(told(better).reasons) <= set(told(facts).reasons)


@given(advice=structs_of(Advice))
def test_any_advice_survives_being_stored(advice: Advice) -> None:
    assert stored(advice, Advice) == advice


# Refusals


def test_advice_alone_never_refuses() -> None:
    refuse_if_enforced(told(EVERY_REASON, ADVISE), ADVISE)
    refuse_if_enforced(None, ADVISE)
    refuse_if_enforced(None, OFF)


@given(facts=facts_of_any_kind)
def test_an_ask_is_refused_where_it_is_enforced_and_there_is_a_reason(facts: GuardFacts) -> None:
    advice = told(facts, ENFORCE)
    if advice.reasons:
        assert refused(facts).code == advice.reasons[0]
    else:
        refuse_if_enforced(advice, ENFORCE)


def test_one_who_rides_is_refused_with_their_own_figures_and_what_to_do_about_them() -> None:
    refusal = refused(RIDER)
    assert type(refusal) is ReciprocityLimit
    assert refusal.facts == {
        "net": -84,
        "limit": 120,
        "given": 119,
        "received": 600,
        "received_items": 5,
        "ways": [f"answer_ask {EVENING}", "meet_want bob tax", "set_offers"],
    }


def test_one_who_has_too_many_open_asks_is_told_how_many() -> None:
    refusal = refused(replace(NEW, open_asks=5))
    assert type(refusal) is OpenAsks
    assert refusal.facts == {"open_asks": 5, "open_asks_max": 5}


def test_how_often_a_connector_is_asked_is_nobody_elses_business() -> None:
    refusal = refused(replace(NEW, inbound_asks=3, inbound_max=2))
    assert type(refusal) is InboundAsks
    assert refusal.facts == {}


def test_one_who_asks_again_too_soon_is_told_when_they_may() -> None:
    refusal = refused(replace(NEW, last_same_ask_at=NOW))
    assert type(refusal) is AskedBefore
    assert refusal.facts == {"again_at": NOW + days(30)}


def test_only_the_first_reason_is_given() -> None:
    invited = replace(EVERY_REASON, invited=True)
    assert type(refused(EVERY_REASON)) is ReciprocityLimit
    assert type(refused(invited)) is OpenAsks
    assert type(refused(replace(invited, open_asks=0))) is AskedBefore


def test_a_reason_that_no_rule_knows_is_not_passed_over() -> None:
    unheard_of: Any = "bad_hair"  # A stored event of a later version can contain an unknown reason.
    with pytest.raises((Bug, AssertionError)):
        refuse_if_enforced(Advice(verdict="ok", reasons=(unheard_of,)), ENFORCE)
