"""Problems: the one table from errors to RFC 9457 `application/problem+json` responses."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from msgspec import Struct

from ledger.books.connection import BooksUnavailable, SchemaMissing
from ledger.books.reader import BooksBehind
from ledger.commands import refusals as commands_refusals
from ledger.domain.values import refusals
from ledger.domain.values.refusals import Refusal
from ledger.log.event_log import AppendUncertain, LogUnavailable
from ledger.runtime import telemetry
from ledger.runtime.unavailable import Unavailable

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 1
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_log = structlog.get_logger()


class MalformedJson(Refusal):
    """The body is not JSON."""

    code = "malformed_json"


class NotJson(Refusal):
    """The body must have `Content-Type: application/json`."""

    code = "not_json"


class InvalidField(Refusal):
    """A field or parameter is missing, unknown or invalid."""

    code = "invalid_field"


class Unauthorized(Refusal):
    """An API key is needed: `Authorization: Bearer <key>`."""

    code = "unauthorized"


class NotAModerator(Refusal):
    """Only a moderator's key may judge disputes and publish policies."""

    code = "not_a_moderator"


class Confidential(Refusal):
    """Only a key with the scope `confidential` may read events of this name."""

    code = "confidential"


class TooManyStreams(Unavailable):
    """Too many clients wait for events. Try again, or send the request without `wait`."""

    code = "too_many_streams"


class NoSuchRoute(Refusal):
    """No route has this path."""

    code = "no_such_route"


class NoSuchMethod(Refusal):
    """The route does not allow this method."""

    code = "no_such_method"


class NotAcceptable(Refusal):
    """The route offers none of the media types in `Accept`."""

    code = "not_acceptable"


class TooLarge(Refusal):
    """The body is larger than 1 MiB."""

    code = "too_large"


class Internal(Exception):
    """The ledger has a bug. Its logs have the details."""

    code: ClassVar[str] = "internal"


STATUS: Final[Mapping[type[Exception], int]] = MappingProxyType(
    {
        MalformedJson: 400,
        InvalidField: 400,
        commands_refusals.KeyMissing: 400,
        Unauthorized: 401,
        refusals.NotYours: 403,
        refusals.PartyToIt: 403,
        NotAModerator: 403,
        Confidential: 403,
        NoSuchRoute: 404,
        refusals.Unknown: 404,
        NoSuchMethod: 405,
        NotAcceptable: 406,
        refusals.AlreadyExists: 409,
        refusals.WrongState: 409,
        refusals.NotDue: 409,
        refusals.ParentNotWon: 409,
        refusals.NoDues: 409,
        refusals.TooLate: 409,
        refusals.UnderDispute: 409,
        refusals.ReciprocityLimit: 409,
        refusals.OpenAsks: 409,
        refusals.InboundAsks: 409,
        refusals.AskedBefore: 409,
        refusals.TooManyScheduled: 409,
        commands_refusals.Contended: 409,
        commands_refusals.VersionMismatch: 412,
        TooLarge: 413,
        NotJson: 415,
        commands_refusals.KeyReused: 422,
        refusals.SelfDealing: 422,
        refusals.TimeInFuture: 422,
        refusals.TimeTooEarly: 422,
        refusals.RespondByOutOfRange: 422,
        refusals.LevelMisplaced: 422,
        refusals.NobodyAsked: 422,
        refusals.ExpectationMisplaced: 422,
        refusals.PolicyInvalid: 422,
        refusals.StartsOutOfRange: 422,
        Internal: 500,
        refusals.GuardUnavailable: 503,
        LogUnavailable: 503,
        BooksUnavailable: 503,
        BooksBehind: 503,
        SchemaMissing: 503,
        TooManyStreams: 503,
        AppendUncertain: 504,
    }
)
RETRYABLE: Final = frozenset(
    {
        commands_refusals.Contended,
        refusals.GuardUnavailable,
        LogUnavailable,
        BooksUnavailable,
        BooksBehind,
        SchemaMissing,
        TooManyStreams,
        AppendUncertain,
    }
)
HEADERS: Final[Mapping[int, Mapping[str, str]]] = MappingProxyType(
    {
        401: {"WWW-Authenticate": "Bearer"},
        503: {"Retry-After": str(RETRY_AFTER_S)},
    }
)
"""Headers of every problem with a status."""


class Problem(Struct, frozen=True, kw_only=True):
    """An RFC 9457 problem. Branch on `code`. The facts of the case are additional fields."""

    type: str
    title: str
    status: int
    code: str
    retryable: bool
    detail: str


def problem_of(error: Exception) -> dict[str, Any]:
    """Return the problem document of an error, with the facts of a refusal as additional fields."""
    error_type = type(error)
    title = (error_type.__doc__ or "").partition("\n")[0].removesuffix(".")
    code: str = getattr(error, "code", Internal.code)
    problem = Problem(
        type=f"urn:referral-ledger:problem:{code}",
        title=title,
        status=STATUS[error_type],
        code=code,
        retryable=error_type in RETRYABLE,
        detail=detail_of(error, title),
    )
    facts = error.facts if isinstance(error, Refusal) else {}
    return {**msgspec.to_builtins(problem), **facts}


def detail_of(error: Exception, title: str) -> str:
    """Return one sentence for a person: the title and the facts."""
    if not isinstance(error, Refusal) or not error.facts:
        return f"{title}."
    facts = ", ".join(
        f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in error.facts.items()
        if value is not None
    )
    return f"{title} ({facts})."


def problem_response(error: Exception) -> Response[Any]:
    problem = problem_of(error)
    headers = HEADERS.get(problem["status"], {})
    return Response(problem, status_code=problem["status"], media_type=MEDIA_TYPE, headers=headers)


def on_refusal(_: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    return problem_response(error)


def on_unavailable(_: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    _log.warning("unavailable", code=getattr(error, "code", ""), reason=str(error))
    return problem_response(error)


def on_http(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Return the problem for an error that Litestar raised."""
    match error:
        case ValidationException(extra=[{"message": str(message), "key": str(key), "source": source}, *_]):
            return problem_response(
                InvalidField(field=key, source=str(getattr(source, "value", source)), reason=message)
            )
        case HTTPException(status_code=404):
            return unrouted_response(request, NoSuchRoute())
        case HTTPException(status_code=405):
            return unrouted_response(request, NoSuchMethod(), dict(error.headers or {}))
        case HTTPException(status_code=413):
            return problem_response(TooLarge())
        case HTTPException(detail="client disconnected prematurely"):
            return problem_response(MalformedJson(reason=error.detail))
        case _:
            return on_bug(request, error)


def unrouted_response(
    request: Request[Any, Any, Any], error: Refusal, headers: dict[str, str] | None = None
) -> Response[Any]:
    """Return and count the response to a request without a route, which passes no middleware.

    An unknown method counts as `other`, because clients can invent any number of them.
    """
    response = problem_response(error)
    response.headers.update(headers or {})
    method = request.method if request.method in METHODS else "other"
    telemetry.REQUESTS.labels(method, "none", str(response.status_code)).inc()
    return response


def on_bug(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    _log.error("bug", method=request.method, path=request.url.path, exc_info=error)
    return problem_response(Internal())


HANDLERS: Final[dict[int | type[Exception], Any]] = {
    Refusal: on_refusal,
    Unavailable: on_unavailable,
    SchemaMissing: on_unavailable,
    HTTPException: on_http,
    Exception: on_bug,
}


def problem_responses(*errors: type[Exception]) -> dict[int, ResponseSpec]:
    """Return the documented problems of a handler, by status. Every handler can also return `internal`."""
    by_status: dict[int, list[str]] = {}
    for error in (*errors, Internal):
        by_status.setdefault(STATUS[error], []).append(getattr(error, "code", Internal.code))
    return {
        status: ResponseSpec(Problem, description=", ".join(codes), media_type=MEDIA_TYPE, generate_examples=False)
        for status, codes in by_status.items()
    }
