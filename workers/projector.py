"""The projector: reads the log in order from the checkpoint, and applies each event to the books exactly once."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Final

import structlog

from ledger.books.changes import Changes
from ledger.books.connection import BooksUnavailable, SchemaMissing
from ledger.books.writer import Displaced, Writer, writer_lock
from ledger.envelope import Poison, RecordedEvent
from ledger.log.event_log import EventLog, ForeignLog, LogUnavailable
from ledger.runtime import telemetry
from ledger.runtime.settings import Settings

RETRY_WAIT_S: Final = 0.5
FOREIGN_LOG_ADVICE: Final = (
    "The books were written from another log. If this log is the right one, drop the schema of the books and run "
    "`referral-ledger migrate`; the projector then derives the books from the start. Otherwise restore the log."
)
FOLDED_MAX: Final = 1  # The cache of the writer covers one prepared batch and the one that is being written.

_log = structlog.get_logger()


async def run_projector(log: EventLog, settings: Settings) -> None:
    """Apply the log to the books until cancelled. Only the holder of the writer lock writes; others wait for the lock.

    An unavailable server is waited for.

    Raises: Poison, if an event cannot be read; ForeignLog, if the books were written from another log. Both need a
    person. The books contain all events up to their checkpoint.
    """
    while True:
        try:
            async with writer_lock(settings.books) as writer:
                _log.info("this projector writes the books")
                await project_from_checkpoint(log, writer, settings)
        except ForeignLog as foreign:
            raise ForeignLog(f"{foreign}. {FOREIGN_LOG_ADVICE}") from foreign
        except (BooksUnavailable, LogUnavailable, SchemaMissing, Displaced) as error:
            _log.warning("projector waits", reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(RETRY_WAIT_S)


async def project_from_checkpoint(log: EventLog, writer: Writer, settings: Settings) -> None:
    """Apply all events after the checkpoint. Each batch is folded while the batch before it is written.

    Raises: ForeignLog; Poison, after all events before it are applied; every exception of the writer.
    """
    checkpoint = await writer.checkpoint()
    telemetry.POSITION.set(checkpoint.position)
    batches = log.read_from(
        checkpoint.position + 1,
        after=checkpoint.event_id,
        batch_max=settings.projector_batch_max_events,
        linger_ms=settings.projector_linger_ms,
    )
    folded: asyncio.Queue[Changes] = asyncio.Queue(maxsize=FOLDED_MAX)
    async with aclosing(batches):
        # No task group: after a failed task, it mistakes a cancellation from outside for its own.
        tasks = (asyncio.create_task(fold_all(batches, writer, folded)), asyncio.create_task(write_all(writer, folded)))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def fold_all(
    batches: AsyncGenerator[list[RecordedEvent], None], writer: Writer, folded: asyncio.Queue[Changes]
) -> None:
    """Fold every batch and put the changes into the queue.

    Raises: Poison, after all events before it are applied.
    """
    try:
        async for batch in batches:
            try:
                changes = await writer.prepare(batch)
            except Poison as poison:
                if readable := [event for event in batch if event.position < poison.position]:
                    await folded.put(await writer.prepare(readable))
                raise
            await folded.put(changes)
    except Poison:
        await folded.join()  # Until all events before it are applied.
        raise


async def write_all(writer: Writer, folded: asyncio.Queue[Changes]) -> None:
    """Write the changes from the queue to the books, and update the metrics."""
    while True:
        changes = await folded.get()
        await writer.write(changes)  # One transaction contains the effects and the checkpoint.
        folded.task_done()
        telemetry.PROJECTED.inc(len(changes.journal))
        telemetry.PROJECTED_BATCHES.inc()
        telemetry.POSITION.set(changes.last)
        newest_recorded_at: datetime = changes.journal[-1][1]
        telemetry.LAG.set(max(0.0, time.time() - newest_recorded_at.timestamp()))
