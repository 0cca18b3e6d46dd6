"""A client of the ledger's own HTTP API."""

from typing import Final

import httpx

from ledger.runtime.settings import Settings

RESPONSE_WITHIN_S: Final = 60.0  # A batch may wait for the log.


def client_of(settings: Settings, url: str | None = None) -> httpx.AsyncClient:
    """Return a client of the API at `url`, or else at the address of these settings."""
    headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
    base = url or f"http://{settings.host}:{settings.port}"
    return httpx.AsyncClient(base_url=base, headers=headers, timeout=RESPONSE_WITHIN_S)
