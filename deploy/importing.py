"""`import`: a file of favours, referrals, intros or commands, sent through the API in batches. Safe to repeat."""

import asyncio
import csv
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TextIO

import httpx
import msgspec
from msgspec import Struct

BATCH_COMMANDS: Final = 1_000
BATCH_BYTES_MAX: Final = 900_000  # The API takes 1 MiB.
TABLE_BATCHES_IN_FLIGHT: Final = 2
RETRY_WAIT_S: Final = 0.5
SOURCE_BYTES_MAX: Final = hashlib.blake2b.MAX_KEY_SIZE
REPLACED: Final = "\ufffd"  # Stands for bytes that are not UTF-8; nothing that the ledger takes may have it.
NOT_UTF_8: Final = "is not UTF-8"

What = Literal["favours", "referrals", "intros", "commands"]
Times = Literal["iso", "unix"]
OPERATION: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {  # The operation a row stands for, and the column whose member acts unless `actor` says another.
        "favours": ("favour.record", "receiver"),
        "referrals": ("referral.give", "referrer"),
        "intros": ("intro.propose", "asker"),
    }
)
TIME_COLUMNS: Final = frozenset({"occurred_at", "respond_by"})
DISTINCT_COLUMNS: Final = frozenset({"occurred_at", "id"})  # With one of them, equal lines say the same thing twice.
NUMBER_COLUMNS: Final = frozenset({"level", "expects_percent"})


class Layout(Struct, frozen=True, kw_only=True):
    """How a file is written. `columns`: their names, when the first line does not say; `constants`: the same on all.

    `source`, up to `SOURCE_BYTES_MAX`: what its lines come from, when equal lines of another source are others.
    """

    what: What
    delimiter: str = ","
    columns: tuple[str, ...] = ()
    constants: Mapping[str, str] = MappingProxyType({})
    times: Times = "iso"
    source: str = ""

    @property
    def batches_in_flight(self) -> int:
        """The rows of a table need nothing of each other; a command may need what the one before it recorded."""
        return 1 if self.what == "commands" else TABLE_BATCHES_IN_FLIGHT


class Line(Struct, frozen=True):
    """One line as a command of `POST /batch`; `why` says what is wrong with one that is none.

    `undated`: the key was made of what it says, and it says no time: an equal line of another file has the same.
    """

    number: int
    text: str
    command: bytes = b""
    why: str | None = None
    undated: bool = False


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


class NoColumns(Exception):
    """The columns have no names, or not one each. Nothing was sent."""


class ServerGone(Exception):
    """The API did not take all lines. Those that it took are recorded; run the import again."""


class NotTheApi(Exception):
    """What answers is not the ledger's API."""


class Keys:
    """A key for a line that brings none: of its source, its content, and how often that came before in the file.

    So equal lines are different favours, a repeated import meets its own events, and lines may be added anywhere.
    Steps get one too: a member may pause twice, and nothing but a key tells the second time from a repetition.
    """

    def __init__(self, source: str) -> None:
        self._source = source.encode()
        self._seen: Counter[bytes] = Counter()

    def of(self, content: str) -> str:
        digest = hashlib.blake2b(content.encode(), digest_size=16, key=self._source).digest()
        self._seen[digest] += 1
        return f"import-{digest.hex()}-{self._seen[digest]}"


def lines_of(file: TextIO, layout: Layout) -> Iterator[Line]:
    """The lines of a file, read as they are needed."""
    return json_lines(file, layout) if layout.what == "commands" else table_lines(file, layout)


def json_lines(file: TextIO, layout: Layout) -> Iterator[Line]:
    keys = Keys(layout.source)
    for number, text in enumerate(file, start=1):
        stripped = text.strip()
        if not stripped:
            continue
        if REPLACED in stripped:
            yield Line(number, stripped, why=NOT_UTF_8)
            continue
        try:
            command = msgspec.json.decode(stripped, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError) as error:
            yield Line(number, stripped, why=str(error))
            continue
        undated = False
        if command.get("idempotency_key") is None:
            command["idempotency_key"] = keys.of(stripped)
            body = command.get("body")
            undated = isinstance(body, dict) and not body.keys() & DISTINCT_COLUMNS
        yield Line(number, stripped, msgspec.json.encode(command), undated=undated)


def table_lines(file: TextIO, layout: Layout) -> Iterator[Line]:
    keys = Keys(layout.source)
    operation, actor = OPERATION[layout.what]
    reader = csv.reader(file, delimiter=layout.delimiter, strict=True)
    columns = columns_of(reader, layout)
    while True:
        before = reader.line_num
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # An open quote takes in all lines up to the next one.
            lines = f", from line {before + 1} on" if reader.line_num > before + 1 else ""
            yield Line(reader.line_num, "", why=f"{error}{lines}")
            continue
        if not values:
            continue
        text = layout.delimiter.join(values)
        if REPLACED in text:
            yield Line(reader.line_num, text, why=NOT_UTF_8)
            continue
        if len(values) != len(columns):
            yield Line(reader.line_num, text, why=f"has {len(values)} columns and not {len(columns)}")
            continue
        try:
            body = body_of(dict(zip(columns, values, strict=True)), layout)
        except (ValueError, OverflowError, OSError) as error:  # `fromtimestamp` raises any of them.
            yield Line(reader.line_num, text, why=str(error))
            continue
        body.setdefault("actor", body.get(actor))
        key = keys.of("\x1f".join((layout.what, *values)))
        command = msgspec.json.encode({"op": operation, "body": body, "idempotency_key": key})
        yield Line(reader.line_num, text, command, undated=not body.keys() & DISTINCT_COLUMNS)


def columns_of(rows: Iterator[list[str]], layout: Layout) -> Sequence[str]:
    """Raises: NoColumns."""
    try:
        columns = layout.columns or tuple(next(filter(None, rows), ()))
    except csv.Error as error:
        raise NoColumns(f"the first line does not name the columns: {error}") from None
    if any(REPLACED in name for name in columns):
        raise NoColumns(f"the first line does not name the columns: it {NOT_UTF_8}")
    if twice := [name for name, count in Counter(columns).items() if count > 1]:
        raise NoColumns(f"two columns have the name {twice[0]!r}")
    return columns


def body_of(row: Mapping[str, str], layout: Layout) -> dict[str, Any]:
    """The fields of a row; empty ones are left out.

    Raises: ValueError, OverflowError or OSError, for a time or number that is none.
    """
    body: dict[str, Any] = {name: value for name, value in {**layout.constants, **row}.items() if value != ""}
    for name in TIME_COLUMNS & body.keys() if layout.times == "unix" else ():
        body[name] = datetime.fromtimestamp(float(body[name]), UTC).isoformat()
    for name in NUMBER_COLUMNS & body.keys():
        body[name] = int(body[name])
    if "tags" in body:
        body["tags"] = body["tags"].split("|")
    return body


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
