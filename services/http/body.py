"""Request bodies: read strictly, as what they say they are, and documented from the same types."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
from litestar import Litestar, Request
from litestar.openapi.spec import OpenAPIMediaType, Operation, Reference, RequestBody

from services.http.problems import InvalidField, MalformedJson, NotJson

MEDIA_TYPE: Final = "application/json"
SCHEMAS: Final = "#/components/schemas/{name}"

T = TypeVar("T")


async def body_of(request: Request[Any, Any, Any]) -> bytes:
    """Raises: NotJson. A browser's form must not write: it would need nobody's consent to be sent."""
    media_type, _ = request.content_type
    if media_type != MEDIA_TYPE:
        raise NotJson(content_type=media_type)
    return await request.body()


def decoded(decode: Callable[[bytes | msgspec.Raw], T], body: bytes | msgspec.Raw) -> T:
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


def documenting(form: type[msgspec.Struct]) -> type[Operation]:
    """The operation class of a route whose body is of this form."""

    @dataclass
    class WithBody(Operation):
        def __post_init__(self) -> None:
            schema = Reference(ref=SCHEMAS.format(name=form.__name__))
            self.request_body = RequestBody(content={MEDIA_TYPE: OpenAPIMediaType(schema=schema)}, required=True)

    return WithBody


def document_bodies(app: Litestar, forms: Iterable[type[msgspec.Struct]]) -> None:
    """Add the schemas of the bodies to the document; they are msgspec's own, which read the bodies too."""
    _, components = msgspec.json.schema_components(forms, ref_template=SCHEMAS)
    app.openapi_schema.components.schemas.update(components)
