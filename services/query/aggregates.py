"""One aggregate of any kind: `GET /favours/{id}`, and the same for the other kinds."""

from typing import Any

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from ledger.books.reader import Reader
from ledger.domain.catalog.kinds import Kind
from ledger.domain.values.refusals import NotYours, Unknown
from services.http.body import success_response
from services.http.parameters import (
    PREFIX,
    AggregateId,
    Community,
    MinPosition,
    Now,
    Viewer,
    aggregate_id_of,
    community_of,
    etag,
    operation_id,
    viewer_of,
)
from services.http.position_header import READ_PROBLEMS, with_position
from services.http.problems import problem_responses
from services.http.resources import VIEWS, Resource, view_of


def aggregate_route(kind: Kind, reader: Reader, now: Now) -> HTTPRouteHandler:
    @get(
        f"{PREFIX}/{kind.plural}/{{id:str}}",
        name=f"{kind.name}.show",
        operation_id=operation_id("get", kind.name),
        summary=f"One {kind.name} in its current state.",
        tags=[kind.plural],
        responses=success_response(200, VIEWS[kind.name]) | problem_responses(*READ_PROBLEMS, NotYours, Unknown),
    )
    async def get_aggregate(
        community: Community,
        id: AggregateId,  # noqa: A002  The name in the route.
        viewer: Viewer = None,
        min_position: MinPosition = 0,
    ) -> Response[Any]:
        tenant = community_of(community)
        aggregate_id = aggregate_id_of(kind.name, tenant, id)
        viewer_id = viewer_of(viewer) if viewer is not None else None
        await reader.wait_for_position(min_position)
        position, found = await reader.aggregate(kind.name, tenant, aggregate_id)
        if found is None:
            raise Unknown(kind=kind.name, id=id)
        resource = Resource(
            kind=kind.name,
            id=aggregate_id,
            version=found.version,
            began=found.began,
            position=found.position,
            state=found.state,
        )
        view = view_of(resource, viewer_id, now())
        return with_position(
            view, position, viewer=viewer, min_position=min_position, headers={"ETag": etag(view.version)}
        )

    return get_aggregate
