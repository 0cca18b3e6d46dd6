"""The stream: provision creates it as required and refuses other settings. Nobody can delete its events."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.ports import free_port
from ledger.log.connection import Connection
from ledger.log.event_log import LogUnavailable
from ledger.log.jetstream import JetStreamLog
from ledger.log.message import ALL_SUBJECTS
from ledger.log.monitor import Monitor
from ledger.log.stream import (
    STREAM,
    StreamDrift,
    StreamMissing,
    find_drift,
    provision,
    require_stream,
    stream_definition,
)
from tests.log.reads import TIMEOUT_S, read_events
from tests.log.samples import first_append
from tests.polling import POLL_S

HOUR_NS: Final = 3_600 * 1_000_000_000

# By field: the difference, and other fields that must differ for the server to accept it.
DRIFTS: Final[dict[str, dict[str, Any]]] = {
    "subjects": {"subjects": ["ledger.>"]},
    "storage": {"storage": "memory"},
    "retention": {"retention": "interest"},
    "discard": {"discard": "old"},
    "max_age": {"max_age": HOUR_NS},
    "max_msgs": {"max_msgs": 1_000},
    "max_bytes": {"max_bytes": 1_000_000},
    "max_msgs_per_subject": {"max_msgs_per_subject": 5},
    "allow_direct": {"allow_direct": False},
    "allow_atomic": {"allow_atomic": False},
    "deny_purge": {"deny_purge": False},
    "deny_delete": {"deny_delete": False},
    "allow_rollup_hdrs": {"allow_rollup_hdrs": True, "deny_purge": False},
    "allow_msg_ttl": {"allow_msg_ttl": True},
    "no_ack": {"no_ack": True, "allow_atomic": False},
    "persist_mode": {"persist_mode": "async", "allow_atomic": False},
    "sources": {"sources": [{"name": "ELSEWHERE"}]},
    "subject_transform": {"subject_transform": {"src": "ledger.*.*.*.*.old", "dest": "ledger.a.b.c.d.e"}},
    "republish": {"republish": {"src": "ledger.>", "dest": "copy.>"}},
}


@contextmanager
def plain_server(folder: Path, *, jetstream: str) -> Generator[tuple[str, str]]:
    """Run a nats-server with settings of another origin. Yield its address and the address of its monitor."""
    port, monitor_port = free_port(), free_port()
    config = folder / "nats.conf"
    config.write_text(f'listen: "127.0.0.1:{port}"\nhttp: "127.0.0.1:{monitor_port}"\n{jetstream}\n')
    program = Path(sys.executable).parent / "nats-server"
    monitor = f"http://127.0.0.1:{monitor_port}"
    with (folder / "nats.log").open("wb") as output:
        server = subprocess.Popen([program, "-c", config], stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not answers(f"{monitor}/healthz"):
            assert server.poll() is None, (folder / "nats.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(POLL_S)
        yield f"nats://127.0.0.1:{port}", monitor
    finally:
        server.kill()
        server.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).is_success
    except httpx.HTTPError:
        return False


@asynccontextmanager
async def monitor_that_says(answer: bytes) -> AsyncGenerator[str]:
    """Yield the address of an HTTP server that is no nats-server."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
async def empty_server(nats_connection: Connection) -> Connection:
    """Return a connection to a server without a stream."""
    assert (await nats_connection.api(f"STREAM.DELETE.{STREAM}"))["success"]
    return nats_connection


# Provisioning


async def test_to_look_for_the_stream_makes_none(empty_server: Connection) -> None:
    with pytest.raises(StreamMissing, match="referral-ledger provision"):
        await require_stream(empty_server, 1)
    assert "error" in await empty_server.api(f"STREAM.INFO.{STREAM}")


async def test_the_stream_is_made_once_and_found_after_that(empty_server: Connection) -> None:
    assert await provision(empty_server, 1)
    made = await empty_server.api(f"STREAM.INFO.{STREAM}")
    assert not await provision(empty_server, 1)
    found = await empty_server.api(f"STREAM.INFO.{STREAM}")
    assert found["created"] == made["created"]
    assert {
        field: found["config"].get(field, want) for field, want in stream_definition(1).items()
    } == stream_definition(1)


async def test_what_is_recorded_survives_being_provisioned_again(nats_connection: Connection) -> None:
    log = JetStreamLog(nats_connection)
    event = first_append()
    await log.append([event])
    assert not await provision(nats_connection, 1)
    assert [found.body for found in await read_events(log, 1, 1)] == [event.body]


async def test_processes_that_start_together_all_find_the_stream(empty_server: Connection) -> None:
    made = await asyncio.gather(*(provision(empty_server, 1) for _ in range(5)))
    assert any(made)
    assert not await provision(empty_server, 1)


async def test_the_stream_has_as_many_replicas_as_it_is_to_have(nats_cluster: list[EmbeddedNats]) -> None:
    async with Connection(nats_cluster[0].url, "test") as connection:
        await connection.ready()
        await connection.api(f"STREAM.DELETE.{STREAM}")
        assert await provision(connection, 3)
        assert (await connection.api(f"STREAM.INFO.{STREAM}"))["config"]["num_replicas"] == 3
        with pytest.raises(StreamDrift, match="num_replicas is 3 and must be 1"):
            await provision(connection, 1)


async def test_more_replicas_than_there_are_servers_are_not_to_be_had(empty_server: Connection) -> None:
    with pytest.raises(LogUnavailable, match="replicas"):
        await provision(empty_server, 3)


@pytest.mark.parametrize("field", DRIFTS)
async def test_a_stream_that_is_otherwise_is_refused_and_left_as_it_is(empty_server: Connection, field: str) -> None:
    created = await empty_server.api(f"STREAM.CREATE.{STREAM}", stream_definition(1) | DRIFTS[field])
    assert "error" not in created, created
    with pytest.raises(StreamDrift, match=rf"\b{field} is ") as refused:
        await provision(empty_server, 1)
    for differing in DRIFTS[field]:
        assert f"{differing} is " in str(refused.value)
    assert str(refused.value).count(";") == len(DRIFTS[field]) - 1
    info = await empty_server.api(f"STREAM.INFO.{STREAM}")
    assert info["config"] == created["config"]


async def test_a_sealed_stream_is_refused(nats_connection: Connection) -> None:
    sealed = await nats_connection.api(f"STREAM.UPDATE.{STREAM}", stream_definition(1) | {"sealed": True})
    assert "error" not in sealed, sealed
    with pytest.raises(StreamDrift, match="sealed is set"):
        await provision(nats_connection, 1)


def test_no_field_of_the_definition_is_left_to_drift() -> None:
    assert stream_definition(1).keys() - DRIFTS.keys() == {"name", "num_replicas"}
    assert find_drift(stream_definition(1), 1) == []
    assert find_drift(stream_definition(1) | {"mirror": {"name": "ELSEWHERE"}}, 1) == [
        "mirror is set and must not be: the stream must contain exactly the messages published to it"
    ]
    assert find_drift({}, 3) != []
    assert stream_definition(3)["subjects"] == [ALL_SUBJECTS]


async def test_a_server_without_jetstream_is_a_log_that_is_away(tmp_path: Path) -> None:
    with plain_server(tmp_path, jetstream="") as (url, _):
        async with Connection(url, "test") as connection:
            await connection.ready()
            with pytest.raises(LogUnavailable):
                await provision(connection, 1)


# Retention


async def test_nobody_empties_the_log(nats_connection: Connection) -> None:
    log = JetStreamLog(nats_connection)
    await log.append([first_append(), first_append()])
    purged = await nats_connection.api(f"STREAM.PURGE.{STREAM}")
    assert "error" in purged
    deleted = await nats_connection.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": 1})
    assert "error" in deleted
    opened = await nats_connection.api(f"STREAM.UPDATE.{STREAM}", stream_definition(1) | {"deny_purge": False})
    assert "error" in opened
    assert [event.position for event in await read_events(log, 1, 2)] == [1, 2]


# Durability


async def fsyncs(*monitors: str) -> bool:
    async with Monitor(",".join(monitors)) as monitor:
        return await monitor.fsyncs()


async def test_our_servers_sync_before_they_acknowledge(
    nats_server: EmbeddedNats, nats_cluster: list[EmbeddedNats]
) -> None:
    for server in (nats_server, *nats_cluster):
        assert await fsyncs(server.monitor_url)


async def test_a_server_as_it_comes_does_not(tmp_path: Path) -> None:
    with plain_server(tmp_path, jetstream=f'jetstream {{ store_dir: "{tmp_path}/data" }}') as (_, monitor):
        assert not await fsyncs(monitor)


async def test_one_of_several_that_does_not_is_one_too_many_and_one_that_is_away_says_nothing(
    nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    assert await fsyncs(away, nats_server.monitor_url, nats_server.monitor_url + "/")
    with plain_server(tmp_path, jetstream=f'jetstream {{ store_dir: "{tmp_path}/data" }}') as (_, monitor):
        assert not await fsyncs(nats_server.monitor_url, monitor)
    with pytest.raises(LogUnavailable, match=r"/jsz.*/jsz"):
        await fsyncs(away, away)


async def test_a_server_without_jetstream_syncs_nothing(tmp_path: Path) -> None:
    with plain_server(tmp_path, jetstream="") as (_, monitor):
        assert not await fsyncs(monitor)


async def test_a_monitor_that_does_not_answer_tells_nothing() -> None:
    with pytest.raises(LogUnavailable, match="/jsz"):
        await fsyncs(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"",
    ],
)
async def test_a_monitor_that_answers_something_else_tells_nothing(answer: bytes) -> None:
    async with monitor_that_says(answer) as address:
        with pytest.raises(LogUnavailable, match="/jsz") as unavailable:
            await fsyncs(address.replace("//", "//user:secret@"))
    assert "secret" not in str(unavailable.value)
