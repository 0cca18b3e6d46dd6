"""What can be read of the books. Every answer says in `Ledger-Position` which position of the log it shows."""

from litestar.handlers import HTTPRouteHandler

from ledger.books.feed import Feed
from ledger.books.reader import Reader
from ledger.domain.catalog.kinds import KINDS
from services.http.conventions import Now
from services.http.event_stream import Streams
from services.query.aggregates import aggregate_route
from services.query.community import community_routes
from services.query.entries import entry_route
from services.query.feed import feed_route
from services.query.hub import Hub
from services.query.lists import list_routes
from services.query.members import member_routes
from services.query.statements import statement_routes


def query_routes(reader: Reader, feed: Feed, hub: Hub, streams: Streams, now: Now) -> list[HTTPRouteHandler]:
    return [
        *member_routes(reader, now),
        *statement_routes(reader),
        entry_route(reader),
        *community_routes(reader, now),
        feed_route(reader, feed, hub, streams),
        *(aggregate_route(kind, reader, now) for kind in KINDS),
        *list_routes(reader, now),
    ]
