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
    """A need for the current state of another aggregate of the community."""

    kind: str
    id: UUID


class EventOf(Struct, frozen=True):
    """A need for the last event of this name, such as `won`, of another aggregate."""

    kind: str
    id: UUID
    event: str


class PastEvent(Struct, frozen=True):
    """A recorded event. `recorded_at` is the ledger's time, and `occurred_at` the time of the event."""

    id: UUID
    event: Event
    recorded_at: datetime
    occurred_at: datetime


Need = StateOf | EventOf
Needs = Callable[[Any, Any, UUID], tuple[Need, ...]]
"""Function from a command, the state of its aggregate (or None) and the aggregate's id to the needs of the decision."""
Finding = State | PastEvent | None

NO_FINDINGS: Final[Mapping[Need, Finding]] = MappingProxyType({})


class Context(Struct, frozen=True, kw_only=True):
    """The facts that a decision uses, beside the command and its own aggregate.

    `now` is the ledger's time. Deadlines run from it and not from `occurred_at`, because silence can only begin when
    the other side can know; see docs/domain.md#deadlines-run-from-the-recording-time. `policy` is in force at `now`.
    `found` has the finding of each need: None if nothing is recorded. `facts` are for the reciprocity guard: None if
    the command is not an ask, or if the books cannot be read.
    """

    now: datetime
    policy: Policy = DEFAULT_POLICY
    found: Mapping[Need, Finding] = NO_FINDINGS
    facts: GuardFacts | None = None


def no_needs(_command: Command | Lapse, _state: State | None, _id: UUID) -> tuple[Need, ...]:
    """Return no needs: most decisions use their own aggregate alone."""
    return ()


def require_due(due_at: datetime, context: Context) -> None:
    """Check that the deadline has passed, so that a clock worker whose time runs ahead does no harm.

    Raises: NotDue, before the deadline, with nothing recorded.
    """
    if context.now < due_at:
        raise NotDue(due_at=due_at)
