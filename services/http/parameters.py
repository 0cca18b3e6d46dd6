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
PREFIX: Final = "/v1/communities/{community:str}"

Community = Annotated[str, PathParameter(description="The community.", pattern=r"^[a-z][a-z0-9-]{1,39}$")]
MEMBER_ID: Final[str] = get_args(MemberId)[1].pattern
Member = Annotated[str, PathParameter(description="A member; `clock` is none.", pattern=MEMBER_ID)]
AggregateId = Annotated[str, PathParameter(description="A UUID; of a member, the member's own id.")]
"""`address_of` checks it; the documentation of each route adds its form."""
MinPosition = Annotated[
    int,
    QueryParameter(ge=0, description="Wait up to 2 s for the books to show this position of the log."),
]
Viewer = Annotated[
    str | None,
    QueryParameter(
        description="The member whose eyes it is for: what they may not know is left out. Without one, all is shown.",
        pattern=MEMBER_ID,
    ),
]
AsOf = Annotated[
    str | None,
    QueryParameter(
        description="What had happened by then, that moment included. RFC 3339, with its offset from UTC.",
        format="date-time",
    ),
]
KnownAt = Annotated[
    str | None,
    QueryParameter(
        description="What had been recorded by then: as it was read at that time. RFC 3339, with its offset from UTC.",
        format="date-time",
    ),
]
Limit = Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX, description="How many at most.")]
Cursor = Annotated[str | None, QueryParameter(description="`next` of the page before.")]
Key = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="Repeating a request with its key is harmless, for ever. Required to create without an id.",
    ),
]
IfMatch = Annotated[str | None, HeaderParameter(name="If-Match", description="The ETag you decided on.")]

Now = Callable[[], datetime]

QUERY_TIME_EARLIEST: Final = datetime(1969, 1, 1, tzinfo=UTC)  # An earlier one, or a later, may be in no other zone.
QUERY_TIME_LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)

ETAG: Final = re.compile(r'^(?:W/)?"([0-9]{1,9})"$')
TRACEPARENT: Final = re.compile(r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
REQUEST_ID: Final = re.compile(r"^[\x21\x23-\x5b\x5d-\x7e]{1,128}$")


def parser_of(form: Any, field: str, source: str) -> Callable[[str], Any]:
    """A reader of one value of this form.

    Raises: InvalidField, naming it.
    """

    def read(value: str) -> Any:
        try:
            return msgspec.convert(value, form, strict=False)
        except msgspec.ValidationError as error:
            raise InvalidField(field=field, source=source, reason=str(error)) from None

    return read


community_of: Final = parser_of(CommunityId, "community", "path")
member_of: Final = parser_of(MemberId, "member", "path")
other_of: Final = parser_of(MemberId, "other", "path")
viewer_of: Final = parser_of(MemberId, "viewer", "query")
id_of: Final = parser_of(UUID, "id", "path")


def instant_of(value: str | None, field: str) -> datetime | None:
    """A time that a query names, in UTC. Nothing in the books is older than the first one, or newer than the last.

    Raises: InvalidField, for one without its offset from UTC, which could be anybody's.
    """
    if value is None:
        return None
    try:
        read = msgspec.convert(value, Instant)  # Strictly: a number is no time.
    except msgspec.ValidationError as error:
        hint = "; in an address, a plus is written %2B" if " " in value else ""
        raise InvalidField(field=field, source="query", reason=f"{error}{hint}") from None
    return min(max(read, QUERY_TIME_EARLIEST), QUERY_TIME_LATEST).astimezone(UTC)


_key_of: Final = parser_of(IdempotencyKey, "Idempotency-Key", "header")


def key_of(header: str | None) -> str | None:
    """The key, quoted (as the draft standard has it) or not."""
    return None if header is None else _key_of(header.strip().removeprefix('"').removesuffix('"'))


def version_of(if_match: str | None) -> int | None:
    """The version that an If-Match names; None when any will do."""
    if if_match is None or if_match.strip() == "*":
        return None
    match = ETAG.fullmatch(if_match.strip())
    if match is None:
        raise InvalidField(field="If-Match", source="header", reason='must be one ETag of this API, like "3"')
    return int(match[1])


def address_of(kind: str, community: str, path_id: str) -> UUID:
    """The aggregate that a path names: a member by their own id, all others by a UUID."""
    return membership_id(community, member_of(path_id)) if kind == MEMBER.name else id_of(path_id)


def etag(version: int) -> str:
    return f'"{version}"'


def operation_id(verb: str, kind: str) -> str:
    """What the documentation calls it: `holdOneToOne`."""
    return verb + "".join(word.capitalize() for word in kind.split("-"))


def if_well_formed(pattern: re.Pattern[str], value: str | None) -> str | None:
    """A tracing header as it came, or None: a malformed one is ignored, as its standard asks."""
    return value if value is not None and pattern.fullmatch(value) else None
