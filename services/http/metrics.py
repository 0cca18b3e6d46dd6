"""Number and duration of requests by route template, for Prometheus at `/metrics`."""

import time
from typing import Any

from litestar import MediaType, Response, get
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ledger.runtime.telemetry import REQUEST_SECONDS, REQUESTS


def count_requests(app: ASGIApp) -> ASGIApp:
    """ASGI middleware. Raw paths are never labels, because their number is unlimited."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        started_at = time.perf_counter()

        async def send_and_count(message: Message) -> None:
            if message["type"] == "http.response.start":
                route: Any = scope.get("path_template") or "none"
                REQUESTS.labels(scope["method"], route, str(message["status"])).inc()
                REQUEST_SECONDS.labels(route).observe(time.perf_counter() - started_at)
            await send(message)

        await app(scope, receive, send_and_count)

    return handle


@get("/metrics", media_type=MediaType.TEXT, include_in_schema=False, sync_to_thread=False)
def metrics() -> Response[bytes]:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
