"""Ids, tags and times, each with the form that it must have."""

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

CLOCK: Final = "clock"  # The actor of a deadline. No member may bear the name.

# `$` alone would let a line break slip in behind an id; `(?!\n)` is Python and ECMAScript for "and really the end".
CommunityId = Annotated[
    str, Meta(pattern=r"^[a-z][a-z0-9-]{1,39}$(?!\n)", description="The tenant.", examples=["acme"])
]
MemberId = Annotated[
    str,
    Meta(
        pattern=r"^(?!clock$)[A-Za-z0-9][A-Za-z0-9_-]{0,63}$(?!\n)",
        description="A person in the community; chosen by the caller, opaque. `clock` is reserved.",
        examples=["ada"],
    ),
]
ProspectId = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$(?!\n)",
        description="A possible client, perhaps outside the community; opaque.",
        examples=["prospect-7"],
    ),
]
Tag = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$(?!\n)", examples=["cardiology"])]
Tags = Annotated[tuple[Tag, ...], Meta(max_length=16)]

Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339, with its offset from UTC.")]
