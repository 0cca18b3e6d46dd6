"""The envelope: what an event is once it is written down, one CloudEvents 1.0 JSON object each."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from ledger.domain.catalog.kinds import EVENTS, KIND_OF_EVENT, KINDS, AnyEvent, Kind
from ledger.domain.values.aggregate_types import State
from ledger.domain.values.ids import Instant

TYPES: Final = {event: f"referral-ledger.{tag}.v1" for tag, event in EVENTS.items()}

UUID_PATTERN: Final = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$(?!\n)"


class Poison(Exception):
    """An event that cannot be understood. Nothing is skipped: whoever reads it stops, and says where."""

    def __init__(self, position: int, why: str) -> None:
        super().__init__(f"poison event at position {position}: {why}")
        self.position = position


class AggregateRef(Struct, frozen=True, gc=False, cache_hash=True):
    """One aggregate of a community. `id` is a lower-case UUID."""

    community: str
    kind: str
    id: str


class Envelope(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """CloudEvents 1.0, structured mode. `time` is when it happened; when it was recorded, the log says.

    `commandid` and `fingerprint` make a repeated command meet its own event; `policyversion` is the policy
    it was decided under.
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
    """An event as the log holds it. Positions begin at 1 and rise by one.

    `body` is the envelope's exact bytes. `snapshot` is the aggregate after it; the first event carries none.
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
    return _encode(envelope)


def decode(body: bytes | str) -> Envelope:
    """Raises: msgspec.MsgspecError, when it is no envelope of ours."""
    return _decode_envelope(body)


def encode_state(state: State) -> bytes:
    return _encode(state)


def decode_state(kind: str, data: bytes | str | msgspec.Raw) -> Any:
    """Raises: msgspec.MsgspecError, when it is no state of that kind."""
    return _decode_state[kind](data)
