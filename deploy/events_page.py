"""`docs/events.md`, written from the catalogue: `make docs`. A test holds the page against it."""

import sys
from inspect import cleandoc
from typing import Any, Final

import msgspec

from ledger.domain.catalog.kinds import EVENTS, KINDS, Kind, union_members
from ledger.domain.catalog.operations import LAPSES, OPERATIONS
from ledger.domain.kinds.dispute.events import DisputeUpheld
from ledger.domain.kinds.intro.events import IntroClosed, IntroMade, IntroMet
from ledger.domain.kinds.referral import ReferralWon
from ledger.domain.posting.rules import RULES, entry_of
from ledger.domain.values.aggregate_types import Event, tag_of
from ledger.domain.values.entries import Transfer
from ledger.domain.values.refusals import Bug
from ledger.envelope import encode
from ledger.examples import envelope_of, example_of
from ledger.log.message import subject_of

OWED: Final = (Transfer("ada", "dan", 120), Transfer("ada", "cleo", 60))
VARIANTS: Final[dict[type[Event], tuple[dict[str, Any], ...]]] = {  # Where one example would hide a rule.
    ReferralWon: ({}, {"parent_referrer": None, "parent_points": 0}),
    IntroMade: ({}, {"matchmade": True}),
    IntroMet: ({"points": 30},),
    IntroClosed: (
        {},
        {"fault": "asker", "penalty": 60},
        {"fault": "connector"},
        {"fault": "connector", "settled": True},
    ),
    DisputeUpheld: ({}, {"remedy": "fault", "fault": "connector", "owed": OWED}, {"remedy": "none"}),
}
FORMATS: Final[dict[str, str]] = {
    "date-time": "time, RFC 3339",
    "duration": "duration, ISO 8601",
    "uuid": "UUID",
    "string": "text",
    "integer": "whole number",
    "boolean": "true or false",
}
HEAD: Final = """# The events

<!-- Written by `make docs` from the catalogue in ledger/domain/catalog.py. Do not edit. -->

Every event is one CloudEvents 1.0 JSON object (structured mode) in the JetStream stream `LEDGER`. Its subject is
`ledger.<bucket>.<community>.<kind>.<aggregate id>.<event>`; the bucket is CRC-32 of the community modulo 64, in two
digits. Subscribe to `ledger.*.acme.>` for a community, to `ledger.*.*.favour.*.*` for a kind, to `ledger.*.*.*.*.won`
for an event.

`time` is when it happened, as its actor says; when it was recorded is JetStream's own timestamp. Points are whole
numbers. Every number that a posting rule needs stands in the event: a later policy never changes what was. Fields
marked *optional* are left out when they have their default. Consumers must ignore fields that they do not know.

The stream tells all: also who declined, what the guard advised, how often a connector is asked. It is for services.
What a member may know of it, the HTTP API tells with `?viewer=`.

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


def page() -> str:
    return "\n".join([head(), *(section(kind) for kind in KINDS.values()), parts()])


def head() -> str:
    envelope = envelope_of(example_of(KINDS["favour"].events[0]))
    message = msgspec.json.format(encode(envelope), indent=2).decode()
    return HEAD.replace("{subject}", subject_of(envelope.ref, envelope.data)).replace("{message}", message)


def section(kind: Kind) -> str:
    operations = ", ".join(f"`{name}`" for name, operation in OPERATIONS.items() if operation.kind is kind)
    lapse = "; and the clock's lapse" if kind.name in LAPSES else ""
    states = ", ".join(f"`{tag_of(state)}`" for state in union_members(kind.states))
    about = [f"## {kind.name.capitalize()}\n", f"Operations: {operations}{lapse}.\n", f"States: {states}.\n"]
    return "\n".join([*about, *(paragraph(event) for event in kind.events)])


def paragraph(event: type[Event]) -> str:
    (schema,), components = msgspec.json.schema_components([event], ref_template="{name}")
    return "\n".join([*table(f"`{tag_of(event)}`", event.__doc__, components[schema["$ref"]]), "", posts(event)])


def parts() -> str:
    """What stands inside of events, under names of its own."""
    _, components = msgspec.json.schema_components(EVENTS.values(), ref_template="{name}")
    events = {event.__name__ for event in EVENTS.values()}
    inner = {name: form for name, form in sorted(components.items()) if name not in events}
    tables = ("\n".join([*table(f"Form {name}", form["description"], form), ""]) for name, form in inner.items())
    return "\n".join(["## Forms inside of events\n", *tables])


def table(title: str, says: str | None, form: dict[str, Any]) -> list[str]:
    """A heading, what it says, and its fields."""
    lines = [f"### {title}\n", f"{cleandoc(says or '')}\n", "| field | type | |", "|---|---|---|"]
    required = set(form.get("required", ()))
    return lines + [
        f"| `{field}` | {type_of(of)} | {'' if field in required else 'optional'} |"
        for field, of in form["properties"].items()
        if field != "event"
    ]


def type_of(form: dict[str, Any]) -> str:
    match form:
        case {"enum": values}:
            return " \\| ".join(f"`{value}`" for value in values)
        case {"anyOf": [*forms]}:
            return ", ".join(type_of(one) for one in forms if one.get("type") != "null")
        case {"$ref": name}:
            return f"[{name}](#form-{name.lower()})"
        case {"type": "array", "items": items}:
            return f"list of {type_of(items)}"
        case {"type": "object", "additionalProperties": of}:
            return f"{type_of(of)}, by name"
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
    shown = {field: in_words(getattr(example, field)) for field in example.__struct_fields__}
    facts = ", ".join(f"{field} {words}" for field, words in shown.items() if words)
    legs = "; ".join(f"{leg.member} `{leg.account}` {leg.points:+}" for leg in entry_of(example).legs)
    return f"{facts}: **{legs}**"


def in_words(value: Any) -> str:
    match value:
        case False | 0:
            return ""
        case int() | str():
            return str(value)
        case (Transfer(), *_):
            return " and ".join(f"{transfer.payer} to {transfer.payee} {transfer.points}" for transfer in value)
        case _:
            return ""


if __name__ == "__main__":
    sys.stdout.write(page())
