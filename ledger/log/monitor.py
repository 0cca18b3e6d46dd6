"""What the servers say of themselves over HTTP: whether what they acknowledge is on disk."""

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
    """The monitors of all servers that keep the log, at `urls`, separated by commas."""

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
        """Whether every server that answers syncs to disk before it acknowledges (`sync_interval: always`).

        Raises: LogUnavailable, when none answers, or one with something else.
        """
        answered: list[bool] = []
        silent: list[str] = []
        for url in self._urls:
            try:
                answered.append(await self._fsyncs(url))
            except httpx.HTTPStatusError as error:  # Its own text contains the whole URL.
                silent.append(f"{without_password(url)}/jsz: status {error.response.status_code}")
            except httpx.HTTPError as error:
                silent.append(f"{without_password(url)}/jsz: {error!r}")
        if not answered:
            raise LogUnavailable("; ".join(silent))
        return all(answered)

    async def _fsyncs(self, url: str) -> bool:
        if self._client is None:  # One for all, made when it is needed: that takes 20 to 40 ms.
            self._client = httpx.AsyncClient(timeout=RESPONSE_WITHIN_S)
        response = await self._client.get(f"{url}/jsz", params={"config": "1"})
        response.raise_for_status()
        try:
            return msgspec.json.decode(response.content, type=_Jsz).config.sync_always
        except msgspec.MsgspecError as error:
            raise LogUnavailable(f"{without_password(url)}/jsz: {error}") from error
