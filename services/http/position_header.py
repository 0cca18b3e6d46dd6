"""The position that a response shows, and the viewer whom it is for."""

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
    """A service sees all; a member sees what is theirs.

    Raises: NotYours; InvalidField.
    """
    if viewer is not None and viewer_of(viewer) not in members:
        raise NotYours(role="member")


def with_position(
    view: Any,
    position: int,
    *,
    viewer: str | None = None,
    asked: int = 0,
    headers: dict[str, str] | None = None,
    media_type: str = "application/json",
) -> Response[Any]:
    """The answer, with the position that it shows.

    To a member's eyes it is `asked`, which they named themselves: the real one moves with whatever happens, and in a
    quiet community it would tell when somebody declined.
    """
    position = position if viewer is None else asked
    return Response(view, headers={**(headers or {}), "Ledger-Position": str(position)}, media_type=media_type)
