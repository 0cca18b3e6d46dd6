"""Messages of the stream: their subjects, and the events that they contain.

A subject is `ledger.<bucket>.<community>.<kind>.<aggregate id>.<event>`. It contains no personal data.
"""

from functools import lru_cache
from typing import Final
from zlib import crc32

import msgspec

from ledger.domain.catalog.kinds import KIND_OF_EVENT
from ledger.domain.values.aggregate_types import Event, tag_of
from ledger.envelope import TYPES, AggregateRef, Poison, RecordedEvent, decode

ALL_SUBJECTS: Final = "ledger.*.*.*.*.*"
SNAPSHOT_HEADER: Final = "Ledger-Snapshot"
BUCKETS: Final = 64


@lru_cache(maxsize=4096)
def bucket(community: str) -> str:
    """Return two digits: CRC-32 of the community modulo 64. The log can be split into several streams by it later."""
    return f"{crc32(community.encode()) % BUCKETS:02d}"


def aggregate_filter(ref: AggregateRef) -> str:
    """Return the subject filter that the events of the aggregate match, and no other message."""
    return f"ledger.{bucket(ref.community)}.{ref.community}.{ref.kind}.{ref.id}.*"


def event_subject(ref: AggregateRef, name: str) -> str:
    """Return the subject of the aggregate's events with this name, such as `won`."""
    return aggregate_filter(ref)[:-1] + name


def subject_of(ref: AggregateRef, event: Event) -> str:
    """Return the subject to which an event is published."""
    return event_subject(ref, tag_of(event).partition(".")[2])


def parse_message(position: int, recorded_at_us: int, subject: str, body: bytes, snapshot: str | None) -> RecordedEvent:
    """Return the event of a message.

    Raises: Poison, if the body is not a valid envelope, or if the envelope and the subject disagree.
    """
    try:
        body.decode()  # The whole body must be UTF-8, also the parts that `decode` skips.
        envelope = decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Poison(position, str(error)) from error
    event, ref = envelope.data, envelope.ref
    if envelope.type != TYPES[type(event)] or ref.kind != KIND_OF_EVENT[type(event)].name:
        raise Poison(position, f"{envelope.type!r} of {envelope.subject!r} contains a {tag_of(event)!r}")
    if subject != subject_of(ref, event):
        raise Poison(position, f"subject {subject!r} carries an event of {envelope.subject!r}")
    return RecordedEvent(
        position, recorded_at_us, body, snapshot.encode() if snapshot is not None else None, envelope, ref
    )
