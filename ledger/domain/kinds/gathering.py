"""Gathering: a networking event. Favours, referrals, intros, contacts and one-to-ones can name it as their source.

`held`.
"""

from typing import assert_never
from uuid import UUID

from ledger.domain.values.aggregate_types import Creation, Event, State, tag_of
from ledger.domain.values.context import Context
from ledger.domain.values.ids import Instant, MemberId
from ledger.domain.values.refusals import AlreadyExists, Bug, NotYours

# States


class Held(State, frozen=True, kw_only=True, tag="held"):
    """The gathering took place at `held_at`, with or without dues."""

    host: MemberId
    held_at: Instant
    dues: bool = False


Gathering = Held

# Events


class GatheringHeld(Event, frozen=True, kw_only=True, tag="gathering.held"):
    """The host held a gathering at `held_at`, with or without dues."""

    host: MemberId
    held_at: Instant
    dues: bool = False


GatheringEvent = GatheringHeld

# Commands


class HoldGathering(Creation, frozen=True, kw_only=True):
    """Record a gathering, as its host. It took place at `occurred_at`."""

    host: MemberId
    dues: bool = False
    id: UUID | None = None

    def own_id(self, community: str) -> UUID | None:
        return self.id


GatheringCommand = HoldGathering


def evolve(state: Gathering | None, event: GatheringEvent) -> Gathering:
    """Return the state after `event`. Raises: Bug, if the history is corrupt (a second event)."""
    if state is not None:
        raise Bug(f"{tag_of(event)} after {tag_of(state)}")
    return Held(host=event.host, held_at=event.held_at, dues=event.dues)


def decide(command: GatheringCommand, state: Gathering | None, context: Context) -> GatheringEvent:
    """Return the event to record. See docs/domain.md#gathering.

    Raises: Refusal, with nothing recorded.
    """
    match command, state:
        case HoldGathering(), None:
            return hold(command, context)
        case HoldGathering(), _:
            raise AlreadyExists(kind="gathering")
        case _:
            assert_never(command)


def hold(command: HoldGathering, context: Context) -> GatheringHeld:
    if command.actor != command.host:
        raise NotYours(role="host")
    return GatheringHeld(host=command.host, held_at=command.occurred_at or context.now, dues=command.dues)
