"""What a list can be narrowed to: the parameters of each kind, how they are read and how they are documented."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, get_args
from uuid import UUID

from litestar.datastructures import MultiDict
from litestar.openapi.spec import OpenAPIFormat, OpenAPIType, Operation, Parameter, Schema

from ledger.books.listing import Filters
from ledger.domain.catalog.kinds import INTRO, KINDS, MEMBER, POLICY, union_members
from ledger.domain.kinds.intro.silence import AskerState
from ledger.domain.values.aggregate_types import tag_of
from ledger.domain.values.ids import MemberId, Tag
from services.http.conventions import checked, instant_of
from services.http.problems import InvalidField

LISTED: Final = tuple(kind for kind in KINDS if kind != POLICY.name)  # Of policies a community has one.
SEEN: Final = get_args(AskerState)
OF_EVERY_LIST: Final = ("viewer", "order", "limit", "cursor", "min_position")

STATES: Final = MappingProxyType({kind: tuple(map(tag_of, union_members(KINDS[kind].states))) for kind in LISTED})


def names_of(kind: str) -> tuple[str, ...]:
    """The filters that a kind has."""
    known = {name for state in union_members(KINDS[kind].states) for name in state.__struct_fields__}
    tagged = "tags" in known or kind == MEMBER.name
    return (
        *("member", "role", "state", "since"),
        *(("gathering",) if "gathering" in known else ()),
        *(("tag",) if tagged else ()),
    )


NAMES: Final = MappingProxyType({kind: names_of(kind) for kind in LISTED})


def filters_of(kind: str, said: "MultiDict[Any]", eyes: str | None) -> Filters:
    """What a query asks for; `eyes` are the viewer's.

    Raises: InvalidField, naming what this list does not have, what is said twice, or what is not of its form.
    """
    taken = (*NAMES[kind], *OF_EVERY_LIST)
    for name in said:
        if name not in taken:
            reason = f"{KINDS[kind].plural} can be listed by {', '.join(NAMES[kind])}"
            raise InvalidField(field=name, source="query", reason=reason)
        if len(said.getall(name)) > 1:
            raise InvalidField(field=name, source="query", reason="is said more than once")
    states = (*STATES[kind], *SEEN) if kind == INTRO.name and eyes is not None else STATES[kind]
    read: Mapping[str, Callable[[str], Any]] = READ | {
        "role": one_of("role", KINDS[kind].parties),
        "state": one_of("state", states),
    }
    filters = Filters(**{name: read[name](said[name]) for name in NAMES[kind] if name in said})
    if filters.role is not None and filters.member is None:
        raise InvalidField(field="role", source="query", reason="whose? It needs `member`")
    return filters


def one_of(field: str, words: Sequence[str]) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in words:
            raise InvalidField(field=field, source="query", reason=f"must be one of {', '.join(words)}")
        return value

    return read


READ: Final[dict[str, Callable[[str], Any]]] = {
    "member": checked(MemberId, "member", "query"),
    "since": lambda value: instant_of(value, "since"),
    "gathering": checked(UUID, "gathering", "query"),
    "tag": checked(Tag, "tag", "query"),
}


def documenting_filters(kind: str) -> type[Operation]:
    """The operation class of a list: its filters are read from the query as a whole, and described here."""

    @dataclass
    class WithFilters(Operation):
        def __post_init__(self) -> None:
            described = described_of(kind)
            filters = [
                Parameter(name=name, param_in="query", description=described[name][0], schema=described[name][1])
                for name in NAMES[kind]
            ]
            self.parameters = [*(self.parameters or ()), *filters]

    return WithFilters


def described_of(kind: str) -> dict[str, tuple[str, Schema]]:
    """What each filter asks for, and its form."""
    seen = SEEN if kind == INTRO.name else ()
    wanted = "What they want or offer now." if kind == MEMBER.name else "One of its tags."
    return {
        "member": ("Whom it concerns, in any role.", text()),
        "role": ("The role of `member` in it.", text(enum=list(KINDS[kind].parties))),
        "state": ("Its state now.", text(enum=[*STATES[kind], *seen])),
        "since": ("Recorded at or after this time: RFC 3339, with its offset from UTC.", text(OpenAPIFormat.DATE_TIME)),
        "gathering": ("The gathering that it names.", text(OpenAPIFormat.UUID)),
        "tag": (wanted, text()),
    }


def text(format: OpenAPIFormat | None = None, enum: list[str] | None = None) -> Schema:  # noqa: A002  As it is called there.
    return Schema(type=OpenAPIType.STRING, format=format, enum=enum)
