"""The applications: command, query, or both in one process."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, Literal

import structlog
from litestar import Litestar
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

from ledger.books.feed import Feed
from ledger.books.insight import Insight
from ledger.books.reader import Reader
from ledger.commands.consultation import BooksConsultation
from ledger.commands.executor import Executor
from ledger.domain.catalog.operations import OPERATIONS
from ledger.log.connection import Connection, connect_within
from ledger.log.event_log import LogUnavailable
from ledger.log.jetstream import JetStreamLog
from ledger.log.monitor import Monitor
from ledger.log.stream import StreamDrift, StreamMissing, require_stream
from ledger.runtime.settings import Settings
from services.command.batch import EXAMPLE_RESULT, batch_route
from services.command.routes import command_routes
from services.http.asyncapi import asyncapi_json
from services.http.auth import guard, require_loopback_or_key
from services.http.body import document_bodies
from services.http.conditional import conditional
from services.http.conventions import BODY_MAX_BYTES, Now
from services.http.docs import assets, openapi, openapi_json
from services.http.event_stream import Streams
from services.http.health import Check, NotDurable, health_routes
from services.http.metrics import counting, metrics
from services.http.openapi import complete
from services.http.problems import HANDLERS
from services.query.examples import BOOKS
from services.query.hub import Hub
from services.query.routes import query_routes

Part = Literal["command", "query", "all"]
CHECK_RETRY_S: Final = 0.5

_log = structlog.get_logger()


def utc_now() -> datetime:
    return datetime.now(UTC)


def application(part: Part, settings: Settings, now: Now = utc_now) -> Litestar:
    """An ASGI application. It starts whether or not its servers answer, and says in `/readyz` what is missing.

    `now` is the ledger's clock. The part `command` reads the books too, for the guard: where it can.

    Raises: SettingsError, when it would be open to everybody.
    """
    require_loopback_or_key(settings)
    routes: list[HTTPRouteHandler] = []
    checks: dict[str, Check] = {}
    lifespan: list[Callable[[Litestar], Any]] = []
    reader = Reader(settings.postgres_dsn, settings.postgres_schema, settings.postgres_pool_max)
    lifespan.append(open_during(reader))
    if part in ("command", "all"):
        connection = Connection(settings.nats_url, "command")
        log = JetStreamLog(connection)
        commands = Executor(log, now, BooksConsultation(Insight(reader)).facts)
        routes += [*command_routes(commands, now), batch_route(commands, now)]
        monitor = Monitor(settings.nats_monitor_url)
        checks |= {"log": log_check(connection, log, monitor, settings)}
        lifespan += [open_during(connection), open_during(monitor), checked(connection, log, settings)]
    stopping = asyncio.Event()
    if part in ("query", "all"):
        feed = Feed(settings.postgres_dsn, settings.postgres_schema)
        hub = Hub(reader, feed)
        routes += query_routes(reader, feed, hub, Streams(settings.streams_max, stopping), now)
        checks |= {"books": reader.check}
        lifespan += [open_during(feed), running(hub)]
    return Litestar(
        route_handlers=[*routes, *health_routes(checks), metrics, openapi_json, asyncapi_json, assets()],
        lifespan=lifespan,
        middleware=[counting, conditional],
        guards=[guard(settings)],
        exception_handlers=HANDLERS,
        request_max_body_size=BODY_MAX_BYTES,
        openapi_config=openapi("Referral ledger" if part == "all" else f"Referral ledger: {part}"),
        logging_config=None,
        # Whoever serves it sets `stopping`, and answers that would go on for ever end.
        state=State({"stopping": stopping, "document": None, "complete": completing(part)}),
    )


def completing(part: Part) -> Callable[[Litestar], None]:
    """What is added to the document that Litestar writes of the application."""

    def write(app: Litestar) -> None:
        if part in ("command", "all"):
            document_bodies(app, [operation.command for operation in OPERATIONS.values()])
        complete(app, [*BOOKS, EXAMPLE_RESULT])

    return write


def open_during(resource: Any) -> Callable[[Litestar], Any]:
    """A lifespan for what is opened once and closed at the end."""

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None, None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(resource)
            yield

    return lifespan


def running(hub: Hub) -> Callable[[Litestar], Any]:
    """A lifespan in which the hub hands out what is new."""

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None, None]:
        task = asyncio.create_task(hub.run())
        yield
        task.cancel()

    return lifespan


async def require_no_drift(settings: Settings) -> None:
    """Raises: StreamDrift, before anything is served on it. That there is none yet is no reason not to start."""
    with suppress(LogUnavailable, StreamMissing, TimeoutError):
        async with connect_within(settings.nats_url, "check") as connection:
            await require_stream(connection, settings.log_replicas)


def checked(connection: Connection, log: JetStreamLog, settings: Settings) -> Callable[[Litestar], Any]:
    """A lifespan that looks at the stream as soon as it is there, and lets nothing be appended that it might lose."""

    async def until_found() -> None:
        while True:
            try:
                await connection.ready()
                await require_stream(connection, settings.log_replicas)
            except (LogUnavailable, StreamMissing):
                await asyncio.sleep(CHECK_RETRY_S)
            except StreamDrift as drift:
                _log.error("not ready", reason=str(drift))
                log.unfit = str(drift)
                return
            else:
                return

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None, None]:
        task = asyncio.create_task(until_found())
        yield
        task.cancel()

    return lifespan


def log_check(connection: Connection, log: JetStreamLog, monitor: Monitor, settings: Settings) -> Check:
    """Ready: NATS answers, the stream is there and as defined, and it fsyncs before it acknowledges."""

    async def check() -> None:
        await require_stream(connection, settings.log_replicas)
        log.unfit = None  # Somebody mended it.
        if not settings.unsafe_log and not await monitor.fsyncs():
            raise NotDurable("sync_interval is not `always`; LEDGER_UNSAFE_LOG=1 serves on it all the same")

    return check
