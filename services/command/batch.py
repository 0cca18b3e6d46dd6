"""`POST /batch`: up to 1,000 commands at once; each succeeds or fails alone, and says so in place."""

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
    address_of,
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
    """One command. `body` is what the operation's own route takes; `id` is the aggregate that a step addresses."""

    op: Annotated[str, Meta(examples=["favour.record"])]
    body: msgspec.Raw
    idempotency_key: IdempotencyKey | None = None
    id: str | None = None


class Result(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of the item in the same place. `unchanged` is one that was already so."""

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
    """The body is read item by item, so its documentation is written by hand."""

    def __post_init__(self) -> None:
        item = Schema(
            type=OpenAPIType.OBJECT,
            required=["op", "body"],
            properties={
                "op": Schema(type=OpenAPIType.STRING, enum=sorted(OPERATIONS)),
                "body": Schema(type=OpenAPIType.OBJECT, description="What the operation's own route takes."),
                "idempotency_key": Schema(type=OpenAPIType.STRING),
                "id": Schema(type=OpenAPIType.STRING, description="What a step's own route has in its path."),
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
        summary="Up to 1,000 commands; each succeeds or fails alone.",
        responses=problem_responses(
            MalformedJson, InvalidField, Unauthorized, TooLarge, NotJson, LogUnavailable, AppendUncertain
        ),
    )
    async def batch(request: Request[Any, Any, Any], community: Community) -> Response[list[Result]]:
        """The answer has a result for every command, in the same place.

        A command knows what those before it have done: a referral may grow out of one that the same batch has won.

        When the log goes away in the middle, the whole is answered 503 or 504: some may be recorded, and
        repeating all of it is harmless where every item has a key or an id.
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
                results.append(refused(refusal))
        outcomes = await commands.execute_all(submissions)
        carried_out = iter(zip(submissions, outcomes, strict=True))
        answers = [result or result_of(*next(carried_out), now()) for result in results]
        position = max((answer.position or 0 for answer in answers), default=0)
        return Response(answers, headers={"Ledger-Position": str(position)} if position else {})

    return batch


def items_of(body: bytes) -> Sequence[msgspec.Raw]:
    items = decode_body(_items, body)
    if not 1 <= len(items) <= APPEND_MAX:
        raise InvalidField(field="body", source="body", reason=f"1 to {APPEND_MAX} commands, not {len(items)}")
    return items


def submission_of(raw: msgspec.Raw, community: str, correlation_id: str | None, traceparent: str | None) -> Submission:
    """Raises: MalformedJson; InvalidField, naming the field of the item."""
    item = decode_body(_item, raw)
    operation = OPERATIONS.get(item.op)
    if operation is None:
        raise InvalidField(field="op", source="body", reason=f"unknown; known are {', '.join(OPERATIONS)}")
    command = decode_body(DECODERS[item.op], item.body)
    if operation.creates == (item.id is not None):
        reason = "a creation takes its id in the body" if operation.creates else "a step needs one"
        raise InvalidField(field="id", source="body", reason=reason)
    return Submission(
        community=community,
        operation=item.op,
        kind=operation.kind.name,
        command=command,
        id=address_of(operation.kind.name, community, item.id) if item.id is not None else None,
        key=item.idempotency_key,
        correlation_id=correlation_id,
        traceparent=traceparent,
    )


def result_of(submission: Submission, outcome: Outcome | Refusal, now: datetime) -> Result:
    if isinstance(outcome, Refusal):
        return refused(outcome)
    view: Any = view_for(outcome, submission.command, now)
    return Result(
        status=outcome.how,
        kind=outcome.ref.kind,
        id=path_id_of(outcome),
        state=view.state,
        version=view.version,
        position=outcome.position,
    )


def refused(refusal: Refusal) -> Result:
    return Result(status="refused", problem=problem_of(refusal))
