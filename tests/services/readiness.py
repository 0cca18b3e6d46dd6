"""The readiness of a service, and the stream that it needs."""

from typing import Final

import httpx

from ledger.log.connection import Connection
from ledger.log.stream import provision
from ledger.runtime.settings import Settings
from tests.services.lifecycles import FAVOUR, by

THANKED: Final = FAVOUR | by("bob")


async def readiness(client: httpx.AsyncClient) -> tuple[int, dict[str, str]]:
    """Return the status of `/readyz`, and the verdict on each server."""
    answer = await client.get("/readyz")
    verdicts: dict[str, str] = answer.json()
    return answer.status_code, verdicts


async def stream_on(settings: Settings) -> bool:
    """Create the stream if there is none: no service does. Return whether it was created."""
    async with Connection(settings.nats_url, "test") as connection:
        await connection.ready()
        return await provision(connection, 1)
