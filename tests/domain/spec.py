"""Specifications of the domain: given these events, when this command is decided, then that event is recorded.

For every recorded event, a specification also checks four properties. The event posts a balanced entry. It leads to a
state. Event, state and command can be read back from JSON. A repeat of the command records nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any, Final, Self, TypeVar, Union

import msgspec
import pytest

from ledger.domain.catalog.kinds import KINDS, Kind, union_members
from ledger.domain.catalog.operations import LAPSES, OPERATIONS
from ledger.domain.posting.rules import entry_of
from ledger.domain.values.advice import GuardFacts
from ledger.domain.values.aggregate_types import Command, Creation, Event, Lapse, State, tag_of
from ledger.domain.values.context import NO_FINDINGS, Context, Finding, Need
from ledger.domain.values.policy import DEFAULT_POLICY, Policy
from ledger.domain.values.refusals import AlreadyExists, Bug, Fact, Refusal, Unknown, WrongState
from tests.oracle.legs import Leg, Legs

NOW: Final = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
MOMENT: Final = timedelta(microseconds=1)
LATER: Final = NOW + timedelta(days=90)  # Every deadline set at NOW is due.

KIND_OF_COMMAND: Final[Mapping[type[Command | Lapse], Kind]] = {
    **{operation.command: operation.kind for operation in OPERATIONS.values()},
    **{lapse: KINDS[kind] for kind, lapse in LAPSES.items()},
}

# Kinds with an id derived from their parties: a repeated creation is a no-op and not a conflict.
ONE_OF_EACH: Final = frozenset({"member", "attendance", "contact", "policy", "dispute"})

T = TypeVar("T")


def days(count: int) -> timedelta:
    return timedelta(days=count)


def fold(kind: Kind, history: Iterable[Event]) -> State | None:
    """Return the state after a history."""
    nothing: State | None = None
    return reduce(kind.evolve, history, nothing)


def stored(value: T, as_type: Any) -> T:
    """Write `value` as JSON and return it as read back with `as_type`."""
    read: T = msgspec.json.decode(msgspec.json.encode(value), type=as_type)
    return read


def posted_legs(event: Event) -> Legs:
    """Return the legs that the product posts for `event`, as legs of the oracle."""
    return tuple(
        Leg(leg.member, leg.account, leg.counterparty, leg.points, leg.given, leg.received)
        for leg in entry_of(event).legs
    )


# Given, when, then


@dataclass(frozen=True)
class Then:
    """The recorded event, and the state after it."""

    event: Event
    state: State

    def posting(self, *movements: Legs) -> Self:
        """Check that the event posts exactly these legs, in any order."""
        posted, expected = posted_legs(self.event), [leg for legs in movements for leg in legs]
        assert Counter(posted) == Counter(expected), f"posted {posted}, not {expected}"
        return self

    def posting_nothing(self) -> Self:
        return self.posting()

    def leaving(self, state: str, **fields: Any) -> Self:
        """Check the name of the state, and some of its fields."""
        found = {name: getattr(self.state, name) for name in fields}
        assert (tag_of(self.state), found) == (state, fields), f"left {self.state}"
        return self


@dataclass(frozen=True)
class When:
    """A command and all inputs of its decision."""

    kind: Kind
    state: State | None
    command: Command | Lapse
    context: Context

    def then(self, expected: Event) -> Then:
        recorded = self.then_recorded(tag_of(expected))
        assert recorded.event == expected, f"recorded {recorded.event}, not {expected}"
        return recorded

    def then_recorded(self, tag: str) -> Then:
        """Check the name of the event only."""
        event = self.kind.decide(self.command, self.state, self.context)
        assert event is not None, "recorded nothing"
        assert tag_of(event) == tag, f"recorded {event}, not {tag}"
        assert sum(leg.points for leg in entry_of(event).legs) == 0
        state = self.kind.evolve(self.state, event)
        assert stored(event, Union[self.kind.events]) == event  # noqa: UP007 - made from a tuple.
        assert stored(state, self.kind.states) == state
        assert stored(self.command, type(self.command)) == self.command
        again = When(self.kind, state, self.command, self.context)
        if isinstance(self.command, Creation) and self.kind.name not in ONE_OF_EACH:
            again.then_refused(AlreadyExists, kind=self.kind.name)
        else:
            again.then_nothing()
        return Then(event, state)

    def then_nothing(self) -> None:
        event = self.kind.decide(self.command, self.state, self.context)
        assert event is None, f"recorded {event}"

    def then_refused(self, refusal: type[Refusal], **facts: Fact) -> None:
        """Check that the command is refused with this refusal and exactly these facts."""
        with pytest.raises(Refusal) as refused:
            self.kind.decide(self.command, self.state, self.context)
        assert refused.type is refusal, f"refused as {refused.value!r}"
        assert refused.value.facts == facts, f"refused with {refused.value.facts}, not {facts}"


@dataclass(frozen=True)
class Given:
    """The history of one aggregate."""

    history: tuple[Event, ...]

    def when(
        self,
        command: Command | Lapse,
        *,
        at: datetime = NOW,
        policy: Policy = DEFAULT_POLICY,
        found: Mapping[Need, Finding] = NO_FINDINGS,
        facts: GuardFacts | None = None,
    ) -> When:
        kind = KIND_OF_COMMAND[type(command)]
        context = Context(now=at, policy=policy, found=found, facts=facts)
        return When(kind, fold(kind, self.history), command, context)


def given(*history: Event) -> Given:
    return Given(history)


# Lifecycle tables


@dataclass(frozen=True)
class TransitionTable:
    """A table of the outcome of every command after every history, with an example of each command and history.

    A cell is the recorded event, `-` for nothing, `!` for a wrong state, or another refusal. With `!not_now`, the
    refusal of the wrong state names `not_now` instead.
    """

    kind: Kind
    after: Mapping[str, tuple[Event, ...]]  # By row: the history. Its last event names the row.
    asked_to: Mapping[str, Command | Lapse]  # By column: the command of an actor who may send it.
    possible_when: Mapping[str, str]  # By column: the state that a refusal expects.
    table: str
    found: Mapping[Need, Finding] = field(default_factory=dict[Need, Finding])  # By need of a command.

    @property
    def cells(self) -> list[tuple[str, str, str]]:
        header, *rows = (line.split() for line in self.table.strip().splitlines())
        return [
            (after, command, outcome)
            for after, *outcomes in rows
            for command, outcome in zip(header, outcomes, strict=True)
        ]

    def check_cell(self, after: str, command: str, outcome: str) -> None:
        when = given(*self.after[after]).when(self.asked_to[command], at=LATER, found=self.found)
        match outcome:
            case "-":
                when.then_nothing()
            case wrong if wrong.startswith("!"):
                assert when.state is not None
                found = wrong.removeprefix("!") or tag_of(when.state)
                when.then_refused(WrongState, expected=self.possible_when[command], found=found)
            case "exists":
                when.then_refused(AlreadyExists, kind=self.kind.name)
            case "unknown":
                when.then_refused(Unknown, kind=self.kind.name)
            case event:
                when.then_recorded(f"{self.kind.name}.{event}")

    def check_complete(self) -> None:
        """Check that there is a row for every history and a column for every command, in order."""
        expected = [(after, command) for after in self.after for command in self.asked_to]
        assert [(after, command) for after, command, _ in self.cells] == expected

    def check_no_other_event(self) -> None:
        """Check that the events which may follow a history are those of its row. Any other event is corrupt history."""
        examples = {tag_of(event): event for history in self.after.values() for event in history}
        for after, history in self.after.items():
            state = fold(self.kind, history)
            row = {f"{self.kind.name}.{outcome}" for name, _, outcome in self.cells if name == after}
            for tag, event in examples.items():
                if tag in row:
                    self.kind.evolve(state, event)
                else:
                    with pytest.raises(Bug, match=f"^{tag} after {state and tag_of(state)}$"):
                        self.kind.evolve(state, event)


def check_all_covered(*tables: TransitionTable) -> None:
    """Check that the tables of a kind cover all its states, events and commands."""
    (kind,) = {table.kind.name: table.kind for table in tables}.values()
    histories = [history for table in tables for history in table.after.values()]
    commands = {type(command) for table in tables for command in table.asked_to.values()}
    assert {type(fold(kind, history)) for history in histories if history} == set(union_members(kind.states))
    assert {type(event) for history in histories for event in history} == set(kind.events)
    assert commands == {command for command, of in KIND_OF_COMMAND.items() if of.name == kind.name}
