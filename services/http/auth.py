"""Authentication by API key, and the scopes of each key. Without keys, only loopback addresses are served."""

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
"""The scopes of each key, by the setting that holds the key. Every key may also read and record."""
ALL_SCOPES: Final = frozenset[Scope](get_args(Scope))
OPEN_PATHS: Final = (
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/asyncapi.json",
    "/docs",
)  # These need no key, because they show nothing of a community.
SCOPE: Final = "scope"
"""The key in a route's `opt` for the scope that the route needs."""


def authentication(settings: Settings) -> RouteGuard:
    """Return the guard that requires a valid key and stores its scopes in the request's state.

    Without keys, it grants all scopes to everybody.
    """
    keys = {key.encode(): scopes for name, scopes in KEY_SCOPES.items() if (key := getattr(settings, name)) is not None}

    def authenticate(connection: ASGIConnection[Any, Any, Any, Any], route: BaseRouteHandler) -> None:
        if connection.scope["path"].startswith(OPEN_PATHS):
            return
        connection.state.scopes = scopes_of(bearer_token(connection), keys) if keys else ALL_SCOPES
        require_scope(connection, route.opt.get(SCOPE))

    return authenticate


def scopes_of(token: bytes, keys: Mapping[bytes, frozenset[Scope]]) -> frozenset[Scope]:
    """Return the scopes of a key. The token is compared with every key, so that the time discloses nothing.

    Raises: Unauthorized, if the token is not a key.
    """
    found = [scopes for key, scopes in keys.items() if hmac.compare_digest(token, key)]
    if not found:
        raise Unauthorized
    return found[0]


def bearer_token(connection: ASGIConnection[Any, Any, Any, Any]) -> bytes:
    """Return the token of the `Authorization` header.

    Raises: Unauthorized, if the scheme is not Bearer.
    """
    scheme, token = [*connection.headers.get("authorization", "").split(None, 1), "", ""][:2]
    if scheme.lower() != "bearer":
        raise Unauthorized
    return token.strip().encode()


def has_scope(connection: ASGIConnection[Any, Any, Any, Any], scope: Scope) -> bool:
    return scope in connection.state.scopes


def require_scope(connection: ASGIConnection[Any, Any, Any, Any], scope: Scope | None) -> None:
    """Check that the key of the request has the scope, if one is needed.

    Raises: NotAModerator, if it has not.
    """
    if scope is not None and not has_scope(connection, scope):
        raise NotAModerator


def require_loopback_or_key(settings: Settings) -> None:
    """Check that other machines can reach the ledger only with a key.

    Raises: SettingsError, if there is no API key and the host is not a loopback address.
    """
    if settings.api_key is None and not is_loopback(settings.host):
        raise SettingsError(
            f"LEDGER_API_KEY is not set, so only loopback addresses are served, and LEDGER_HOST is {settings.host}"
        )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
