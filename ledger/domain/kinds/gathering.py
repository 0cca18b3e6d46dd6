"""Gathering: a networking event, where contacts, one-to-ones, introductions and referrals may come from.

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
    """It took place at `held_at`, with dues to pay or without."""

    host: MemberId
    held_at: Instant
    dues: bool = False


Gathering = Held

# Events


class GatheringHeld(Event, frozen=True, kw_only=True, tag="gathering.held"):
    """It took place at `held_at`, with dues to pay or without."""

    host: MemberId
    held_at: Instant
    dues: bool = False


GatheringEvent = GatheringHeld

# Commands


class HoldGathering(Creation, frozen=True, kw_only=True):
    """The host held it, when the command says that it happened."""

    host: MemberId
    dues: bool = False
    id: UUID | None = None

    def own_id(self, community: str) -> UUID | None:
        return self.id


GatheringCommand = HoldGathering


def evolve(state: Gathering | None, event: GatheringEvent) -> Gathering:
    """The state machine, whole: a second event is corrupt history."""
    if state is not None:
        raise Bug(f"{tag_of(event)} after {tag_of(state)}")
    return Held(host=event.host, held_at=event.held_at, dues=event.dues)


def decide(command: GatheringCommand, state: Gathering | None, context: Context) -> GatheringEvent:
    """The event that the command amounts to.

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
