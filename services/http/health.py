"""Health of the process, `/livez`, and of the servers that it needs, `/readyz`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from ledger.books.connection import SchemaMissing
from ledger.log.stream import StreamDrift, StreamMissing
from ledger.runtime.unavailable import Unavailable

CHECK_WITHIN_S: Final = 3.0  # A server that hangs is reported as not ready after this time.

Check = Callable[[], Awaitable[None]]


class NotDurable(Exception):
    """NATS acknowledges an event before it syncs it to disk, so an acknowledged event can be lost."""


def health_routes(checks: Mapping[str, Check]) -> list[HTTPRouteHandler]:
    @get("/livez", include_in_schema=False, sync_to_thread=False)
    def livez() -> dict[str, str]:
        return {"status": "ok"}

    @get("/readyz", include_in_schema=False)
    async def readyz() -> Response[Any]:
        found = {name: await verdict(check) for name, check in checks.items()}
        ready = all(found[name] == "ok" for name in found)
        return Response({"status": "ok" if ready else "not ready", **found}, status_code=200 if ready else 503)

    return [livez, readyz]


async def verdict(check: Check) -> str:
    """Return `ok`, or the name and the reason of the failure."""
    try:
        async with asyncio.timeout(CHECK_WITHIN_S):
            await check()
    except TimeoutError:
        return f"TimeoutError: no answer within {CHECK_WITHIN_S:g} s"
    except (Unavailable, SchemaMissing, StreamMissing, StreamDrift, NotDurable) as error:
        return f"{type(error).__name__}: {error}"
    return "ok"
