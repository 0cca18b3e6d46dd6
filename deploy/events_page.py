"""`docs/events.md`, written from the catalogue: `make docs`. A test holds the page against it."""

import sys
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from ledger.domain.catalog import KINDS, OPERATIONS, AnyEvent, Kind
from ledger.domain.intro import IntroClosed, IntroMade, IntroMet
from ledger.domain.posting import RULES, entry_of
from ledger.domain.referral import ReferralWon
from ledger.domain.refusals import Bug
from ledger.domain.values import Event, tag_of
from ledger.envelope import TYPES, AggregateRef, Envelope, encode
from ledger.log.message import subject_of

EXAMPLES: Final[dict[str, Any]] = {
    "asker": "dan",
    "band": "M",
    "connector": "ada",
    "fault": "none",
    "gathering": UUID("0197b0a4-2f6e-7000-8000-000000000003"),
    "giver": "ada",
    "lapses_at": datetime(2026, 3, 15, 9, 0, tzinfo=UTC),
    "level": 3,
    "matchmade": False,
    "member": "cleo",
    "outcome": "fruitful",
    "parent": UUID("0197b0a4-2f6e-7000-8000-000000000002"),
    "parent_points": 60,
    "parent_referrer": "bob",
    "penalty": 0,
    "points": 120,
    "prospect": "acme-corp",
    "reason": "not_a_fit",
    "receiver": "bob",
    "recipient": "ada",
    "referrer": "cleo",
    "size": "medium",
    "stake": 60,
    "tags": ("hiring",),
    "target": "cleo",
    "tell_now": False,
}
VARIANTS: Final[dict[type[Event], tuple[dict[str, Any], ...]]] = {  # Where one example would hide a rule.
    ReferralWon: ({}, {"parent_referrer": None, "parent_points": 0}),
    IntroMade: ({}, {"matchmade": True}),
    IntroMet: ({"points": 30},),
    IntroClosed: ({}, {"fault": "asker", "penalty": 60}, {"fault": "connector"}),
}
FORMATS: Final[dict[str, str]] = {
    "date-time": "time, RFC 3339",
    "uuid": "UUID",
    "string": "text",
    "integer": "whole number",
    "boolean": "true or false",
}
COMMUNITY: Final = "acme"
AGGREGATE: Final = "0197b0a4-2f6e-7000-8000-000000000001"
HEAD: Final = """# The events

<!-- Written by `make docs` from the catalogue in ledger/domain/catalog.py. Do not edit. -->

Every event is one CloudEvents 1.0 JSON object (structured mode) in the JetStream stream `LEDGER`. Its subject is
`ledger.<bucket>.<community>.<kind>.<aggregate id>.<event>`; the bucket is CRC-32 of the community modulo 64, in two
digits. Subscribe to `ledger.*.acme.>` for a community, to `ledger.*.*.favour.*.*` for a kind, to `ledger.*.*.*.*.won`
for an event.

`time` is when it happened, as its actor says; when it was recorded is JetStream's own timestamp. Points are whole
numbers. Every number that a posting rule needs stands in the event: a later policy never changes what was. Fields
marked *optional* are left out when they have their default. Consumers must ignore fields that they do not know.

| attribute | what it is |
|---|---|
| `id` | UUIDv7 of the event |
| `source` | `/communities/<community>` |
| `type` | `referral-ledger.<kind>.<event>.v1`; a change of shape is a new version |
| `subject` | `<kind>/<aggregate id>` |
| `actor` | the member on whose word it is recorded, or `clock` |
| `commandid`, `fingerprint` | which command it came from: by these a repeated command meets its own event |
| `policyversion` | the policy it was decided under |
| `correlationid`, `causationid`, `traceparent` | where it came from, when the caller said |
| `data` | the facts, below |

A whole message, published to `{subject}`:

```json
{message}
```
"""


def example_of(event: type[Event], **changes: Any) -> Any:
    """An event with a readable value in every field."""
    return event(**{**{field: EXAMPLES[field] for field in event.__struct_fields__}, **changes})


def page() -> str:
    return "\n".join([head(), *(section(kind) for kind in KINDS.values())])


def head() -> str:
    event: AnyEvent = example_of(KINDS["favour"].events[0])
    ref = AggregateRef(COMMUNITY, "favour", AGGREGATE)
    envelope = Envelope(
        specversion="1.0",
        id="0197b0a4-2f6e-7000-8000-00000000000a",
        source=f"/communities/{COMMUNITY}",
        type=TYPES[type(event)],
        subject=f"favour/{AGGREGATE}",
        time=datetime(2026, 3, 1, 9, 0, tzinfo=UTC),
        datacontenttype="application/json",
        actor="bob",
        commandid="a-key-of-the-caller",
        fingerprint="2f6ad9c70f2b4f5e8a1f3f0c7b9d1e24",
        policyversion=1,
        data=event,
    )
    message = msgspec.json.format(encode(envelope), indent=2).decode()
    return HEAD.replace("{subject}", subject_of(ref, event)).replace("{message}", message)


def section(kind: Kind) -> str:
    operations = ", ".join(f"`{name}`" for name, operation in OPERATIONS.items() if operation.kind is kind)
    parts = [f"## {kind.name.capitalize()}\n", f"Operations: {operations}; and the clock's lapse.\n"]
    return "\n".join([*parts, *(paragraph(event) for event in kind.events)])


def paragraph(event: type[Event]) -> str:
    lines = [f"### `{tag_of(event)}`\n", f"{(event.__doc__ or '').strip()}\n".replace("\n    ", "\n")]
    lines += ["| field | type | |", "|---|---|---|"]
    (schema,), components = msgspec.json.schema_components([event], ref_template="{name}")
    properties: dict[str, Any] = components[schema["$ref"]]["properties"]
    required = set(components[schema["$ref"]].get("required", ()))
    for field, form in properties.items():
        if field != "event":
            lines.append(f"| `{field}` | {type_of(form)} | {'' if field in required else 'optional'} |")
    return "\n".join([*lines, "", posts(event)])


def type_of(form: dict[str, Any]) -> str:
    match form:
        case {"enum": values}:
            return " \\| ".join(f"`{value}`" for value in values)
        case {"anyOf": [*forms]}:
            return ", ".join(type_of(one) for one in forms if one.get("type") != "null")
        case {"type": "array"}:
            return "list of text"
        case {"format": form_name}:
            return FORMATS[form_name]
        case {"type": kind}:
            return FORMATS[kind]
        case _:
            raise Bug(f"a field of no known form: {form}")


def posts(event: type[Event]) -> str:
    if event not in RULES:
        return "Posts nothing.\n"
    return "\n".join(["Posts:\n", *(f"- {posting(example_of(event, **v))}" for v in VARIANTS.get(event, ({},))), ""])


def posting(example: Any) -> str:
    """The legs of one example, after the facts that they follow from."""
    facts = ", ".join(
        f"{field} {value}"
        for field in example.__struct_fields__
        if isinstance(value := getattr(example, field), (int, str)) and value not in (False, 0)
    )
    legs = "; ".join(f"{leg.member} `{leg.account}` {leg.points:+}" for leg in entry_of(example).legs)
    return f"{facts}: **{legs}**"


if __name__ == "__main__":
    sys.stdout.write(page())
