"""An example of every operation: its command, and the resource after it.

The domain decides each command, one after the other, until every operation has an example. So no example is written by
hand, and none can be a command that the domain refuses.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain
from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import fields, replace

from ledger.domain.catalog.kinds import DISPUTE, EVENTS, KINDS, Kind
from ledger.domain.catalog.operations import OPERATIONS, Operation
from ledger.domain.values.aggregate_types import Command, Creation
from ledger.domain.values.context import Context, EventOf, Finding, Need, PastEvent
from ledger.domain.values.refusals import Bug, Refusal
from ledger.examples import AGGREGATE, COMMUNITY, EXAMPLES, MODERATOR, NOW, example_of
from services.http.resources import Resource, View, view_of

EXAMPLE_ACTORS: Final = (MODERATOR, "dan", "bob", "cleo", "ada")
EXAMPLE_POSITION: Final = 25
"""Of the first event of each; where it stands in the log is all the same to it."""


class CommandExample(Struct, frozen=True, kw_only=True):
    """A command, and the aggregate as it leaves it."""

    command: Command
    held: Resource

    @property
    def view(self) -> View:
        """What the one who acts is shown of it. Who judges a dispute is party to none of it, and sees all."""
        return view_of(self.held, None if self.held.kind == DISPUTE.name else self.command.actor, NOW)


@cache
def command_examples() -> Mapping[str, CommandExample]:
    """By operation."""
    found: dict[str, CommandExample] = {}
    reached: dict[str, list[Resource]] = {kind: [] for kind in KINDS}
    while waiting := OPERATIONS.keys() - found.keys():
        for name in (name for name in OPERATIONS if name in waiting):
            operation = OPERATIONS[name]
            befores = [None] if operation.creates else [*reached[operation.kind.name]]
            for exchange in chain.from_iterable(example_candidates(operation, before, reached) for before in befores):
                found.setdefault(name, exchange)
                reached[operation.kind.name].append(exchange.held)
        if waiting == OPERATIONS.keys() - found.keys():
            raise Bug(f"no example leads to {sorted(waiting)}")
    return found


def example_candidates(
    operation: Operation, before: Resource | None, reached: Mapping[str, list[Resource]]
) -> Iterator[CommandExample]:
    """What comes of the operation, whoever of the actors may ask for it."""
    own, kind = fields(operation.command), operation.kind
    needed = {field.name: EXAMPLES[field.name] for field in own if field.required and field.name != "actor"}
    for actor in EXAMPLE_ACTORS:
        command = operation.command(actor=actor, **needed)
        exchange = decide_example(kind, command, before, reached)
        for field in own:  # As much as it may say.
            if not field.required and field.name in EXAMPLES:
                more = replace(command, **{field.name: EXAMPLES[field.name]})
                if (said := decide_example(kind, more, before, reached)) is not None:
                    command, exchange = more, said
        if exchange is not None:
            yield exchange


def decide_example(
    kind: Kind, command: Command, before: Resource | None, reached: Mapping[str, list[Resource]]
) -> CommandExample | None:
    """What the command comes to; None, when it is refused or already so."""
    own = command.own_id(COMMUNITY) if isinstance(command, Creation) else None
    aggregate = before.id if before is not None else own or UUID(AGGREGATE)
    state = before.state if before is not None else None
    needs = kind.needs(command, state, aggregate)
    context = Context(now=NOW, found={need: example_finding(need, reached) for need in needs})
    try:
        event = kind.decide(command, state, context)
    except Refusal:
        return None
    if event is None:
        return None
    earlier = before.version if before is not None else 0
    held = Resource(
        kind=kind.name,
        id=aggregate,
        version=earlier + 1,
        began=EXAMPLE_POSITION,
        position=EXAMPLE_POSITION + earlier,
        state=kind.evolve(state, event),
    )
    return CommandExample(command=command, held=held)


def example_finding(need: Need, reached: Mapping[str, list[Resource]]) -> Finding:
    """Another aggregate as an earlier example left it, or an example of its event."""
    if isinstance(need, EventOf):
        event = example_of(EVENTS[f"{need.kind}.{need.event}"])
        return PastEvent(UUID(AGGREGATE), event, NOW, NOW)
    return next((held.state for held in reached[need.kind]), None)
