"""The executor: loads, decides and appends commands, and retries after a conflict.

Every command takes this path, from every sender. Many commands are loaded by one read and appended as one atomic batch.
Each of them still succeeds or fails alone.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Final

import msgspec
from uuid_utils import uuid7

from ledger.commands.consultation import Consult, no_books
from ledger.commands.decision import Decider, NeedsUnfinished, Unfinished, needs_no_reads
from ledger.commands.refusals import Contended, KeyReused
from ledger.commands.replay import replay
from ledger.commands.submission import Outcome, PendingCommand, Submission, prepare
from ledger.domain.values.refusals import Refusal
from ledger.envelope import AggregateRef, RecordedEvent
from ledger.log.event_log import APPEND_MAX, Append, AppendUncertain, Conflict, EventLog, LogUnavailable
from ledger.log.snapshot import load_aggregate
from ledger.runtime.telemetry import COMMANDS

ATTEMPTS_MAX: Final = 5
JITTER_MAX_S: Final = 0.02

Result = Outcome | Refusal | None
"""The result of one attempt. None: the command must wait for an earlier command of the same request."""


class Executor:
    """Executes commands. `now` returns the time of the ledger. `consult` is called before an ask is decided."""

    def __init__(
        self,
        log: EventLog,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        consult: Consult = no_books,
    ) -> None:
        self._log = log
        self._now = now
        self._decider = Decider(log, consult)

    async def execute(self, submission: Submission) -> Outcome:
        """Execute one command. It runs to its end even if the caller is cancelled.

        Raises: Refusal or LogUnavailable, with nothing recorded; AppendUncertain, if it may be recorded.
        """
        (result,) = await self.execute_all([submission])
        if isinstance(result, Refusal):
            raise result
        return result

    async def execute_all(self, submissions: Sequence[Submission]) -> list[Outcome | Refusal]:
        """Execute many commands. Each succeeds or is refused alone; a command runs after an earlier one that it needs.

        Raises: LogUnavailable or AppendUncertain: some may be recorded, and repeating all of them is harmless.
        """
        results = await asyncio.shield(asyncio.ensure_future(self._execute_all(submissions)))
        for submission, result in zip(submissions, results, strict=True):
            outcome = result.code if isinstance(result, Refusal) else result.how
            COMMANDS.labels(submission.operation, outcome).inc()
        return results

    async def _execute_all(self, submissions: Sequence[Submission]) -> list[Outcome | Refusal]:
        results: dict[int, Outcome | Refusal] = {}
        waiting: list[PendingCommand] = []
        for place, submission in enumerate(submissions):
            try:
                waiting.append(prepare(place, submission, self._now(), lambda: str(uuid7())))
            except Refusal as refusal:
                results[place] = without_traceback(refusal)
        while waiting:
            # An atomic batch can contain one event per aggregate. Further commands wait for the next round.
            batch: dict[AggregateRef, PendingCommand] = {}
            later: list[PendingCommand] = []
            for pending in waiting:
                if pending.ref in batch or len(batch) == APPEND_MAX:
                    later.append(pending)
                else:
                    batch[pending.ref] = pending
            unfinished = {pending.ref: pending.place for pending in reversed(later)}
            outcomes = await self._retry(list(batch.values()), unfinished)
            for pending, outcome in zip(batch.values(), outcomes, strict=True):
                if outcome is None:
                    later.append(pending)
                else:
                    results[pending.place] = outcome
            waiting = sorted(later, key=attrgetter("place"))
        return [results[place] for place in range(len(submissions))]

    async def _retry(
        self, batch: Sequence[PendingCommand], unfinished: Unfinished, *, uncertain: bool = False
    ) -> list[Result]:
        """Attempt at most `ATTEMPTS_MAX` times. After a conflict, split many commands in half.

        A contended aggregate thus delays only itself.

        Raises: LogUnavailable, with nothing recorded; AppendUncertain.
        """
        fresh = False
        for _ in range(ATTEMPTS_MAX):
            try:
                results = await self._attempt(batch, unfinished, fresh=fresh)
            except Conflict:
                if len(batch) > 1:
                    return await self._retry_halves(batch, unfinished, uncertain=uncertain)
                fresh = True  # A replica may still lag behind the leader.
                await asyncio.sleep(random.uniform(0, JITTER_MAX_S))  # noqa: S311  Spread, not secrecy.
            except AppendUncertain:
                if uncertain:
                    raise
                uncertain = True  # Attempt once more. If it was recorded, it is found as a repeat.
            except LogUnavailable as error:
                if uncertain:  # An earlier attempt may have recorded it.
                    raise AppendUncertain(str(error)) from error
                raise
            else:
                if uncertain:
                    require_certain(batch, results)
                return results
        if uncertain:
            raise AppendUncertain(f"one of {ATTEMPTS_MAX} attempts may be recorded; the others lost to other commands")
        return [Contended(kind=pending.submission.kind, id=pending.ref.id) for pending in batch]

    async def _retry_halves(
        self, batch: Sequence[PendingCommand], unfinished: Unfinished, *, uncertain: bool
    ) -> list[Result]:
        middle = len(batch) // 2
        results = await self._retry(batch[:middle], unfinished, uncertain=uncertain)
        if None in results:  # The second half may need a command of the first.
            return [*results, *[None] * (len(batch) - middle)]
        return results + await self._retry(batch[middle:], unfinished, uncertain=uncertain)

    async def _attempt(self, batch: Sequence[PendingCommand], unfinished: Unfinished, *, fresh: bool) -> list[Result]:
        """Read once, decide each command, append once.

        Refusals and no-ops are decided again on a leader read, because no append can reveal a stale one. Exception: a
        creation that was refused without reading anything.
        """
        loaded = await self._log.last([pending.ref for pending in batch], fresh=fresh)
        results: list[Result] = []
        appends: list[tuple[int, Outcome, Append]] = []
        unfinished = dict(unfinished)
        for pending, last in zip(batch, loaded, strict=True):
            try:
                outcome, append = await self._decide(pending, last, unfinished)
            except Refusal as refusal:
                results.append(without_traceback(refusal))
                continue
            except NeedsUnfinished:
                results.append(None)
                unfinished[pending.ref] = pending.place
                continue
            if append is not None:
                appends.append((len(results), outcome, append))
                unfinished[pending.ref] = pending.place
                pending.sent = True
            results.append(outcome)
        if appends:
            positions = await self._log.append([append for _, _, append in appends])
            for (index, outcome, _), position in zip(appends, positions, strict=True):
                results[index] = msgspec.structs.replace(outcome, position=position)
        if not fresh:
            doubtful = [n for n, result in enumerate(results) if is_doubtful(result, batch[n], loaded[n])]
            if doubtful:
                again = await self._attempt([batch[n] for n in doubtful], unfinished, fresh=True)
                for n, result in zip(doubtful, again, strict=True):
                    results[n] = result
        return results

    async def _decide(
        self, pending: PendingCommand, last: RecordedEvent | None, unfinished: Unfinished
    ) -> tuple[Outcome, Append | None]:
        """Return the recorded outcome of a repeat, or decide.

        Raises: Refusal or NeedsUnfinished, with nothing recorded.
        """
        aggregate = load_aggregate(last) if last is not None else None
        replayed = await replay(self._log, pending, aggregate)
        if replayed is not None:
            return replayed, None
        return await self._decider.decide(pending, aggregate, unfinished)


def is_doubtful(result: Result, pending: PendingCommand, last: RecordedEvent | None) -> bool:
    """Return whether the result records nothing and may rest on a stale read."""
    records_nothing = isinstance(result, Refusal) or (result is not None and result.how == "unchanged")
    return records_nothing and not (last is None and needs_no_reads(pending))


def require_certain(batch: Sequence[PendingCommand], results: Sequence[Result]) -> None:
    """Raises: AppendUncertain, if a command is refused now, but its event was sent before and may still be recorded."""
    for pending, result in zip(batch, results, strict=True):
        if pending.sent and isinstance(result, Refusal) and not isinstance(result, KeyReused):
            raise AppendUncertain(f"it is refused now ({result.code}), but an earlier attempt may be recorded")


def without_traceback(refusal: Refusal) -> Refusal:
    """Drop the traceback: its frames would keep the whole batch alive until the next collection."""
    return refusal.with_traceback(None)
