"""Representations of a statement: JSON, CSV or NDJSON. In CSV and NDJSON, opening and closing balance are rows."""

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
from litestar.openapi.spec import OpenAPIMediaType, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType

from ledger.books.reader import SortOrder
from ledger.domain.values.refusals import NotYours
from services.http.position_header import READ_PROBLEMS
from services.http.problems import NotAcceptable, problem_responses
from services.query.views import StatementView

JSON: Final = "application/json"
CSV: Final = "text/csv"
NDJSON: Final = "application/x-ndjson"
MEDIA_TYPES: Final = (JSON, CSV, NDJSON)
PROBLEMS: Final = problem_responses(*READ_PROBLEMS, NotYours, NotAcceptable)
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


def accepted_media_type(request: Request[Any, Any, Any]) -> str:
    """Return the media type that the request prefers.

    Raises: NotAcceptable, if it accepts none of `MEDIA_TYPES`.
    """
    media_type = request.accept.best_match(list(MEDIA_TYPES))
    if media_type is None:
        raise NotAcceptable(accept=request.headers.get("accept"), offered=list(MEDIA_TYPES))
    return media_type


def represent(
    media_type: str, view: StatementView, order: SortOrder, url: URL, *, is_first: bool
) -> tuple[Any, dict[str, str]]:
    """Return the page in the media type, and its headers. `Link` (RFC 8288) is the address of the next page."""
    headers = {"Vary": "Accept"}
    if view.next is not None:
        query = urlencode(dict(parse_qsl(url.query)) | {"cursor": view.next})
        headers["Link"] = f'<{url.path}?{query}>; rel="next"'
    if media_type == JSON:
        return view, headers
    return WRITERS[media_type](rows_of(view, order, is_first=is_first)), headers


def rows_of(view: StatementView, order: SortOrder, *, is_first: bool) -> Iterator[Row]:
    """Yield the rows of a page: the lines, on the first page the balance before them, on the last the one after."""
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
    """Return the rows as CSV (RFC 4180) with a header. No field is a formula: ids begin with a letter or a digit."""
    text = io.StringIO(newline="")
    writer: csv.DictWriter[str] = csv.DictWriter(text, COLUMNS, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_ndjson(rows: Iterator[Row]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


WRITERS: Final[Mapping[str, Callable[[Iterator[Row]], bytes]]] = MappingProxyType({CSV: as_csv, NDJSON: as_ndjson})


@dataclass
class OperationInAllMediaTypes(Operation):
    """The operation class of a route that returns all of `MEDIA_TYPES`."""

    def __post_init__(self) -> None:
        response: Any = (self.responses or {})["200"]
        response.content |= {
            media_type: OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING)) for media_type in WRITERS
        }
