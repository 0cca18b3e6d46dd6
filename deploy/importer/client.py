"""The import's client: sends lines in batches, retries, and counts the results."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
from msgspec import Struct

from deploy.importer.lines import Line, NoColumns

BATCH_COMMANDS: Final = 1_000
BATCH_BYTES_MAX: Final = 900_000  # The API takes 1 MiB.
RETRY_WAIT_S: Final = 0.5


class Refused(Struct, frozen=True):
    line: int
    code: str
    detail: str
    text: str


class Tally(Struct):
    """What became of the lines. `position` is the highest in the log that they were given.

    `repeated_undated` are those of the repeated that may be another file's, which says the same.
    """

    recorded: int = 0
    repeated: int = 0
    repeated_undated: int = 0
    refused: list[Refused] = []
    position: int = 0

    @property
    def lines(self) -> int:
        return self.recorded + self.repeated + len(self.refused)


class Answer(Struct):
    status: str
    position: int = 0
    problem: dict[str, Any] | None = None


class ServerGone(Exception):
    """The API did not take all lines. Those that it took are recorded; run the import again."""


class NotTheApi(Exception):
    """What answers is not the ledger's API."""


def batches_of(lines: Iterator[Line], tally: Tally) -> Iterator[list[Line]]:
    """Lines in batches that the API takes; those that are no command are told apart at once."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        if line.why is not None:
            tally.refused.append(Refused(line.number, "malformed_line", line.why, line.text))
            continue
        if len(line.command) > BATCH_BYTES_MAX:
            why = f"is larger than {BATCH_BYTES_MAX:,} bytes"
            tally.refused.append(Refused(line.number, "malformed_line", why, line.text))
            continue
        if batch and (len(batch) == BATCH_COMMANDS or size + len(line.command) > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.command) + 1
    if batch:
        yield batch


class Importer:
    """Sends lines in batches; waits up to `patience_s` for an API that went away."""

    def __init__(self, client: httpx.AsyncClient, community: str, patience_s: float) -> None:
        self._client = client
        self._path = f"/v1/communities/{community}"
        self._patience_s = patience_s
        self.tally = Tally()

    async def send_all(self, lines: Iterator[Line], batches_in_flight: int = 1) -> None:
        """Send all lines: in their order, where one batch is in flight at a time.

        Raises: NoColumns; OSError, when the file cannot be read; ServerGone; NotTheApi; and httpx.HTTPStatusError
        when the API refuses the whole.
        """
        batches = batches_of(lines, self.tally)  # Shared: each sender takes the next one.
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
            answers = await self._send(b"[" + b",".join(line.command for line in batch) + b"]")
            if len(answers) != len(batch):
                raise NotTheApi(f"{len(answers)} answers to {len(batch)} commands")
            for line, answer in zip(batch, answers, strict=True):
                self._count(line, answer)

    def _count(self, line: Line, answer: Answer) -> None:
        self.tally.position = max(self.tally.position, answer.position)
        if answer.status == "recorded":
            self.tally.recorded += 1
        elif answer.status == "refused":
            problem = answer.problem or {}
            refused = Refused(line.number, str(problem.get("code")), str(problem.get("detail")), line.text)
            self.tally.refused.append(refused)
        else:
            self.tally.repeated += 1
            self.tally.repeated_undated += line.undated and answer.status == "replayed"

    async def _send(self, body: bytes) -> list[Answer]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_s
        while True:
            try:
                response = await self._client.post(
                    f"{self._path}/batch", content=body, headers={"Content-Type": "application/json"}
                )
                if response.status_code not in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT):
                    response.raise_for_status()
                    return answers_of(response)
                why = response.text
            except httpx.TransportError as error:
                why = repr(error)
            if loop.time() > deadline:
                raise ServerGone(why)
            await asyncio.sleep(RETRY_WAIT_S)

    async def until_readable(self) -> bool:
        """Wait until the books show what was recorded; False when they did not within the patience."""
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


def answers_of(response: httpx.Response) -> list[Answer]:
    """Raises: NotTheApi."""
    try:
        return msgspec.json.decode(response.content, type=list[Answer])
    except msgspec.DecodeError as error:
        raise NotTheApi(str(error)) from None


def write_refused(refused: Sequence[Refused], path: Path) -> None:
    """One JSON object a line: the line's number, the code, the reason, and the line."""
    path.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in refused))
