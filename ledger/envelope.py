"""The envelope: the stored form of an event, one CloudEvents 1.0 JSON object."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from ledger.domain.catalog.kinds import EVENTS, KIND_OF_EVENT, KINDS, AnyEvent, Kind
from ledger.domain.values.aggregate_types import State
from ledger.domain.values.ids import Instant

TYPES: Final = {event: f"referral-ledger.{tag}.v1" for tag, event in EVENTS.items()}

UUID_PATTERN: Final = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$(?!\n)"


class Poison(Exception):
    """An event that cannot be read. It is not skipped: its reader stops and reports the position."""

    def __init__(self, position: int, why: str) -> None:
        super().__init__(f"poison event at position {position}: {why}")
        self.position = position


class AggregateRef(Struct, frozen=True, gc=False, cache_hash=True):
    """The address of an aggregate. `id` is a lower-case UUID."""

    community: str
    kind: str
    id: str


class Envelope(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A CloudEvents 1.0 object in structured mode, around one event.

    `time` is the time of the event; the time of recording is the timestamp of the message in the log. A repeated
    command finds its own event by `commandid` and `fingerprint`. `policyversion` is the version of the policy that the
    decision used.
    """

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(pattern=UUID_PATTERN)]
    source: Annotated[str, Meta(pattern=r"^/communities/[a-z][a-z0-9-]{1,39}$(?!\n)")]
    type: str
    subject: Annotated[str, Meta(pattern=r"^[a-z]+(-[a-z]+)*/" + UUID_PATTERN[1:])]
    time: Instant
    datacontenttype: Literal["application/json"]
    actor: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$(?!\n)")]
    commandid: str
    fingerprint: str
    policyversion: int
    data: AnyEvent
    correlationid: str | None = None
    causationid: str | None = None
    traceparent: str | None = None

    @property
    def ref(self) -> AggregateRef:
        kind, _, aggregate_id = self.subject.partition("/")
        return AggregateRef(self.source.removeprefix("/communities/"), kind, aggregate_id)


class RecordedEvent(Struct, frozen=True, gc=False):
    """An event with its position and recording time, as the log holds it.

    Positions start at 1 and rise by one. `recorded_at_us` is in microseconds since 1970. `body` is the exact bytes of
    the envelope. `snapshot` is the encoded aggregate after the event; the first event of an aggregate has none.
    """

    position: int
    recorded_at_us: int
    body: bytes
    snapshot: bytes | None
    envelope: Envelope
    ref: AggregateRef

    @property
    def kind(self) -> Kind:
        return KIND_OF_EVENT[type(self.envelope.data)]


_encode = msgspec.json.Encoder().encode
_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_state = {name: msgspec.json.Decoder(kind.states).decode for name, kind in KINDS.items()}


def encode(envelope: Envelope) -> bytes:
    """Return the stored bytes of an envelope."""
    return _encode(envelope)


def decode(body: bytes | str) -> Envelope:
    """Return the envelope of stored bytes.

    Raises: msgspec.MsgspecError, if `body` is not an envelope of this ledger.
    """
    return _decode_envelope(body)


def encode_state(state: State) -> bytes:
    """Return the stored bytes of a state."""
    return _encode(state)


def decode_state(kind: str, data: bytes | str | msgspec.Raw) -> Any:
    """Return the state of stored bytes.

    Raises: msgspec.MsgspecError, if `data` is not a state of the kind.
    """
    return _decode_state[kind](data)
