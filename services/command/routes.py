"""One route for every operation of the catalogue: `POST /favours`, `POST /favours/{id}/confirm`, and so on."""

from typing import Any, Final, cast

import msgspec
from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from ledger.domain import refusals
from ledger.domain.catalog import OPERATIONS, Operation
from ledger.log import executor
from ledger.log.event_log import AppendUncertain, LogUnavailable
from ledger.log.executor import Executor, Outcome, Submission
from services.http.body import body_of, decoded, documenting
from services.http.conventions import (
    PREFIX,
    REQUEST_ID,
    TRACEPARENT,
    AggregateId,
    Community,
    IfMatch,
    Key,
    community_of,
    etag,
    id_of,
    key_of,
    version_of,
    well_formed,
)
from services.http.problems import InvalidField, MalformedJson, NotJson, TooLarge, Unauthorized, documented
from services.http.views import PLURALS, VIEWS, view_of

ALWAYS: Final = (
    MalformedJson,
    InvalidField,
    Unauthorized,
    refusals.NotYours,
    TooLarge,
    NotJson,
    executor.KeyReused,
    refusals.TimeInFuture,
    refusals.TimeTooEarly,
    LogUnavailable,
    AppendUncertain,
)
REFUSALS: Final[dict[str, tuple[type[Exception], ...]]] = {
    "favour.record": (refusals.SelfDealing,),
    "referral.give": (refusals.SelfDealing, refusals.Unknown, refusals.ParentNotWon),
    "intro.propose": (refusals.SelfDealing, refusals.LevelMisplaced, refusals.RespondByOutOfRange),
    "intro.close": (refusals.NobodyAsked,),
}


def command_routes(commands: Executor) -> list[HTTPRouteHandler]:
    return [
        (creation if operation.creates else step)(name, operation, commands) for name, operation in OPERATIONS.items()
    ]


def creation(name: str, operation: Operation, commands: Executor) -> HTTPRouteHandler:
    """`POST /favours`: 201 and where it is. A repeat answers as the first time."""
    decode = msgspec.json.Decoder(operation.command).decode

    async def create(
        request: Request[Any, Any, Any],
        community: Community,
        idempotency_key: Key = None,
        if_match: IfMatch = None,
    ) -> Response[Any]:
        submission = Submission(
            community=community_of(community),
            operation=name,
            kind=operation.kind.name,
            command=decoded(decode, await body_of(request)),
            key=key_of(idempotency_key),
            if_match=version_of(if_match),
            correlation_id=well_formed(REQUEST_ID, request.headers.get("x-request-id")),
            traceparent=well_formed(TRACEPARENT, request.headers.get("traceparent")),
        )
        outcome = await commands.execute(submission)
        location = f"{request.url.path.rstrip('/')}/{outcome.ref.id}"
        return answer(outcome, 201, {"Location": location})

    own = (*REFUSALS[name], refusals.AlreadyExists, executor.KeyMissing, executor.VersionMismatch)
    return described(create, name, operation, f"{PREFIX}/{PLURALS[operation.kind.name]}", 201, own)


def step(name: str, operation: Operation, commands: Executor) -> HTTPRouteHandler:
    """`POST /favours/{id}/confirm`: 200 and the resource after it, also when it is already so."""
    decode = msgspec.json.Decoder(operation.command).decode

    async def take(
        request: Request[Any, Any, Any],
        community: Community,
        id: AggregateId,  # noqa: A002  The route says so.
        idempotency_key: Key = None,
        if_match: IfMatch = None,
    ) -> Response[Any]:
        submission = Submission(
            community=community_of(community),
            operation=name,
            kind=operation.kind.name,
            command=decoded(decode, await body_of(request)),
            id=id_of(id),
            key=key_of(idempotency_key),
            if_match=version_of(if_match),
            correlation_id=well_formed(REQUEST_ID, request.headers.get("x-request-id")),
            traceparent=well_formed(TRACEPARENT, request.headers.get("traceparent")),
        )
        return answer(await commands.execute(submission), 200, {})

    own = (*REFUSALS.get(name, ()), refusals.Unknown, refusals.WrongState, executor.VersionMismatch)
    verb = name.partition(".")[2]
    path = f"{PREFIX}/{PLURALS[operation.kind.name]}/{{id:str}}/{verb}"
    return described(take, name, operation, path, 200, own)


def described(
    handler: Any, name: str, operation: Operation, path: str, status: int, own: tuple[type[Exception], ...]
) -> HTTPRouteHandler:
    """The route, with what its documentation needs to know."""
    kind, _, verb = name.partition(".")
    handler.__annotations__["return"] = cast("Any", Response)[VIEWS[kind]]
    return post(
        path,
        name=name,
        operation_id=f"{verb}{kind.capitalize()}",
        operation_class=documenting(operation.command),
        summary=(operation.command.__doc__ or "").partition("\n")[0],
        description=operation.command.__doc__,
        status_code=status,
        tags=[PLURALS[kind]],
        responses=documented(*ALWAYS, *own, executor.Contended),
    )(handler)


def answer(outcome: Outcome, status: int, headers: dict[str, str]) -> Response[Any]:
    headers |= {"Ledger-Position": str(outcome.position), "ETag": etag(outcome.version)}
    if outcome.how == "replayed":
        headers["Idempotent-Replayed"] = "true"
    ref = outcome.ref
    view = view_of(ref.kind, ref.id, outcome.version, outcome.position, outcome.state)
    return Response(view, status_code=status, headers=headers)
