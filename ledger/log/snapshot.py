"""Snapshots: an aggregate loaded from its last event alone, whose header carries the state after it."""

from typing import Final

import msgspec
from msgspec import Struct

from ledger.domain.values.aggregate_types import State
from ledger.domain.values.refusals import Bug
from ledger.envelope import Poison, RecordedEvent, decode_state, encode_state

REMEMBERED_COMMANDS: Final = 8


class CommandMark(Struct, frozen=True, array_like=True):
    """A command that the aggregate has seen, and the position of its event."""

    id: str
    fingerprint: str
    position: int


class Snapshot(Struct, frozen=True):
    """The aggregate after the event that carries it. `commands` are the ones before that event."""

    version: int
    state: msgspec.Raw
    commands: tuple[CommandMark, ...]


class LoadedAggregate(Struct, frozen=True):
    """One aggregate as of its last event. `version` counts its events, `position` is the last one's."""

    state: State
    version: int
    position: int
    event_id: str
    commands: tuple[CommandMark, ...]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Snapshot).decode


def load_aggregate(last: RecordedEvent) -> LoadedAggregate:
    """The aggregate that `last` leaves behind: by its snapshot, or, when it is the first event, by itself.

    Raises: Poison, when neither says.
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
    """The header of the event that takes `before` to `state`: one line of JSON."""
    return _encode(Snapshot(before.version + 1, msgspec.Raw(encode_state(state)), before.commands))


def parse_snapshot(recorded: RecordedEvent) -> tuple[int, State, tuple[CommandMark, ...]] | None:
    """The version and state that an event says it leaves behind, and the commands that it remembers from before it.

    None for one without a snapshot. Raises: Poison.
    """
    if recorded.snapshot is None:
        return None
    aggregate = load_aggregate(recorded)
    return aggregate.version, aggregate.state, _decode(recorded.snapshot).commands
