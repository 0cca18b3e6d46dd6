"""Lists of the aggregates of a kind, in the order of their first events: `GET /favours` and similar routes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, cast

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from ledger.books.lists import AFTER_ALL, Lists
from ledger.books.reader import Reader, SortOrder, StoredAggregate
from ledger.domain.catalog.kinds import INTRO, KINDS
from services.http.body import success_response
from services.http.cursor import after_cursor, cursor_after, invalid_cursor
from services.http.parameters import (
    LIMIT_DEFAULT,
    PREFIX,
    Community,
    Cursor,
    Limit,
    MinPosition,
    Now,
    Viewer,
    community_of,
    viewer_of,
)
from services.http.position_header import PROBLEMS, with_position
from services.http.resources import VIEWS, Resource, View, view_of
from services.query.filters import LISTED_KINDS, filters_of, operation_with_filters

EXAMINED_MAX: Final = 1_000  # Aggregates per request, if a filter applies to the state that the viewer reads.

OrderParameter = Annotated[SortOrder, QueryParameter(description="The oldest or the newest first.")]


def page_type(kind: str) -> type[msgspec.Struct]:
    """Return the type of a page, such as `FavoursPage`."""
    plural = KINDS[kind].plural
    return msgspec.defstruct(
        "".join(word.capitalize() for word in plural.split("-")) + "Page",
        [(field_of(kind), cast("Any", list)[VIEWS[kind]]), ("next", str | None, None)],
        module=__name__,
        namespace={
            "__doc__": f"{plural.capitalize()} by their first events. `next` is the cursor of the next page, if any."
        },
        frozen=True,
        kw_only=True,
        omit_defaults=True,
    )


def field_of(kind: str) -> str:
    return KINDS[kind].plural.replace("-", "_")


PAGES: Final[Mapping[str, type[msgspec.Struct]]] = MappingProxyType({kind: page_type(kind) for kind in LISTED_KINDS})


def list_routes(reader: Reader, now: Now) -> list[HTTPRouteHandler]:
    lists = Lists(reader)
    return [list_route(kind, reader, lists, now) for kind in LISTED_KINDS]


def list_route(kind: str, reader: Reader, lists: Lists, now: Now) -> HTTPRouteHandler:
    @get(
        f"{PREFIX}/{KINDS[kind].plural}",
        name=f"{kind}.list",
        operation_id="list" + PAGES[kind].__name__.removesuffix("Page"),
        summary=f"{KINDS[kind].plural.capitalize()} in the order of their first events.",
        description=description_of(kind),
        tags=[KINDS[kind].plural],
        operation_class=operation_with_filters(kind),
        responses=success_response(200, PAGES[kind]) | PROBLEMS,
    )
    async def list_aggregates(
        request: Request[Any, Any, Any],
        community: Community,
        viewer: Viewer = None,
        order: OrderParameter = "oldest",
        limit: Limit = LIMIT_DEFAULT,
        cursor: Cursor = None,
        min_position: MinPosition = 0,
    ) -> Response[Any]:
        tenant = community_of(community)
        viewer_id = viewer_of(viewer) if viewer is not None else None
        filters = filters_of(kind, request.query_params, viewer_id)
        # All pages of a list share these. Other filters, another order or another viewer make another list.
        query = f"{KINDS[kind].plural} {msgspec.json.encode((order, viewer_id, filters)).decode()}"
        after = position_in(after_cursor(cursor, query, tenant)) if cursor is not None else None
        await reader.wait_for_position(min_position)
        # An asker reads another state than the books hold, so the filter applies after the view is built.
        state_read = filters.state if kind == INTRO.name and viewer_id is not None else None
        rows_max = limit + 1 if state_read is None else EXAMINED_MAX
        within = viewer_id if KINDS[kind].private else None
        narrowed = msgspec.structs.replace(filters, state=None if state_read else filters.state, within=within)
        position, found = await lists.page(tenant, kind, narrowed, order=order, after=after, limit=rows_max)
        at = now()
        views = [(row.began, view_of(to_resource(kind, row), viewer_id, at)) for row in found]
        if state_read is not None:
            views = [(began, view) for began, view in views if state_in(view) == state_read]
        last = views[limit - 1][0] if len(views) > limit else found[-1].began if len(found) == rows_max else None
        more = cursor_after(query, tenant, str(last)) if last is not None else None
        page = PAGES[kind](**{field_of(kind): [view for _, view in views[:limit]], "next": more})
        return with_position(page, position, viewer=viewer, min_position=min_position)

    return list_aggregates


def description_of(kind: str) -> str:
    text = "An item matches all filters that are given."
    if KINDS[kind].private:
        text += " With a `viewer`, the list contains only items that they are a party of."
    if kind == INTRO.name:
        text += (
            " With a `viewer`, `state` is the state that they read. A page filtered by it can have fewer than `limit`"
            " items, or none, and still have a `next`."
        )
    return text


def to_resource(kind: str, row: StoredAggregate) -> Resource:
    return Resource(kind=kind, id=row.id, version=row.version, began=row.began, position=row.position, state=row.state)


def state_in(view: View) -> str:
    state: str = cast("Any", view).state
    return state


def position_in(after: str) -> int:
    """Parse the position in a cursor.

    Raises: InvalidField, because a client can forge a cursor.
    """
    if not (after.isascii() and after.isdecimal() and len(after) <= len(str(AFTER_ALL)) and int(after) <= AFTER_ALL):
        raise invalid_cursor()
    return int(after)
