"""The context of a decision: the time, the policy, and the other aggregates that the decision needs."""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from ledger.domain.values.advice import GuardFacts
from ledger.domain.values.aggregate_types import Command, Event, Lapse, State
from ledger.domain.values.policy import DEFAULT_POLICY, Policy
from ledger.domain.values.refusals import NotDue


class StateOf(Struct, frozen=True):
    """The need to know another aggregate of the community, as it stands."""

    kind: str
    id: UUID


class EventOf(Struct, frozen=True):
    """The need to know the event of this name, like `won`, that happened last to another aggregate."""

    kind: str
    id: UUID
    event: str


class PastEvent(Struct, frozen=True):
    """An event that was recorded: `id` is its own, `recorded_at` the ledger's time, `occurred_at` the caller's."""

    id: UUID
    event: Event
    recorded_at: datetime
    occurred_at: datetime


Need = StateOf | EventOf
Needs = Callable[[Any, Any, UUID], tuple[Need, ...]]
"""From a command, the state of its aggregate (or None) and the aggregate's id, to what the decision has to see."""
Finding = State | PastEvent | None

NO_FINDINGS: Final[Mapping[Need, Finding]] = MappingProxyType({})


class Context(Struct, frozen=True, kw_only=True):
    """`now` is the ledger's time: deadlines run from it and not from when a thing is said to have happened,
    because silence can only begin once the other side can know. `policy` is the one in force at `now`.
    `found` answers the needs of the command; None where nothing is recorded. `facts` are what the guard weighs;
    None where nothing is asked for, or the books could not be read.
    """

    now: datetime
    policy: Policy = DEFAULT_POLICY
    found: Mapping[Need, Finding] = NO_FINDINGS
    facts: GuardFacts | None = None


def no_needs(_command: Command | Lapse, _state: State | None, _id: UUID) -> tuple[Need, ...]:
    """Most decisions are made on their own aggregate alone."""
    return ()


def require_due(due_at: datetime, context: Context) -> None:
    """Raises: NotDue, before the deadline: a clock that runs ahead does no harm."""
    if context.now < due_at:
        raise NotDue(due_at=due_at)
