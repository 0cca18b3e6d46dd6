"""The ETag of a body, for responses whose ETag depends on the body alone."""

from typing import Any

from services.http.conditional import conditional


async def etag_of(body: bytes) -> str:
    """Return the ETag of a read whose ETag depends on this body alone."""
    sent: list[Any] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def receive() -> Any:
        raise AssertionError("a read has no body")

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"type": "http", "method": "GET", "path": "/v1/", "headers": []}
    await conditional(app)(scope, receive, send)
    headers: dict[bytes, bytes] = dict(sent[0]["headers"])
    return headers[b"etag"].decode()
