"""Base classes of the events, states and commands of every aggregate."""

from typing import Any, Literal, TypeVar, cast
from uuid import UUID

from msgspec import Struct

from ledger.domain.values.ids import CLOCK, Instant, MemberId


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event", gc=False):
    """Base class of events. An event carries every party and number that its posting rule needs."""


class State(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="state", gc=False):
    """Base class of the named states of an aggregate."""


class Command(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base class of commands. `actor` is the member who acts.

    `occurred_at` is the time of the event, if it is not now: from 1970 on, and at most 5 minutes ahead. See
    docs/domain.md#time-of-an-event.
    """

    actor: MemberId
    occurred_at: Instant | None = None


class Creation(Command, frozen=True, kw_only=True):
    """Base class of the commands that create an aggregate."""

    def own_id(self, community: str) -> UUID | None:
        """Return the id that the command determines, or None if the idempotency key determines it.

        See docs/domain.md#ids-of-aggregates.
        """
        return None


class Lapse(Struct, frozen=True, kw_only=True):
    """Base class of the commands of the clock worker, which end an aggregate at its deadline.

    See docs/domain.md#the-clock-records-lapses.
    """

    actor: Literal["clock"] = CLOCK
    occurred_at: Instant | None = None


S = TypeVar("S", bound=State)


def become(target: type[S], state: State, **changes: Any) -> S:
    """Return a state of type `target` with `changes`, and with every other field that it shares with `state`."""
    shared = {name: getattr(state, name) for name in target.__struct_fields__ if hasattr(state, name)}
    return target(**{**shared, **changes})


def tag_of(value: Event | State | type[Event] | type[State]) -> str:
    """Return the stored tag: `favour.thanked` for an event, `posted` for a state."""
    return cast("str", value.__struct_config__.tag)
