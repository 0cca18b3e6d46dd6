"""One route for every operation of the catalogue: `POST /favours`, `POST /favours/{id}/confirm`, and so on."""

from datetime import datetime
from typing import Any, Final
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
from services.http.body import decode_body, operation_with_body, read_body, success_response
from services.http.parameters import (
    PREFIX,
    REQUEST_ID,
    TRACEPARENT,
    AggregateId,
    Community,
    IfMatch,
    Key,
    Now,
    aggregate_id_of,
    community_of,
    etag,
    if_well_formed,
    key_of,
    operation_id,
    version_of,
)
from services.http.problems import (
    InvalidField,
    MalformedJson,
    NotAModerator,
    NotJson,
    TooLarge,
    Unauthorized,
    problem_responses,
)
from services.http.resources import VIEWS, Resource, View, view_of

AnyRequest = Request[Any, Any, Any]

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
    """Return one route per operation of the catalog."""
    return [
        (creation if operation.creates else step)(OperationRoute(name, operation, commands, now))
        for name, operation in OPERATIONS.items()
    ]


class OperationRoute:
    """The decoder, the executor and the documentation for the route of an operation."""

    def __init__(self, name: str, operation: Operation, commands: Executor, now: Now) -> None:
        self.name = name
        self.operation = operation
        self._commands = commands
        self._now = now
        self._decode = msgspec.json.Decoder(operation.command).decode

    async def execute(
        self, request: AnyRequest, community: str, aggregate_id: UUID | None, key: str | None, if_match: str | None
    ) -> tuple[Outcome, View]:
        """Execute the command in the request's body; return its outcome and the view for its actor."""
        submission = Submission(
            community=community,
            operation=self.name,
            kind=self.operation.kind.name,
            command=decode_body(self._decode, await read_body(request)),
            id=aggregate_id,
            key=key_of(key),
            if_match=version_of(if_match),
            correlation_id=if_well_formed(REQUEST_ID, request.headers.get("x-request-id")),
            traceparent=if_well_formed(TRACEPARENT, request.headers.get("traceparent")),
        )
        outcome = await self._commands.execute(submission)
        return outcome, view_for(outcome, submission.command, self._now())

    def documented(self, path: str, status: int, *own: type[Exception]) -> Any:
        """Return the decorator of the route. `own` are refusals beside those of all routes and of the operation."""
        kind, verb = self.operation.kind, self.name.partition(".")[2]
        scoped = (NotAModerator,) if self.operation.scope else ()
        command = self.operation.command
        return post(
            f"{PREFIX}/{kind.plural}{path}",
            name=self.name,
            operation_id=operation_id(verb, kind.name),
            opt={SCOPE: self.operation.scope},
            operation_class=operation_with_body(command),
            summary=(command.__doc__ or "").partition("\n")[0],
            description=command.__doc__,
            status_code=status,
            tags=[kind.plural],
            responses=success_response(status, VIEWS[kind.name])
            | problem_responses(*ALWAYS, *self.operation.refuses, *own, *scoped, commands_refusals.Contended),
        )


def creation(route: OperationRoute) -> HTTPRouteHandler:
    """`POST /favours`: 201 and its location. A repeat returns what the first request returned."""

    async def create(
        request: AnyRequest, community: Community, idempotency_key: Key = None, if_match: IfMatch = None
    ) -> Response[Any]:
        outcome, view = await route.execute(request, community_of(community), None, idempotency_key, if_match)
        location = f"{request.url.path.rstrip('/')}/{path_id_of(outcome)}"
        return respond(outcome, view, 201, {"Location": location})

    refused = (refusals.AlreadyExists, commands_refusals.KeyMissing, commands_refusals.VersionMismatch)
    handler: HTTPRouteHandler = route.documented("", 201, *refused)(create)
    return handler


def step(route: OperationRoute) -> HTTPRouteHandler:
    """`POST /favours/{id}/confirm`: 200 and the resource after it, also if the command changed nothing."""
    kind = route.operation.kind

    async def take_step(
        request: AnyRequest,
        community: Community,
        id: AggregateId,  # noqa: A002  The name in the route.
        idempotency_key: Key = None,
        if_match: IfMatch = None,
    ) -> Response[Any]:
        tenant = community_of(community)
        outcome, view = await route.execute(
            request, tenant, aggregate_id_of(kind.name, tenant, id), idempotency_key, if_match
        )
        return respond(outcome, view, 200, {})

    path = f"/{{id:str}}/{route.name.partition('.')[2]}"
    refused = (refusals.Unknown, refusals.WrongState, commands_refusals.VersionMismatch)
    handler: HTTPRouteHandler = route.documented(path, 200, *refused)(take_step)
    return handler


def respond(outcome: Outcome, view: View, status: int, headers: dict[str, str]) -> Response[Any]:
    headers |= {"Ledger-Position": str(outcome.position), "ETag": etag(view.version)}
    if outcome.how == "replayed":
        headers["Idempotent-Replayed"] = "true"
    return Response(view, status_code=status, headers=headers)


def view_for(outcome: Outcome, command: Command | Lapse, now: datetime) -> View:
    """Return the view for the actor. A moderator is no party of the dispute that they judge, and reads everything."""
    ref = outcome.ref
    resource = Resource(
        kind=ref.kind,
        id=UUID(ref.id),
        version=outcome.version,
        began=outcome.position,  # Only an asker reads it, after their own ask, which is the first event.
        position=outcome.position,
        state=outcome.state,
    )
    return view_of(resource, None if ref.kind == DISPUTE.name else command.actor, now)


def path_id_of(outcome: Outcome) -> str:
    """Return the id of the resource in a path."""
    return outcome.state.member if isinstance(outcome.state, MemberState) else outcome.ref.id
