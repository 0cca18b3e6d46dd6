"""A readable example of anything that a JSON schema describes, from what its fields are called."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from ledger.examples import AGGREGATE, COMMUNITY, EXAMPLES, NOW

PYTHON_TYPES: Final[Mapping[str, tuple[type, ...]]] = MappingProxyType(
    {
        "string": (str,),
        "integer": (int,),
        "number": (int, float),
        "boolean": (bool,),
        "array": (list,),
        "object": (dict,),
        "null": (type(None),),
    }
)
EXAMPLE_VALUES: Final[Mapping[str, Any]] = MappingProxyType(
    {
        **msgspec.to_builtins(dict(EXAMPLES), str_keys=True),
        "Idempotency-Key": "a-key-of-the-caller",
        "If-Match": '"1"',
        "If-None-Match": '"1"',
        "Last-Event-ID": "25",
        "after": 25,
        "as_of": msgspec.to_builtins(NOW),
        "at": msgspec.to_builtins(NOW),
        "body": {"actor": "bob", "giver": "ada", "receiver": "bob", "size": "medium"},
        "community": COMMUNITY,
        "cursor": "WzEsImJhbGFuY2VzIiwiYWNtZSIsImFkYSJd",
        "event": "favour.thanked",
        "from": msgspec.to_builtins(NOW),
        "given": 120,
        "id": AGGREGATE,
        "idempotency_key": "a-key-of-the-caller",
        "kind": "favour",
        "known_at": msgspec.to_builtins(NOW),
        "limit": 100,
        "main": 120,
        "min_position": 25,
        "net": 120,
        "next": "WzEsImJhbGFuY2VzIiwiYWNtZSIsImFkYSJd",
        "op": "favour.record",
        "position": 25,
        "reciprocity_permille": 667,
        "recent_permille": 667,
        "reliability_permille": 500,
        "since": msgspec.to_builtins(NOW),
        "state": "posted",
        "tag": "hiring",
        "to": msgspec.to_builtins(NOW),
        "version": 1,
        "viewer": "ada",
        "wait": 20,
    }
)
"""By the name of a field or parameter, where one that is not listed would say nothing to a reader."""


class SchemaExamples:
    """Makes examples of schemas. `forms` are those of named schemas that are made elsewhere, and better."""

    def __init__(self, schemas: Mapping[str, Mapping[str, Any]], forms: Mapping[str, Any]) -> None:
        self._schemas = schemas
        self._forms = forms

    def of(self, schema: Mapping[str, Any], name: str = "") -> Any:
        """An example of the schema, which is that of the field `name`."""
        match schema:
            case {"$ref": str(reference)}:
                form = reference.rpartition("/")[2]
                return self._forms[form] if form in self._forms else self.of(self._schemas[form], name)
            case {"oneOf": [first, *_]} | {"anyOf": [first, *_]}:
                return self.of(first, name)
            case _ if name in EXAMPLE_VALUES and fits_schema(EXAMPLE_VALUES[name], schema):
                return EXAMPLE_VALUES[name]
            case {"examples": [first, *_]} | {"enum": [first, *_]} | {"const": first}:
                return first
            case {"properties": fields}:
                return {field: self.of(of, field) for field, of in fields.items()}
            case {"additionalProperties": of}:
                return {"posted": self.of(of)} if of else {}
            case {"items": of}:
                return [self.of(of, name.removesuffix("s"))]
            case {"default": default}:
                return default
            case _:
                return self._plain(schema)

    def _plain(self, schema: Mapping[str, Any]) -> Any:
        match schema:
            case {"format": "date-time"}:
                return EXAMPLE_VALUES["at"]
            case {"format": "uuid"}:
                return AGGREGATE
            case {"type": "integer" | "number"}:
                return max(1, int(schema.get("minimum", 1)))
            case {"type": "boolean"}:
                return True
            case {"type": "array"}:
                return []
            case {"type": "object"}:
                return {}
            case _:
                return "ada"


def fits_schema(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether the value of a name is meant: another field may bear the name and be of another type."""
    types = schema.get("type", ())
    named = [types] if isinstance(types, str) else types
    of_type = not named or any(type(value) in PYTHON_TYPES[kind] for kind in named)
    return of_type and value in schema.get("enum", [value])
