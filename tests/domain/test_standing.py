"""Standing: the figures that a member's tallies lead to."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import permutations
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.standing.indices import (
    Stage,
    StandingBand,
    credit_limit,
    earned,
    recent_permille,
    reciprocity_permille,
    reliability_permille,
    stage,
    standing_band,
    weight,
)
from ledger.domain.values.policy import DEFAULT_POLICY, Policy
from tests.domain.spec import MOMENT, NOW, days
from tests.oracle import standing as oracle

tallies = st.integers(0, 2**53) | st.integers(0, 2_000)
LANDMARK: Final = datetime(2020, 1, 1, tzinfo=UTC)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
recently = st.integers(0, 3_000 * 24).map(lambda hours: NOW - timedelta(hours=hours))


def times_until(year: int) -> st.SearchStrategy[datetime]:
    since, until = (datetime(end, 1, 1) for end in (1970, year))  # noqa: DTZ001 - the strategy adds the zone.
    return st.datetimes(since, until, timezones=st.just(UTC))


# Reciprocity index


@given(gave=tallies, received=tallies)
def test_reciprocity_is_the_index_of_the_page_in_thousandths_rounded_half_up(gave: int, received: int) -> None:
    found = reciprocity_permille(gave, received)
    assert found == oracle.permille(oracle.reciprocity(gave, received))
    assert 0 <= found <= 1_000


@given(even=tallies)
def test_one_who_is_new_or_even_stands_in_the_middle(even: int) -> None:
    assert reciprocity_permille(even, even) == 500


@pytest.mark.parametrize(
    ("gave", "received", "permille"),
    [
        (0, 0, 500),
        (120, 0, 667),  # One favour given: two thirds.
        (0, 120, 333),
        (1_200, 0, 917),
        (0, 1_200, 83),
        (40, 0, 571),  # 571.43
        (0, 1_680, 63),  # 62.5 is rounded up.
        (1_680, 0, 938),  # 937.5 is rounded up.
    ],
)
def test_reciprocity_by_example(gave: int, received: int, permille: int) -> None:
    assert reciprocity_permille(gave, received) == permille


@given(gave=tallies, received=tallies, more=st.integers(0, 2_000))
def test_giving_never_lowers_it_and_receiving_never_raises_it(gave: int, received: int, more: int) -> None:
    now = reciprocity_permille(gave, received)
    assert reciprocity_permille(gave + more, received) >= now
    assert reciprocity_permille(gave, received + more) <= now


# Weights: amounts that halve every 180 days


def half_lives(at: datetime, since: datetime = LANDMARK) -> Fraction:
    return Fraction((at - since) // MOMENT, timedelta(days=180) // MOMENT)


@given(points=st.integers(-(2**40), 2**40) | st.integers(-500, 500), at=times_until(2060))
def test_a_weight_is_the_formula_of_the_page_to_the_nearest_whole(points: int, at: datetime) -> None:
    assert weight(points, at) == oracle.rounded_weight(points, at)


@given(points=st.integers(-(2**53), 2**53), at=times_until(2100))
def test_any_weight_is_the_formula_of_the_page_to_50_digits(points: int, at: datetime) -> None:
    with localcontext() as exact:
        exact.prec = oracle.DIGITS
        expected = oracle.weight(points, at)
        assert abs(weight(points, at) - expected) <= Decimal("0.5") + abs(expected) / 10**50


@pytest.mark.parametrize(
    ("points", "at", "expected"),
    [
        (1, LANDMARK, 2**20),
        (-1, LANDMARK, -(2**20)),
        (0, NOW, 0),
        (120, LANDMARK + days(180), 240 * 2**20),
        (120, LANDMARK - days(180), 60 * 2**20),
        (7, LANDMARK + days(1_800), 7 * 2**30),
        (1, LANDMARK - days(20 * 180), 1),
        (1, LANDMARK - days(21 * 180), 1),  # A half is rounded away from zero.
        (-1, LANDMARK - days(21 * 180), -1),  # A negative half also.
        (1, LANDMARK - days(22 * 180), 0),
        (2**53, EPOCH, 0),
        (1, LANDMARK + days(90), 1_482_910),  # 2^20 times the square root of 2.
    ],
)
def test_weights_by_example(points: int, at: datetime, expected: int) -> None:
    assert weight(points, at) == expected


@given(points=st.integers(0, 2**53), at=times_until(2090))
def test_a_reversal_weighed_when_its_entry_was_leaves_nothing(points: int, at: datetime) -> None:
    assert weight(points, at) + weight(-points, at) == 0


@given(points=st.integers(0, 2**53), at=times_until(2090), later=st.timedeltas(timedelta(0), timedelta(days=3_000)))
def test_what_is_later_never_weighs_less(points: int, at: datetime, later: timedelta) -> None:
    assert weight(points, at + later) >= weight(points, at)


def test_a_time_weighs_the_same_in_any_time_zone() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert weight(120, elsewhere) == weight(120, NOW)


def test_a_sum_is_the_same_in_any_order() -> None:
    story = [(120, NOW), (60, EPOCH), (-120, NOW - days(400)), (2**53, NOW + days(700))]
    assert len({sum(weight(*said) for said in order) for order in permutations(story)}) == 1


# Recent standing


@given(
    gave=st.lists(st.tuples(st.integers(0, 100_000), recently), max_size=6),
    received=st.lists(st.tuples(st.integers(0, 100_000), recently), max_size=6),
    passed=st.integers(0, 3_000),
)
def test_recent_standing_is_the_index_of_amounts_that_were_halved_one_by_one(
    gave: list[tuple[int, datetime]], received: list[tuple[int, datetime]], passed: int
) -> None:
    """Compare with amounts that are halved one by one.

    Source: docs/domain.md#recent-standing. The weight of an amount at time t, read at time T, is `2^((t - T) / 180 d)`.
    """
    now = NOW + days(passed)

    def left_of(amounts: list[tuple[int, datetime]]) -> Decimal:
        left = Decimal(0)
        for points, at in amounts:
            halved = half_lives(at, now)
            left += points * Decimal(2) ** (Decimal(halved.numerator) / Decimal(halved.denominator))
        return left

    permille = recent_permille(sum(weight(*said) for said in gave), sum(weight(*said) for said in received), now)
    with localcontext() as exact:
        exact.prec = 60
        given_now, received_now = left_of(gave), left_of(received)
        share = 1_000 * (given_now + 120) / (given_now + received_now + 240)
        # Each amount is rounded once, to a unit of less than a millionth of a point.
        assert abs(permille - share) <= Decimal("0.5") + Decimal("0.001")


def test_recent_standing_by_example() -> None:
    gave = weight(360, NOW)
    assert recent_permille(0, 0, NOW) == 500
    assert recent_permille(gave, 0, NOW) == reciprocity_permille(360, 0) == 800
    assert recent_permille(gave, 0, NOW + days(180)) == reciprocity_permille(180, 0) == 714
    assert recent_permille(0, gave, NOW + days(360)) == reciprocity_permille(0, 90) == 364
    assert recent_permille(gave, 0, NOW + days(20_000)) == 500
    assert recent_permille(gave, weight(360, NOW - days(180)), NOW) == reciprocity_permille(360, 180)


@given(gave=tallies, received=tallies, at=times_until(2090).filter(lambda at: at >= LANDMARK))
def test_read_at_once_recent_standing_is_reciprocity(gave: int, received: int, at: datetime) -> None:
    at_once = recent_permille(weight(gave, at), weight(received, at), at)
    assert abs(at_once - reciprocity_permille(gave, received)) <= 1  # An exact half can round either way.


@given(gave=tallies, received=tallies, passed=st.integers(0, 2_000))
def test_with_time_everybody_comes_back_towards_the_middle(gave: int, received: int, passed: int) -> None:
    sums = weight(gave, NOW), weight(received, NOW)
    then, later = recent_permille(*sums, NOW), recent_permille(*sums, NOW + days(passed))
    assert abs(later - 500) <= abs(then - 500)


# Reliability


@given(ok=st.integers(0, 100_000), bad=st.integers(0, 100_000))
def test_reliability_is_that_of_the_page(ok: int, bad: int) -> None:
    assert reliability_permille(ok, bad) == oracle.permille(oracle.reliability(ok, bad))


@pytest.mark.parametrize(("ok", "bad", "permille"), [(0, 0, 500), (1, 0, 667), (0, 1, 333), (98, 0, 990), (7, 7, 500)])
def test_reliability_by_example(ok: int, bad: int, permille: int) -> None:
    assert reliability_permille(ok, bad) == permille


# Bands


@pytest.mark.parametrize(
    ("recent", "settled_items", "age", "riding", "expected"),
    [
        (500, 0, days(0), False, "new"),
        (1_000, 2, days(90) - MOMENT, False, "new"),
        (0, 2, days(90) - MOMENT, True, "new"),
        (500, 3, days(0), False, "even"),
        (500, 2, days(90), False, "even"),
        (600, 3, days(1), False, "giving"),
        (599, 3, days(1), False, "even"),
        (401, 0, days(90), False, "even"),
        (400, 0, days(90), False, "taking"),
        (0, 9, days(900), False, "taking"),
        (1_000, 9, days(900), False, "giving"),
        (0, 9, days(900), True, "riding"),
        (700, 9, days(900), True, "riding"),
    ],
)
def test_the_band_of_a_member(
    recent: int, settled_items: int, age: timedelta, riding: bool, expected: StandingBand
) -> None:
    found = standing_band(
        recent_permille=recent,
        settled_items=settled_items,
        since=NOW - age,
        riding=riding,
        now=NOW,
        policy=DEFAULT_POLICY,
    )
    assert found == expected


def test_one_whom_nobody_has_seen_is_new() -> None:
    unseen = standing_band(
        recent_permille=500, settled_items=0, since=None, riding=False, now=NOW, policy=DEFAULT_POLICY
    )
    assert unseen == "new"


def test_how_long_one_is_new_is_the_policys() -> None:
    longer = Policy(newcomer=days(180), newcomer_items=10)
    assert (
        standing_band(recent_permille=700, settled_items=9, since=NOW - days(179), riding=False, now=NOW, policy=longer)
        == "new"
    )


# Credit limit


@given(sponsored=st.booleans(), given_to=st.lists(tallies, max_size=12))
def test_the_limit_is_that_of_the_page(sponsored: bool, given_to: list[int]) -> None:
    expected = oracle.credit_limit(given_to, sponsored=sponsored)
    given = earned(given_to, DEFAULT_POLICY)
    assert credit_limit(sponsored=sponsored, earned=given, policy=DEFAULT_POLICY) == expected


@given(rounds=st.integers(0, 10_000), sponsored=st.booleans())
def test_two_friends_who_trade_in_circles_cannot_raise_it_far(rounds: int, sponsored: bool) -> None:
    assert (
        credit_limit(sponsored=sponsored, earned=earned([rounds * 120], DEFAULT_POLICY), policy=DEFAULT_POLICY) <= 720
    )


@pytest.mark.parametrize(
    ("sponsored", "given_to", "limit"),
    [
        (False, [], 120),
        (True, [], 360),
        (False, [60, 360, 361], 900),
        (True, [360] * 5, 2_160),
        (True, [360] * 6, 2_400),
        (False, [360] * 7, 2_400),
    ],
)
def test_the_limit_by_example(sponsored: bool, given_to: list[int], limit: int) -> None:
    assert (
        credit_limit(sponsored=sponsored, earned=earned(iter(given_to), DEFAULT_POLICY), policy=DEFAULT_POLICY) == limit
    )


def test_the_numbers_of_the_limit_are_the_policys() -> None:
    other = Policy(credit_base=1, credit_sponsored=2, credit_per_counterparty=10, credit_max=30)
    assert credit_limit(sponsored=False, earned=earned([100, 5], other), policy=other) == 16
    assert credit_limit(sponsored=True, earned=earned([100, 5], other), policy=other) == 17
    assert credit_limit(sponsored=True, earned=earned([100] * 9, other), policy=other) == 30


# Stages


@pytest.mark.parametrize(
    ("contact", "one_to_one", "helped_both_ways", "expected"),
    [
        (False, False, False, "none"),
        (True, False, False, "contact"),
        (False, True, False, "one_to_one"),
        (True, True, False, "one_to_one"),
        (False, False, True, "trusted"),
        (True, True, True, "trusted"),
    ],
)
def test_two_members_are_as_far_as_their_furthest_step(
    contact: bool, one_to_one: bool, helped_both_ways: bool, expected: Stage
) -> None:
    assert stage(contact=contact, one_to_one=one_to_one, helped_both_ways=helped_both_ways) == expected
