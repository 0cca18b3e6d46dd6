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
from litestar.openapi.spec.enums import OpenAPIType
from msgspec import Struct

from ledger.domain.catalog.kinds import EVENTS, KINDS, MEMBER
from ledger.envelope import encode
from ledger.examples import AGGREGATE, COMMUNITY, NOW, envelope_of, example_of
from services.http import problems
from services.http.conventions import etag, operation_id
from services.http.exchanges import POSITION, Exchange, exchanges
from services.http.problem_examples import BY_CODE
from services.http.sampling import Sampling
from services.http.views import VIEWS, view_of

CONDITION: Final = "If-None-Match"
SHOWN: Final = "#/components/examples/"
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

STREAMED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "text/event-stream": f"id: {POSITION}\nevent: favour.thanked\n"
        f"data: {encode(envelope_of(example_of(EVENTS['favour.thanked']))).decode()}\n\n",
    }
)
"""Of what is no JSON and comes piece by piece, the first piece."""


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
            example=str(POSITION),
            borne=lambda _, status, __: status < 400,
            always=False,
        ),
        "ETag": Header(
            says="The version of a resource, for `If-Match`; of what has none, what its bytes are known by.",
            example=etag(1),
            borne=lambda operation, status, answer: (
                status < 400 and (is_read(operation) or not VIEW_FORMS.isdisjoint(forms_of(answer)))
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
            borne=lambda operation, status, _: status < 300 and "Idempotency-Key" in names_of(operation),
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


def forms_of(answer: OpenAPIResponse) -> Iterator[str]:
    """The names of the schemas that an answer is of."""
    for media in (answer.content or {}).values():
        if isinstance(media.schema, Reference):
            yield media.schema.ref.rpartition("/")[2]


def is_read(operation: Operation) -> bool:
    return CONDITION in names_of(operation)


def names_of(operation: Operation) -> set[str]:
    return {parameter.name for parameter in operation.parameters or () if isinstance(parameter, Parameter)}


def make_conditional(read: Operation) -> None:
    """What `services.http.conditional` does for every read."""
    read.parameters = [
        *(read.parameters or []),
        Parameter(
            name=CONDITION,
            param_in=ParamType.HEADER,
            description="The ETag of the answer you have: while it is still the same, it is not sent again.",
            schema=Schema(type=OpenAPIType.STRING),
            required=False,
        ),
    ]
    read.responses = {**(read.responses or {}), "304": OpenAPIResponse(description="What you have is still the same.")}


def complete(app: Litestar, told: Iterable[Struct]) -> None:
    """Complete the document of the application. `told` are examples of forms that it has."""
    document = app.openapi_schema
    components = document.components
    sampling = Sampling(schemas_of(components), {**views(), **{type(one).__name__: plain(one) for one in told}})
    by_operation = {operation_id(verb, kind): exchange for (kind, verb), exchange in by_name()}
    components.examples = {
        code: Example(summary=problem["title"], value=problem) for code, problem in sorted(BY_CODE.items())
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


def by_name() -> Iterator[tuple[tuple[str, str], Exchange]]:
    for name, exchange in exchanges().items():
        kind, _, verb = name.partition(".")
        yield (kind, verb), exchange


def views() -> dict[str, Any]:
    """Of every kind one as a service sees it, right after it has begun."""
    begun = (exchange.held for exchange in exchanges().values() if exchange.held.version == 1)
    return {VIEWS[held.kind].__name__: plain(view_of(held, None, NOW)) for held in reversed([*begun])}


def plain(value: Any) -> Any:
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


def complete_operation(operation: Operation, sampling: Sampling, exchange: Exchange | None) -> None:
    if operation.description:
        operation.description = cleandoc(operation.description)
        if not (operation.summary or "").endswith("."):  # Litestar's own: the name of the function.
            operation.summary = operation.description.partition("\n")[0]
    for parameter in operation.parameters or ():
        if isinstance(parameter, Parameter):
            of_member = operation.tags == [MEMBER.plural] and parameter.name == "id"
            complete_parameter(parameter, sampling, "member" if of_member else parameter.name)
    if operation.request_body is not None and not isinstance(operation.request_body, Reference):
        for media in operation.request_body.content.values():
            exemplify(media, sampling, plain(exchange.command) if exchange else None)
    for code, answer in sorted((operation.responses or {}).items()):
        if isinstance(answer, OpenAPIResponse):
            complete_answer(operation, int(code), answer, sampling, plain(exchange.view) if exchange else None)


def complete_parameter(parameter: Parameter, sampling: Sampling, name: str) -> None:
    """One that may be left out cannot be null: in an address or a header there is no such thing."""
    schema = parameter.schema
    if isinstance(schema, Schema) and schema.one_of:
        schema = next(one for one in schema.one_of if isinstance(one, Schema) and one.type is not OpenAPIType.NULL)
        parameter.schema = schema
    if parameter.example is None and schema is not None:
        parameter.example = sampling.of(schema.to_schema(), name)


def complete_answer(
    operation: Operation, status: int, answer: OpenAPIResponse, sampling: Sampling, example: Any
) -> None:
    answer.headers = (answer.headers or {}) | {
        name: OpenAPIHeader(
            description=header.says,
            required=header.always and (header.of_streams or STREAMED.keys().isdisjoint(answer.content or {})),
            schema=Schema(type=OpenAPIType.STRING),
            example=header.example,
        )
        for name, header in HEADERS.items()
        if header.borne(operation, status, answer)
    }
    for media_type, media in (answer.content or {}).items():
        if media_type == problems.MEDIA_TYPE:
            codes = answer.description.split(", ")
            media.examples = {code: Reference(ref=SHOWN + code) for code in codes}
        else:
            exemplify(media, sampling, STREAMED.get(media_type, example))


def exemplify(media: OpenAPIMediaType, sampling: Sampling, example: Any) -> None:
    """One example, unless the route has brought its own."""
    if media.examples is None and media.schema is not None:
        value = example if example is not None else sampling.of(media.schema.to_schema())
        media.examples = {"example": Example(value=value)}
