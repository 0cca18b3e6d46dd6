"""Conditional reads: an answer that is what the caller has already is not sent again (RFC 9110, `If-None-Match`)."""

from hashlib import blake2b
from typing import Any, Final

from litestar.datastructures import Headers
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

TAG_BYTES: Final = 12
PREFIX: Final = "/v1/"
HEADERS_OF_304: Final = frozenset(
    {b"ledger-position", b"etag", b"vary", b"link"}
)  # What a 304 says of the answer it stands for.


def conditional(app: ASGIApp) -> ASGIApp:
    """ASGI middleware. A read that has no ETag of its own gets one of its bytes: it changes when they do.

    An answer in several parts is a stream, and passes as it is.
    """

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] != "GET" or not scope["path"].startswith(PREFIX):
            await app(scope, receive, send)
            return
        begun: list[Message] = []

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                begun.append(message)
                return
            if begun:
                start: Any = begun.pop()
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    start, message = with_etag(scope, start, message)
                await send(start)
            await send(message)

        await app(scope, receive, sent)

    return answered


def with_etag(scope: Scope, start: Any, body: Any) -> tuple[Any, Any]:
    """The answer with its ETag, or, when the caller has it already, that it is still the same."""
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
    """By the weak comparison of RFC 9110, as it asks for here."""
    if if_none_match is None:
        return False
    named = [name.strip().removeprefix("W/") for name in if_none_match.split(",")]
    return "*" in named or tag in named
