"""One API key guards everything of a community; without one, nobody outside this machine is answered."""

import hmac
import ipaddress
from collections.abc import Callable
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from ledger.runtime.settings import Settings, SettingsError
from services.http.problems import Unauthorized

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], None]
OPEN_PATHS: Final = ("/livez", "/readyz", "/metrics", "/openapi.json", "/docs")  # Nothing of a community.


def guard(settings: Settings) -> Guard:
    """Let in who knows the key."""
    key = settings.api_key.encode() if settings.api_key else None

    def guarded(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if key is None or connection.scope["path"].startswith(OPEN_PATHS):
            return
        scheme, given = [*connection.headers.get("authorization", "").split(None, 1), "", ""][:2]
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), key):
            raise Unauthorized

    return guarded


def require_loopback_or_key(settings: Settings) -> None:
    """Raises: SettingsError, when everybody could write to the ledger."""
    if settings.api_key is None and not is_loopback(settings.host):
        raise SettingsError(
            f"LEDGER_API_KEY is not set, so only loopback addresses are served, and LEDGER_HOST is {settings.host}"
        )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
