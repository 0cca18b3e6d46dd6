"""Indices of standing, computed from a member's tallies. See docs/domain.md#standing.

All arithmetic is on whole numbers, so that every machine gets the same result.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Context
from functools import cache, lru_cache
from typing import Final, Literal

from ledger.domain.values.points import Points
from ledger.domain.values.policy import Policy

PRIOR_POINTS: Final = 120  # One ordinary favour each way, so that nobody starts at an extreme.
PRIOR_ITEMS: Final = 1  # One intro that went well, and one that did not.

LANDMARK: Final = datetime(2020, 1, 1, tzinfo=UTC)
HALF_LIFE: Final = timedelta(days=180)  # Not policy, because another value would make every sum wrong.
HOUR: Final = timedelta(hours=1)
HALF_LIFE_HOURS: Final = HALF_LIFE // HOUR
UNIT_BITS: Final = 20  # A point at the landmark weighs 2^20, so that it can be halved 20 times.
FRACTION_BITS: Final = 192  # More bits slow every posted event down and change no result that is read.
FRACTION: Final = 1 << FRACTION_BITS
_DIGITS: Final = Context(prec=80)
LN_2: Final = int(_DIGITS.multiply(_DIGITS.ln(2), FRACTION))  # In units of 2^-192.

GIVING_PERMILLE: Final = 600
TAKING_PERMILLE: Final = 400

StandingBand = Literal["new", "giving", "even", "taking", "riding"]
Stage = Literal["none", "contact", "one_to_one", "trusted"]


def share_permille(part: int, other: int, prior: int) -> int:
    """Return `(part + prior) / (part + other + 2 prior)` in thousandths, rounded half up. No part is negative.

    Source: the posterior mean of a share under a symmetric Beta prior (Laplace's rule of succession).
    """
    whole = part + other + 2 * prior
    return (2_000 * (part + prior) + whole) // (2 * whole)


def reciprocity_permille(given: Points, received: Points) -> int:
    """Return the reciprocity index `(given + 120) / (given + received + 240)` in thousandths, rounded half up.

    500 is a new or even member. Above it, a member gives; below it, a member takes. Both tallies are points of at
    least 0. Source: `share_permille` with a prior of one favour each way. See docs/domain.md#reciprocity-index.
    """
    return share_permille(given, received, PRIOR_POINTS)


def weight(points: Points, at: datetime) -> int:
    """Return the weight of `points` at the time `at` in a running sum: `points * 2^((at - LANDMARK) / 180 d) * 2^20`.

    - Time counts in whole hours begun, which is within 0.02 %.
    - The result is rounded to the nearest whole number, half away from zero, for times from 1970 to 2100. So a sum is
      the same in any order. Integer arithmetic makes it the same on any machine.
    - The weight of -points is the negative. So a reversal that is weighed *at the time of the reversed entry* leaves
      nothing in the sum.
    - The amounts in a sum halve every 180 days without an update, because later amounts weigh more. A late event needs
      no rewrite.

    Source: forward decay, Cormode, Shkapenyuk, Srivastava and Xu, ICDE 2009, with exponential g and a landmark. See
    docs/domain.md#recent-standing.
    """
    return weight_in(points, hours_begun(at))


def hours_begun(at: datetime) -> int:
    """Return the hour in which `at` lies, counted from the landmark; negative before it."""
    return (at - LANDMARK) // HOUR


@lru_cache(maxsize=16_384)  # Most amounts of one hour have one of a few sizes.
def weight_in(points: Points, hours: int) -> int:
    """Return the `weight` of points in the hour that began `hours` after the landmark."""
    halvings, rest_hours = divmod(hours, HALF_LIFE_HOURS)
    shift = FRACTION_BITS - UNIT_BITS - halvings
    units = (abs(points) * power_of_2(rest_hours) + (1 << shift - 1)) >> shift
    return units if points >= 0 else -units


@cache  # At most 4,320 results.
def power_of_2(rest_hours: int) -> int:
    """Return `2^(rest / 180 d)` for a rest below 180 days, in units of 2^-192, too small by less than 2^-187.

    Source: the Taylor series of `e^(x ln 2)` at 0, until its terms are 0 in these units.
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
    """Return the recent standing at `now`: the reciprocity index of decayed amounts, in thousandths, rounded half up.

    The sums are of `weight`s: at least 0, and of any size. `now` is after 2020. The function does not divide both sums
    by the weight of a point at `now`. Instead it multiplies the prior by it, which gives exactly the same share. See
    docs/domain.md#recent-standing.
    """
    return share_permille(given_sum, received_sum, weight(PRIOR_POINTS, now))


def reliability_permille(ok: int, bad: int) -> int:
    """Return the reliability `(ok + 1) / (ok + bad + 2)` in thousandths, rounded half up.

    Both count closed intros in which the member could be at fault: `bad` those with their fault, `ok` the others. A
    member without any has 500. Source: `share_permille` with a prior of one each way. See docs/domain.md#reliability.
    """
    return share_permille(ok, bad, PRIOR_ITEMS)


def standing_band(
    *, recent_permille: int, settled_items: int, since: datetime | None, riding: bool, now: datetime, policy: Policy
) -> StandingBand:
    """Return the standing band. See docs/domain.md#standing-bands.

    `since` is the time first seen. `riding` is the result of the guard's `is_riding`. The band is `new` under 90 days
    and with fewer than 3 settled items, else `riding`, else it follows the recent standing: `giving` from 600
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
    """Return the points that count towards a member's credit limit: the sum of `min(given to a counterparty, 360)`.

    The cap per counterparty stops two friends from raising the limit far by trading in circles.
    """
    return sum(min(points, policy.credit_per_counterparty) for points in given_to)


def credit_limit(*, sponsored: bool, earned: Points, policy: Policy) -> Points:
    """Return the credit limit in points: `min(2400, L0 + earned)`, with `L0` = 360 for a sponsored member, else 120.

    It is a limit, not a gift. See docs/domain.md#credit-limit.
    """
    return min(policy.credit_max, (policy.credit_sponsored if sponsored else policy.credit_base) + earned)


def stage(*, contact: bool, one_to_one: bool, helped_both_ways: bool) -> Stage:
    """Return the furthest stage of two members, also if the stages before it are not recorded.

    See docs/domain.md#relationship-stage.
    """
    if helped_both_ways:
        return "trusted"
    if one_to_one:
        return "one_to_one"
    return "contact" if contact else "none"
