"""Fixtures of the log: an empty log for every test, in each implementation."""

from collections.abc import AsyncIterator

import pytest

from deploy.embedded.nats import EmbeddedNats
from ledger.log.connection import Connection
from ledger.log.event_log import EventLog
from ledger.log.jetstream import JetStreamLog
from ledger.log.memory import MemoryLog
from tests.conftest import fresh_stream


@pytest.fixture(
    params=[
        "memory",
        pytest.param("jetstream_r1", marks=pytest.mark.servers),
        pytest.param("jetstream_r3", marks=pytest.mark.servers),
    ]
)
async def log(request: pytest.FixtureRequest) -> AsyncIterator[EventLog]:
    if request.param == "memory":
        yield MemoryLog()
        return
    if request.param == "jetstream_r1":
        server: EmbeddedNats = request.getfixturevalue("nats_server")
        replicas = 1
    else:
        server, *_ = request.getfixturevalue("nats_cluster")
        replicas = 3
    await fresh_stream(server, replicas)
    async with Connection(server.url, "test") as connection:
        await connection.ready()
        yield JetStreamLog(connection)


@pytest.fixture
async def nats_connection(nats_server: EmbeddedNats) -> AsyncIterator[Connection]:
    """Yield a connection to the session's server, which has an empty stream."""
    await fresh_stream(nats_server, replicas=1)
    async with Connection(nats_server.url, "test") as connection:
        await connection.ready()
        yield connection
