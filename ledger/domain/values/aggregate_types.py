"""Base types of the events, states and commands of every aggregate."""

from typing import Any, Literal, TypeVar, cast
from uuid import UUID

from msgspec import Struct

from ledger.domain.values.ids import CLOCK, Instant, MemberId


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
