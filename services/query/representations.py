"""A statement as JSON, CSV or NDJSON, whichever is accepted. In a table, opening and closing are rows as well."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec
from litestar import Request
from litestar.datastructures import URL
from litestar.openapi.spec import Example, OpenAPIMediaType, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType

from ledger.books.reader import Order
from ledger.domain.values.refusals import NotYours
from services.http.problems import NotAcceptable, documented
from services.query.examples import STATEMENT
from services.query.shown import ALWAYS
from services.query.views import StatementView

JSON: Final = "application/json"
CSV: Final = "text/csv"
NDJSON: Final = "application/x-ndjson"
FORMS: Final = (JSON, CSV, NDJSON)
PROBLEMS: Final = documented(*ALWAYS, NotYours, NotAcceptable)
Row = dict[str, Any]
COLUMNS: Final[tuple[str, ...]] = (
    "row",
    "happened_at",
    "recorded_at",
    "event",
    "account",
    "counterparty",
    "points",
    "given",
    "received",
    "balance_after",
    "entry",
    "link",
)


def form_of(request: Request[Any, Any, Any]) -> str:
    """Raises: NotAcceptable."""
    form = request.accept.best_match(list(FORMS))
    if form is None:
        raise NotAcceptable(accept=request.headers.get("accept"), offered=list(FORMS))
    return form


def as_accepted(
    form: str, view: StatementView, order: Order, url: URL, *, is_first: bool
) -> tuple[Any, dict[str, str]]:
    """The page in one of `FORMS`, and the headers that go with it: `Link` (RFC 8288) says where the next one is."""
    headers = {"Vary": "Accept"}
    if view.next is not None:
        query = urlencode(dict(parse_qsl(url.query)) | {"cursor": view.next})
        headers["Link"] = f'<{url.path}?{query}>; rel="next"'
    if form == JSON:
        return view, headers
    return WRITTEN[form](rows_of(view, order, is_first=is_first)), headers


def rows_of(view: StatementView, order: Order, *, is_first: bool) -> Iterator[Row]:
    """Before the first line of all pages stands the balance they begin with, after the last the one they end with."""
    opening = {"row": "opening", "balance_after": view.opening.net}
    closing = {"row": "closing", "balance_after": view.closing.net}
    first, last = (opening, closing) if order == "oldest" else (closing, opening)
    if is_first:
        yield first
    for line in view.lines:
        yield {"row": "line", **msgspec.to_builtins(line)}
    if view.next is None:
        yield last


def as_csv(rows: Iterator[Row]) -> bytes:
    """RFC 4180, with a header. No field can begin like a formula: ids begin with a letter or a digit."""
    text = io.StringIO(newline="")
    writer: csv.DictWriter[str] = csv.DictWriter(text, COLUMNS, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_ndjson(rows: Iterator[Row]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


WRITTEN: Final[Mapping[str, Callable[[Iterator[Row]], bytes]]] = MappingProxyType({CSV: as_csv, NDJSON: as_ndjson})


@dataclass
class InForms(Operation):
    """The operation class of a route that answers in all of `FORMS`."""

    def __post_init__(self) -> None:
        answer: Any = (self.responses or {})["200"]
        answer.content |= {
            form: OpenAPIMediaType(
                schema=Schema(type=OpenAPIType.STRING),
                examples={"example": Example(value=write(rows_of(STATEMENT, "oldest", is_first=True)).decode())},
            )
            for form, write in WRITTEN.items()
        }
