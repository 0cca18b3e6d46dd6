"""The header `Ledger-Position` of reads, and the check of a viewer."""

from typing import Any, Final

from litestar import Response

from ledger.books.connection import BooksUnavailable, SchemaMissing
from ledger.books.reader import BooksBehind
from ledger.domain.values.refusals import NotYours
from services.http.parameters import viewer_of
from services.http.problems import InvalidField, Unauthorized, problem_responses

READ_PROBLEMS: Final = (InvalidField, Unauthorized, BooksUnavailable, BooksBehind, SchemaMissing)
PROBLEMS: Final = problem_responses(*READ_PROBLEMS)
PERSONAL_PROBLEMS: Final = problem_responses(*READ_PROBLEMS, NotYours)


def require_viewer(viewer: str | None, *members: str) -> None:
    """Check that the viewer is one of the members. Without a viewer, a service reads, and may read everything.

    Raises: NotYours, if the viewer is another member; InvalidField, if it is no member id.
    """
    if viewer is not None and viewer_of(viewer) not in members:
        raise NotYours(role="member")


def with_position(
    view: Any,
    position: int,
    *,
    viewer: str | None = None,
    min_position: int = 0,
    headers: dict[str, str] | None = None,
    media_type: str = "application/json",
) -> Response[Any]:
    """Return the response with the position that it shows.

    With a viewer, the header repeats `min_position`, which the viewer named. The real position moves with every event,
    so in a quiet community it would disclose the time of a decline.
    """
    position = position if viewer is None else min_position
    return Response(view, headers={**(headers or {}), "Ledger-Position": str(position)}, media_type=media_type)
