"""Standing: what the read side computes of a member from tallies, in whole numbers that every machine agrees on."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Context
from functools import cache, lru_cache
from typing import Final, Literal

from ledger.domain.values.points import Points
from ledger.domain.values.policy import Policy

PRIOR_POINTS: Final = 120  # One ordinary favour each way: nobody starts at an extreme.
PRIOR_ITEMS: Final = 1  # One that went well, and one that did not.

LANDMARK: Final = datetime(2020, 1, 1, tzinfo=UTC)
HALF_LIFE: Final = timedelta(days=180)  # Not policy: with another one every running sum would be wrong.
HOUR: Final = timedelta(hours=1)
HALF_LIFE_HOURS: Final = HALF_LIFE // HOUR
UNIT_BITS: Final = 20  # A point at the landmark weighs 2^20, so that half of it, and half of that, is whole.
FRACTION_BITS: Final = 192  # Each bit is time that every posted event takes; twice as many tell nobody more.
FRACTION: Final = 1 << FRACTION_BITS
_DIGITS: Final = Context(prec=80)
LN_2: Final = int(_DIGITS.multiply(_DIGITS.ln(2), FRACTION))  # In units of 2^-192.

GIVING_PERMILLE: Final = 600
TAKING_PERMILLE: Final = 400

StandingBand = Literal["new", "giving", "even", "taking", "riding"]
Stage = Literal["none", "contact", "one_to_one", "trusted"]


def share_permille(part: int, other: int, prior: int) -> int:
    """`(part + prior) / (part + other + 2 prior)` in thousandths, rounded half up. Neither part is negative.

    Source: the posterior mean of a share under a symmetric Beta prior (Laplace's rule of succession).
    """
    whole = part + other + 2 * prior
    return (2_000 * (part + prior) + whole) // (2 * whole)


def reciprocity_permille(given: Points, received: Points) -> int:
    """The reciprocity index `(given + 120) / (given + received + 240)` in thousandths, rounded half up.

    500 is new or even; towards 1,000 gives, towards 0 takes. Tallies are never negative. Source: `share_permille`
    with a prior that is worth one favour each way.
    """
    return share_permille(given, received, PRIOR_POINTS)


def weight(points: Points, at: datetime) -> int:
    """What `points` at the time `at` add to a running sum: `points * 2^((at - LANDMARK) / 180 d) * 2^20`, rounded.

    Time counts in whole hours begun, which is within 0.02 %. A whole number, so that a sum is the same in any order,
    by integer arithmetic, so that it is the same on any machine: to the nearest, half away from zero, for times from
    1970 to 2100. Of -points it is the opposite, so a reversal that is weighed *at the time of what it reverses* leaves
    nothing behind. Amounts in a sum halve every 180 days without being touched, because later ones weigh more, and a
    late one needs no rewrite. Source: forward decay, Cormode, Shkapenyuk, Srivastava and Xu, ICDE 2009, with
    exponential g and a landmark.
    """
    return weight_in(points, hours_begun(at))


def hours_begun(at: datetime) -> int:
    """The hour in which `at` lies, counted from the landmark; below zero before it."""
    return (at - LANDMARK) // HOUR


@lru_cache(maxsize=16_384)  # What is settled within an hour is mostly of a few sizes.
def weight_in(points: Points, hours: int) -> int:
    """The `weight` of points in the hour that began so many hours after the landmark."""
    halvings, rest_hours = divmod(hours, HALF_LIFE_HOURS)
    shift = FRACTION_BITS - UNIT_BITS - halvings
    units = (abs(points) * power_of_2(rest_hours) + (1 << shift - 1)) >> shift
    return units if points >= 0 else -units


@cache  # There are 4,320 of them.
def power_of_2(rest_hours: int) -> int:
    """`2^(rest / 180 d)` for a rest below 180 days, in units of 2^-256, short by less than 2^-248.

    Source: the Taylor series of `e^(x ln 2)` at 0, until its terms vanish.
    """
    exponent = rest_hours * LN_2 // HALF_LIFE_HOURS
    term = total = FRACTION
    count = 0
    while term:
        count += 1
        term = (term * exponent >> FRACTION_BITS) // count
        total += term
    return total


def recent_permille(given_sum: int, received_sum: int, now: datetime) -> int:
    """The reciprocity index of what halves every 180 days, read at `now`, in thousandths, rounded half up.

    The sums are of `weight`s, never negative, and of any size; `now` is after 2020. Instead of decaying both sums
    by the weight of a point at `now`, the prior of one favour each way is raised by it: the same share, exactly.
    """
    return share_permille(given_sum, received_sum, weight(PRIOR_POINTS, now))


def reliability_permille(ok: int, bad: int) -> int:
    """`(ok + 1) / (ok + bad + 2)` in thousandths, rounded half up; 500 of one who was never at risk.

    Of closed intros in which the member was at risk of fault, `bad` are those that were their fault. Source:
    `share_permille` with a prior of one each way.
    """
    return share_permille(ok, bad, PRIOR_ITEMS)


def standing_band(
    *, recent_permille: int, settled_items: int, since: datetime | None, riding: bool, now: datetime, policy: Policy
) -> StandingBand:
    """The band of docs/domain.md#standing-bands. `riding` is the guard's `is_riding`, `since` the time first seen.

    `new` under 90 days and with fewer than 3 settled items; else by the recent standing: `giving` from 600
    thousandths on, `taking` up to 400, `even` between.
    """
    young = since is None or now - since < policy.newcomer
    if young and settled_items < policy.newcomer_items:
        return "new"
    if riding:
        return "riding"
    if recent_permille >= GIVING_PERMILLE:
        return "giving"
    if recent_permille <= TAKING_PERMILLE:
        return "taking"
    return "even"


def earned(given_to: Iterable[Points], policy: Policy) -> Points:
    """What a member has done for others towards their credit limit: the sum of `min(given to each of them, 360)`.

    What one counterparty can add is capped, so that two friends who trade in circles cannot raise the limit far.
    """
    return sum(min(points, policy.credit_per_counterparty) for points in given_to)


def credit_limit(*, sponsored: bool, earned: Points, policy: Policy) -> Points:
    """`min(2400, L0 + earned)`, `L0` = 360 with a sponsor, else 120; in points. A limit, not a gift."""
    return min(policy.credit_max, (policy.credit_sponsored if sponsored else policy.credit_base) + earned)


def stage(*, contact: bool, one_to_one: bool, helped_both_ways: bool) -> Stage:
    """How far two members have come with each other: the furthest step, whether or not those before it are recorded."""
    if helped_both_ways:
        return "trusted"
    if one_to_one:
        return "one_to_one"
    return "contact" if contact else "none"
