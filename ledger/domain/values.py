"""The words every part of the ledger speaks: ids, points, and the bases of events, states and commands."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeVar, cast
from uuid import UUID

from msgspec import Meta, Struct

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

Points = int
"""Signed, whole; one ordinary favour is 120. Never money, and below 2^53 so that JavaScript can read it."""

Amount = Annotated[int, Meta(ge=0, le=2**53 - 1, description="Points, whole; 120 is one ordinary favour.")]
"""Points without a sign, as events and states carry them."""

Size = Literal["small", "medium", "large"]
Level = Literal[1, 2, 3, 4, 5]
Band = Literal["S", "M", "L", "XL"]
Account = Literal["main", "stake", "disputed"]


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event", gc=False):
    """Base of every fact. Fields carry every party and number a posting rule needs."""


class State(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="state", gc=False):
    """Base of every named state an aggregate can be in."""


class Command(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of every wish. `actor` is the member who acts, on whose word it is recorded.

    `occurred_at` is when it happened, if not now: since 1970, and at most 5 minutes ahead.
    """

    actor: MemberId
    occurred_at: Instant | None = None


class Creation(Command, frozen=True, kw_only=True):
    """Base of the commands that begin an aggregate."""

    def own_id(self, community: str) -> UUID | None:
        """The id that the command itself decides on, or None: then the idempotency key does."""
        return None


class Lapse(Struct, frozen=True, kw_only=True):
    """Base of the clock's commands: what was due by now has ended by itself."""

    actor: Literal["clock"] = CLOCK
    occurred_at: Instant | None = None


S = TypeVar("S", bound=State)


def become(target: type[S], state: State, **changes: Any) -> S:
    """The state `target`, with `changes`, and every other field it shares with `state` kept."""
    shared = {name: getattr(state, name) for name in target.__struct_fields__ if hasattr(state, name)}
    return target(**{**shared, **changes})


def tag_of(value: Event | State | type[Event] | type[State]) -> str:
    """The written-out tag: `favour.thanked` of an event, `posted` of a state."""
    return cast("str", value.__struct_config__.tag)
