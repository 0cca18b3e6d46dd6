"""Parameters of every route: ids, keys, versions, times and positions."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, get_args
from uuid import UUID

import msgspec
from litestar.params import HeaderParameter, PathParameter, QueryParameter

from ledger.commands.submission import IdempotencyKey
from ledger.domain.catalog.kinds import MEMBER
from ledger.domain.kinds.member import membership_id
from ledger.domain.values.ids import CommunityId, Instant, MemberId
from services.http.problems import InvalidField

BODY_MAX_BYTES: Final = 1024 * 1024
LIMIT_MAX: Final = 500
LIMIT_DEFAULT: Final = 100
COMMUNITIES: Final = "/v1/communities"
PREFIX: Final = f"{COMMUNITIES}/{{community:str}}"

Community = Annotated[str, PathParameter(description="Id of the community.", pattern=r"^[a-z][a-z0-9-]{1,39}$")]
MEMBER_ID: Final[str] = get_args(MemberId)[1].pattern
Member = Annotated[str, PathParameter(description="Id of a member. `clock` is reserved.", pattern=MEMBER_ID)]
AggregateId = Annotated[str, PathParameter(description="Id of the resource: a UUID, or the member id of a member.")]
"""`aggregate_id_of` checks it. The documentation of each route adds its format."""
MinPosition = Annotated[
    int,
    QueryParameter(ge=0, description="Wait up to 2 s until the books show this position of the log."),
]
Viewer = Annotated[
    str | None,
    QueryParameter(
        description="The member who reads. What they may not know is omitted. Without it, nothing is omitted.",
        pattern=MEMBER_ID,
    ),
]
AsOf = Annotated[
    str | None,
    QueryParameter(
        description="Only what had happened by this time, inclusive. RFC 3339 with an offset from UTC.",
        format="date-time",
    ),
]
KnownAt = Annotated[
    str | None,
    QueryParameter(
        description="Only what had been recorded by this time: the response is as it was then. RFC 3339 with an offset "
        "from UTC.",
        format="date-time",
    ),
]
Limit = Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX, description="Maximum number of items.")]
Cursor = Annotated[str | None, QueryParameter(description="`next` of the previous page.")]
Key = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="Identity of this request. A repeat with the same key records nothing, at any later time. Required "
        "for a creation whose body determines no id.",
    ),
]
IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        description="ETag of the version that the decision is based on. A command on another version is refused.",
    ),
]

Now = Callable[[], datetime]

# Beyond these, the conversion to another time zone can overflow.
QUERY_TIME_EARLIEST: Final = datetime(1969, 1, 1, tzinfo=UTC)
QUERY_TIME_LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)

ETAG: Final = re.compile(r'^(?:W/)?"([0-9]{1,9})"$')
TRACEPARENT: Final = re.compile(r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
REQUEST_ID: Final = re.compile(r"^[\x21\x23-\x5b\x5d-\x7e]{1,128}$")


def parser_of(value_type: Any, field: str, source: str) -> Callable[[str], Any]:
    """Return a parser of one value of this type. It raises InvalidField, which names the field."""

    def parse(value: str) -> Any:
        try:
            return msgspec.convert(value, value_type, strict=False)
        except msgspec.ValidationError as error:
            raise InvalidField(field=field, source=source, reason=str(error)) from None

    return parse


community_of: Final = parser_of(CommunityId, "community", "path")
member_of: Final = parser_of(MemberId, "member", "path")
other_of: Final = parser_of(MemberId, "other", "path")
viewer_of: Final = parser_of(MemberId, "viewer", "query")
id_of: Final = parser_of(UUID, "id", "path")


def instant_of(value: str | None, field: str) -> datetime | None:
    """Parse a time of a query to UTC. It is limited to 1969 to 9999, because the books hold nothing outside.

    Raises: InvalidField, also for a time without an offset from UTC, which is ambiguous.
    """
    if value is None:
        return None
    try:
        time = msgspec.convert(value, Instant)  # Strict: a number is not a time.
    except msgspec.ValidationError as error:
        hint = "; in a URL, write %2B for a plus" if " " in value else ""
        raise InvalidField(field=field, source="query", reason=f"{error}{hint}") from None
    return min(max(time, QUERY_TIME_EARLIEST), QUERY_TIME_LATEST).astimezone(UTC)


_key_of: Final = parser_of(IdempotencyKey, "Idempotency-Key", "header")


def key_of(header: str | None) -> str | None:
    """Parse an `Idempotency-Key`, with or without the quotes of the draft standard."""
    return None if header is None else _key_of(header.strip().removeprefix('"').removesuffix('"'))


def version_of(if_match: str | None) -> int | None:
    """Parse an `If-Match`. Return its version, or None if every version matches.

    Raises: InvalidField, if it is not one ETag of this API.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    match = ETAG.fullmatch(if_match.strip())
    if match is None:
        raise InvalidField(field="If-Match", source="header", reason='must be one ETag of this API, such as "3"')
    return int(match[1])


def aggregate_id_of(kind: str, community: str, path_id: str) -> UUID:
    """Return the id of the aggregate that a path names: a member by member id, every other kind by UUID."""
    return membership_id(community, member_of(path_id)) if kind == MEMBER.name else id_of(path_id)


def community_path(community: str) -> str:
    return f"{COMMUNITIES}/{community}"


def etag(version: int) -> str:
    return f'"{version}"'


def operation_id(verb: str, kind: str) -> str:
    """Return the name of an operation in the documentation, such as `holdOneToOne`."""
    return verb + "".join(word.capitalize() for word in kind.split("-"))


def if_well_formed(pattern: re.Pattern[str], value: str | None) -> str | None:
    """Return a tracing header, or None if it is malformed: W3C Trace Context demands that it is ignored."""
    return value if value is not None and pattern.fullmatch(value) else None
