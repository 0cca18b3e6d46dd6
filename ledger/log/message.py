"""Messages of the stream: their subjects, and events understood from them.

Subjects are `ledger.<bucket>.<community>.<kind>.<aggregate id>.<event>`. Nothing personal stands in one.
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
    """Two digits, CRC-32 of the community modulo 64: by this the log can be spread over streams later."""
    return f"{crc32(community.encode()) % BUCKETS:02d}"


def aggregate_filter(ref: AggregateRef) -> str:
    """The filter that all events of the aggregate match, and nothing else."""
    return f"ledger.{bucket(ref.community)}.{ref.community}.{ref.kind}.{ref.id}.*"


def event_subject(ref: AggregateRef, name: str) -> str:
    """The subject of the aggregate's events of this name, like `won`."""
    return aggregate_filter(ref)[:-1] + name


def subject_of(ref: AggregateRef, event: Event) -> str:
    """The subject an event is published to."""
    return event_subject(ref, tag_of(event).partition(".")[2])


def parse_message(position: int, recorded_at_us: int, subject: str, body: bytes, snapshot: str | None) -> RecordedEvent:
    """The event that a message holds.

    Raises: Poison, when the body is no envelope of ours, or says another thing than its subject.
    """
    try:
        body.decode()  # All of it is text, also what nobody reads.
        envelope = decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Poison(position, str(error)) from error
    event, ref = envelope.data, envelope.ref
    if envelope.type != TYPES[type(event)] or ref.kind != KIND_OF_EVENT[type(event)].name:
        raise Poison(position, f"{envelope.type!r} of {envelope.subject!r} holds a {tag_of(event)!r}")
    if subject != subject_of(ref, event):
        raise Poison(position, f"subject {subject!r} holds an event of {envelope.subject!r}")
    return RecordedEvent(
        position, recorded_at_us, body, snapshot.encode() if snapshot is not None else None, envelope, ref
    )
