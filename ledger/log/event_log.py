"""The contract of the log. JetStream implements it, and so does a log in memory for tests."""

from collections.abc import AsyncGenerator, Sequence
from typing import Final, Protocol

from msgspec import Struct

from ledger.envelope import AggregateRef, RecordedEvent
from ledger.runtime.unavailable import Unavailable

APPEND_MAX: Final = 1_000  # JetStream's limit for an atomic batch.


class LogUnavailable(Unavailable):
    """The log cannot be reached; nothing was recorded. Try again."""

    code = "log_unavailable"


class AppendUncertain(Unavailable):
    """The log did not respond in time: it may be recorded or not. Repeating it is harmless."""

    code = "append_uncertain"


class Conflict(Exception):
    """Another append to one of these aggregates came first. Nothing was recorded; load and decide again."""


class ForeignLog(Exception):
    """The log is not the one that was read before. It was wiped, or restored from an older copy."""


class Append(Struct, frozen=True):
    """One event for one aggregate. The aggregate's last event must be at `expected`; 0 means that it has no event."""

    ref: AggregateRef
    subject: str
    body: bytes
    snapshot: bytes | None
    expected: int


class EventLog(Protocol):
    """Loads, appends and reads events. Positions begin at 1, rise by one, and are never reused."""

    async def last(self, refs: Sequence[AggregateRef], *, fresh: bool = False) -> list[RecordedEvent | None]:
        """Return the last event of each aggregate, or None if it has none.

        Unless `fresh`, the result may be stale; then `append` raises Conflict.

        Raises: LogUnavailable, Poison.
        """
        ...

    async def last_named(self, ref: AggregateRef, event: str) -> RecordedEvent | None:
        """Return the last event of the aggregate with this name, such as `won`, or None. It is never stale.

        Raises: LogUnavailable, Poison.
        """
        ...

    async def at(self, position: int) -> RecordedEvent | None:
        """Return the event at a position, or None if the log does not contain it.

        Raises: LogUnavailable, Poison.
        """
        ...

    async def append(self, events: Sequence[Append]) -> list[int]:
        """Record all events durably, or none, and return their positions.

        `events` has at most `APPEND_MAX` events, and at most one for each aggregate.
        Raises: Conflict or LogUnavailable, with nothing recorded; AppendUncertain, with all or nothing recorded.
        """
        ...

    async def end(self) -> int:
        """Return the position of the last event, or 0 if there is none.

        Raises: LogUnavailable.
        """
        ...

    def read_from(
        self, position: int, *, after: str | None = None, batch_max: int = 1_000, linger_ms: int = 10
    ) -> AsyncGenerator[list[RecordedEvent], None]:
        """Yield batches of all events from `position` on, in order and without gaps. Wait for new ones at the end.

        `after` is the id of the event before `position`, if the caller has read it. The log must contain it there.
        A batch waits at most `linger_ms` after its first event. The reader reconnects by itself.
        Raises: Poison, after everything before it was yielded, also for an event that the log has lost; ForeignLog, if
        the log does not contain the event `after`.
        """
        ...
