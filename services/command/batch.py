"""`POST /batch`: up to 1,000 commands in one request. Each succeeds or fails alone, and has its own result."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from msgspec import Meta, Struct

from ledger.commands.executor import Executor
from ledger.commands.submission import IdempotencyKey, Outcome, Submission
from ledger.domain.catalog.operations import OPERATIONS
from ledger.domain.values.refusals import Refusal
from ledger.log.event_log import APPEND_MAX, AppendUncertain, LogUnavailable
from services.command.routes import path_id_of, view_for
from services.http.auth import require_scope
from services.http.body import MEDIA_TYPE, decode_body, read_body
from services.http.parameters import (
    PREFIX,
    REQUEST_ID,
    TRACEPARENT,
    Community,
    Now,
    aggregate_id_of,
    community_of,
    if_well_formed,
)
from services.http.problems import (
    InvalidField,
    MalformedJson,
    NotJson,
    TooLarge,
    Unauthorized,
    problem_of,
    problem_responses,
)

DECODERS: Final = {name: msgspec.json.Decoder(operation.command).decode for name, operation in OPERATIONS.items()}


class Item(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One command. `body` is the body of the operation's own route. `id` is the resource, unless it is a creation."""

    op: Annotated[str, Meta(examples=["favour.record"])]
    body: msgspec.Raw
    idempotency_key: IdempotencyKey | None = None
    id: str | None = None


class Result(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of the item in the same place.

    `replayed`: a request with the same identity was carried out before. `unchanged`: the resource already is in the
    wanted state.
    """

    status: Literal["recorded", "replayed", "unchanged", "refused"]
    kind: str | None = None
    id: str | None = None
    state: str | None = None
    version: int | None = None
    position: int | None = None
    problem: dict[str, Any] | None = None


_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_item = msgspec.json.Decoder(Item).decode


@dataclass
class BatchOperation(Operation):
    """The operation class of `POST /batch`. The handler decodes items one by one, so their schema stands here."""

    def __post_init__(self) -> None:
        item = Schema(
            type=OpenAPIType.OBJECT,
            required=["op", "body"],
            properties={
                "op": Schema(type=OpenAPIType.STRING, enum=sorted(OPERATIONS)),
                "body": Schema(type=OpenAPIType.OBJECT, description="The body of the operation's own route."),
                "idempotency_key": Schema(type=OpenAPIType.STRING),
                "id": Schema(
                    type=OpenAPIType.STRING,
                    description="The id in the path of the operation's own route. A creation has none.",
                ),
            },
        )
        body = Schema(type=OpenAPIType.ARRAY, items=item, min_items=1, max_items=APPEND_MAX)
        self.request_body = RequestBody(content={MEDIA_TYPE: OpenAPIMediaType(schema=body)}, required=True)


def batch_route(commands: Executor, now: Now) -> HTTPRouteHandler:
    @post(
        f"{PREFIX}/batch",
        operation_id="batch",
        operation_class=BatchOperation,
        status_code=200,
        tags=["batch"],
        summary="Carry out up to 1,000 commands. Each succeeds or fails alone.",
        responses=problem_responses(
            MalformedJson, InvalidField, Unauthorized, TooLarge, NotJson, LogUnavailable, AppendUncertain
        ),
    )
    async def batch(request: Request[Any, Any, Any], community: Community) -> Response[list[Result]]:
        """The response has one result per command, in the same place.

        A command sees the effects of those before it: a referral can name a parent that the same batch has won.

        If the log becomes unavailable during the batch, the response is 503 or 504, and some commands may be recorded.
        Send the whole batch again: this is harmless if every item has a key or an id.
        """
        tenant = community_of(community)
        correlation_id = if_well_formed(REQUEST_ID, request.headers.get("x-request-id"))
        traceparent = if_well_formed(TRACEPARENT, request.headers.get("traceparent"))
        results: list[Result | None] = []
        submissions: list[Submission] = []
        for raw in items_of(await read_body(request)):
            try:
                submission = submission_of(raw, tenant, correlation_id, traceparent)
                require_scope(request, OPERATIONS[submission.operation].scope)
                submissions.append(submission)
                results.append(None)
            except Refusal as refusal:
                results.append(refused_result(refusal))
        outcomes = await commands.execute_all(submissions)
        executed = iter(zip(submissions, outcomes, strict=True))
        complete = [result or result_of(*next(executed), now()) for result in results]
        position = max((result.position or 0 for result in complete), default=0)
        return Response(complete, headers={"Ledger-Position": str(position)} if position else {})

    return batch


def items_of(body: bytes) -> Sequence[msgspec.Raw]:
    items = decode_body(_items, body)
    if not 1 <= len(items) <= APPEND_MAX:
        raise InvalidField(
            field="body", source="body", reason=f"must have 1 to {APPEND_MAX} commands, not {len(items)}"
        )
    return items


def submission_of(raw: msgspec.Raw, community: str, correlation_id: str | None, traceparent: str | None) -> Submission:
    """Decode an item of a batch.

    Raises: MalformedJson; InvalidField, with the name of the field in the item.
    """
    item = decode_body(_item, raw)
    operation = OPERATIONS.get(item.op)
    if operation is None:
        raise InvalidField(field="op", source="body", reason=f"must be one of {', '.join(OPERATIONS)}")
    command = decode_body(DECODERS[item.op], item.body)
    if operation.creates == (item.id is not None):
        reason = "must be in the body of a creation" if operation.creates else f"is required by {item.op}"
        raise InvalidField(field="id", source="body", reason=reason)
    return Submission(
        community=community,
        operation=item.op,
        kind=operation.kind.name,
        command=command,
        id=aggregate_id_of(operation.kind.name, community, item.id) if item.id is not None else None,
        key=item.idempotency_key,
        correlation_id=correlation_id,
        traceparent=traceparent,
    )


def result_of(submission: Submission, outcome: Outcome | Refusal, now: datetime) -> Result:
    if isinstance(outcome, Refusal):
        return refused_result(outcome)
    view: Any = view_for(outcome, submission.command, now)
    return Result(
        status=outcome.how,
        kind=outcome.ref.kind,
        id=path_id_of(outcome),
        state=view.state,
        version=view.version,
        position=outcome.position,
    )


def refused_result(refusal: Refusal) -> Result:
    return Result(status="refused", problem=problem_of(refusal))
