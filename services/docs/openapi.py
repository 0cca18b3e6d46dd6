"""The OpenAPI document, completed: what routes do not say of themselves, added to all of them by rule.

Litestar writes the document from the routes; `complete` adds examples, headers and problem documents to it in place. A
route that is added later is completed like the others.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from inspect import cleandoc
from types import MappingProxyType
from typing import Any, Final

import msgspec
from litestar import Litestar
from litestar.enums import ParamType
from litestar.openapi.spec import (
    Components,
    Example,
    OpenAPI,
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Parameter,
    Reference,
    Schema,
    Tag,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from msgspec import Struct

from ledger.domain.catalog.kinds import EVENTS, KINDS, MEMBER
from ledger.envelope import encode
from ledger.examples import AGGREGATE, COMMUNITY, NOW, envelope_of, example_of
from services.docs.command_examples import EXAMPLE_POSITION, CommandExample, command_examples
from services.docs.problem_examples import PROBLEM_EXAMPLES
from services.docs.query_examples import STATEMENT
from services.docs.schema_examples import SchemaExamples
from services.http import problems
from services.http.parameters import MEMBER_ID, etag, operation_id
from services.http.resources import VIEWS, view_of
from services.query.representations import WRITERS, rows_of

CONDITION_HEADER: Final = "If-None-Match"
EXAMPLES_PREFIX: Final = "#/components/examples/"
BATCH: Final = "batch"
UUID_SCHEMA: Final = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.UUID)
MEMBER_ID_SCHEMA: Final = Schema(type=OpenAPIType.STRING, pattern=MEMBER_ID)
METHODS: Final = ("get", "put", "post", "delete", "patch")
VIEW_FORMS: Final = frozenset(view.__name__ for view in VIEWS.values())
TAGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{kind.plural: kind.about or "" for kind in KINDS.values()},
        "community": "The community as a whole: its balances, totals and policy.",
        "batch": "Many commands in one request.",
        "events": "Everything that was recorded, in the order of the log.",
        "entries": "Why the books say what they say.",
    }
)

STREAM: Final = "text/event-stream"
MEDIA_EXAMPLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{form: write(rows_of(STATEMENT, "oldest", is_first=True)).decode() for form, write in WRITERS.items()},
        STREAM: f"id: {EXAMPLE_POSITION}\nevent: favour.thanked\n"
        f"data: {encode(envelope_of(example_of(EVENTS['favour.thanked']))).decode()}\n\n",
    }
)
"""Examples of media types other than JSON; of a stream, its first event."""


class Header(Struct, frozen=True, kw_only=True):
    """A header of answers. `always`: whatever answer may bear it does, unless it is a stream."""

    says: str
    example: str
    borne: Callable[[Operation, int, OpenAPIResponse], bool]
    always: bool = True
    of_streams: bool = True


HEADERS: Final[Mapping[str, Header]] = MappingProxyType(
    {
        "Ledger-Position": Header(
            says="The position of the log that the answer shows, or that the command was recorded at. Name it as "
            "`min_position` to read your own write. Absent, when nothing was recorded.",
            example=str(EXAMPLE_POSITION),
            borne=lambda _, status, __: status < 400,
            always=False,
        ),
        "ETag": Header(
            says="The version of a resource, for `If-Match`; of what has none, what its bytes are known by.",
            example=etag(1),
            borne=lambda operation, status, answer: (
                status < 400 and (is_read(operation) or not VIEW_FORMS.isdisjoint(schema_names(answer)))
            ),
            of_streams=False,
        ),
        "Link": Header(
            says='Where the next page is, if there is one: `rel="next"` (RFC 8288).',
            example=f'</v1/communities/{COMMUNITY}/members/ada/statement?cursor=WzJd>; rel="next"',
            borne=lambda _, status, answer: status < 300 and "text/csv" in (answer.content or {}),
            always=False,
        ),
        "Location": Header(
            says="Where the new resource is.",
            example=f"/v1/communities/{COMMUNITY}/favours/{AGGREGATE}",
            borne=lambda _, status, __: status == HTTPStatus.CREATED,
        ),
        "Idempotent-Replayed": Header(
            says="`true`, when this very command was carried out before: the answer is that of the first time.",
            example="true",
            borne=lambda operation, status, _: status < 300 and "Idempotency-Key" in parameter_names(operation),
            always=False,
        ),
        "Retry-After": Header(
            says="How many seconds to wait before trying again.",
            example=str(problems.RETRY_AFTER_S),
            borne=lambda _, status, __: "Retry-After" in problems.HEADERS.get(status, {}),
        ),
        "WWW-Authenticate": Header(
            says="How to say who you are.",
            example="Bearer",
            borne=lambda _, status, __: "WWW-Authenticate" in problems.HEADERS.get(status, {}),
        ),
    }
)


def schema_names(answer: OpenAPIResponse) -> Iterator[str]:
    """The names of the schemas that an answer is of."""
    for media in (answer.content or {}).values():
        if isinstance(media.schema, Reference):
            yield media.schema.ref.rpartition("/")[2]


def is_read(operation: Operation) -> bool:
    return CONDITION_HEADER in parameter_names(operation)


def parameter_names(operation: Operation) -> set[str]:
    return {parameter.name for parameter in operation.parameters or () if isinstance(parameter, Parameter)}


def make_conditional(read: Operation) -> None:
    """What `services.http.conditional` does for every read."""
    read.parameters = [
        *(read.parameters or []),
        Parameter(
            name=CONDITION_HEADER,
            param_in=ParamType.HEADER,
            description="The ETag of the answer you have: while it is still the same, it is not sent again.",
            schema=Schema(type=OpenAPIType.STRING),
            required=False,
        ),
    ]
    read.responses = {**(read.responses or {}), "304": OpenAPIResponse(description="What you have is still the same.")}


def complete_document(app: Litestar, told: Iterable[Struct]) -> None:
    """Complete the document of the application. `told` are examples of forms that it has."""
    document = app.openapi_schema
    components = document.components
    sampling = SchemaExamples(
        schemas_of(components), {**views(), **{type(one).__name__: to_json_value(one) for one in told}}
    )
    by_operation = {operation_id(verb, kind): exchange for (kind, verb), exchange in examples_by_operation()}
    components.examples = {
        code: Example(summary=problem["title"], value=problem) for code, problem in sorted(PROBLEM_EXAMPLES.items())
    }
    operations = list(operations_of(document))
    for item in (document.paths or {}).values():
        if item.get is not None:
            make_conditional(item.get)
    for operation in operations:
        complete_operation(operation, sampling, by_operation.get(operation.operation_id or ""))
    document.tags = [
        Tag(name=name, description=cleandoc(TAGS[name]))
        for name in sorted({tag for operation in operations for tag in operation.tags or ()})
        if name in TAGS
    ]


def examples_by_operation() -> Iterator[tuple[tuple[str, str], CommandExample]]:
    for name, exchange in command_examples().items():
        kind, _, verb = name.partition(".")
        yield (kind, verb), exchange


def views() -> dict[str, Any]:
    """Of every kind one as a service sees it, right after it has begun."""
    begun = (exchange.held for exchange in command_examples().values() if exchange.held.version == 1)
    return {VIEWS[held.kind].__name__: to_json_value(view_of(held, None, NOW)) for held in reversed([*begun])}


def to_json_value(value: Any) -> Any:
    """As JSON has it."""
    return msgspec.to_builtins(value, str_keys=True)


def schemas_of(components: Components) -> dict[str, dict[str, Any]]:
    """The named schemas. Descriptions are docstrings, so their indentation is Python's."""
    made: dict[str, Any] = components.to_schema()["schemas"]
    for schema in made.values():
        if "description" in schema:
            schema["description"] = cleandoc(schema["description"])
    components.schemas = made
    return made


def operations_of(document: OpenAPI) -> Iterator[Operation]:
    for item in (document.paths or {}).values():
        for method in METHODS:
            if (operation := getattr(item, method)) is not None:
                yield operation


def complete_operation(operation: Operation, sampling: SchemaExamples, exchange: CommandExample | None) -> None:
    if operation.description:
        operation.description = cleandoc(operation.description)
        if not (operation.summary or "").endswith("."):  # Litestar's own: the name of the function.
            operation.summary = operation.description.partition("\n")[0]
    for parameter in operation.parameters or ():
        if isinstance(parameter, Parameter):
            of_member = operation.tags == [MEMBER.plural] and parameter.name == "id"
            if parameter.name == "id" and isinstance(parameter.schema, Schema):
                parameter.schema = MEMBER_ID_SCHEMA if of_member else UUID_SCHEMA
            complete_parameter(parameter, sampling, "member" if of_member else parameter.name)
    if operation.request_body is not None and not isinstance(operation.request_body, Reference):
        for media in operation.request_body.content.values():
            add_example(media, sampling, to_json_value(exchange.command) if exchange else batch_example(operation))
    for code, answer in sorted((operation.responses or {}).items()):
        if isinstance(answer, OpenAPIResponse):
            complete_response(
                operation, int(code), answer, sampling, to_json_value(exchange.view) if exchange else None
            )


def batch_example(operation: Operation) -> Any:
    """Return the body of an example batch; None for other operations."""
    if operation.operation_id != BATCH:
        return None
    command = to_json_value(command_examples()["favour.record"].command)
    return [{"op": "favour.record", "body": command, "idempotency_key": "a-key-of-the-caller"}]


def complete_parameter(parameter: Parameter, sampling: SchemaExamples, name: str) -> None:
    """One that may be left out cannot be null: in an address or a header there is no such thing."""
    schema = parameter.schema
    if isinstance(schema, Schema) and schema.one_of:
        schema = next(one for one in schema.one_of if isinstance(one, Schema) and one.type is not OpenAPIType.NULL)
        parameter.schema = schema
    if parameter.example is None and schema is not None:
        parameter.example = sampling.of(schema.to_schema(), name)


def complete_response(
    operation: Operation, status: int, answer: OpenAPIResponse, sampling: SchemaExamples, example: Any
) -> None:
    answer.headers = (answer.headers or {}) | {
        name: OpenAPIHeader(
            description=header.says,
            required=header.always and (header.of_streams or STREAM not in (answer.content or {})),
            schema=Schema(type=OpenAPIType.STRING),
            example=header.example,
        )
        for name, header in HEADERS.items()
        if header.borne(operation, status, answer)
    }
    for media_type, media in (answer.content or {}).items():
        if media_type == problems.MEDIA_TYPE:
            codes = answer.description.split(", ")
            media.examples = {code: Reference(ref=EXAMPLES_PREFIX + code) for code in codes}
        else:
            add_example(media, sampling, MEDIA_EXAMPLES.get(media_type, example))


def add_example(media: OpenAPIMediaType, sampling: SchemaExamples, example: Any) -> None:
    """One example, unless the route has brought its own."""
    if media.examples is None and media.schema is not None:
        value = example if example is not None else sampling.of(media.schema.to_schema())
        media.examples = {"example": Example(value=value)}
