"""One aggregate of any kind, as it stands: `GET /favours/{id}` and its like."""

from typing import Any, cast

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from ledger.books.reader import Reader
from ledger.domain.catalog.kinds import KINDS
from ledger.domain.values.refusals import NotYours, Unknown
from services.http.conventions import (
    PREFIX,
    AggregateId,
    Community,
    MinPosition,
    Now,
    Viewer,
    address_form,
    address_of,
    community_of,
    etag,
    operation_id,
    viewer_of,
)
from services.http.problems import documented
from services.http.views import VIEWS, Held, view_of
from services.query.shown import ALWAYS, shown


def aggregate_route(kind: str, reader: Reader, now: Now) -> HTTPRouteHandler:
    async def show(
        community: Community,
        id: AggregateId,  # noqa: A002  The route says so.
        viewer: Viewer = None,
        min_position: MinPosition = 0,
    ) -> Response[Any]:
        tenant = community_of(community)
        aggregate_id = address_of(kind, tenant, id)
        eyes = viewer_of(viewer) if viewer is not None else None
        await reader.reach(min_position)
        position, found = await reader.aggregate(kind, tenant, aggregate_id)
        if found is None:
            raise Unknown(kind=kind, id=id)
        held = Held(
            kind=kind,
            id=aggregate_id,
            version=found.version,
            began=found.began,
            position=found.position,
            state=found.state,
        )
        view = view_of(held, eyes, now())
        return shown(view, position, viewer=viewer, asked=min_position, headers={"ETag": etag(view.version)})

    show.__annotations__["id"] = address_form(kind)
    show.__annotations__["return"] = cast("Any", Response)[VIEWS[kind]]
    return get(
        f"{PREFIX}/{KINDS[kind].plural}/{{id:str}}",
        name=f"{kind}.show",
        operation_id=operation_id("get", kind),
        summary=f"One {kind}, as it stands.",
        tags=[KINDS[kind].plural],
        responses=documented(*ALWAYS, NotYours, Unknown),
    )(show)
