"""A caller of the HTTP API, and functions that start the application for a test."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import httpx

from ledger.runtime.settings import Settings
from services.app import ServicePart, application, utc_now
from services.http.parameters import Now
from services.http.problems import MEDIA_TYPE
from tests.polling import wait_until

BASE_URL: Final = "http://127.0.0.1"
FACTS_OF_EVERY_PROBLEM: Final = ("type", "title", "status", "code", "retryable", "detail")


class Clock:
    """The ledger's clock: real time plus `ahead`. The log keeps recording in real time."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


@asynccontextmanager
async def started(part: ServicePart, settings: Settings, now: Now = utc_now) -> AsyncGenerator[httpx.AsyncClient]:
    """Run the application from start to end, whether or not Postgres and NATS respond."""
    app = application(part, settings, now=now).asgi
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]  # Litestar has its own type for this callable.
    headers = {"Content-Type": "application/json"}  # Also for a body that is not JSON.
    async with (
        app.lifespan(),
        httpx.AsyncClient(transport=transport, base_url=BASE_URL, timeout=60, headers=headers) as client,
    ):
        yield client


@asynccontextmanager
async def serving(part: ServicePart, settings: Settings, now: Now = utc_now) -> AsyncGenerator[httpx.AsyncClient]:
    """Run the application, and yield a client once the application is ready."""
    async with started(part, settings, now) as client:

        async def ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await wait_until(ready)
        yield client


@dataclass(frozen=True)
class Caller:
    """Sends requests in the name of one community."""

    client: httpx.AsyncClient
    community: str = "acme"

    def elsewhere(self) -> "Caller":
        """Return a caller for a new community."""
        return Caller(self.client, f"community-{uuid4().hex}"[:40])

    def path(self, path: str) -> str:
        return f"/v1/communities/{self.community}{path}"

    async def post(
        self, path: str, body: object, *, key: str | None = None, if_match: str | None = None
    ) -> httpx.Response:
        headers = {"Idempotency-Key": key, "If-Match": if_match}
        said = {name: value for name, value in headers.items() if value is not None}
        return await self.client.post(self.path(path), json=body, headers=said)

    async def get(self, path: str, **query: str | int) -> httpx.Response:
        return await self.client.get(self.path(path), params=query)

    async def recorded(self, path: str, body: object, *, key: str | None = None) -> dict[str, Any]:
        """Execute a command that must succeed. Return the resource after it."""
        answer = await self.post(path, body, key=key)
        assert answer.status_code in {200, 201}, answer.text
        view: dict[str, Any] = answer.json()
        return view


def problem_in(answer: httpx.Response) -> dict[str, Any]:
    """Return the problem in a response, after a check of its form."""
    assert answer.headers["content-type"] == MEDIA_TYPE, f"{answer.status_code} {answer.text}"
    problem: dict[str, Any] = answer.json()
    assert [fact for fact in FACTS_OF_EVERY_PROBLEM if fact not in problem] == []
    assert problem["status"] == answer.status_code
    assert problem["type"] == f"urn:referral-ledger:problem:{problem['code']}"
    assert isinstance(problem["retryable"], bool)
    assert problem["title"]
    assert problem["detail"].startswith(problem["title"])
    return problem


def refused(answer: httpx.Response, status: int, code: str, **facts: object) -> None:
    """Assert that the response is this problem, with at least these facts."""
    problem = problem_in(answer)
    assert (answer.status_code, problem["code"]) == (status, code), problem["detail"]
    assert_facts(problem, facts)


def assert_facts(problem: Mapping[str, Any], facts: Mapping[str, object]) -> None:
    assert {name: problem.get(name) for name in facts} == dict(facts), problem["detail"]
