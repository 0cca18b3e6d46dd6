"""Conditional reads (RFC 9110, `If-None-Match`): a response that the caller already has is not sent again."""

from hashlib import blake2b
from typing import Any, Final

from litestar.datastructures import Headers
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

TAG_BYTES: Final = 12
PREFIX: Final = "/v1/"
HEADERS_OF_304: Final = frozenset(
    {b"ledger-position", b"etag", b"vary", b"link"}
)  # A 304 repeats these headers of the 200 that it replaces.


def conditional(app: ASGIApp) -> ASGIApp:
    """ASGI middleware. A response to a read gets an ETag, a hash of its bytes, if it has none.

    A response in several parts is a stream, and passes unchanged.
    """

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] != "GET" or not scope["path"].startswith(PREFIX):
            await app(scope, receive, send)
            return
        pending_start: list[Message] = []  # The start waits for the body: the ETag depends on it.

        async def send_with_etag(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                pending_start.append(message)
                return
            if pending_start:
                start: Any = pending_start.pop()
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    start, message = with_etag(scope, start, message)
                await send(start)
            await send(message)

        await app(scope, receive, send_with_etag)

    return handle


def with_etag(scope: Scope, start: Any, body: Any) -> tuple[Any, Any]:
    """Return start and body of the response with its ETag, or of a 304 if the caller has that ETag."""
    headers: list[tuple[bytes, bytes]] = list(start["headers"])
    tag = next((value.decode() for name, value in headers if name.lower() == b"etag"), None)
    if tag is None:
        tag = f'"{blake2b(body["body"], digest_size=TAG_BYTES).hexdigest()}"'
        headers.append((b"etag", tag.encode()))
    if not matches(Headers.from_scope(scope).get("if-none-match"), tag):
        return start | {"headers": headers}, body
    kept = [(name, value) for name, value in headers if name.lower() in HEADERS_OF_304]
    return start | {"status": 304, "headers": kept}, body | {"body": b""}


def matches(if_none_match: str | None, tag: str) -> bool:
    """Return whether `If-None-Match` lists the tag, by the weak comparison of RFC 9110."""
    if if_none_match is None:
        return False
    tags = [part.strip().removeprefix("W/") for part in if_none_match.split(",")]
    return "*" in tags or tag in tags
