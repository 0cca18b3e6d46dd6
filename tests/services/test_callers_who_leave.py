"""Callers who go away leave nothing half recorded."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from deploy.embedded.ports import HOST
from ledger.log.event_log import Append
from ledger.log.jetstream import JetStreamLog
from ledger.runtime.settings import Settings
from services.app import application
from tests.polling import wait_until
from tests.services.caller import Caller
from tests.services.lifecycles import CLAIM, CONFIRM
from tests.services.readiness import THANKED


@asynccontextmanager
async def append_held_back(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[tuple[asyncio.Event, asyncio.Event]]:
    """Appends say that they are under way, and wait to be let go."""
    append, under_way, let_go = JetStreamLog.append, asyncio.Event(), asyncio.Event()

    async def held(self: JetStreamLog, events: Sequence[Append]) -> list[int]:
        under_way.set()
        await let_go.wait()
        return await append(self, events)

    monkeypatch.setattr(JetStreamLog, "append", held)
    yield under_way, let_go
    monkeypatch.undo()


@pytest.mark.parametrize("whole", [True, False])
async def test_a_caller_who_goes_away_leaves_nothing_half_recorded(
    ledger: Caller, log: JetStreamLog, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    items = [{"op": "favour.record", "body": THANKED, "idempotency_key": f"key-{number}"} for number in range(10)]
    async with append_held_back(monkeypatch) as (under_way, let_go):
        asked = ledger.post("/batch", items) if whole else ledger.post("/favours", THANKED, key="key-0")
        asking = asyncio.create_task(asked)
        await under_way.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        let_go.set()
        expected = len(items) if whole else 1

        async def all_recorded() -> bool:
            return await log.end() == expected

        await wait_until(all_recorded)
    repeat = await ledger.post("/favours", THANKED, key="key-0")
    assert (repeat.status_code, repeat.headers["idempotent-replayed"]) == (201, "true")
    assert await log.end() == expected


async def test_a_step_asked_for_by_one_who_went_away_is_not_taken_twice(
    ledger: Caller, log: JetStreamLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    favour = await ledger.recorded(CLAIM.path(), CLAIM.body, key="claim")
    async with append_held_back(monkeypatch) as (under_way, let_go):
        asking = asyncio.create_task(ledger.post(CONFIRM.path(favour["id"]), CONFIRM.body))
        await under_way.wait()
        asking.cancel()
        again = asyncio.create_task(ledger.post(CONFIRM.path(favour["id"]), CONFIRM.body))
        let_go.set()
        answer = await again
    assert (answer.status_code, answer.json()["version"]) == (200, 2)
    assert await log.end() == 2


async def test_a_body_that_never_ends_well_is_no_mistake_of_the_ledger(settings: Settings, log: JetStreamLog) -> None:
    """The connection breaks in the middle of the body: nothing is recorded, and nobody is woken for it."""
    app = application("command", settings)
    parts: Iterator[dict[str, Any]] = iter(
        [{"type": "http.request", "body": b'{"giver": "a', "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> Any:
        return next(parts)

    async def send(_: Any) -> None:
        pass

    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/communities/acme/favours",
        "raw_path": b"/v1/communities/acme/favours",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"idempotency-key", b"k")],
        "client": (HOST, 1),
        "server": (HOST, 80),
        "extensions": {},
    }
    with capture_logs() as logs:
        async with app.asgi.lifespan():
            await app.asgi(scope, receive, send)
    assert [entry for entry in logs if entry["log_level"] == "error"] == []
    assert await log.end() == 0
