"""What things are worth and how long they may take. A number here is a default of the domain page."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from ledger.domain.values import Band, Level, Points, Size


class Policy(Struct, frozen=True, kw_only=True):
    """Every number a decision may use. Points are whole; an event carries those it was decided with."""

    version: int = 1
    size_points: Mapping[Size, Points] = MappingProxyType({"small": 60, "medium": 120, "large": 240})
    level_points: Mapping[Level, Points] = MappingProxyType({1: 30, 2: 60, 3: 120, 4: 240, 5: 360})
    band_points: Mapping[Band, Points] = MappingProxyType({"S": 60, "M": 120, "L": 240, "XL": 480})
    parent_points: Points = 60
    met_points: Points = 30
    asker_fault_points: Points = 60
    stake_from_level: int = 3

    favour_claim: timedelta = timedelta(days=14)
    referral_unanswered: timedelta = timedelta(days=14)
    referral_open: timedelta = timedelta(days=90)
    intro_unanswered: timedelta = timedelta(days=14)
    intro_accepted: timedelta = timedelta(days=10)
    intro_made: timedelta = timedelta(days=90)

    def stake_points(self, level: Level, points: Points) -> Points:
        """The connector's name at risk: half of what the intro is worth from `stake_from_level` on, else none."""
        return points // 2 if level >= self.stake_from_level else 0


DEFAULT_POLICY: Final = Policy()
