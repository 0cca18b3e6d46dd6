"""`/asyncapi.json` is valid and complete, and every event ever stored conforms to it."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeGuard

import httpx
import jsonschema
import msgspec
import pytest
from jsonschema import Draft7Validator, FormatChecker

from ledger.domain.catalog.kinds import EVENTS
from ledger.envelope import TYPES, decode
from ledger.log.message import SNAPSHOT_HEADER, subject_of
from ledger.log.snapshot import Snapshot
from ledger.log.stream import STREAM, stream_definition
from ledger.runtime.settings import Settings
from services.app import ServicePart, application
from services.docs.asyncapi import document
from tests.log.samples import GOLDEN, GROWN
from tests.services.caller import BASE_URL

SPECIFICATION: Final = Path(__file__).with_name("asyncapi-3.0.0.json")
SERVED: Final[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(document()))
MESSAGES: Final[dict[str, Any]] = SERVED["components"]["messages"]
TAG_OF_TYPE: Final = {TYPES[event]: tag for tag, event in EVENTS.items()}

every_event = pytest.mark.parametrize("tag", EVENTS)
every_golden = pytest.mark.parametrize("sample", GOLDEN)


def validator(schema: Mapping[str, Any]) -> Draft7Validator:
    return Draft7Validator({**schema, "components": SERVED["components"]}, format_checker=FormatChecker())


def faults(schema: Mapping[str, Any], value: Any) -> list[str]:
    """Return the departures of the value from the schema."""
    return [f"{error.json_path}: {error.message}" for error in validator(schema).iter_errors(value)]


def is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, dict)


def references(value: Any) -> Iterator[str]:
    """Yield every reference in a JSON document."""
    if is_object(value):
        if "$ref" in value:
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:  # pyright: ignore[reportUnknownVariableType]  JSON, read without a type.
            yield from references(part)


# Validity


def test_it_is_what_the_asyncapi_initiative_calls_valid() -> None:
    specification = json.loads(SPECIFICATION.read_text())
    assert [error.message for error in Draft7Validator(specification).iter_errors(SERVED)] == []


def test_the_specification_catches_a_misspelt_key() -> None:
    specification = json.loads(SPECIFICATION.read_text())
    with pytest.raises(jsonschema.ValidationError):
        Draft7Validator(specification).validate({**SERVED, "chanels": {}})


def test_every_reference_leads_somewhere() -> None:
    for reference in references(SERVED):
        place: Any = SERVED
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]
        assert place, reference


@pytest.mark.parametrize("part", ["command", "query"])
async def test_both_services_show_it_to_everybody(part: ServicePart) -> None:
    app = application(part, Settings(api_key="a key of sixteen or more")).asgi
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]  # Litestar has its own type for this callable.
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client:
        answer = await client.get("/asyncapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == SERVED


# Completeness


def test_every_event_is_sent_over_a_channel_of_its_own() -> None:
    assert list(SERVED["channels"]) == list(SERVED["operations"]) == list(MESSAGES) == list(EVENTS)
    addresses = [channel["address"] for channel in SERVED["channels"].values()]
    assert len(set(addresses)) == len(EVENTS)
    assert SERVED["channels"]["favour.thanked"]["address"] == "ledger.{bucket}.{community}.favour.{id}.thanked"


@every_event
def test_every_event_is_told_in_full(tag: str) -> None:
    address = SERVED["channels"][tag]["address"]
    parameters = SERVED["channels"][tag]["parameters"]
    assert set(re.findall(r"\{(\w+)\}", address)) == parameters.keys()
    assert all(of["description"] and of["examples"] for of in parameters.values())
    assert SERVED["operations"][tag]["action"] == "send"
    assert MESSAGES[tag]["name"] == TYPES[EVENTS[tag]]
    assert MESSAGES[tag]["summary"] == SERVED["operations"][tag]["summary"] == SERVED["channels"][tag]["summary"]
    assert "\n    " not in MESSAGES[tag]["description"]


@every_event
def test_every_event_has_an_example_that_is_of_its_form(tag: str) -> None:
    for example in MESSAGES[tag]["examples"]:
        assert faults(MESSAGES[tag]["payload"], example["payload"]) == []
        envelope = decode(json.dumps(example["payload"]))
        assert type(envelope.data) is EVENTS[tag]


def test_the_stream_is_the_one_that_is_made() -> None:
    stream = SERVED["servers"]["nats"]["x-jetstream"]["stream"]
    assert stream["name"] == STREAM
    assert stream == {name: value for name, value in stream_definition(3).items() if name != "num_replicas"}


def test_the_header_is_shown_as_it_is() -> None:
    (header,) = SERVED["components"]["schemas"]["Headers"]["properties"].items()
    assert header[0] == SNAPSHOT_HEADER
    for example in header[1]["examples"]:
        assert msgspec.json.decode(example, type=Snapshot).version == 2


# Conformance of stored events


@every_golden
def test_whatever_was_stored_is_of_the_form_of_its_message(sample: str) -> None:
    stored = msgspec.json.decode(GOLDEN[sample])
    tag = TAG_OF_TYPE[sample.removesuffix(GROWN)]
    assert faults(MESSAGES[tag]["payload"], stored) == []
    envelope = decode(GOLDEN[sample])
    bucket, community, _, aggregate, _ = subject_of(envelope.ref, envelope.data).split(".")[1:]
    address = SERVED["channels"][tag]["address"]
    assert address.format(bucket=bucket, community=community, id=aggregate) == subject_of(envelope.ref, envelope.data)


@every_golden
def test_no_event_is_of_the_form_of_another_message(sample: str) -> None:
    stored = msgspec.json.decode(GOLDEN[sample])
    tag = TAG_OF_TYPE[sample.removesuffix(GROWN)]
    assert [other for other in EVENTS if other != tag and not faults(MESSAGES[other]["payload"], stored)] == []


def test_a_consumer_lives_with_fields_that_it_does_not_know() -> None:
    stored = msgspec.json.decode(GOLDEN[TYPES[EVENTS["favour.thanked"]]])
    newer = {**stored, "data": {**stored["data"], "a_field_of_tomorrow": 1}, "extension": "of tomorrow"}
    assert faults(MESSAGES["favour.thanked"]["payload"], newer) == []
