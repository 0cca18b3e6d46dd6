"""Standing: what a member's gross tallies say of them."""

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.standing import reciprocity_permille

tallies = st.integers(0, 2**53) | st.integers(0, 2_000)


def index(given: int, received: int) -> Fraction:
    """The page, word for word: `(given + 120) / (given + received + 240)`."""
    return Fraction(given + 120, given + received + 240)


@given(gave=tallies, received=tallies)
def test_reciprocity_is_the_index_of_the_page_in_thousandths_rounded_half_up(gave: int, received: int) -> None:
    permille = reciprocity_permille(gave, received)
    assert permille == floor(1_000 * index(gave, received) + Fraction(1, 2))
    assert 0 <= permille <= 1_000


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
        (0, 1_680, 63),  # 62.5: half goes up,
        (1_680, 0, 938),  # on either side: 937.5.
    ],
)
def test_reciprocity_by_example(gave: int, received: int, permille: int) -> None:
    assert reciprocity_permille(gave, received) == permille


@given(gave=tallies, received=tallies, more=st.integers(0, 2_000))
def test_giving_never_lowers_it_and_receiving_never_raises_it(gave: int, received: int, more: int) -> None:
    now = reciprocity_permille(gave, received)
    assert reciprocity_permille(gave + more, received) >= now
    assert reciprocity_permille(gave, received + more) <= now
