"""Problems: the one catalogue from what can go wrong to an RFC 9457 `application/problem+json` answer."""

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
    """The body must be said to be JSON: `Content-Type: application/json`."""

    code = "not_json"


class InvalidField(Refusal):
    """A field or parameter is missing, unknown, or not of its form."""

    code = "invalid_field"


class Unauthorized(Refusal):
    """An API key is needed: `Authorization: Bearer <key>`."""

    code = "unauthorized"


class NotAModerator(Refusal):
    """Only a moderator's key may judge disputes and publish policies."""

    code = "not_a_moderator"


class Confidential(Refusal):
    """Only a key with the scope `confidential` is shown events of this name."""

    code = "confidential"


class TooManyStreams(Unavailable):
    """As many readers wait for events here as this process takes. Try again, or ask without `wait`."""

    code = "too_many_streams"


class NoSuchRoute(Refusal):
    """There is nothing at this address."""

    code = "no_such_route"


class NoSuchMethod(Refusal):
    """The address does not take this method."""

    code = "no_such_method"


class NotAcceptable(Refusal):
    """None of the media types in `Accept` is offered here."""

    code = "not_acceptable"


class TooLarge(Refusal):
    """The body is larger than 1 MiB."""

    code = "too_large"


class Internal(Exception):
    """The ledger made a mistake. It is in its log."""

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
"""What every problem of a status brings along."""


class Problem(Struct, frozen=True, kw_only=True):
    """RFC 9457. Branch on `code`; the facts of the case stand beside it, under names of their own."""

    type: str
    title: str
    status: int
    code: str
    retryable: bool
    detail: str


def problem_of(error: Exception) -> dict[str, Any]:
    """The problem document of anything in the catalogue."""
    kind = type(error)
    title = (kind.__doc__ or "").partition("\n")[0].removesuffix(".")
    code: str = getattr(error, "code", Internal.code)
    problem = Problem(
        type=f"urn:referral-ledger:problem:{code}",
        title=title,
        status=STATUS[kind],
        code=code,
        retryable=kind in RETRYABLE,
        detail=detail_of(error, title),
    )
    facts = error.facts if isinstance(error, Refusal) else {}
    return {**msgspec.to_builtins(problem), **facts}


def detail_of(error: Exception, title: str) -> str:
    """One sentence for the person who reads it, with the facts in it."""
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


def on_known(_: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    return problem_response(error)


def on_unavailable(_: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    _log.warning("unavailable", code=getattr(error, "code", ""), reason=str(error))
    return problem_response(error)


def on_http(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """What Litestar itself found wrong."""
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
    """What reaches no route passes no middleware either: it is counted here. Any method could be made up."""
    response = problem_response(error)
    response.headers.update(headers or {})
    method = request.method if request.method in METHODS else "other"
    telemetry.REQUESTS.labels(method, "none", str(response.status_code)).inc()
    return response


def on_bug(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    _log.error("bug", method=request.method, path=request.url.path, exc_info=error)
    return problem_response(Internal())


HANDLERS: Final[dict[int | type[Exception], Any]] = {
    Refusal: on_known,
    Unavailable: on_unavailable,
    SchemaMissing: on_unavailable,
    HTTPException: on_http,
    Exception: on_bug,
}


def problem_responses(*errors: type[Exception]) -> dict[int, ResponseSpec]:
    """For a handler's OpenAPI: the problems it may answer, by status. A mistake of ours may be met anywhere."""
    by_status: dict[int, list[str]] = {}
    for error in (*errors, Internal):
        by_status.setdefault(STATUS[error], []).append(getattr(error, "code", Internal.code))
    return {
        status: ResponseSpec(Problem, description=", ".join(codes), media_type=MEDIA_TYPE, generate_examples=False)
        for status, codes in by_status.items()
    }
