"""Policy: the numbers and durations that decisions use. See docs/domain.md#policy-fields for each of them."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from ledger.domain.values.points import DealBand, Level, Points, Size

Worth = Annotated[int, Meta(ge=0, le=1_000_000, description="Points, a whole number. One ordinary favour is 120.")]
EvenWorth = Annotated[
    int,
    Meta(ge=0, le=1_000_000, multiple_of=2, description="Points, an even number, because two members may share them."),
]
Permille = Annotated[int, Meta(ge=0, le=1_000)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
StakeFrom = Annotated[int, Meta(ge=1, le=6, description="The lowest level with a stake. 6 means no stake at all.")]
GuardMode = Literal["off", "advise", "enforce"]


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The numbers and durations that decisions use. An event carries the numbers of its decision.

    Points are whole numbers. A publication stores every field, defaults included, so that a later change of a default
    does not change a published policy. The ledger counts `version` and overwrites a caller's value. A duration is
    ISO 8601 in days, hours, minutes and seconds: `P14D`.
    """

    version: Count = 1
    size_points: Mapping[Size, Worth] = field(default_factory=lambda: {"small": 60, "medium": 120, "large": 240})
    level_points: Mapping[Level, EvenWorth] = field(default_factory=lambda: {1: 30, 2: 60, 3: 120, 4: 240, 5: 360})
    band_points: Mapping[DealBand, Worth] = field(default_factory=lambda: {"S": 60, "M": 120, "L": 240, "XL": 480})
    parent_points: Worth = 60
    met_points: Worth = 30
    asker_fault_points: Worth = 60
    stake_from_level: StakeFrom = 3

    favour_claim: timedelta = timedelta(days=14)
    referral_unanswered: timedelta = timedelta(days=14)
    referral_open: timedelta = timedelta(days=90)
    intro_unanswered: timedelta = timedelta(days=14)
    intro_accepted: timedelta = timedelta(days=10)
    intro_made: timedelta = timedelta(days=90)
    dispute_within: timedelta = timedelta(days=60)
    dispute_open: timedelta = timedelta(days=30)

    guard: GuardMode = "advise"
    credit_base: Worth = 120
    credit_sponsored: Worth = 360
    credit_max: Worth = 2_400
    credit_per_counterparty: Worth = 360
    riding_net_permille: Permille = 700
    riding_ratio_permille: Permille = 200
    riding_received_min: Count = 5
    riding_within: timedelta = timedelta(days=180)
    newcomer: timedelta = timedelta(days=90)
    newcomer_items: Count = 3
    open_asks_max: Count = 5
    inbound_asks_max: Count = 4
    inbound_within: timedelta = timedelta(days=30)
    ask_again: timedelta = timedelta(days=30)

    def stake_points(self, level: Level, points: Points) -> Points:
        """Return the stake of an intro: half of its points from `stake_from_level` on, else 0.

        See docs/domain.md#stake.
        """
        return points // 2 if level >= self.stake_from_level else 0


DEFAULT_POLICY: Final = Policy()
