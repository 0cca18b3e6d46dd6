"""The envelope: any CloudEvents reader can read it, and every stored version stays readable."""

import re
from collections import defaultdict
from datetime import datetime
from typing import Any, Final, TypeGuard
from uuid import UUID
from zlib import crc32

import msgspec
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from msgspec import Struct

from ledger.domain.catalog.kinds import EVENTS, KIND_OF_EVENT, KINDS
from ledger.domain.kinds.favour import Posted
from ledger.domain.values.aggregate_types import tag_of
from ledger.envelope import (
    TYPES,
    AggregateRef,
    Envelope,
    Poison,
    RecordedEvent,
    decode,
    decode_state,
    encode,
    encode_state,
)
from ledger.log.message import ALL_SUBJECTS, BUCKETS, aggregate_filter, bucket, parse_message, subject_of
from tests.envelopes import NOW, make_envelope
from tests.log.samples import CLAIMED, GOLDEN, GROWN, OUTGROWN, first_append, golden_envelope, with_fields

every_golden = pytest.mark.parametrize("sample", GOLDEN)
EXTENSIONS: Final = {
    "actor",
    "commandid",
    "fingerprint",
    "policyversion",
    "correlationid",
    "causationid",
    "traceparent",
}
ADA_ALONE: Final = {"event": "favour.claimed", "giver": "ada"}


def subject_that_fits(envelope: Envelope) -> str:
    return subject_of(envelope.ref, envelope.data)


# Stored events


def type_of(sample: str) -> str:
    return sample.removesuffix(GROWN)


def test_there_is_a_golden_sample_of_every_event() -> None:
    assert {*map(type_of, GOLDEN)} == set(TYPES.values()) == {f"referral-ledger.{tag}.v1" for tag in EVENTS}


@every_golden
def test_a_stored_event_is_read_and_written_again_to_the_byte(sample: str) -> None:
    envelope = golden_envelope(sample)
    assert envelope.type == type_of(sample) == TYPES[type(envelope.data)]
    assert encode(envelope) == GOLDEN[sample]


@pytest.mark.parametrize("sample", sorted(GOLDEN.keys() - OUTGROWN))
def test_a_golden_sample_shows_every_field_there_is(sample: str) -> None:
    stored = msgspec.json.decode(GOLDEN[sample])
    assert list(stored) == list(Envelope.__struct_fields__)
    event = golden_envelope(sample).data
    assert list(stored["data"]) == ["event", *event.__struct_fields__]
    assert stored["data"]["event"] == tag_of(event)
    for form, shown in fields_shown(event).items():
        assert shown == set(form.__struct_fields__), form


def are_several(value: Any) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(value, tuple)


def fields_shown(value: Any) -> dict[type[Struct], set[str]]:
    """Return by struct type, at any depth, the fields that at least one instance has written."""
    shown: dict[type[Struct], set[str]] = defaultdict(set)
    parts: tuple[Any, ...] = ()
    if isinstance(value, Struct):
        written: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
        shown[type(value)] |= written.keys() & set(value.__struct_fields__)
        parts = msgspec.structs.astuple(value)
    elif are_several(value):
        parts = value
    for part in parts:
        for form, names in fields_shown(part).items():
            shown[form] |= names
    return shown


@pytest.mark.parametrize("sample", sorted(OUTGROWN))
def test_what_was_stored_before_an_event_grew_has_no_other_fields_and_means_the_same(sample: str) -> None:
    before, after = (msgspec.json.decode(GOLDEN[name])["data"] for name in (sample, sample + GROWN))
    assert before.items() < after.items()
    event = golden_envelope(sample).data
    added = after.keys() - before.keys()
    defaults = {field.name: field.default for field in msgspec.structs.fields(type(event))}
    assert {name: getattr(event, name) for name in added} == {name: defaults[name] for name in added}


@every_golden
def test_what_a_golden_sample_may_leave_out_is_not_missed(sample: str) -> None:
    envelope = golden_envelope(sample)
    fields = msgspec.structs.fields(type(envelope.data))
    optional = {field.name: field.default for field in fields if not field.required}
    spare = msgspec.structs.replace(
        envelope,
        data=msgspec.structs.replace(envelope.data, **optional),
        correlationid=None,
        causationid=None,
        traceparent=None,
    )
    stored = msgspec.json.decode(encode(spare))
    assert not (optional | dict.fromkeys(["correlationid", "causationid", "traceparent"])).keys() & (
        stored.keys() | stored["data"].keys()
    )
    assert decode(encode(spare)) == spare


# Envelopes for other readers


@every_golden
def test_the_cloudevents_sdk_reads_what_is_written(sample: str) -> None:
    envelope = golden_envelope(sample)
    event = JSONFormat().read(CloudEvent, encode(envelope))
    assert event.get_specversion() == "1.0"
    assert event.get_id() == envelope.id
    assert event.get_source() == "/communities/acme"
    assert event.get_type() == type_of(sample)
    assert event.get_subject() == envelope.subject
    assert event.get_time() == envelope.time
    assert event.get_datacontenttype() == "application/json"
    assert event.get_dataschema() is None
    assert {name for name in event.get_attributes() if event.get_extension(name) is not None} >= EXTENSIONS
    assert {name: event.get_extension(name) for name in EXTENSIONS} == {
        name: getattr(envelope, name) for name in EXTENSIONS
    }
    assert event.get_data() == msgspec.json.decode(msgspec.json.encode(envelope.data))


@every_golden
def test_what_the_cloudevents_sdk_writes_is_read(sample: str) -> None:
    envelope = golden_envelope(sample)
    written = JSONFormat().write(JSONFormat().read(None, encode(envelope)))
    assert decode(written) == envelope


def test_it_can_be_posted_as_it_is() -> None:
    sample, body = next(iter(GOLDEN.items()))
    event = from_http_event(HTTPMessage({"content-type": JSONFormat.CONTENT_TYPE}, body))
    assert event.get_type() == type_of(sample)


def test_attribute_names_are_those_that_cloudevents_allow() -> None:
    names = [name for name in Envelope.__struct_fields__ if name != "data"]
    assert all(re.fullmatch(r"[a-z0-9]{1,20}", name) for name in names)


def test_an_envelope_knows_its_aggregate() -> None:
    ref = AggregateRef("acme", "favour", str(UUID(int=7)))
    assert make_envelope(ref, CLAIMED).ref == ref


# Subjects


@every_golden
def test_a_subject_says_bucket_community_kind_aggregate_and_event(sample: str) -> None:
    envelope = golden_envelope(sample)
    ref, event = envelope.ref, envelope.data
    ledger, digits, community, kind, aggregate_id, word = subject_of(ref, event).split(".")
    assert (ledger, community, kind, aggregate_id) == ("ledger", "acme", KIND_OF_EVENT[type(event)].name, ref.id)
    assert digits == f"{crc32(b'acme') % 64:02d}" == "62"
    assert type_of(sample) == f"referral-ledger.{kind}.{word}.v1"
    assert aggregate_filter(ref) == f"ledger.62.acme.{kind}.{ref.id}.*"
    assert len(ALL_SUBJECTS.split(".")) == 6


def test_a_bucket_has_two_digits_and_never_changes() -> None:
    communities = [f"community-{number}" for number in range(2_000)]
    buckets = {community: bucket(community) for community in communities}
    assert set(buckets.values()) == {f"{number:02d}" for number in range(BUCKETS)}
    assert (BUCKETS, bucket("acme"), bucket("umbrella"), bucket("chapter-7")) == (64, "62", "22", "49")


@every_golden
def test_nobody_is_named_in_a_subject(sample: str) -> None:
    envelope = golden_envelope(sample)
    data = msgspec.json.encode(envelope.data).decode()
    members = {member for member in ("ada", "bob", "cyd", "dee") if f'"{member}"' in data}
    assert members or tag_of(envelope.data) == "policy.published"
    assert not members & set(subject_of(envelope.ref, envelope.data).split("."))


# Messages of other origin


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"garbage",
        *(with_fields(first_append(), **{name: None}).body for name in Envelope.__struct_fields__[:12]),
        with_fields(first_append(), policyversion="1").body,
        with_fields(first_append(), time="yesterday").body,
        with_fields(first_append(), data=ADA_ALONE).body,
        with_fields(first_append(), data={**ADA_ALONE, "event": "favour.sold"}).body,
        with_fields(
            first_append(), data=msgspec.json.decode(msgspec.json.encode(CLAIMED)) | {"giver": "ada lovelace"}
        ).body,
        with_fields(first_append(), data=msgspec.json.decode(msgspec.json.encode(CLAIMED)) | {"points": 1.5}).body,
    ],
)
def test_what_is_no_envelope_of_ours_is_not_decoded(body: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(body)


@pytest.mark.parametrize(
    "fields",
    [
        {"specversion": "0.3"},
        {"id": "7"},
        {"time": "2026-03-02T09:30:00"},  # The time zone is missing.
        {"source": "acme"},
        {"source": "/communities/ACME"},
        {"datacontenttype": "text/plain"},
        {"subject": "favour/7"},
        {"subject": f"favour/{str(UUID(int=0xA)).upper()}"},
        {"actor": "ada lovelace"},
        {"type": "com.example.claimed"},
    ],
    ids=str,
)
def test_an_event_that_no_ledger_writes_is_poison(fields: dict[str, Any]) -> None:
    append = with_fields(first_append(), **fields)
    envelope = decode_whatever_it_is(append.body)
    with pytest.raises(Poison, match="position 7") as raised:
        parse_message(7, 0, subject_that_fits(envelope) if envelope else append.subject, append.body, None)
    assert raised.value.position == 7


def decode_whatever_it_is(body: bytes) -> Envelope | None:
    """Return None if the bytes are refused at this step. The earlier, the better."""
    try:
        return decode(body)
    except msgspec.MsgspecError:
        return None


def test_a_message_on_another_subject_than_its_event_is_poison() -> None:
    event = first_append()
    subject = event.subject.removesuffix("claimed")
    for wrong in (subject + "thanked", subject + "confirmed", event.subject.replace("acme", "umbrella"), "ledger"):
        with pytest.raises(Poison, match="subject"):
            parse_message(7, 0, wrong, event.body, None)


def test_a_message_is_understood_whole() -> None:
    event = first_append()
    recorded = parse_message(7, 1_000_001, event.subject, event.body, '{"version":2}')
    assert recorded == RecordedEvent(7, 1_000_001, event.body, b'{"version":2}', decode(event.body), event.ref)
    assert recorded.kind is KINDS["favour"]


# States


def test_a_state_survives_being_stored_and_is_read_as_its_own_kind_alone() -> None:
    state = Posted(giver="ada", receiver="bob", size="small", points=60)
    stored = encode_state(state)
    assert decode_state("favour", stored) == decode_state("favour", msgspec.Raw(stored)) == state
    with pytest.raises(msgspec.MsgspecError):
        decode_state("referral", stored)


def test_a_time_is_written_in_utc_with_its_z() -> None:
    stored = msgspec.json.decode(encode(make_envelope(first_append().ref, CLAIMED)))
    assert stored["time"] == NOW.isoformat().replace("+00:00", "Z")
    assert datetime.fromisoformat(stored["time"]) == NOW
