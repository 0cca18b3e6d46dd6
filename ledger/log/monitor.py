"""The monitoring address of NATS: reports over HTTP whether acknowledged events are on disk."""

from typing import Final, Self

import httpx
import msgspec
from msgspec import Struct

from ledger.log.event_log import LogUnavailable
from ledger.runtime.urls import without_password

RESPONSE_WITHIN_S: Final = 2.0


class _Config(Struct, frozen=True):
    sync_always: bool = False


class _Jsz(Struct, frozen=True):
    config: _Config = _Config()


class Monitor:
    """Client of the monitoring addresses of all servers of the log. `urls` separates them by commas."""

    def __init__(self, urls: str) -> None:
        self._urls = [url.strip().rstrip("/") for url in urls.split(",")]
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def fsyncs(self) -> bool:
        """Return whether every server that responds syncs to disk before it acknowledges (`sync_interval: always`).

        Raises: LogUnavailable, if no server responds, or if a response is not a report of JetStream.
        """
        fsyncs: list[bool] = []
        errors: list[str] = []
        for url in self._urls:
            try:
                fsyncs.append(await self._fsyncs(url))
            except httpx.HTTPStatusError as error:  # Its own text contains the whole URL.
                errors.append(f"{without_password(url)}/jsz: status {error.response.status_code}")
            except httpx.HTTPError as error:
                errors.append(f"{without_password(url)}/jsz: {error!r}")
        if not fsyncs:
            raise LogUnavailable("; ".join(errors))
        return all(fsyncs)

    async def _fsyncs(self, url: str) -> bool:
        if self._client is None:  # Made when it is needed, and kept: a new one costs 20 to 40 ms.
            self._client = httpx.AsyncClient(timeout=RESPONSE_WITHIN_S)
        response = await self._client.get(f"{url}/jsz", params={"config": "1"})
        response.raise_for_status()
        try:
            return msgspec.json.decode(response.content, type=_Jsz).config.sync_always
        except msgspec.MsgspecError as error:
            raise LogUnavailable(f"{without_password(url)}/jsz: {error}") from error
