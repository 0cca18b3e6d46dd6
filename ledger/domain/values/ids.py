"""Ids, tags and times, with the form of each. See docs/domain.md#identifiers-and-units."""

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

CLOCK: Final = "clock"
"""The actor of a lapse. It is not a valid member id. See docs/domain.md#the-clock-records-lapses."""

# In Python, `$` also matches before a final line break. `(?!\n)` excludes it, in Python and in ECMAScript.
CommunityId = Annotated[
    str,
    Meta(pattern=r"^[a-z][a-z0-9-]{1,39}$(?!\n)", description="The community, which is the tenant.", examples=["acme"]),
]
MemberId = Annotated[
    str,
    Meta(
        pattern=r"^(?!clock$)[A-Za-z0-9][A-Za-z0-9_-]{0,63}$(?!\n)",
        description="A person in the community. The caller chooses the id. `clock` is reserved.",
        examples=["ada"],
    ),
]
ProspectId = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$(?!\n)",
        description="A possible client, perhaps outside the community. The caller chooses the id.",
        examples=["prospect-7"],
    ),
]
Tag = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$(?!\n)", examples=["cardiology"])]
Tags = Annotated[tuple[Tag, ...], Meta(max_length=16)]

Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339, with an offset from UTC.")]
