"""Histories for the books: commands that the executor carries out, and events that a test appends unchanged."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from ledger.commands.executor import Executor
from ledger.commands.submission import Outcome, Submission
from ledger.domain.catalog.kinds import KINDS, AnyEvent
from ledger.domain.catalog.operations import LAPSES, OPERATIONS
from ledger.domain.kinds.favour import RecordFavour
from ledger.domain.values.aggregate_types import Command, Lapse
from ledger.domain.values.ids import MemberId
from ledger.domain.values.points import Size
from ledger.envelope import AggregateRef, RecordedEvent, encode
from ledger.log.event_log import Append, EventLog
from ledger.log.memory import MemoryLog
from ledger.log.message import subject_of
from tests.envelopes import NOW, make_envelope

ACME: Final = "acme"
OPERATION_OF: Final[dict[type[Command], str]] = {operation.command: name for name, operation in OPERATIONS.items()}
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
KIND_OF_LAPSE: Final = {lapse: kind for kind, lapse in LAPSES.items()}
FIRST_EVENT_ID: Final = 2**64  # For events that a test appends unchanged. The ids of aggregates are smaller.


def uuid_of(number: int) -> UUID:
    """Return a UUID that is easy to distinguish from others."""
    return UUID(int=number)


def submission(command: Command | Lapse, of: UUID | None = None, community: str = ACME) -> Submission:
    """Return the submission of a command. A step names its aggregate as `of`; a creation names its own id."""
    if isinstance(command, Lapse):
        kind = KIND_OF_LAPSE[type(command)]
        return Submission(community=community, operation=f"{kind}.lapse", kind=kind, command=command, id=of)
    operation = OPERATION_OF[type(command)]
    return Submission(
        community=community, operation=operation, kind=OPERATIONS[operation].kind.name, command=command, id=of
    )


def microseconds_of(at: datetime) -> int:
    """Return a time as the log records it, in whole microseconds since 1970."""
    return (at - EPOCH) // timedelta(microseconds=1)


class TimedLog(MemoryLog):
    """Log in memory that takes its recording times from a clock of the test."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__()
        self._now = now

    async def append(self, events: Sequence[Append]) -> list[int]:
        positions = await super().append(events)
        recorded_at_us = microseconds_of(self._now())
        for position in positions:
            self._messages[position - 1] = (recorded_at_us, *self._messages[position - 1][1:])
        return positions


class CommandLog:
    """Log with the executor that writes to it. A test sets `now`, the time of the executor."""

    def __init__(self, log: EventLog | None = None) -> None:
        self.now = NOW
        self.log: Final = log or TimedLog(lambda: self.now)
        self.executor: Final = Executor(self.log, lambda: self.now)

    async def execute(self, command: Command | Lapse, of: UUID | None = None, community: str = ACME) -> Outcome:
        return await self.executor.execute(submission(command, of, community))

    async def thank(
        self, giver: MemberId, receiver: MemberId, *, own_id: UUID, size: Size = "medium", community: str = ACME
    ) -> Outcome:
        """Record a favour as thanks from the receiver. It is posted at once."""
        return await self.execute(
            RecordFavour(actor=receiver, giver=giver, receiver=receiver, size=size, id=own_id), community=community
        )

    async def thank_many(self, count: int, *, begin: int = 1) -> None:
        """Record favours of bob for ada, of 120 points each, with ids from `begin` on."""
        favours = [
            RecordFavour(actor="ada", giver="bob", receiver="ada", size="medium", id=uuid_of(number))
            for number in range(begin, begin + count)
        ]
        await self.executor.execute_all([submission(favour) for favour in favours])

    async def append_event(
        self, of: UUID, event: AnyEvent, *, event_id: UUID | None = None, community: str = ACME, at: datetime = NOW
    ) -> int:
        """Append an event without a decision, valid or not. Return its position."""
        ref = AggregateRef(community, next(name for name, kind in KINDS.items() if type(event) in kind.events), str(of))
        (last,) = await self.log.last([ref])
        event_id = event_id or uuid_of(FIRST_EVENT_ID + await self.log.end())
        envelope = make_envelope(ref, event, event_id=event_id, at=at)
        append = Append(ref, subject_of(ref, event), encode(envelope), None, last.position if last else 0)
        (position,) = await self.log.append([append])
        return position

    async def read_events(self, first: int = 1) -> list[RecordedEvent]:
        """Return all events from position `first` on."""
        found = [await self.log.at(position) for position in range(first, await self.log.end() + 1)]
        return [event for event in found if event is not None]


def renumber(events: Sequence[RecordedEvent], first: int) -> list[RecordedEvent]:
    """Return the same events at the positions from `first` on."""
    return [msgspec.structs.replace(event, position=first + index) for index, event in enumerate(events)]
