"""Statements: the postings of a member, or between two members, in the order of happening.

Opening balance + lines = closing balance. All pages of one statement use the position in the cursor.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from litestar import Request, Response, get
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from msgspec import Struct

from ledger.books.history import FIRST, LAST, History, HistoryKey, Place, PostingLine, Sums, place_by
from ledger.books.reader import Reader, SortOrder
from services.http.cursor import after_cursor, cursor_after, invalid_cursor
from services.http.parameters import (
    LIMIT_DEFAULT,
    PREFIX,
    AsOf,
    Community,
    Cursor,
    KnownAt,
    Limit,
    Member,
    MinPosition,
    Viewer,
    community_of,
    community_path,
    instant_of,
    member_of,
    other_of,
)
from services.http.position_header import require_viewer, with_position
from services.http.problems import InvalidField
from services.query.representations import PROBLEMS, OperationInAllMediaTypes, accepted_media_type, represent
from services.query.views import StatementLine, StatementView, accounts_view

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
ENCODED_PLACE: Final = re.compile(
    r"([0-9]{1,16}) ([0-9]{1,18}) ([0-9]{1,4}) ([0-9]{1,18})"
)  # Times up to the year 2286 fit.

From = Annotated[
    str | None,
    QueryParameter(
        name="from",
        description="Only what happened at or after this time. RFC 3339 with an offset from UTC.",
        format="date-time",
    ),
]
To = Annotated[
    str | None,
    QueryParameter(
        description="Only what happened before this time. RFC 3339 with an offset from UTC.", format="date-time"
    ),
]
OrderParameter = Annotated[
    SortOrder, QueryParameter(description="Order by the time of happening: the oldest or the newest first.")
]


class StatementQuery(Struct, frozen=True, kw_only=True):
    """A page of a statement, from `start` to before `end`, with what had been recorded by `known_at`."""

    start: Place
    end: Place
    known_at: datetime | None
    order: SortOrder
    limit: int
    cursor: str | None
    viewer: str | None
    min_position: int

    def query(self, key: HistoryKey) -> str:
        """Return the text that all pages of this statement share."""
        period = f"{self.start.happened_at} {encode_place(self.end, 0)} {self.known_at} {self.order}"
        return f"statement {key.member} {key.other} {period} {self.viewer}"


def parse_statement_query(
    from_: From = None,
    to: To = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    order: OrderParameter = "oldest",
    viewer: Viewer = None,
    min_position: MinPosition = 0,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> StatementQuery:
    """Parse the parameters of a statement.

    Raises: InvalidField, also if the period ends before it begins.
    """
    since, before, until = instant_of(from_, "from"), instant_of(to, "to"), instant_of(as_of, "as_of")
    start = clamp(FIRST if since is None else Place(since))
    end = clamp(min(LAST if before is None else Place(before), LAST if until is None else place_by(until)))
    if end < start:
        raise InvalidField(field="from", source="query", reason="must not be after the end of the period")
    return StatementQuery(
        start=start,
        end=end,
        known_at=instant_of(known_at, "known_at"),
        order=order,
        limit=limit,
        cursor=cursor,
        viewer=viewer,
        min_position=min_position,
    )


def clamp(place: Place) -> Place:
    """Limit a place to the times that the books can hold."""
    return min(max(place, FIRST), LAST)


def statement_routes(reader: Reader) -> list[HTTPRouteHandler]:
    history = History(reader)
    dependencies = {"statement_query": Provide(parse_statement_query, sync_to_thread=False)}

    @get(
        f"{PREFIX}/members/{{member:str}}/statement",
        operation_id="getStatement",
        operation_class=OperationInAllMediaTypes,
        tags=["members"],
        responses=PROBLEMS,
        dependencies=dependencies,
    )
    async def statement(
        request: Request[Any, Any, Any],
        community: Community,
        member: Member,
        statement_query: NamedDependency[StatementQuery],
    ) -> Response[StatementView]:
        """A member's statement of a period: opening balance, postings, closing balance.

        `Accept` chooses between JSON, CSV and NDJSON.
        """
        return await statement_page(
            reader, history, request, HistoryKey(community_of(community), member_of(member)), statement_query
        )

    @get(
        f"{PREFIX}/members/{{member:str}}/pairs/{{other:str}}/statement",
        operation_id="getPairStatement",
        operation_class=OperationInAllMediaTypes,
        tags=["members"],
        responses=PROBLEMS,
        dependencies=dependencies,
    )
    async def pair_statement(
        request: Request[Any, Any, Any],
        community: Community,
        member: Member,
        other: Member,
        statement_query: NamedDependency[StatementQuery],
    ) -> Response[StatementView]:
        """The statement of the postings between two members in a period, as the first one reads it.

        `Accept` chooses between JSON, CSV and NDJSON.
        """
        key = HistoryKey(community_of(community), member_of(member), other_of(other))
        return await statement_page(reader, history, request, key, statement_query)

    return [statement, pair_statement]


async def statement_page(
    reader: Reader, history: History, request: Request[Any, Any, Any], key: HistoryKey, wanted: StatementQuery
) -> Response[Any]:
    """Read one page of a statement, in the media type that the request accepts."""
    media_type = accepted_media_type(request)
    require_viewer(wanted.viewer, key.member, *([key.other] if key.other else []))
    query = wanted.query(key)
    place, pinned = decode_place(after_cursor(wanted.cursor, query, key.community))
    begin, stop = wanted.start, wanted.end
    if place is not None and wanted.order == "oldest":
        begin = place.after()
    elif place is not None:
        stop = place
    await reader.wait_for_position(max(wanted.min_position, pinned))
    known = pinned or await history.position_known_at(wanted.known_at)
    lines = await history.lines(key, known, begin, stop, wanted.order, wanted.limit + 1)
    page_start = begin if wanted.order == "oldest" else stop
    opening, closing, at_page_start = await history.sums(key, known, [wanted.start, wanted.end, page_start])
    page = lines[: wanted.limit]
    next_cursor: str | None = None
    if len(lines) > wanted.limit:
        # The position in a member's cursor is that of their last posting: a later one, which other members'
        # events move, gives the same statement.
        pin = known if wanted.viewer is None else await history.last(key, known)
        next_cursor = cursor_after(query, key.community, encode_place(page[-1].place, pin))
    view = StatementView(
        member=key.member,
        other=key.other,
        opening=accounts_view(opening),
        lines=line_views(key.community, page, at_page_start, wanted.order),
        closing=accounts_view(closing),
        next=next_cursor,
    )
    content, headers = represent(media_type, view, wanted.order, request.url, is_first=wanted.cursor is None)
    return with_position(
        content,
        known,
        viewer=wanted.viewer,
        min_position=wanted.min_position,
        headers=headers,
        media_type=media_type,
    )


def line_views(community: str, lines: list[PostingLine], at_page_start: Sums, order: SortOrder) -> list[StatementLine]:
    """Return the lines, each with the balance after it. `at_page_start` are the sums at the start of the page."""
    views: list[StatementLine] = []
    net = at_page_start.net
    for line in lines:
        after = net + line.points if order == "oldest" else net
        net = after if order == "oldest" else net - line.points
        views.append(
            StatementLine(
                happened_at=line.happened_at,
                recorded_at=line.recorded_at,
                event=line.rule,
                account=line.account,
                counterparty=line.counterparty,
                points=line.points,
                given=line.given,
                received=line.received,
                balance_after=after,
                entry=line.event_id,
                link=f"{community_path(community)}/entries/{line.event_id}",
            )
        )
    return views


def encode_place(place: Place, known: int) -> str:
    """Return a place, and the position of the log that the statement uses, as text for a cursor."""
    return f"{(place.happened_at - EPOCH) // MICROSECOND} {place.position} {place.leg} {known}"


def decode_place(after: str) -> tuple[Place | None, int]:
    """Parse the text of `encode_place`. Without a cursor, return None and 0.

    Raises: InvalidField, because a client can forge a cursor.
    """
    if not after:
        return None, 0
    match = ENCODED_PLACE.fullmatch(after)
    if match is None:
        raise invalid_cursor()
    microseconds, position, leg, known = map(int, match.groups())
    return Place(EPOCH + microseconds * MICROSECOND, position, leg), known
