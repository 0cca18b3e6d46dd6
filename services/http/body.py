"""Request bodies: read strictly, as what they say they are, and documented from the same types."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from litestar import Litestar, Request
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, Operation, Reference, RequestBody

from services.http.problems import InvalidField, MalformedJson, NotJson

MEDIA_TYPE: Final = "application/json"
SCHEMAS: Final = "#/components/schemas/{name}"

T = TypeVar("T")


async def read_body(request: Request[Any, Any, Any]) -> bytes:
    """Raises: NotJson. A browser's form must not write: it would need nobody's consent to be sent."""
    media_type, _ = request.content_type
    if media_type != MEDIA_TYPE:
        raise NotJson(content_type=media_type)
    return await request.body()


def decode_body(decode: Callable[[bytes | msgspec.Raw], T], body: bytes | msgspec.Raw) -> T:
    """Raises: MalformedJson; InvalidField, naming the field, or `body` itself."""
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        _, named, field = reason.partition(" field `")  # A missing or an unknown one is in the reason.
        where = field.rstrip("`") if named else path.rstrip("`").lstrip(".")
        raise InvalidField(field=where or "body", source="body", reason=reason) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedJson(reason=str(error) if bytes(body) else "a JSON body is required") from None


def success_response(status: int, form: type[msgspec.Struct]) -> dict[int, ResponseSpec]:
    """Return the documentation of a success, for a handler that is made for several forms."""
    description = HTTPStatus(status).description
    return {status: ResponseSpec(form, description=description, media_type=MEDIA_TYPE, generate_examples=False)}


@cache
def operation_with_body(form: type[msgspec.Struct]) -> type[Operation]:
    """The operation class of a route whose body is of this form."""

    @dataclass
    class WithBody(Operation):
        def __post_init__(self) -> None:
            schema = Reference(ref=SCHEMAS.format(name=form.__name__))
            self.request_body = RequestBody(content={MEDIA_TYPE: OpenAPIMediaType(schema=schema)}, required=True)

    return WithBody


def add_body_schemas(app: Litestar, forms: Iterable[type[msgspec.Struct]]) -> None:
    """Add the schemas of the bodies to the document; they are msgspec's own, which read the bodies too."""
    _, components = msgspec.json.schema_components(forms, ref_template=SCHEMAS)
    app.openapi_schema.components.schemas.update(components)
