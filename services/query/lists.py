"""What there is of a kind, in the order in which it began: `GET /favours` and its like."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, cast

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from ledger.books.lists import AFTER_ALL, ListedAggregate, Lists
from ledger.books.reader import Reader, SortOrder
from ledger.domain.catalog.kinds import INTRO, KINDS
from services.http.body import success_response
from services.http.cursor import after_cursor, cursor_after, not_of_this_list
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

EXAMINED_MAX: Final = 1_000  # In one request, where what a viewer sees of a thing decides whether it is listed.

OrderParameter = Annotated[SortOrder, QueryParameter(description="Which comes first.")]


def page_type(kind: str) -> type[msgspec.Struct]:
    """The form of a page: `FavoursPage` and its like."""
    plural = KINDS[kind].plural
    return msgspec.defstruct(
        "".join(word.capitalize() for word in plural.split("-")) + "Page",
        [(field_of(kind), cast("Any", list)[VIEWS[kind]]), ("next", str | None, None)],
        module=__name__,
        namespace={"__doc__": f"{plural.capitalize()} as they began. `next` is the cursor of the page after, if any."},
        frozen=True,
        kw_only=True,
        omit_defaults=True,
    )


def field_of(kind: str) -> str:
    return KINDS[kind].plural.replace("-", "_")


PAGES: Final[Mapping[str, type[msgspec.Struct]]] = MappingProxyType({kind: page_type(kind) for kind in LISTED_KINDS})


def list_routes(reader: Reader, now: Now) -> list[HTTPRouteHandler]:
    listing = Lists(reader)
    return [list_route(kind, reader, listing, now) for kind in LISTED_KINDS]


def list_route(kind: str, reader: Reader, listing: Lists, now: Now) -> HTTPRouteHandler:
    @get(
        f"{PREFIX}/{KINDS[kind].plural}",
        name=f"{kind}.list",
        operation_id="list" + PAGES[kind].__name__.removesuffix("Page"),
        summary=f"{KINDS[kind].plural.capitalize()}, in the order in which they began.",
        description=description_of(kind),
        tags=[KINDS[kind].plural],
        operation_class=operation_with_filters(kind),
        responses=success_response(200, PAGES[kind]) | PROBLEMS,
    )
    async def show(
        request: Request[Any, Any, Any],
        community: Community,
        viewer: Viewer = None,
        order: OrderParameter = "oldest",
        limit: Limit = LIMIT_DEFAULT,
        cursor: Cursor = None,
        min_position: MinPosition = 0,
    ) -> Response[Any]:
        tenant = community_of(community)
        eyes = viewer_of(viewer) if viewer is not None else None
        filters = filters_of(kind, request.query_params, eyes)
        # All that its pages have in common: with other filters, another order or another viewer it is another list.
        query = f"{KINDS[kind].plural} {msgspec.json.encode((order, eyes, filters)).decode()}"
        after = position_in(after_cursor(cursor, query, tenant)) if cursor is not None else None
        await reader.reach(min_position)
        # What the asker of an introduction reads in place of its state is known only when the view is made.
        seen = filters.state if kind == INTRO.name and eyes is not None else None
        asked_for = limit + 1 if seen is None else EXAMINED_MAX
        within = eyes if KINDS[kind].private else None
        narrowed = msgspec.structs.replace(filters, state=None if seen else filters.state, within=within)
        position, found = await listing.page(tenant, kind, narrowed, order=order, after=after, limit=asked_for)
        at = now()
        views = [(one.began, view_of(to_resource(kind, one), eyes, at)) for one in found]
        if seen is not None:
            views = [(began, view) for began, view in views if state_in(view) == seen]
        last = views[limit - 1][0] if len(views) > limit else found[-1].began if len(found) == asked_for else None
        more = cursor_after(query, tenant, str(last)) if last is not None else None
        page = PAGES[kind](**{field_of(kind): [view for _, view in views[:limit]], "next": more})
        return with_position(page, position, viewer=viewer, asked=min_position)

    return show


def description_of(kind: str) -> str:
    text = "Filters may be combined; all of them hold of what is listed."
    if KINDS[kind].private:
        text += " With a `viewer`, only what they are in is listed."
    if kind == INTRO.name:
        text += (
            " With a `viewer`, `state` is the one that they see, and a page that is filtered by it may hold fewer than"
            " `limit`, or none, and still have a `next`."
        )
    return text


def to_resource(kind: str, one: ListedAggregate) -> Resource:
    return Resource(kind=kind, id=one.id, version=one.version, began=one.began, position=one.position, state=one.state)


def state_in(view: View) -> str:
    state: str = cast("Any", view).state
    return state


def position_in(after: str) -> int:
    """Raises: InvalidField. A client may forge a cursor."""
    if not (after.isascii() and after.isdecimal() and len(after) <= len(str(AFTER_ALL)) and int(after) <= AFTER_ALL):
        raise not_of_this_list()
    return int(after)
