"""`/asyncapi.json`: a channel and a message for every event, generated from the catalog and the types of the events.

The schema of a message is that of the envelope, narrowed to one event and its type.
"""

from functools import cache
from inspect import cleandoc
from typing import Annotated, Any, Final, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec
from litestar import get
from msgspec import NODEFAULT, UNSET, Meta, Struct, UnsetType, defstruct
from msgspec.structs import fields

from ledger.domain.catalog.kinds import EVENTS, KIND_OF_EVENT, KINDS
from ledger.domain.kinds.favour import FavourClaimed, FavourConfirmed
from ledger.domain.values.aggregate_types import Event, tag_of
from ledger.envelope import TYPES, Envelope, RecordedEvent, encode
from ledger.examples import AGGREGATE, COMMUNITY, envelope_of, example_of
from ledger.log.message import BUCKETS, SNAPSHOT_HEADER, bucket
from ledger.log.snapshot import load_aggregate, snapshot_after
from ledger.log.stream import STREAM, stream_definition
from ledger.runtime.settings import Settings
from services.docs.pages import VERSION

SCHEMAS: Final = "#/components/schemas/{name}"
MEDIA_TYPE: Final = "application/cloudevents+json"
SERVER: Final = "nats"
DESCRIPTION: Final = """All events in the order of recording. Each event is one message: a CloudEvents 1.0 JSON object
in structured mode, in one JetStream stream that keeps every message. Its sequence in the stream is its position. Read
the stream with a durable pull consumer, and ignore fields that you do not know.

The stream is confidential: it contains who declined, and the advice of the guard. Only services may read it. A member
reads through the HTTP API, with `?viewer=`."""
BUCKET_DESCRIPTION: Final = f"CRC-32 of the community modulo {BUCKETS}, in two digits. Use `*` to subscribe."


def snapshot_example() -> str:
    """Return the snapshot in a confirmation: the favour after it, and the command before it."""
    claim = envelope_of(example_of(FavourClaimed))
    claimed = load_aggregate(RecordedEvent(24, 0, encode(claim), None, claim, claim.ref))
    kind = KIND_OF_EVENT[FavourClaimed]
    return snapshot_after(claimed, kind.evolve(claimed.state, example_of(FavourConfirmed))).decode()


class Headers(Struct, frozen=True, kw_only=True, rename={"ledger_snapshot": SNAPSHOT_HEADER}):
    """Headers of a message, beside those of JetStream."""

    ledger_snapshot: (
        Annotated[
            str,
            Meta(
                description="Version and state of the aggregate after this event, and its last commands before, as one "
                "line of JSON. The first event of an aggregate has none. The content follows from the events.",
                examples=[snapshot_example()],
                extra_json_schema={"contentMediaType": "application/json"},
            ),
        ]
        | UnsetType
    ) = UNSET


@get("/asyncapi.json", include_in_schema=False, sync_to_thread=False)
def asyncapi_json() -> dict[str, Any]:
    return document()


@cache
def document() -> dict[str, Any]:
    forms = [message_type(event) for event in EVENTS.values()]
    (headers, *payloads), schemas = msgspec.json.schema_components([Headers, *forms], ref_template=SCHEMAS)
    for schema in schemas.values():  # Remove the indentation of the docstring.
        schema["description"] = cleandoc(schema.get("description", ""))
    stream = {name: value for name, value in stream_definition(replicas=1).items() if name != "num_replicas"}
    host = urlsplit(Settings().nats_url).netloc
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Referral ledger: the events",
            "version": VERSION,
            "description": DESCRIPTION,
            "license": {"name": "Apache License 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": name} for name in KINDS],
        },
        "defaultContentType": MEDIA_TYPE,
        "servers": {
            SERVER: {
                "host": "{host}",
                "protocol": "nats",
                "description": f"NATS with JetStream. All messages are in the stream `{STREAM}`.",
                "variables": {"host": {"default": host, "description": "Address of the NATS server."}},
                "x-jetstream": {"stream": stream},
            }
        },
        "channels": {tag: channel(event) for tag, event in EVENTS.items()},
        "operations": {tag: operation(event) for tag, event in EVENTS.items()},
        "components": {
            "messages": {
                tag: message(event, headers, payload)
                for (tag, event), payload in zip(EVENTS.items(), payloads, strict=True)
            },
            "schemas": schemas,
        },
    }


def message_type(event: type[Event]) -> type[Struct]:
    """Return the type of the envelope with this event."""
    hints = get_type_hints(Envelope, include_extras=True)
    hints |= {"type": Literal[TYPES[event]], "data": event}
    return defstruct(
        f"{event.__name__}Message",
        [
            (field.name, hints[field.name])
            if field.default is NODEFAULT
            else (field.name, hints[field.name], field.default)
            for field in fields(Envelope)
        ],
        namespace={"__doc__": Envelope.__doc__},
        kw_only=True,
        frozen=True,
        omit_defaults=True,
    )


def channel(event: type[Event]) -> dict[str, Any]:
    tag, kind = tag_of(event), KIND_OF_EVENT[event]
    return {
        "address": f"ledger.{{bucket}}.{{community}}.{kind.name}.{{id}}.{tag.partition('.')[2]}",
        "title": tag,
        "summary": summary_of(event),
        "servers": [{"$ref": f"#/servers/{SERVER}"}],
        "parameters": {
            "bucket": {"description": BUCKET_DESCRIPTION, "examples": [bucket(COMMUNITY)]},
            "community": {"description": "Id of the community.", "examples": [COMMUNITY]},
            "id": {"description": f"Id of the {kind.name}: a UUID in lower case.", "examples": [AGGREGATE]},
        },
        "messages": {tag: {"$ref": f"#/components/messages/{tag}"}},
        "tags": [{"name": kind.name}],
    }


def operation(event: type[Event]) -> dict[str, Any]:
    tag = tag_of(event)
    return {
        "action": "send",
        "summary": summary_of(event),
        "channel": {"$ref": f"#/channels/{tag}"},
        "messages": [{"$ref": f"#/channels/{tag}/messages/{tag}"}],
        "tags": [{"name": KIND_OF_EVENT[event].name}],
    }


def message(event: type[Event], headers: dict[str, Any], payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": TYPES[event],
        "title": tag_of(event),
        "summary": summary_of(event),
        "description": cleandoc(event.__doc__ or ""),
        "contentType": MEDIA_TYPE,
        "headers": headers,
        "payload": payload,
        "correlationId": {
            "description": "The `X-Request-Id` of the caller, if there was one.",
            "location": "$message.payload#/correlationid",
        },
        "tags": [{"name": KIND_OF_EVENT[event].name}],
        "examples": [{"name": tag_of(event), "payload": msgspec.json.decode(encode(envelope_of(example_of(event))))}],
    }


def summary_of(event: type[Event]) -> str:
    return cleandoc(event.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
