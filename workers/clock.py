"""The clock: asks the books what is due, and says so to the log by a command like anybody's."""

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
DUE_MAX: Final = 10_000  # Rows of one look at the books, with those that the log has answered about already.
RETRY_REFUSED_S: Final = 5.0  # Until what the log refused is asked about once more: it may have been under dispute.
RETRY_RECORDED_S: Final = 60.0  # The same for what is recorded, and the books do not show: they are behind.

_log = structlog.get_logger()


def utc_now() -> datetime:
    return datetime.now(UTC)


async def run_clock(log: EventLog, settings: Settings, now: Callable[[], datetime] = utc_now) -> None:
    """Let end what is due to end by itself, for ever. A server that goes away is waited for.

    Several of them do no harm, nor does one that is late or killed: the log decides on what it holds, and what has
    moved meanwhile is refused or already so. Raises: Poison, which needs a person.
    """
    away: str | None = None
    async with Reader(settings.books, pool_max=1) as reader:
        clock = Clock(Executor(log, now), reader, now)
        _log.info("this clock keeps the deadlines")
        while True:
            more = False
            try:
                more = await clock.turn()
            except (BooksUnavailable, SchemaMissing, LogUnavailable, AppendUncertain) as error:
                server = "log" if isinstance(error, LogUnavailable | AppendUncertain) else "books"
                if server != away:
                    _log.warning("clock waits", server=server, reason=f"{type(error).__name__}: {error}")
                away = server
            else:
                if away is not None:
                    _log.info("clock goes on")
                away = None
            if not more:
                await asyncio.sleep(settings.clock_poll_ms / 1_000)


class Clock:
    """One turn at a time. `now` is the ledger's clock, the same as the executor's."""

    def __init__(self, executor: Executor, reader: Reader, now: Callable[[], datetime]) -> None:
        self._executor = executor
        self._reader = reader
        self._now = now
        self._answered: dict[AggregateRef, float] = {}
        """What the books call due although the log has answered: when to ask it again, by the monotonic clock."""

    async def turn(self) -> bool:
        """Send what is due, and wait until the books show it; answers whether there may be more.

        Raises: BooksUnavailable, SchemaMissing or LogUnavailable; AppendUncertain, and repeating it is harmless.
        """
        batch = await self._look()
        if not batch:
            return False
        telemetry.LAPSES_SENT.inc(len(batch))
        results = await self._executor.execute_all([submission_of(due) for due in batch])
        position = self._learn(batch, results)
        if position == 0:
            return False
        with suppress(BooksBehind):  # What was sent is left alone, and the rest need not be as late as the books.
            await self._reader.reach(position)
        return True

    async def _look(self) -> list[Due]:
        """What is due and the log has not answered about; then that which it may answer otherwise by now."""
        now, moment = self._now(), time.monotonic()
        _, overdue = await self._reader.due(now, min(BATCH_MAX + len(self._answered), DUE_MAX))
        still = {due.ref for due in overdue}
        self._answered = {ref: again for ref, again in self._answered.items() if ref in still}
        first = [due for due in overdue if due.ref not in self._answered]
        again = [due for due in overdue if self._answered.get(due.ref, math.inf) <= moment]
        telemetry.OVERDUE.set(max(0.0, (now - first[0].due_at).total_seconds()) if first else 0.0)
        return [*first, *again][:BATCH_MAX]  # Those that are due for the first time wait for nobody.

    def _learn(self, batch: Sequence[Due], results: Sequence[Outcome | Refusal]) -> int:
        """Remember what was answered; answers the position that the books show it all at, 0 when there is none."""
        moment, position, recorded = time.monotonic(), 0, Counter[str]()
        for due, result in zip(batch, results, strict=True):
            if isinstance(result, Outcome):
                position = max(position, result.position)
                recorded[due.ref.kind] += result.how == "recorded"
                self._answered[due.ref] = moment + RETRY_RECORDED_S
                continue
            self._answered[due.ref] = moment + RETRY_REFUSED_S
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
