"""Policy: what things are worth and how long they may take. See docs/domain.md for each number."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from ledger.domain.values.points import DealBand, Level, Points, Size

Worth = Annotated[int, Meta(ge=0, le=1_000_000, description="Points, whole; 120 is one ordinary favour.")]
EvenWorth = Annotated[int, Meta(ge=0, le=1_000_000, multiple_of=2, description="Points, even: two may share them.")]
Permille = Annotated[int, Meta(ge=0, le=1_000)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
StakeFrom = Annotated[int, Meta(ge=1, le=6, description="A level; 6 is above them all, so nothing is ever at stake.")]
GuardMode = Literal["off", "advise", "enforce"]


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every number a decision may use. Points are whole; an event carries those it was decided with.

    Stored whole, defaults and all: a default that changes one day does not change what was published. The ledger
    counts `version`; a caller's is overwritten. A duration is ISO 8601 in days, hours, minutes and seconds: `P14D`.
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
        """The connector's name at risk: half of what the intro is worth from `stake_from_level` on, else none."""
        return points // 2 if level >= self.stake_from_level else 0


DEFAULT_POLICY: Final = Policy()
