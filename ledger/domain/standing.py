"""Standing: what the read side computes from a member's gross tallies."""

from typing import Final

from ledger.domain.values import Points

PRIOR_POINTS: Final = 120  # One ordinary favour each way: nobody starts at an extreme.


def reciprocity_permille(given: Points, received: Points) -> int:
    """The reciprocity index `(given + 120) / (given + received + 240)` in thousandths, rounded half up.

    500 is new or even; towards 1,000 gives, towards 0 takes. Tallies are never negative. Source: the posterior
    mean of a share under a symmetric Beta prior, here worth one favour each way (Laplace's rule of succession).
    """
    return (2_000 * (given + PRIOR_POINTS) + given + received + 2 * PRIOR_POINTS) // (
        2 * (given + received + 2 * PRIOR_POINTS)
    )
