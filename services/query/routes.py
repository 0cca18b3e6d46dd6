"""Routes of the query service. In every response, `Ledger-Position` is the position that it shows."""

from litestar.handlers import HTTPRouteHandler

from ledger.books.reader import Reader
from ledger.domain.catalog.kinds import KINDS
from services.http.parameters import Now
from services.query.aggregates import aggregate_route
from services.query.community import community_routes
from services.query.entries import entry_route
from services.query.lists import list_routes
from services.query.members import member_routes
from services.query.statements import statement_routes


def query_routes(reader: Reader, now: Now) -> list[HTTPRouteHandler]:
    return [
        *member_routes(reader, now),
        *statement_routes(reader),
        entry_route(reader),
        *community_routes(reader, now),
        *(aggregate_route(kind, reader, now) for kind in KINDS.values()),
        *list_routes(reader, now),
    ]
