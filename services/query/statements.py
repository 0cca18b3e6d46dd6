"""Statements: what was posted to a member, or between two, in the order in which it happened.

Opening balance + lines = closing balance, always. All pages of one statement show one position: the cursor names it.
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
from services.http.cursor import after_cursor, cursor_after, not_of_this_list
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
    instant_of,
    member_of,
    other_of,
)
from services.http.position_header import require_viewer, with_position
from services.http.problems import InvalidField
from services.query.representations import PROBLEMS, OperationInAllForms, accepted_media_type, represent
from services.query.views import StatementLine, StatementView, accounts_view

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
ENCODED_PLACE: Final = re.compile(
    r"([0-9]{1,16}) ([0-9]{1,18}) ([0-9]{1,4}) ([0-9]{1,18})"
)  # Of times up to the year 2286.

From = Annotated[
    str | None,
    QueryParameter(
        name="from", description="What happened then or later. RFC 3339, with its offset from UTC.", format="date-time"
    ),
]
To = Annotated[
    str | None,
    QueryParameter(description="What happened before then. RFC 3339, with its offset from UTC.", format="date-time"),
]
OrderParameter = Annotated[SortOrder, QueryParameter(description="By when it happened: oldest or newest first.")]


class StatementQuery(Struct, frozen=True, kw_only=True):
    """A page of a statement: of what happened from `start` on and before `end`, as it was known at a time."""

    start: Place
    end: Place
    known_at: datetime | None
    order: SortOrder
    limit: int
    cursor: str | None
    viewer: str | None
    min_position: int

    def query(self, holder: HistoryKey) -> str:
        """What all pages of this statement have in common."""
        period = f"{self.start.happened_at} {encode_place(self.end, 0)} {self.known_at} {self.order}"
        return f"statement {holder.member} {holder.other} {period} {self.viewer}"


def statement_query(
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
    """Raises: InvalidField, also when the period ends before it begins."""
    since, before, until = instant_of(from_, "from"), instant_of(to, "to"), instant_of(as_of, "as_of")
    start = clamp(FIRST if since is None else Place(since))
    end = clamp(min(LAST if before is None else Place(before), LAST if until is None else place_by(until)))
    if end < start:
        raise InvalidField(field="from", source="query", reason="is after the end of the period")
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
    """The place, or the end of time next to it: beyond these the books keep nothing."""
    return min(max(place, FIRST), LAST)


def statement_routes(reader: Reader) -> list[HTTPRouteHandler]:
    history = History(reader)
    asking = {"asked": Provide(statement_query, sync_to_thread=False)}

    @get(
        f"{PREFIX}/members/{{member:str}}/statement",
        operation_id="getStatement",
        operation_class=OperationInAllForms,
        tags=["members"],
        responses=PROBLEMS,
        dependencies=asking,
    )
    async def statement(
        request: Request[Any, Any, Any], community: Community, member: Member, asked: NamedDependency[StatementQuery]
    ) -> Response[StatementView]:
        """A member's statement of a period: opening balance, what was posted, closing balance.

        `Accept` chooses between JSON, CSV and NDJSON.
        """
        return await told(request, HistoryKey(community_of(community), member_of(member)), asked)

    @get(
        f"{PREFIX}/members/{{member:str}}/pairs/{{other:str}}/statement",
        operation_id="getPairStatement",
        operation_class=OperationInAllForms,
        tags=["members"],
        responses=PROBLEMS,
        dependencies=asking,
    )
    async def pair_statement(
        request: Request[Any, Any, Any],
        community: Community,
        member: Member,
        other: Member,
        asked: NamedDependency[StatementQuery],
    ) -> Response[StatementView]:
        """What was posted between two members in a period, as the first one sees it.

        `Accept` chooses between JSON, CSV and NDJSON.
        """
        return await told(request, HistoryKey(community_of(community), member_of(member), other_of(other)), asked)

    async def told(request: Request[Any, Any, Any], holder: HistoryKey, asked: StatementQuery) -> Response[Any]:
        form = accepted_media_type(request)
        require_viewer(asked.viewer, holder.member, *([holder.other] if holder.other else []))
        query = asked.query(holder)
        turn, pinned = decode_place(after_cursor(asked.cursor, query, holder.community))
        begin, stop = asked.start, asked.end
        if turn is not None and asked.order == "oldest":
            begin = turn.after()
        elif turn is not None:
            stop = turn
        await reader.reach(max(asked.min_position, pinned))
        known = pinned or await history.known(asked.known_at)
        lines = await history.lines(holder, known, begin, stop, asked.order, asked.limit + 1)
        reached = begin if asked.order == "oldest" else stop
        opening, closing, at_turn = await history.sums(holder, known, [asked.start, asked.end, reached])
        page = lines[: asked.limit]
        following: str | None = None
        if len(lines) > asked.limit:
            # A member is told no position that others move: up to their own last posting, it is the same statement.
            pin = known if asked.viewer is None else await history.last(holder, known)
            following = cursor_after(query, holder.community, encode_place(page[-1].place, pin))
        view = StatementView(
            member=holder.member,
            other=holder.other,
            opening=accounts_view(opening),
            lines=line_views(holder.community, page, at_turn, asked.order),
            closing=accounts_view(closing),
            next=following,
        )
        content, headers = represent(form, view, asked.order, request.url, is_first=asked.cursor is None)
        return with_position(
            content, known, viewer=asked.viewer, asked=asked.min_position, headers=headers, media_type=form
        )

    return [statement, pair_statement]


def line_views(community: str, lines: list[PostingLine], at_turn: Sums, order: SortOrder) -> list[StatementLine]:
    """The lines, each with the balance after it. `at_turn` is what it came to where the page begins."""
    views: list[StatementLine] = []
    net = at_turn.net
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
                link=PREFIX.replace("{community:str}", community) + f"/entries/{line.event_id}",
            )
        )
    return views


def encode_place(place: Place, known: int) -> str:
    """A place, and the position up to which everything is known, for a cursor."""
    return f"{(place.happened_at - EPOCH) // MICROSECOND} {place.position} {place.leg} {known}"


def decode_place(after: str) -> tuple[Place | None, int]:
    """What `encode_place` wrote; nothing and 0, without a cursor.

    Raises: InvalidField. A client may forge a cursor.
    """
    if not after:
        return None, 0
    match = ENCODED_PLACE.fullmatch(after)
    if match is None:
        raise not_of_this_list()
    microseconds, position, leg, known = map(int, match.groups())
    return Place(EPOCH + microseconds * MICROSECOND, position, leg), known
