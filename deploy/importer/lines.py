"""The lines of an import file, each as a command of `POST /batch` with a key."""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Literal, TextIO

import msgspec
from msgspec import Struct

TABLE_BATCHES_IN_FLIGHT: Final = 2
SOURCE_BYTES_MAX: Final = hashlib.blake2b.MAX_KEY_SIZE
REPLACED: Final = "\ufffd"  # Stands for bytes that are not UTF-8; nothing that the ledger takes may have it.
NOT_UTF_8: Final = "is not UTF-8"

FileContents = Literal["favours", "referrals", "intros", "commands"]
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

    what: FileContents
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


class NoColumns(Exception):
    """The columns have no names, or not one each. Nothing was sent."""


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
