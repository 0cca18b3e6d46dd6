"""Points, and the sizes, levels and deal bands that determine them. See docs/domain.md#points."""

from typing import Annotated, Literal

from msgspec import Meta

Points = int
"""A signed whole number. One ordinary favour is 120. Never money, and below 2^53, so that JavaScript can read it."""

Amount = Annotated[int, Meta(ge=0, le=2**53 - 1, description="Points, a whole number. One ordinary favour is 120.")]
"""Points of at least 0, as events and states carry them."""

Size = Literal["small", "medium", "large"]
Level = Literal[1, 2, 3, 4, 5]
DealBand = Literal["S", "M", "L", "XL"]
Account = Literal["main", "stake", "disputed"]
