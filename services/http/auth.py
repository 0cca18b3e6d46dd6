"""A key lets in, and some may do more than others; without keys, nobody outside this machine is answered."""

import hmac
import ipaddress
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from ledger.runtime.settings import Settings, SettingsError
from services.http.problems import NotAModerator, Unauthorized

RouteGuard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], None]
Scope = Literal["moderate", "confidential"]
KEY_SCOPES: Final[Mapping[str, frozenset[Scope]]] = MappingProxyType(
    {
        "api_key": frozenset[Scope](),
        "moderator_key": frozenset[Scope]({"moderate"}),
        "confidential_key": frozenset[Scope]({"confidential"}),
    }
)
"""The keys, by the setting that holds them, and what each may do beyond what all of them may."""
ALL_SCOPES: Final = frozenset[Scope](get_args(Scope))
OPEN_PATHS: Final = (
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/asyncapi.json",
    "/docs",
)  # Nothing of a community.
SCOPE: Final = "scope"
"""The key of a route's `opt` that names the scope it needs."""


def authentication(settings: Settings) -> RouteGuard:
    """Let in who knows a key, and remember in the request's state what it may do."""
    keys = {key.encode(): scopes for name, scopes in KEY_SCOPES.items() if (key := getattr(settings, name)) is not None}

    def guarded(connection: ASGIConnection[Any, Any, Any, Any], route: BaseRouteHandler) -> None:
        if connection.scope["path"].startswith(OPEN_PATHS):
            return
        connection.state.scopes = scopes_of(bearer_token(connection), keys) if keys else ALL_SCOPES
        require_scope(connection, route.opt.get(SCOPE))

    return guarded


def scopes_of(given: bytes, keys: Mapping[bytes, frozenset[Scope]]) -> frozenset[Scope]:
    """What this key may do. Every key is compared, so that the time it takes tells nothing.

    Raises: Unauthorized, when it is none.
    """
    found = [scopes for key, scopes in keys.items() if hmac.compare_digest(given, key)]
    if not found:
        raise Unauthorized
    return found[0]


def bearer_token(connection: ASGIConnection[Any, Any, Any, Any]) -> bytes:
    """Raises: Unauthorized, when there is none."""
    scheme, given = [*connection.headers.get("authorization", "").split(None, 1), "", ""][:2]
    if scheme.lower() != "bearer":
        raise Unauthorized
    return given.strip().encode()


def has_scope(connection: ASGIConnection[Any, Any, Any, Any], scope: Scope) -> bool:
    return scope in connection.state.scopes


def require_scope(connection: ASGIConnection[Any, Any, Any, Any], scope: Scope | None) -> None:
    """Check that the key of the request has the scope, if one is needed.

    Raises: NotAModerator.
    """
    if scope is not None and not has_scope(connection, scope):
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
