"""Replay: finds the outcome of a command that is already recorded."""

from ledger.commands.refusals import KeyReused
from ledger.commands.submission import Outcome, PendingCommand, is_same_command, outcome_of
from ledger.log.event_log import EventLog, LogUnavailable
from ledger.log.snapshot import CommandMark, LoadedAggregate, load_aggregate


async def replay(log: EventLog, pending: PendingCommand, aggregate: LoadedAggregate | None) -> Outcome | None:
    """Return the first outcome of this command if it is already recorded, or None.

    Raises: KeyReused, if the key came with another request; LogUnavailable. Nothing is recorded.
    """
    if aggregate is None:
        return None
    mark = await find_mark(log, pending, aggregate)
    if mark is None:
        return None
    if mark.fingerprint != pending.fingerprint:
        raise KeyReused(kind=pending.ref.kind, id=pending.ref.id)
    first = await load_at(log, mark.position) if mark.position != aggregate.position else aggregate
    is_own = first.event_id == pending.event_id  # An earlier attempt recorded it and received no acknowledgement.
    return outcome_of(pending.ref, first, "recorded" if is_own else "replayed")


async def find_mark(log: EventLog, pending: PendingCommand, aggregate: LoadedAggregate) -> CommandMark | None:
    """Return the mark of this command, or None. A snapshot contains few marks, so a long history is read backwards.

    Only a command with a key can be older than the newest marks. A command without a key is recognised by its event, or
    it creates an aggregate that never has many events.
    """
    while True:
        marks = aggregate.commands
        mark = next((mark for mark in marks if is_same_command(pending, mark)), None)
        if mark is not None or pending.submission.key is None or aggregate.version <= len(marks):
            return mark
        if marks[0].position >= aggregate.position:
            return None
        aggregate = await load_at(log, marks[0].position)


async def load_at(log: EventLog, position: int) -> LoadedAggregate:
    """Return the aggregate after the event at this position.

    Raises: LogUnavailable, if the log does not contain the position yet.
    """
    message = await log.at(position)
    if message is None:
        raise LogUnavailable(f"position {position} cannot be read yet")
    return load_aggregate(message)
