"""One route for every operation of the catalogue: `POST /favours`, `POST /favours/{id}/confirm`, and so on."""

from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

import msgspec
from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from ledger.commands import refusals as commands_refusals
from ledger.commands.executor import Executor
from ledger.commands.submission import Outcome, Submission
from ledger.domain.catalog.kinds import DISPUTE
from ledger.domain.catalog.operations import OPERATIONS, Operation
from ledger.domain.kinds.member import MemberState
from ledger.domain.values import refusals
from ledger.domain.values.aggregate_types import Command, Lapse
from ledger.log.event_log import AppendUncertain, LogUnavailable
from services.http.auth import SCOPE
from services.http.body import body_of, decoded, documenting
from services.http.conventions import (
    PREFIX,
    REQUEST_ID,
    TRACEPARENT,
    AggregateId,
    Community,
    IfMatch,
    Key,
    Now,
    address_form,
    address_of,
    community_of,
    etag,
    key_of,
    operation_id,
    version_of,
    well_formed,
)
from services.http.problems import (
    InvalidField,
    MalformedJson,
    NotAModerator,
    NotJson,
    TooLarge,
    Unauthorized,
    documented,
)
from services.http.views import VIEWS, Held, View, view_of

ALWAYS: Final = (
    MalformedJson,
    InvalidField,
    Unauthorized,
    refusals.NotYours,
    TooLarge,
    NotJson,
    commands_refusals.KeyReused,
    refusals.TimeInFuture,
    refusals.TimeTooEarly,
    LogUnavailable,
    AppendUncertain,
)


def command_routes(commands: Executor, now: Now) -> list[HTTPRouteHandler]:
    return [
        (creation if operation.creates else step)(name, operation, commands, now)
        for name, operation in OPERATIONS.items()
    ]


def creation(name: str, operation: Operation, commands: Executor, now: Now) -> HTTPRouteHandler:
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
        location = f"{request.url.path.rstrip('/')}/{path_id_of(outcome)}"
        return answer(outcome, submission.command, now(), 201, {"Location": location})

    own = (*operation.refuses, refusals.AlreadyExists, commands_refusals.KeyMissing, commands_refusals.VersionMismatch)
    return described(create, name, operation, f"{PREFIX}/{operation.kind.plural}", 201, own)


def step(name: str, operation: Operation, commands: Executor, now: Now) -> HTTPRouteHandler:
    """`POST /favours/{id}/confirm`: 200 and the resource after it, also when it is already so."""
    decode = msgspec.json.Decoder(operation.command).decode

    async def take(
        request: Request[Any, Any, Any],
        community: Community,
        id: AggregateId,  # noqa: A002  The route says so.
        idempotency_key: Key = None,
        if_match: IfMatch = None,
    ) -> Response[Any]:
        tenant = community_of(community)
        submission = Submission(
            community=tenant,
            operation=name,
            kind=operation.kind.name,
            command=decoded(decode, await body_of(request)),
            id=address_of(operation.kind.name, tenant, id),
            key=key_of(idempotency_key),
            if_match=version_of(if_match),
            correlation_id=well_formed(REQUEST_ID, request.headers.get("x-request-id")),
            traceparent=well_formed(TRACEPARENT, request.headers.get("traceparent")),
        )
        return answer(await commands.execute(submission), submission.command, now(), 200, {})

    take.__annotations__["id"] = address_form(operation.kind.name)
    own = (*operation.refuses, refusals.Unknown, refusals.WrongState, commands_refusals.VersionMismatch)
    verb = name.partition(".")[2]
    path = f"{PREFIX}/{operation.kind.plural}/{{id:str}}/{verb}"
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
        operation_id=operation_id(verb, kind),
        opt={SCOPE: operation.scope},
        operation_class=documenting(operation.command),
        summary=(operation.command.__doc__ or "").partition("\n")[0],
        description=operation.command.__doc__,
        status_code=status,
        tags=[operation.kind.plural],
        responses=documented(*ALWAYS, *own, *([NotAModerator] if operation.scope else []), commands_refusals.Contended),
    )(handler)


def answer(
    outcome: Outcome, command: Command | Lapse, now: datetime, status: int, headers: dict[str, str]
) -> Response[Any]:
    view = view_for(outcome, command, now)
    headers |= {"Ledger-Position": str(outcome.position), "ETag": etag(view.version)}
    if outcome.how == "replayed":
        headers["Idempotent-Replayed"] = "true"
    return Response(view, status_code=status, headers=headers)


def view_for(outcome: Outcome, command: Command | Lapse, now: datetime) -> View:
    """What the one who acted may see of it. Who judges a dispute is party to none of it, and sees all."""
    ref = outcome.ref
    held = Held(
        kind=ref.kind,
        id=UUID(ref.id),
        version=outcome.version,
        began=outcome.position,  # Of one that is hidden from the one who acted, their ask is all there is to see.
        position=outcome.position,
        state=outcome.state,
    )
    return view_of(held, None if ref.kind == DISPUTE.name else command.actor, now)


def path_id_of(outcome: Outcome) -> str:
    """What the resource is called in a path."""
    return outcome.state.member if isinstance(outcome.state, MemberState) else outcome.ref.id
