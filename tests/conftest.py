"""Real servers for every test that asks: started once a session, a fresh schema and stream a test."""

import asyncio
import gc
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import sqlparse

from deploy.embedded.nats import Cluster, EmbeddedNats
from deploy.embedded.ports import free_port
from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books.connection import UNAVAILABLE_ERRORS
from ledger.books.schema import migrate
from ledger.log.connection import Connection
from ledger.log.event_log import LogUnavailable
from ledger.log.stream import STREAM, provision
from ledger.runtime.settings import BooksAddress, Settings
from tests.books.shown import Books

CLUSTER_NODES: Final = 3
PROVISION_WITHIN_S: Final = 10
_schemas = itertools.count(1)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _migrations_are_parsed_once() -> Iterator[None]:
    """The same text is split into the same statements, and takes longer to split than to execute."""
    once = cache(sqlparse.split)

    def split(text: str) -> list[str]:
        return [str(statement) for statement in once(text)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlparse, "split", split)
        yield


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def broken_connections() -> AsyncGenerator[None, None]:
    """A connection that breaks in the middle may leave a future in asyncpg behind, which nobody can await."""
    loop = asyncio.get_running_loop()
    others = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), UNAVAILABLE_ERRORS) and others is not None:
            others(loop, context)

    loop.set_exception_handler(handle)
    yield
    gc.collect()
    loop.set_exception_handler(others)


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNats]:
    server = EmbeddedNats(tmp_path_factory.mktemp("nats"), free_port(), free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[EmbeddedNats]:
    """A server that a test may stop, or kill."""
    server = EmbeddedNats(tmp_path / "nats", free_port(), free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nats_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[EmbeddedNats]]:
    """Three nodes, for streams with three replicas."""
    routes = tuple(free_port() for _ in range(CLUSTER_NODES))
    servers = [
        EmbeddedNats(
            tmp_path_factory.mktemp(f"node{number}"),
            free_port(),
            free_port(),
            cluster=Cluster(name="ledger", node=f"node{number}", cluster_port=port, routes=routes),
        )
        for number, port in enumerate(routes)
    ]
    for server in servers:
        server.launch()
    for server in servers:
        server.await_ready()
    yield servers
    for server in servers:
        server.stop()


async def fresh_stream(server: EmbeddedNats, replicas: int) -> None:
    """An empty stream: the last test's is dropped."""
    async with Connection(server.url, "test") as connection:
        await connection.ready()
        await connection.api(f"STREAM.DELETE.{STREAM}")
        async with asyncio.timeout(PROVISION_WITHIN_S):
            while True:
                try:
                    await provision(connection, replicas)
                except LogUnavailable:  # The server may still be putting the old one's files away.
                    await asyncio.sleep(0.05)
                else:
                    return


@pytest.fixture
def schema() -> str:
    """A name for the books that no other test has."""
    return f"books_{next(_schemas)}"


@pytest.fixture
async def books(postgres: EmbeddedPostgres, schema: str) -> Books:
    """Empty books of one's own."""
    await migrate(BooksAddress(postgres.dsn, schema))
    return Books(BooksAddress(postgres.dsn, schema))


@pytest.fixture
async def stranger(postgres: EmbeddedPostgres, schema: str) -> AsyncIterator[str]:
    """A login of this name may connect, and nothing else."""
    name = f"stranger_to_{schema}"
    async with Books(BooksAddress(postgres.dsn, schema)).connection() as connection:
        await connection.execute(f"CREATE ROLE {name} LOGIN")
        yield name
        await connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.fixture
async def settings(postgres: EmbeddedPostgres, nats_server: EmbeddedNats, schema: str) -> Settings:
    """Settings of a ledger of one's own: an empty stream, and empty books."""
    await migrate(BooksAddress(postgres.dsn, schema))
    await fresh_stream(nats_server, replicas=1)
    return Settings(
        postgres_dsn=postgres.dsn,
        postgres_schema=schema,
        nats_url=nats_server.url,
        nats_monitor_url=nats_server.monitor_url,
    )


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[Connection]:
    async with Connection(settings.nats_url, "test") as connection:
        await connection.ready()
        yield connection


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty folder."""
    return tmp_path / "data"
