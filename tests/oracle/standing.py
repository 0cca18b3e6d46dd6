"""The formulas of docs/domain.md, "Standing", as exact fractions and decimals."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from functools import cache
from math import floor
from typing import Final

LANDMARK: Final = datetime(2020, 1, 1, tzinfo=UTC)
HALF_LIFE_HOURS: Final = 180 * 24
UNITS_PER_POINT: Final = 2**20  # Units of a running sum at the landmark.
DIGITS: Final = 120  # A running sum has under 60 digits before the point.


def reciprocity(given: int, received: int) -> Fraction:
    """Return the reciprocity index `(given + 120) / (given + received + 240)`."""
    return Fraction(given + 120, given + received + 240)


def reliability(kept: int, broken: int) -> Fraction:
    """Return the reliability `(ok + 1) / (ok + bad + 2)`."""
    return Fraction(kept + 1, kept + broken + 2)


def credit_limit(given_to_each: Iterable[int], *, sponsored: bool) -> int:
    """Return `min(2400, L0 + sum over counterparties of min(given to them, 360))` in points."""
    return min(2_400, (360 if sponsored else 120) + sum(min(points, 360) for points in given_to_each))


def permille(share: Fraction) -> int:
    """Return a share in thousandths, rounded half up."""
    return floor(1_000 * share + Fraction(1, 2))


def weight(points: int, at: datetime) -> Decimal:
    """Return the addition of `points` at the time `at` to a running sum, in units of 2^-20 point.

    The sum halves every 180 days, so the weight doubles every 180 days after 2020. Time counts in whole hours begun.
    """
    hours = (at - LANDMARK) // timedelta(hours=1)
    with localcontext() as exact:
        exact.prec = DIGITS
        return points * weight_of_one_point(hours)


def rounded_weight(points: int, at: datetime) -> int:
    """Return the weight to the nearest whole unit, half away from zero."""
    with localcontext() as exact:
        exact.prec = DIGITS
        return int(weight(points, at).to_integral_value(ROUND_HALF_UP))


@cache
def weight_of_one_point(hours: int) -> Decimal:
    with localcontext() as exact:
        exact.prec = DIGITS
        return UNITS_PER_POINT * Decimal(2) ** (Decimal(hours) / HALF_LIFE_HOURS)
