"""Points, and the sizes, levels and bands that they are derived from."""

from typing import Annotated, Literal

from msgspec import Meta

Points = int
"""Signed, whole; one ordinary favour is 120. Never money, and below 2^53 so that JavaScript can read it."""

Amount = Annotated[int, Meta(ge=0, le=2**53 - 1, description="Points, whole; 120 is one ordinary favour.")]
"""Points without a sign, as events and states carry them."""

Size = Literal["small", "medium", "large"]
Level = Literal[1, 2, 3, 4, 5]
DealBand = Literal["S", "M", "L", "XL"]
Account = Literal["main", "stake", "disputed"]
