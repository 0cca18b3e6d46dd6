"""What the log promises to the rest, whoever keeps it: JetStream, or memory in tests."""

from collections.abc import AsyncGenerator, Sequence
from typing import Final, Protocol

from msgspec import Struct

from ledger.envelope import AggregateRef, RecordedEvent
from ledger.runtime.unavailable import Unavailable

APPEND_MAX: Final = 1_000  # JetStream's own limit for an atomic batch.


class LogUnavailable(Unavailable):
    """The log cannot be reached; nothing was recorded. Try again."""

    code = "log_unavailable"


class AppendUncertain(Unavailable):
    """The log did not answer in time: it may be recorded or not. Repeating it is harmless."""

    code = "append_uncertain"


class Conflict(Exception):
    """Somebody appended to one of these aggregates first; nothing was recorded. Load and decide again."""


class ForeignLog(Exception):
    """The log is not the one that was read before: it was wiped, or restored from an older copy."""


class Append(Struct, frozen=True):
    """One event for one aggregate, whose last event must still be at `expected` (0: it has none)."""

    ref: AggregateRef
    subject: str
    body: bytes
    snapshot: bytes | None
    expected: int


class EventLog(Protocol):
    """Positions begin at 1, rise by one, and are never reused."""

    async def last(self, refs: Sequence[AggregateRef], *, fresh: bool = False) -> list[RecordedEvent | None]:
        """The last event of each, or None where there is none. May be stale, unless `fresh`: `append` finds out.

        Raises: LogUnavailable, Poison.
        """
        ...

    async def last_named(self, ref: AggregateRef, event: str) -> RecordedEvent | None:
        """The last event of this name, like `won`, that happened to the aggregate. Never stale.

        Raises: LogUnavailable, Poison.
        """
        ...

    async def at(self, position: int) -> RecordedEvent | None:
        """The event at a position, or None when the log does not hold it.

        Raises: LogUnavailable, Poison.
        """
        ...

    async def append(self, events: Sequence[Append]) -> list[int]:
        """Record all of them, or none, durably; answers their positions.

        At most `APPEND_MAX`, and one an aggregate.
        Raises: Conflict or LogUnavailable, with nothing recorded; AppendUncertain, with either.
        """
        ...

    async def end(self) -> int:
        """The position of the last event, 0 when there is none.

        Raises: LogUnavailable.
        """
        ...

    def read_from(
        self, position: int, *, after: str | None = None, batch_max: int = 1_000, linger_ms: int = 10
    ) -> AsyncGenerator[list[RecordedEvent], None]:
        """Everything from `position` on, in order and without gaps, for ever; waits at the end.

        `after` is the id of the event before `position`, from one who has read it: the log must hold that one there.
        Once there is something, a batch waits at most `linger_ms` to fill up. Lost connections are its own business.
        Raises: Poison, after everything before it was given, also for an event that the log has lost; ForeignLog, when
        it does not hold what was read of it.
        """
        ...
