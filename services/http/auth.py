"""An API key lets in, a moderator's key may judge; without keys, nobody outside this machine is answered."""

import hmac
import ipaddress
from collections.abc import Callable
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from ledger.runtime.settings import Settings, SettingsError
from services.http.problems import NotAModerator, Unauthorized

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], None]
OPEN_PATHS: Final = ("/livez", "/readyz", "/metrics", "/openapi.json", "/docs")  # Nothing of a community.
MODERATED: Final = "moderated"
"""In a route's `opt`: it takes a moderator's key."""


def guard(settings: Settings) -> Guard:
    """Let in who knows a key, and remember in the request's state whether it is a moderator's."""
    key = settings.api_key.encode() if settings.api_key else None
    moderator_key = settings.moderator_key.encode() if settings.moderator_key else None

    def guarded(connection: ASGIConnection[Any, Any, Any, Any], route: BaseRouteHandler) -> None:
        if connection.scope["path"].startswith(OPEN_PATHS):
            return
        connection.state.moderator = key is None
        if key is not None:
            given = bearer_of(connection)
            connection.state.moderator = moderator_key is not None and hmac.compare_digest(given, moderator_key)
            if not connection.state.moderator and not hmac.compare_digest(given, key):
                raise Unauthorized
        if route.opt.get(MODERATED):
            only_moderators(connection)

    return guarded


def bearer_of(connection: ASGIConnection[Any, Any, Any, Any]) -> bytes:
    """Raises: Unauthorized, when there is none."""
    scheme, given = [*connection.headers.get("authorization", "").split(None, 1), "", ""][:2]
    if scheme.lower() != "bearer":
        raise Unauthorized
    return given.strip().encode()


def only_moderators(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    """Raises: NotAModerator."""
    if not connection.state.moderator:
        raise NotAModerator


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
