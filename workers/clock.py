"""The clock worker: reads overdue deadlines from the books and sends a lapse command for each."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog

from ledger.books.connection import BooksUnavailable, SchemaMissing
from ledger.books.reader import BooksBehind, Due, Reader
from ledger.commands.executor import Executor
from ledger.commands.submission import Outcome, Submission
from ledger.domain.catalog.operations import LAPSES
from ledger.domain.values.refusals import NotDue, Refusal, Unknown, WrongState
from ledger.envelope import AggregateRef
from ledger.log.event_log import AppendUncertain, EventLog, LogUnavailable
from ledger.runtime import telemetry
from ledger.runtime.settings import Settings

BATCH_MAX: Final = 500
DUE_MAX: Final = 10_000  # Most deadlines of one read, with those that the log has already decided.
RETRY_REFUSED_S: Final = 5.0  # Until a refused lapse is sent again. A dispute may have been the reason.
RETRY_RECORDED_S: Final = 60.0  # Until a recorded lapse is sent again if the books still show it as overdue.

_log = structlog.get_logger()


def utc_now() -> datetime:
    return datetime.now(UTC)


async def run_clock(log: EventLog, settings: Settings, now: Callable[[], datetime] = utc_now) -> None:
    """Send a lapse command for every overdue deadline, until cancelled. An unavailable server is waited for.

    Several clock workers do no harm, nor does a late or killed one. The log decides: a lapse is refused if another
    event came first, and has no effect if the aggregate has already lapsed.

    Raises: Poison, if an event cannot be read. It needs a person.
    """
    unavailable: str | None = None
    async with Reader(settings.books, pool_max=1) as reader:
        clock = Clock(Executor(log, now), reader, now)
        _log.info("this clock records lapses")
        while True:
            more = False
            try:
                more = await clock.send_lapses()
            except (BooksUnavailable, SchemaMissing, LogUnavailable, AppendUncertain) as error:
                server = "log" if isinstance(error, LogUnavailable | AppendUncertain) else "books"
                if server != unavailable:
                    _log.warning("clock waits", server=server, reason=f"{type(error).__name__}: {error}")
                unavailable = server
            else:
                if unavailable is not None:
                    _log.info("clock continues")
                unavailable = None
            if not more:
                await asyncio.sleep(settings.clock_poll_ms / 1_000)


class Clock:
    """Sends lapses in batches, one batch at a time. `now` must be the time source of the executor."""

    def __init__(self, executor: Executor, reader: Reader, now: Callable[[], datetime]) -> None:
        self._executor = executor
        self._reader = reader
        self._now = now
        self._retry_at: dict[AggregateRef, float] = {}
        """Monotonic time of the next attempt, for each aggregate that the log has decided and the books show as due."""

    async def send_lapses(self) -> bool:
        """Send one batch of lapses, and wait until the books contain them. Return whether more may be overdue.

        Raises: BooksUnavailable, SchemaMissing or LogUnavailable, with no lapse recorded; AppendUncertain, with perhaps
        some recorded. A repeat does no harm.
        """
        batch = await self._next_batch()
        if not batch:
            return False
        telemetry.LAPSES_SENT.inc(len(batch))
        results = await self._executor.execute_all([submission_of(due) for due in batch])
        position = self._schedule_retries(batch, results)
        if position == 0:
            return False
        with suppress(BooksBehind):  # Later batches skip these lapses, so they need not wait for the books.
            await self._reader.wait_for_position(position)
        return True

    async def _next_batch(self) -> list[Due]:
        """Return overdue deadlines: first the new ones, then those whose time of retry has come."""
        now, moment = self._now(), time.monotonic()
        _, overdue = await self._reader.due(now, min(BATCH_MAX + len(self._retry_at), DUE_MAX))
        refs = {due.ref for due in overdue}
        self._retry_at = {ref: at for ref, at in self._retry_at.items() if ref in refs}
        new = [due for due in overdue if due.ref not in self._retry_at]
        retries = [due for due in overdue if self._retry_at.get(due.ref, math.inf) <= moment]
        telemetry.OVERDUE.set(max(0.0, (now - new[0].due_at).total_seconds()) if new else 0.0)
        return [*new, *retries][:BATCH_MAX]  # Retries never delay a new deadline.

    def _schedule_retries(self, batch: Sequence[Due], results: Sequence[Outcome | Refusal]) -> int:
        """Set the time of retry of each deadline. Return the highest position of a lapse, or 0 if none is recorded."""
        moment, position, recorded = time.monotonic(), 0, Counter[str]()
        for due, result in zip(batch, results, strict=True):
            if isinstance(result, Outcome):
                position = max(position, result.position)
                recorded[due.ref.kind] += result.how == "recorded"
                self._retry_at[due.ref] = moment + RETRY_RECORDED_S
                continue
            self._retry_at[due.ref] = moment + RETRY_REFUSED_S
            if not isinstance(result, WrongState | NotDue | Unknown):
                _log.warning("a lapse was refused", code=result.code, facts=result.facts, ref=due.ref)
        for kind, count in recorded.items():
            telemetry.LAPSES_RECORDED.labels(kind).inc(count)
        return position


def submission_of(due: Due) -> Submission:
    kind = due.ref.kind
    return Submission(
        community=due.ref.community,
        operation=f"{kind}.lapse",
        kind=kind,
        command=LAPSES[kind](),
        id=UUID(due.ref.id),
    )
