"""Readiness: what keeps the service from being ready, and what it reports about it."""

import asyncio
import re
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.ports import HOST, free_port
from ledger.log.connection import Connection
from ledger.log.stream import STREAM, StreamDrift, stream_definition
from ledger.runtime.settings import Settings
from services.command.log_access import require_no_drift
from services.http.health import verdict as verdict_of
from tests.polling import wait_until
from tests.services.caller import Caller, refused, started
from tests.services.lifecycles import FAVOUR, by
from tests.services.readiness import THANKED, readiness, stream_on


class ForgetfulNats(EmbeddedNats):
    """As a nats-server is by default: it acknowledges first and syncs every two minutes."""

    def _config(self) -> str:
        config, changed = re.subn(r", sync_interval: always", "", super()._config())
        assert changed == 1
        return config


# What readiness says


async def test_a_server_that_hangs_is_soon_said_not_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.http.health.CHECK_WITHIN_S", 0.05)

    async def hangs() -> None:
        await asyncio.Event().wait()

    async def answers() -> None:
        pass

    assert await verdict_of(hangs) == "TimeoutError: no answer within 0.05 s"
    assert await verdict_of(answers) == "ok"


# What readiness says of the log


async def test_a_log_that_does_not_fsync_is_not_ready_unless_told_so(settings: Settings, tmp_path: Path) -> None:
    server = ForgetfulNats(tmp_path / "forgetful", free_port(), free_port())
    server.start()
    try:
        forgetful = msgspec.structs.replace(settings, nats_url=server.url, nats_monitor_url=server.monitor_url)
        assert await stream_on(forgetful)

        async def verdict(of: Settings) -> tuple[int, str]:
            async with started("command", of) as client:

                async def connected() -> bool:
                    return not (await readiness(client))[1]["log"].startswith("LogUnavailable")

                await wait_until(connected)
                status, verdicts = await readiness(client)
                return status, verdicts["log"]

        status, why = await verdict(forgetful)
        assert status == 503
        assert why.startswith("NotDurable: the sync_interval")
        assert "LEDGER_UNSAFE_LOG=1" in why
        assert await verdict(msgspec.structs.replace(forgetful, unsafe_log=True)) == (200, "ok")
    finally:
        server.stop()


@pytest.mark.parametrize("page", ["hello", "[]", "null", "{}"])
async def test_a_monitor_that_is_something_else_makes_it_not_ready(settings: Settings, page: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(page)}\r\nConnection: close\r\n\r\n{page}".encode())
        await writer.drain()
        writer.close()

    port = free_port()
    elsewhere = msgspec.structs.replace(settings, nats_monitor_url=f"http://{HOST}:{port}")
    async with await asyncio.start_server(answer, HOST, port), started("command", elsewhere) as client:

        async def asked() -> bool:
            return "no connection to NATS" not in (await client.get("/readyz")).text

        await wait_until(asked)
        status, verdicts = await readiness(client)
        assert (status, verdicts.get("log", "").partition(":")[0] in {"LogUnavailable", "NotDurable"}) == (503, True)


@pytest.fixture
async def drifted(settings: Settings, connection: Connection) -> Settings:
    """On a stream that forgets what is older than an hour."""
    await connection.api(f"STREAM.DELETE.{STREAM}")
    answer = await connection.api(f"STREAM.CREATE.{STREAM}", stream_definition(1) | {"max_age": 3_600_000_000_000})
    assert "error" not in answer
    return settings


async def test_a_stream_that_is_not_as_defined_is_not_ready_and_said_why(drifted: Settings) -> None:
    with capture_logs() as logs:
        async with started("command", drifted) as client:

            async def found() -> bool:
                return "StreamDrift" in (await readiness(client))[1]["log"]

            await wait_until(found)
            status, verdicts = await readiness(client)
            assert status == 503
            assert "max_age is 3600000000000 and must be 0" in verdicts["log"]

            async def told() -> bool:
                return any(entry["event"] == "not ready" and "max_age" in entry["reason"] for entry in logs)

            await wait_until(told)
            answer = await Caller(client).post("/favours", FAVOUR | by("ada"), key="drifted")
            refused(answer, 503, "log_unavailable")


async def test_before_anything_is_served_a_stream_that_is_not_as_defined_is_refused(drifted: Settings) -> None:
    with pytest.raises(StreamDrift, match="max_age is 3600000000000 and must be 0"):
        await require_no_drift(drifted)


async def test_a_stream_that_was_lost_is_not_made_anew_by_whoever_serves(
    settings: Settings, connection: Connection, ledger: Caller
) -> None:
    await ledger.recorded("/favours", THANKED, key="before")
    await connection.api(f"STREAM.DELETE.{STREAM}")
    await require_no_drift(settings)
    for _ in range(2):
        status, verdicts = await readiness(ledger.client)
        assert (status, verdicts["log"].partition(":")[0]) == (503, "StreamMissing")
        refused(await ledger.post("/favours", THANKED, key="before"), 503, "log_unavailable", retryable=True)
    assert "error" in await connection.api(f"STREAM.INFO.{STREAM}")


async def test_a_log_that_is_not_there_yet_is_no_reason_not_to_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.log.connection.CONNECT_WITHIN_S", 0.4)
    nowhere = msgspec.structs.replace(settings, nats_url=f"nats://{HOST}:{free_port()}")
    await require_no_drift(nowhere)
