"""`/openapi.json` and `/docs`. The page works offline: its files come from a package.

The document is written when it is first asked for: that takes half a second, and whoever serves it may ask beforehand.
"""

from importlib.resources import files
from typing import Any, Final

from litestar import Litestar, Request, get
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import Components, License, SecurityScheme
from litestar.static_files import create_static_files_router  # pyright: ignore[reportUnknownVariableType]

ASSETS: Final = "/docs-assets"
VERSION: Final = "0.1.0"
ABOUT: Final = """What goes wrong is answered as `application/problem+json` (RFC 9457): branch on `code`; what is
`retryable` may be sent again as it is. Repeating a command with its `Idempotency-Key` is harmless, for ever. The events
behind it all are described by `/asyncapi.json`.
"""


class Swagger(SwaggerRenderPlugin):
    """Swagger UI of the completed document."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, document_of(request.app))


def openapi(title: str) -> OpenAPIConfig:
    return OpenAPIConfig(
        title=title,
        version=VERSION,
        summary="What members of a community have given and received, and how we know.",
        description=ABOUT,
        license=License(name="Apache License 2.0", identifier="Apache-2.0"),
        use_handler_docstrings=True,
        security=[{"key": []}],
        components=Components(security_schemes={"key": SecurityScheme(type="http", scheme="bearer")}),
        path="/docs",
        render_plugins=[
            Swagger(
                path="/",
                js_url=f"{ASSETS}/swagger-ui-bundle.js",
                css_url=f"{ASSETS}/swagger-ui.css",
                standalone_preset_js_url=f"{ASSETS}/swagger-ui-standalone-preset.js",
                favicon=f'<link rel="icon" href="{ASSETS}/favicon-32x32.png">',
            ),
        ],
    )


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi_json(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return document_of(request.app)


def document_of(app: Litestar) -> dict[str, Any]:
    """The document of the application, complete: `state.complete` adds to Litestar's what routes do not say."""
    if app.state.document is None:
        app.state.complete(app)
        app.state.document = app.openapi_schema.to_schema()
    document: dict[str, Any] = app.state.document
    return document


def assets() -> Any:
    """Swagger UI's own files."""
    folder = files("swagger_ui") / "static"
    return create_static_files_router(path=ASSETS, directories=[str(folder)], include_in_schema=False)
