"""The applications: command, query, or both in one process."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from ledger.books.feed import Feed
from ledger.books.people import People
from ledger.books.reader import Reader
from ledger.commands.consultation import BooksConsultation
from ledger.commands.executor import Executor
from ledger.domain.catalog.operations import OPERATIONS
from ledger.log.event_log import EventLog
from ledger.runtime.settings import Settings
from services.command.batch import batch_route
from services.command.log_access import LogAccess
from services.command.routes import command_routes
from services.docs.asyncapi import asyncapi_json
from services.docs.openapi import complete_document
from services.docs.pages import ApiDocument, document_routes, openapi_config
from services.docs.query_examples import QUERY_EXAMPLES
from services.feed.event_stream import StreamSlots
from services.feed.hub import Hub
from services.feed.routes import feed_route
from services.http.auth import authentication, require_loopback_or_key
from services.http.body import add_body_schemas
from services.http.conditional import conditional
from services.http.health import Check, health_routes
from services.http.metrics import count_requests, metrics
from services.http.parameters import BODY_MAX_BYTES, Now
from services.http.problems import HANDLERS
from services.query.routes import query_routes

ServicePart = Literal["command", "query", "all"]


def utc_now() -> datetime:
    return datetime.now(UTC)


class Application(NamedTuple):
    """An ASGI application, its API document, and the event that ends its streams: the server sets it at shutdown."""

    asgi: Litestar
    document: ApiDocument
    stopping: asyncio.Event

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        return self.document.of(self.asgi)


class Parts:
    """What the parts of an application add to it: routes, readiness checks and resources to keep open."""

    def __init__(self) -> None:
        self.routes: list[HTTPRouteHandler] = []
        self.checks: dict[str, Check] = {}
        self.resources: list[AbstractAsyncContextManager[Any]] = []

    @asynccontextmanager
    async def lifespan(self, _: Litestar) -> AsyncGenerator[None, None]:
        """Keep all resources open while the application runs."""
        async with AsyncExitStack() as stack:
            for resource in self.resources:
                await stack.enter_async_context(resource)
            yield


def application(
    part: ServicePart, settings: Settings, *, log: EventLog | None = None, now: Now = utc_now
) -> Application:
    """Make an application. It starts whether or not its servers respond; `/readyz` reports what is missing.

    `log` replaces the log that the settings name, and `now` the clock. The command service reads the books for the
    reciprocity guard, as long as they respond.

    Raises: SettingsError, if it would serve other machines without an API key.
    """
    require_loopback_or_key(settings)
    parts = Parts()
    stopping = asyncio.Event()
    reader = Reader(settings.books, settings.postgres_pool_max)
    parts.resources.append(reader)
    if part in ("command", "all"):
        add_command_service(parts, settings, reader, log, now)
    if part in ("query", "all"):
        add_query_service(parts, settings, reader, stopping, now)
    document = ApiDocument(document_completion(part))
    asgi = Litestar(
        route_handlers=[
            *parts.routes,
            *health_routes(parts.checks),
            *document_routes(document),
            asyncapi_json,
            metrics,
        ],
        lifespan=[parts.lifespan],
        middleware=[count_requests, conditional],
        guards=[authentication(settings)],
        exception_handlers=HANDLERS,
        request_max_body_size=BODY_MAX_BYTES,
        openapi_config=openapi_config("Referral ledger" if part == "all" else f"Referral ledger: {part}", document),
        logging_config=None,
    )
    return Application(asgi, document, stopping)


def add_command_service(parts: Parts, settings: Settings, reader: Reader, log: EventLog | None, now: Now) -> None:
    if log is None:
        access = LogAccess(settings)
        parts.resources.append(access.opened())
        parts.checks["log"] = access.check
        log = access.log
    commands = Executor(log, now, BooksConsultation(People(reader)).facts)
    parts.routes += [*command_routes(commands, now), batch_route(commands, now)]


def add_query_service(parts: Parts, settings: Settings, reader: Reader, stopping: asyncio.Event, now: Now) -> None:
    feed = Feed(settings.books)
    hub = Hub(reader, feed)
    parts.routes += query_routes(reader, now)
    parts.routes.append(feed_route(reader, feed, hub, StreamSlots(settings.streams_max, stopping)))
    parts.resources += [feed, hub.running()]
    parts.checks["books"] = reader.check


def document_completion(part: ServicePart) -> Callable[[Litestar], None]:
    """Return the function that adds to Litestar's document what the routes do not declare."""

    def complete(app: Litestar) -> None:
        if part in ("command", "all"):
            add_body_schemas(app, [operation.command for operation in OPERATIONS.values()])
        complete_document(app, QUERY_EXAMPLES)

    return complete
