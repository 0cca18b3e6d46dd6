"""Snapshots: the header of an event carries the state after it, so one read loads an aggregate."""

from typing import Final

import msgspec
from msgspec import Struct

from ledger.domain.values.aggregate_types import State
from ledger.domain.values.refusals import Bug
from ledger.envelope import Poison, RecordedEvent, decode_state, encode_state

REMEMBERED_COMMANDS: Final = 8  # Marks in a snapshot: the last commands before its event.


class CommandMark(Struct, frozen=True, array_like=True):
    """A command that is recorded in the aggregate, and the position of its event."""

    id: str
    fingerprint: str
    position: int


class Snapshot(Struct, frozen=True):
    """The aggregate after the event that carries the snapshot. `commands` are the last ones before that event."""

    version: int
    state: msgspec.Raw
    commands: tuple[CommandMark, ...]


class LoadedAggregate(Struct, frozen=True):
    """An aggregate after its last event. `version` is the number of its events, `position` that of the last one."""

    state: State
    version: int
    position: int
    event_id: str
    commands: tuple[CommandMark, ...]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Snapshot).decode


def load_aggregate(last: RecordedEvent) -> LoadedAggregate:
    """Return the aggregate after its last event: from the snapshot, or from the event if it is the first one.

    Raises: Poison, if the snapshot cannot be decoded, or if the event cannot begin an aggregate.
    """
    envelope = last.envelope
    mark = CommandMark(envelope.commandid, envelope.fingerprint, last.position)
    try:
        if last.snapshot is None:
            state = last.kind.evolve(None, envelope.data)
            return LoadedAggregate(state, 1, last.position, envelope.id, (mark,))
        snapshot = _decode(last.snapshot)
        state = decode_state(last.ref.kind, snapshot.state)
    except (msgspec.MsgspecError, Bug) as error:
        raise Poison(last.position, f"its aggregate cannot be read: {error}") from error
    commands = (*snapshot.commands, mark)[-REMEMBERED_COMMANDS:]
    return LoadedAggregate(state, snapshot.version, last.position, envelope.id, commands)


def snapshot_after(before: LoadedAggregate, state: State) -> bytes:
    """Return the snapshot header of the event that changes `before` to `state`: one line of JSON."""
    return _encode(Snapshot(before.version + 1, msgspec.Raw(encode_state(state)), before.commands))


def parse_snapshot(recorded: RecordedEvent) -> tuple[int, State, tuple[CommandMark, ...]] | None:
    """Return the version and state after an event and the commands before it, according to its snapshot.

    Return None for an event without a snapshot. Raises: Poison.
    """
    if recorded.snapshot is None:
        return None
    aggregate = load_aggregate(recorded)
    return aggregate.version, aggregate.state, _decode(recorded.snapshot).commands
