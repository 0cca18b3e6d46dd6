"""Parser of import files: each line becomes a command of `POST /batch` with an idempotency key."""

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
REPLACED: Final = "\ufffd"  # Replaces bytes that are not UTF-8. No valid value contains it.
NOT_UTF_8: Final = "is not UTF-8"

FileContents = Literal["favours", "referrals", "intros", "commands"]
Times = Literal["iso", "unix"]
OPERATION: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {  # The operation of a row, and the column that names the actor of a row without `actor`.
        "favours": ("favour.record", "receiver"),
        "referrals": ("referral.give", "referrer"),
        "intros": ("intro.propose", "asker"),
    }
)
TIME_COLUMNS: Final = frozenset({"occurred_at", "respond_by"})
DISTINCT_COLUMNS: Final = frozenset({"occurred_at", "id"})  # With one of them, equal lines are the same fact.
NUMBER_COLUMNS: Final = frozenset({"level", "expects_percent"})


class Layout(Struct, frozen=True, kw_only=True):
    """Format of a file.

    `columns` are the names of the columns of a table whose first line does not contain them. `constants` are fields
    with the same value in every row. `source` names the origin of the lines, in up to `SOURCE_BYTES_MAX` bytes. Equal
    lines of different sources are different facts.
    """

    what: FileContents
    delimiter: str = ","
    columns: tuple[str, ...] = ()
    constants: Mapping[str, str] = MappingProxyType({})
    times: Times = "iso"
    source: str = ""

    @property
    def batches_in_flight(self) -> int:
        """Rows of a table are independent. A command may depend on the event of an earlier one, so it must wait."""
        return 1 if self.what == "commands" else TABLE_BATCHES_IN_FLIGHT


class Line(Struct, frozen=True):
    """One line as a command of `POST /batch`. If it is no command, `error` is the reason.

    `undated` is true if the key follows from the content alone and the content has no time. An equal line of another
    file then has the same key.
    """

    number: int
    text: str
    command: bytes = b""
    error: str | None = None
    undated: bool = False


class NoColumns(Exception):
    """A column has no name, or two columns have the same name. Nothing was sent."""


class Keys:
    """Idempotency keys for lines without one: a hash of source and content, and the number of equal lines so far.

    With them, equal lines of a file are different facts, a repeated import finds its own events, and lines can be added
    anywhere. Steps get a key too. A member may pause twice, and only the key distinguishes that from a repeat.
    """

    def __init__(self, source: str) -> None:
        self._source = source.encode()
        self._seen: Counter[bytes] = Counter()

    def of(self, content: str) -> str:
        digest = hashlib.blake2b(content.encode(), digest_size=16, key=self._source).digest()
        self._seen[digest] += 1
        return f"import-{digest.hex()}-{self._seen[digest]}"


def lines_of(file: TextIO, layout: Layout) -> Iterator[Line]:
    """Yield the lines of a file, and read no more than needed.

    Raises: NoColumns, before the first line.
    """
    return json_lines(file, layout) if layout.what == "commands" else table_lines(file, layout)


def json_lines(file: TextIO, layout: Layout) -> Iterator[Line]:
    keys = Keys(layout.source)
    for number, text in enumerate(file, start=1):
        stripped = text.strip()
        if not stripped:
            continue
        if REPLACED in stripped:
            yield Line(number, stripped, error=NOT_UTF_8)
            continue
        try:
            command = msgspec.json.decode(stripped, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError) as error:
            yield Line(number, stripped, error=str(error))
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
        except csv.Error as error:  # An open quote includes all lines up to the next quote.
            lines = f", from line {before + 1} on" if reader.line_num > before + 1 else ""
            yield Line(reader.line_num, "", error=f"{error}{lines}")
            continue
        if not values:
            continue
        text = layout.delimiter.join(values)
        if REPLACED in text:
            yield Line(reader.line_num, text, error=NOT_UTF_8)
            continue
        if len(values) != len(columns):
            yield Line(reader.line_num, text, error=f"expected {len(columns)} columns, found {len(values)}")
            continue
        try:
            body = body_of(dict(zip(columns, values, strict=True)), layout)
        except ValueError as error:
            yield Line(reader.line_num, text, error=str(error))
            continue
        body.setdefault("actor", body.get(actor))
        key = keys.of("\x1f".join((layout.what, *values)))
        command = msgspec.json.encode({"op": operation, "body": body, "idempotency_key": key})
        yield Line(reader.line_num, text, command, undated=not body.keys() & DISTINCT_COLUMNS)


def columns_of(rows: Iterator[list[str]], layout: Layout) -> Sequence[str]:
    """Return the names of the columns, from the layout or else from the first row.

    Raises: NoColumns.
    """
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
    """Return the fields of a row without the empty ones.

    Raises: ValueError, if a time or a number is invalid.
    """
    body: dict[str, Any] = {name: value for name, value in {**layout.constants, **row}.items() if value != ""}
    for name in TIME_COLUMNS & body.keys() if layout.times == "unix" else ():
        body[name] = time_of(name, body[name])
    for name in NUMBER_COLUMNS & body.keys():
        body[name] = number_of(name, body[name])
    if "tags" in body:
        body["tags"] = body["tags"].split("|")
    return body


def time_of(name: str, text: str) -> str:
    """Return a time in seconds since 1970 as ISO 8601.

    Raises: ValueError.
    """
    try:
        return datetime.fromtimestamp(float(text), UTC).isoformat()
    except (ValueError, OverflowError, OSError):  # `fromtimestamp` raises any of them.
        raise ValueError(f"{name}: expected seconds since 1970") from None


def number_of(name: str, text: str) -> int:
    """Raises: ValueError."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name}: expected a whole number") from None
