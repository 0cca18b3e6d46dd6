"""Client of the import: sends lines in batches, repeats failed requests, and counts the results."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
from msgspec import Struct

from deploy.importer.lines import Line, NoColumns

BATCH_COMMANDS: Final = 1_000
BATCH_BYTES_MAX: Final = 900_000  # The API accepts 1 MiB.
RETRY_WAIT_S: Final = 0.5


class Refused(Struct, frozen=True):
    line: int
    code: str
    detail: str
    text: str


class Tally(Struct):
    """Counts of the lines by result. `position` is the highest position of their events in the log.

    `repeated_undated` counts the repeated lines without a time. The first such line may be in another file.
    """

    recorded: int = 0
    repeated: int = 0
    repeated_undated: int = 0
    refused: list[Refused] = []
    position: int = 0

    @property
    def lines(self) -> int:
        return self.recorded + self.repeated + len(self.refused)


class Result(Struct):
    """The result of one command in a response of `POST /batch`."""

    status: str
    position: int = 0
    problem: dict[str, Any] | None = None


class ServerGone(Exception):
    """The API became unavailable. The lines of all earlier batches are recorded; run the import again."""


class NotTheApi(Exception):
    """The response is not from the API of the ledger. The lines of all earlier batches are recorded."""


def batches_of(lines: Iterator[Line], tally: Tally) -> Iterator[list[Line]]:
    """Yield the lines in batches that the API accepts. Lines that are no command are refused in `tally` instead."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        if line.error is not None:
            tally.refused.append(Refused(line.number, "malformed_line", line.error, line.text))
            continue
        if len(line.command) > BATCH_BYTES_MAX:
            error = f"is larger than {BATCH_BYTES_MAX:,} bytes"
            tally.refused.append(Refused(line.number, "malformed_line", error, line.text))
            continue
        if batch and (len(batch) == BATCH_COMMANDS or size + len(line.command) > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.command) + 1
    if batch:
        yield batch


class Importer:
    """Sends lines in batches. It waits up to `patience_s` for an API that is unavailable."""

    def __init__(self, client: httpx.AsyncClient, community: str, patience_s: float) -> None:
        self._client = client
        self._path = f"/v1/communities/{community}"
        self._patience_s = patience_s
        self.tally = Tally()

    async def send_all(self, lines: Iterator[Line], batches_in_flight: int = 1) -> None:
        """Send all lines. With one batch in flight, the lines are sent in order.

        Raises: NoColumns; OSError, if the file cannot be read; ServerGone; NotTheApi; httpx.HTTPStatusError, if the
        API refuses a whole request. `tally` counts the lines whose results are known.
        """
        batches = batches_of(lines, self.tally)  # Shared by the senders: each takes the next batch.
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(batches_in_flight):
                    group.create_task(self._send_some(batches))
        except* (NoColumns, OSError, ServerGone, NotTheApi, httpx.HTTPStatusError) as errors:
            raise errors.exceptions[0] from None
        finally:
            self.tally.refused.sort(key=lambda refused: refused.line)

    async def _send_some(self, batches: Iterator[list[Line]]) -> None:
        for batch in batches:
            results = await self._send(b"[" + b",".join(line.command for line in batch) + b"]")
            if len(results) != len(batch):
                raise NotTheApi(f"{len(results)} results for {len(batch)} commands")
            for line, result in zip(batch, results, strict=True):
                self._count(line, result)

    def _count(self, line: Line, result: Result) -> None:
        self.tally.position = max(self.tally.position, result.position)
        if result.status == "recorded":
            self.tally.recorded += 1
        elif result.status == "refused":
            problem = result.problem or {}
            refused = Refused(line.number, str(problem.get("code")), str(problem.get("detail")), line.text)
            self.tally.refused.append(refused)
        else:
            self.tally.repeated += 1
            self.tally.repeated_undated += line.undated and result.status == "replayed"

    async def _send(self, body: bytes) -> list[Result]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_s
        while True:
            try:
                response = await self._client.post(
                    f"{self._path}/batch", content=body, headers={"Content-Type": "application/json"}
                )
                if response.status_code not in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT):
                    response.raise_for_status()
                    return results_of(response)
                reason = response.text
            except httpx.TransportError as error:
                reason = repr(error)
            if loop.time() > deadline:
                raise ServerGone(reason)
            await asyncio.sleep(RETRY_WAIT_S)

    async def until_readable(self) -> bool:
        """Wait until the books contain every recorded line. Return False if they do not within `patience_s`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_s
        while loop.time() < deadline:
            try:
                response = await self._client.get(
                    f"{self._path}/members/any/balance", params={"min_position": self.tally.position}
                )
                if response.status_code == 200:
                    return True
            except httpx.TransportError:
                pass
            await asyncio.sleep(RETRY_WAIT_S)
        return False


def results_of(response: httpx.Response) -> list[Result]:
    """Decode a response of `POST /batch`.

    Raises: NotTheApi.
    """
    try:
        return msgspec.json.decode(response.content, type=list[Result])
    except msgspec.DecodeError as error:
        raise NotTheApi(str(error)) from None


def write_refused(refused: Sequence[Refused], path: Path) -> None:
    """Write one JSON object per refused line: its number, the code, the reason and its text."""
    path.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in refused))
