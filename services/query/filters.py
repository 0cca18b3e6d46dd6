"""What a list can be narrowed to: the parameters of each kind, how they are read and how they are documented."""

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

LISTED_KINDS: Final = tuple(kind for kind in KINDS if kind != POLICY.name)  # Of policies a community has one.
ASKER_STATES: Final = get_args(AskerState)
COMMON_PARAMETERS: Final = ("viewer", "order", "limit", "cursor", "min_position")

STATES: Final = MappingProxyType({kind: tuple(map(tag_of, union_members(KINDS[kind].states))) for kind in LISTED_KINDS})


def filter_names(kind: str) -> tuple[str, ...]:
    """The filters that a kind has."""
    known = {name for state in union_members(KINDS[kind].states) for name in state.__struct_fields__}
    tagged = "tags" in known or kind == MEMBER.name
    return (
        *("member", "role", "state", "since"),
        *(("gathering",) if "gathering" in known else ()),
        *(("tag",) if tagged else ()),
    )


FILTER_NAMES: Final = MappingProxyType({kind: filter_names(kind) for kind in LISTED_KINDS})


def filters_of(kind: str, said: "MultiDict[Any]", eyes: str | None) -> Filters:
    """What a query asks for; `eyes` are the viewer's.

    Raises: InvalidField, naming what this list does not have, what is said twice, or what is not of its form.
    """
    taken = (*FILTER_NAMES[kind], *COMMON_PARAMETERS)
    for name in said:
        if name not in taken:
            reason = f"{KINDS[kind].plural} can be listed by {', '.join(FILTER_NAMES[kind])}"
            raise InvalidField(field=name, source="query", reason=reason)
        if len(said.getall(name)) > 1:
            raise InvalidField(field=name, source="query", reason="is said more than once")
    states = (*STATES[kind], *ASKER_STATES) if kind == INTRO.name and eyes is not None else STATES[kind]
    read: Mapping[str, Callable[[str], Any]] = PARSERS | {
        "role": choice_of("role", KINDS[kind].parties),
        "state": choice_of("state", states),
    }
    filters = Filters(**{name: read[name](said[name]) for name in FILTER_NAMES[kind] if name in said})
    if filters.role is not None and filters.member is None:
        raise InvalidField(field="role", source="query", reason="whose? It needs `member`")
    return filters


def choice_of(field: str, words: Sequence[str]) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in words:
            raise InvalidField(field=field, source="query", reason=f"must be one of {', '.join(words)}")
        return value

    return read


PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "member": parser_of(MemberId, "member", "query"),
    "since": lambda value: instant_of(value, "since"),
    "gathering": parser_of(UUID, "gathering", "query"),
    "tag": parser_of(Tag, "tag", "query"),
}


@cache
def operation_with_filters(kind: str) -> type[Operation]:
    """The operation class of a list: its filters are read from the query as a whole, and described here."""

    @dataclass
    class WithFilters(Operation):
        def __post_init__(self) -> None:
            described = filter_schemas(kind)
            filters = [
                Parameter(name=name, param_in="query", description=described[name][0], schema=described[name][1])
                for name in FILTER_NAMES[kind]
            ]
            self.parameters = [*(self.parameters or ()), *filters]

    return WithFilters


def filter_schemas(kind: str) -> dict[str, tuple[str, Schema]]:
    """What each filter asks for, and its form."""
    seen = ASKER_STATES if kind == INTRO.name else ()
    wanted = "What they want or offer now." if kind == MEMBER.name else "One of its tags."
    return {
        "member": ("Whom it concerns, in any role.", string_schema()),
        "role": ("The role of `member` in it.", string_schema(enum=list(KINDS[kind].parties))),
        "state": ("Its state now.", string_schema(enum=[*STATES[kind], *seen])),
        "since": (
            "Recorded at or after this time: RFC 3339, with its offset from UTC.",
            string_schema(OpenAPIFormat.DATE_TIME),
        ),
        "gathering": ("The gathering that it names.", string_schema(OpenAPIFormat.UUID)),
        "tag": (wanted, string_schema()),
    }


def string_schema(format: OpenAPIFormat | None = None, enum: list[str] | None = None) -> Schema:  # noqa: A002  As it is called there.
    return Schema(type=OpenAPIType.STRING, format=format, enum=enum)
