"""A bad request: the request, and the problem that the service must return."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import httpx

from tests.services.caller import Caller
from tests.services.lifecycles import FAVOUR, by

UNKNOWN_ID: Final = "0198c0de-0000-7000-8000-00000000ffff"
NESTING: Final = 100_000
THANKED: Final = FAVOUR | by("bob")


@dataclass(frozen=True)
class BadRequest:
    """A request, and the status, code and facts of the problem that the service must return.

    `content` is sent unchanged; without it, `body` is sent as JSON. `path` is below the community or absolute.
    """

    name: str
    status: int
    code: str
    path: str
    facts: Mapping[str, object] = field(default_factory=dict[str, object])
    body: object = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    method: str = "POST"

    async def send(self, caller: Caller) -> httpx.Response:
        content = self.content if self.content is not None or self.method == "GET" else json.dumps(self.body).encode()
        headers = {"Content-Type": "application/json", **self.headers}
        path = self.path if self.path.startswith("/v1/") else caller.path(self.path)
        return await caller.client.request(self.method, path, content=content, headers=headers)


def new_key(**more: str) -> dict[str, str]:
    """Return headers with a new idempotency key."""
    return {"Idempotency-Key": uuid4().hex, **more}


def bad_favour(name: str, status: int, code: str, named: str | None = None, **changes: object) -> BadRequest:
    """Return a thanks with some fields changed, or left out (`...`). `named` is the bad field."""
    body = {key: value for key, value in (THANKED | changes).items() if value is not ...}
    return BadRequest(name, status, code, "/favours", {"field": named} if named else {}, body, headers=new_key())


def bad_body(name: str, code: str, content: bytes) -> BadRequest:
    """Return a favour whose body is not a JSON object."""
    facts = {"field": "body", "source": "body"} if code == "invalid_field" else {}
    return BadRequest(name, 400, code, "/favours", facts, content=content, headers=new_key())


def bad_read(
    name: str, path: str, facts: Mapping[str, object], status: int = 400, code: str = "invalid_field"
) -> BadRequest:
    return BadRequest(name, status, code, path, facts, method="GET")


def bad_query(name: str, path: str, named: str) -> BadRequest:
    return bad_read(name, path, {"field": named, "source": "query"})
