"""Filters of lists: the parameters of each kind, their parsing and their documentation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Final, get_args
from uuid import UUID

from litestar.datastructures import MultiDict
from litestar.openapi.spec import OpenAPIFormat, OpenAPIType, Operation, Parameter, Schema

from ledger.books.lists import Filters
from ledger.domain.catalog.kinds import INTRO, KINDS, MEMBER, POLICY, union_members
from ledger.domain.kinds.intro.silence import AskerState
from ledger.domain.values.aggregate_types import tag_of
from ledger.domain.values.ids import MemberId, Tag
from services.http.parameters import instant_of, parser_of
from services.http.problems import InvalidField

LISTED_KINDS: Final = tuple(kind for kind in KINDS if kind != POLICY.name)  # A community has one policy aggregate.
ASKER_STATES: Final = get_args(AskerState)
COMMON_PARAMETERS: Final = ("viewer", "order", "limit", "cursor", "min_position")

STATES: Final = MappingProxyType({kind: tuple(map(tag_of, union_members(KINDS[kind].states))) for kind in LISTED_KINDS})


def filter_names(kind: str) -> tuple[str, ...]:
    """Return the names of the filters of a kind."""
    known = {name for state in union_members(KINDS[kind].states) for name in state.__struct_fields__}
    tagged = "tags" in known or kind == MEMBER.name
    return (
        *("member", "role", "state", "since"),
        *(("gathering",) if "gathering" in known else ()),
        *(("tag",) if tagged else ()),
    )


FILTER_NAMES: Final = MappingProxyType({kind: filter_names(kind) for kind in LISTED_KINDS})


def filters_of(kind: str, query: "MultiDict[Any]", viewer: str | None) -> Filters:
    """Parse the filters of a query.

    Raises: InvalidField, with the name of a parameter that is unknown, repeated or invalid.
    """
    known = (*FILTER_NAMES[kind], *COMMON_PARAMETERS)
    for name in query:
        if name not in known:
            reason = f"{KINDS[kind].plural} can be listed by {', '.join(FILTER_NAMES[kind])}"
            raise InvalidField(field=name, source="query", reason=reason)
        if len(query.getall(name)) > 1:
            raise InvalidField(field=name, source="query", reason="must not be repeated")
    states = (*STATES[kind], *ASKER_STATES) if kind == INTRO.name and viewer is not None else STATES[kind]
    parsers: Mapping[str, Callable[[str], Any]] = PARSERS | {
        "role": choice_of("role", KINDS[kind].parties),
        "state": choice_of("state", states),
    }
    filters = Filters(**{name: parsers[name](query[name]) for name in FILTER_NAMES[kind] if name in query})
    if filters.role is not None and filters.member is None:
        raise InvalidField(field="role", source="query", reason="needs `member`, the member in this role")
    return filters


def choice_of(field: str, words: Sequence[str]) -> Callable[[str], str]:
    """Return a parser that accepts only these words."""

    def parse(value: str) -> str:
        if value not in words:
            raise InvalidField(field=field, source="query", reason=f"must be one of {', '.join(words)}")
        return value

    return parse


PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "member": parser_of(MemberId, "member", "query"),
    "since": lambda value: instant_of(value, "since"),
    "gathering": parser_of(UUID, "gathering", "query"),
    "tag": parser_of(Tag, "tag", "query"),
}


@cache
def operation_with_filters(kind: str) -> type[Operation]:
    """Return the operation class of a list. It documents the filters, which the handler reads from the whole query."""

    @dataclass
    class WithFilters(Operation):
        def __post_init__(self) -> None:
            schemas = filter_schemas(kind)
            filters = [
                Parameter(name=name, param_in="query", description=schemas[name][0], schema=schemas[name][1])
                for name in FILTER_NAMES[kind]
            ]
            self.parameters = [*(self.parameters or ()), *filters]

    return WithFilters


def filter_schemas(kind: str) -> dict[str, tuple[str, Schema]]:
    """Return the description and the schema of each filter."""
    asker_states = ASKER_STATES if kind == INTRO.name else ()
    tag = "A tag that the member wants or offers now." if kind == MEMBER.name else "One of its tags."
    return {
        "member": ("A member who is a party, in any role.", string_schema()),
        "role": ("The role of `member`.", string_schema(enum=list(KINDS[kind].parties))),
        "state": ("Its current state.", string_schema(enum=[*STATES[kind], *asker_states])),
        "since": (
            "Began at or after this time, by recording time. RFC 3339 with an offset from UTC.",
            string_schema(OpenAPIFormat.DATE_TIME),
        ),
        "gathering": ("Id of the gathering that it names.", string_schema(OpenAPIFormat.UUID)),
        "tag": (tag, string_schema()),
    }


def string_schema(format: OpenAPIFormat | None = None, enum: list[str] | None = None) -> Schema:  # noqa: A002  The name in JSON Schema.
    return Schema(type=OpenAPIType.STRING, format=format, enum=enum)
