"""The application behind a real HTTP server, and subscriptions to its stream of events."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import httpx

from deploy.embedded.ports import HOST, free_port
from deploy.serving import serve
from ledger.runtime.settings import Settings
from services.app import ServicePart, application
from tests.polling import wait_until
from tests.sse_client import SseClient


@dataclass(frozen=True)
class HttpServer:
    """A server on this machine, and a client of it."""

    port: int
    client: httpx.AsyncClient

    def subscribe(
        self,
        query: str = "",
        *,
        after: int | None = None,
        last_event_id: str | int | None = None,
        community: str = "acme",
        key: str | None = None,
        reading: bool = True,
    ) -> SseClient:
        """Return a client of a community's event stream. It connects on entry of its context."""
        headers = {"Accept": "text/event-stream"}
        headers |= {"Last-Event-ID": str(last_event_id)} if last_event_id is not None else {}
        headers |= {"Authorization": f"Bearer {key}"} if key is not None else {}
        parameters = [part for part in (query, f"after={after}" if after is not None else "") if part]
        path = f"/v1/communities/{community}/events{'?' + '&'.join(parameters) if parameters else ''}"
        return SseClient(HOST, self.port, path, headers, reading=reading)

    async def open_streams(self) -> int:
        """Return the number of open streams, from the metrics."""
        text = (await self.client.get("/metrics")).text
        (line,) = [line for line in text.splitlines() if line.startswith("ledger_feed_streams ")]
        return int(float(line.split()[1]))


@asynccontextmanager
async def running_server(settings: Settings, part: ServicePart = "query") -> AsyncGenerator[HttpServer]:
    """Serve the application in this process until the context ends. Yield once it is ready."""
    port = free_port()
    serving = asyncio.create_task(serve(application(part, settings), HOST, port))
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=30) as client:

        async def ready() -> bool:
            with suppress(httpx.TransportError):
                return (await client.get("/readyz")).status_code == 200
            return False

        try:
            await wait_until(ready)
            yield HttpServer(port, client)
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving
