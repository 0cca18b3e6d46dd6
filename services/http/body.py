"""Request bodies: strict decoding, and schemas from the same types."""

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
    """Return the body.

    Raises: NotJson, for another media type. So a cross-site form cannot write: browsers send no JSON from forms.
    """
    media_type, _ = request.content_type
    if media_type != MEDIA_TYPE:
        raise NotJson(content_type=media_type)
    return await request.body()


def decode_body(decode: Callable[[bytes | msgspec.Raw], T], body: bytes | msgspec.Raw) -> T:
    """Decode a body.

    Raises: MalformedJson; InvalidField, with the path of the field, or `body` for the body itself.
    """
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        _, separator, name = reason.partition(" field `")  # The reason names a field that is missing or unknown.
        field = (name if separator else path.lstrip(".")).rstrip("`")
        raise InvalidField(field=field or "body", source="body", reason=reason) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedJson(reason=str(error) if bytes(body) else "a JSON body is required") from None


def success_response(status: int, body: type[msgspec.Struct]) -> dict[int, ResponseSpec]:
    """Return the documented success of a route whose handler serves several types of body."""
    description = HTTPStatus(status).description
    return {status: ResponseSpec(body, description=description, media_type=MEDIA_TYPE, generate_examples=False)}


@cache
def operation_with_body(body: type[msgspec.Struct]) -> type[Operation]:
    """Return the operation class of a route that takes a body of this type."""

    @dataclass
    class WithBody(Operation):
        def __post_init__(self) -> None:
            schema = Reference(ref=SCHEMAS.format(name=body.__name__))
            self.request_body = RequestBody(content={MEDIA_TYPE: OpenAPIMediaType(schema=schema)}, required=True)

    return WithBody


def add_body_schemas(app: Litestar, bodies: Iterable[type[msgspec.Struct]]) -> None:
    """Add the schemas of the bodies to the document. msgspec generates them from the types that it decodes."""
    _, components = msgspec.json.schema_components(bodies, ref_template=SCHEMAS)
    app.openapi_schema.components.schemas.update(components)
