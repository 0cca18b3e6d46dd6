"""`/openapi.json` and `/docs`. The pages work offline, because their files come from a package."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final

from litestar import Litestar, Request, get
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import Components, License, SecurityScheme
from litestar.static_files import create_static_files_router  # pyright: ignore[reportUnknownVariableType]

ASSETS: Final = "/docs-assets"
VERSION: Final = "0.1.0"
DESCRIPTION: Final = """Every error is an `application/problem+json` document (RFC 9457). Branch on its `code`. If it is
`retryable`, send the same request again. Repeating a command with its `Idempotency-Key` is always harmless.
`/asyncapi.json` describes the events.
"""


class ApiDocument:
    """The OpenAPI document of an application: Litestar's, completed by `complete`.

    It is made once, when it is first read. That takes half a second, so `serve` reads it before it accepts requests.
    """

    def __init__(self, complete: Callable[[Litestar], None]) -> None:
        self._complete = complete
        self._made: dict[str, Any] | None = None

    def of(self, app: Litestar) -> dict[str, Any]:
        if self._made is None:
            self._complete(app)
            self._made = app.openapi_schema.to_schema()
        return self._made


class Swagger(SwaggerRenderPlugin):
    """Swagger UI of the completed document."""

    def __init__(self, document: ApiDocument, **options: Any) -> None:
        super().__init__(**options)
        self._document = document

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, self._document.of(request.app))


def openapi_config(title: str, document: ApiDocument) -> OpenAPIConfig:
    return OpenAPIConfig(
        title=title,
        version=VERSION,
        summary="Favours, referrals and introductions in a community, and the balance of every member.",
        description=DESCRIPTION,
        license=License(name="Apache License 2.0", identifier="Apache-2.0"),
        use_handler_docstrings=True,
        security=[{"key": []}],
        components=Components(security_schemes={"key": SecurityScheme(type="http", scheme="bearer")}),
        path="/docs",
        render_plugins=[
            Swagger(
                document,
                path="/",
                js_url=f"{ASSETS}/swagger-ui-bundle.js",
                css_url=f"{ASSETS}/swagger-ui.css",
                standalone_preset_js_url=f"{ASSETS}/swagger-ui-standalone-preset.js",
                favicon=f'<link rel="icon" href="{ASSETS}/favicon-32x32.png">',
            ),
        ],
    )


def document_routes(document: ApiDocument) -> list[Any]:
    """Return the routes of the document and of Swagger UI's own files."""

    @get("/openapi.json", include_in_schema=False, sync_to_thread=False)
    def openapi_json(request: Request[Any, Any, Any]) -> dict[str, Any]:
        return document.of(request.app)

    folder = files("swagger_ui") / "static"
    return [openapi_json, create_static_files_router(path=ASSETS, directories=[str(folder)], include_in_schema=False)]
