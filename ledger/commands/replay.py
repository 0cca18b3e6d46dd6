"""Replay: the outcome of a command that is recorded already."""

from ledger.commands.refusals import KeyReused
from ledger.commands.submission import Outcome, PendingCommand, is_same_command, outcome_of
from ledger.log.event_log import EventLog, LogUnavailable
from ledger.log.snapshot import CommandMark, LoadedAggregate, load_aggregate


async def replay(log: EventLog, pending: PendingCommand, aggregate: LoadedAggregate | None) -> Outcome | None:
    """Return the outcome of the first time, if this command is recorded already; else None.

    Raises: KeyReused, when the key came with another request; LogUnavailable. Nothing is recorded.
    """
    if aggregate is None:
        return None
    mark = await find_mark(log, pending, aggregate)
    if mark is None:
        return None
    if mark.fingerprint != pending.fingerprint:
        raise KeyReused(kind=pending.ref.kind, id=pending.ref.id)
    then = await load_at(log, mark.position) if mark.position != aggregate.position else aggregate
    is_own = then.event_id == pending.event_id  # An earlier attempt recorded it and received no acknowledgement.
    return outcome_of(pending.ref, then, "recorded" if is_own else "replayed")


async def find_mark(log: EventLog, pending: PendingCommand, aggregate: LoadedAggregate) -> CommandMark | None:
    """Return the mark of this command, or None. Each event remembers the few commands before it, so a long life is
    walked backwards.

    Only a command with a key can be older than that. A command without one is recognised by its event, or begins a
    short life.
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

    Raises: LogUnavailable, when the log does not hold the position yet.
    """
    message = await log.at(position)
    if message is None:
        raise LogUnavailable(f"position {position} cannot be read yet")
    return load_aggregate(message)
