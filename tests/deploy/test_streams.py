"""A real service with many event streams serves other requests as before, uses little memory, and stops at once."""

import asyncio
import resource
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import httpx
import msgspec
import psutil
import pytest

from deploy import serving
from deploy.embedded.ports import HOST, free_port
from ledger.domain.kinds.member import JoinMember, SetWants, membership_id
from ledger.runtime.settings import Settings
from services.feed import hub
from tests.books.histories import submission
from tests.deploy.conftest import CommandLine, Started
from tests.polling import wait_until
from tests.services.http_server import HttpServer
from tests.services.instant_ledger import InstantLedger
from tests.sse_client import SseClient

MANY: Final = 500
ROUNDS: Final = 60
TAGS: Final = tuple(f"{n:0>2}-{'x' * 37}" for n in range(16))
FACTOR: Final = 5.0  # Generous, because other tests run at the same time.
GROWTH_MAX_MIB: Final = 64
STOPS_WITHIN_S: Final = 10.0


@pytest.fixture(autouse=True)
def _files() -> None:
    """Raise the limit of open files. This process holds the client end of every stream."""
    serving.allow_files()


@asynccontextmanager
async def a_service(commands: CommandLine) -> AsyncGenerator[tuple[Started, HttpServer]]:
    """Run `serve query` as a separate process. Yield it with a client, once it is ready."""
    port = free_port()
    commands.variables["LEDGER_PORT"] = str(port)
    started = commands.start("serve", "query")
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=30) as client:

        async def ready() -> bool:
            try:
                return (await client.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await wait_until(ready)
        yield started, HttpServer(port, client)


async def opened(server: HttpServer, stack: AsyncExitStack, count: int, **how: Any) -> list[SseClient]:
    subscribers = [server.subscribe(**how) for _ in range(count)]
    for subscriber in subscribers:
        await stack.enter_async_context(subscriber)
        if how.get("reading", True):
            await subscriber.wait_for_start()
    return subscribers


async def latency_s(server: HttpServer, requests: int = 300) -> float:
    """Return the median latency of an ordinary query, in seconds."""
    durations: list[float] = []
    for _ in range(requests):
        began = time.perf_counter()
        answer = await server.client.get("/v1/communities/acme/members/ada/balance")
        assert answer.status_code == 200
        durations.append(time.perf_counter() - began)
    return sorted(durations)[requests // 2]


@pytest.mark.slow
async def test_five_hundred_idle_streams_hold_up_no_query_hear_of_an_event_and_end_with_the_service(
    beside_servers: CommandLine, settings: Settings
) -> None:
    instant_ledger = InstantLedger(settings)
    await instant_ledger.thank_many(3)
    async with AsyncExitStack() as stack:
        started, server = await stack.enter_async_context(a_service(beside_servers))
        alone_s = await latency_s(server)
        subscribers = await opened(server, stack, MANY)
        assert await server.open_streams() == MANY
        ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'referral-ledger %'"
        assert await instant_ledger.books.value(ours) < 20
        assert await latency_s(server) < max(FACTOR * alone_s, 0.05)
        await instant_ledger.thank_many(2)
        for subscriber in subscribers:
            await subscriber.wait_for_events(2)
            assert subscriber.positions == [4, 5]
        began = time.monotonic()
        started.popen.send_signal(signal.SIGTERM)
        for subscriber in subscribers:
            await subscriber.wait_for_end()
            assert subscriber.parser.last_event_id == "5"
        assert await asyncio.to_thread(started.popen.wait, STOPS_WITHIN_S) == 0
        assert time.monotonic() - began < STOPS_WITHIN_S
        assert "Traceback" not in started.said


@pytest.mark.slow
async def test_those_who_do_not_read_cost_little_memory_and_the_others_no_time(
    beside_servers: CommandLine, settings: Settings
) -> None:
    """Fifty clients open a stream and never read, while more than 6 MiB are recorded.

    A copy for each client would take 300 MiB.
    """
    instant_ledger = InstantLedger(settings)
    members = [f"m{n}" for n in range(100)]
    await instant_ledger.execute(*(JoinMember(actor=member, member=member) for member in members))
    async with AsyncExitStack() as stack:
        started, server = await stack.enter_async_context(a_service(beside_servers))
        process = psutil.Process(started.popen.pid)
        (reading,) = await opened(server, stack, 1, after=0)
        await latency_s(server, 20)
        before = process.memory_info().rss
        deaf = await opened(server, stack, 50, after=0, reading=False)
        most = before
        for turn in range(ROUNDS):
            tags = tuple(f"{turn:0>3}{tag}"[:40] for tag in TAGS)
            said = [submission(SetWants(actor=name, tags=tags), membership_id("acme", name)) for name in members]
            await instant_ledger.command_log.executor.execute_all(said)
            await instant_ledger.project()
            most = max(most, process.memory_info().rss)
        await reading.wait_for_events(100 * (ROUNDS + 1))
        assert reading.positions == list(range(1, 100 * (ROUNDS + 1) + 1))
        recorded_bytes = sum(len(event.data) for event in reading.events)
        assert recorded_bytes > 6 * 2**20

        async def deaf_are_left() -> bool:
            nonlocal most
            most = max(most, process.memory_info().rss)
            return await server.open_streams() == 1

        await wait_until(deaf_are_left, timeout_s=40)
        assert (most - before) / 2**20 < GROWTH_MAX_MIB
        for subscriber in deaf[:2]:
            subscriber.start_reading()
            await subscriber.wait_for_end()
            assert subscriber.positions == list(range(1, len(subscriber.positions) + 1))
            assert int(subscriber.parser.last_event_id) == len(subscriber.positions)
        assert started.end(signal.SIGTERM) == 0


def test_the_streams_and_as_many_requests_as_come_beside_them_fit_in_what_is_served() -> None:
    most = msgspec.json.schema(Settings)["$defs"]["Settings"]["properties"]["streams_max"]["maximum"]
    assert Settings().streams_max >= MANY
    assert most + 500 <= serving.CONNECTIONS_MAX
    assert serving.CONNECTIONS_MAX < serving.FILES_MAX
    assert hub.QUEUE_MAX_BYTES == 256 * 1024


@pytest.mark.parametrize(
    ("soft", "hard", "allowed"),
    [
        (256, resource.RLIM_INFINITY, (4_096, resource.RLIM_INFINITY)),
        (1_024, 524_288, (4_096, 524_288)),
        (1_024, 2_000, (2_000, 2_000)),
        (65_536, 65_536, None),
    ],
)
def test_a_process_may_open_as_many_files_as_it_serves_connections(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, allowed: tuple[int, int] | None
) -> None:
    said: list[tuple[int, int]] = []

    def getrlimit(_: int) -> tuple[int, int]:
        return soft, hard

    def setrlimit(_: int, limits: tuple[int, int]) -> None:
        said.append(limits)

    monkeypatch.setattr(resource, "getrlimit", getrlimit)
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    serving.allow_files()
    assert said == ([allowed] if allowed else [])
