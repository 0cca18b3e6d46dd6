"""Fixtures: servers that start once a session, and empty books and an empty stream for each test that needs them."""

import asyncio
import gc
import itertools
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from deploy.embedded.nats import Cluster, EmbeddedNats
from deploy.embedded.ports import free_port
from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books.connection import UNAVAILABLE_ERRORS
from ledger.log.connection import Connection
from ledger.log.event_log import LogUnavailable
from ledger.log.stream import STREAM, provision
from ledger.runtime.settings import Settings
from tests.books.books_database import Books
from tests.databases import Databases

SERVERS: Final = frozenset({"postgres", "pristine", "nats_server", "nats_cluster", "idle_nats"})
"""The fixtures that start servers."""
CLUSTER_NODES: Final = 3
PROVISION_WITHIN_S: Final = 10
# A test never cuts the power of the session's Postgres, so the server need not sync. The writer or the test gathers
# statistics: query plans must not depend on the time of a background process.
SERVER_SETTINGS: Final = (
    "fsync = off",
    "full_page_writes = off",
    "autovacuum = off",
)
_schemas = itertools.count(1)
_strangers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give the session its own folder for temporary files.

    Sessions share the folder of pytest, and each new session closes it to other users. The Postgres server is such a
    user when the session runs as root.
    """
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        config.option.basetemp = folder = tempfile.mkdtemp(prefix="ledger-tests-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start servers. Put the slow tests first, so that no worker waits for one at the end."""
    for item in items:
        if isinstance(item, pytest.Function) and not SERVERS.isdisjoint(item.fixturenames):
            item.add_marker(pytest.mark.servers)
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), free_port())
    server.start()
    asyncio.run(set_up(server.dsn))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data folder of a Postgres that was started once. A copy takes a quarter of the time of a new one."""
    data = tmp_path_factory.mktemp("pristine")
    server = EmbeddedPostgres(data, free_port())
    server.start()
    server.stop()
    return data / "pgdata"


@pytest.fixture
def idle_postgres(pristine: Path, tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """Yield a stopped Postgres that a test may start, stop and kill."""
    data = tmp_path / "postgres"
    data.mkdir()
    subprocess.run(["/bin/cp", "-a", str(pristine), str(data)], check=True)  # With its owner, who runs the server.
    server = EmbeddedPostgres(data, free_port())
    yield server
    server.stop()


@pytest.fixture
def own_postgres(idle_postgres: EmbeddedPostgres) -> EmbeddedPostgres:
    """Return a running Postgres that a test may stop and kill."""
    idle_postgres.start()
    return idle_postgres


async def set_up(dsn: str) -> None:
    """Turn off the features that the session's server does not need."""
    connection = await asyncpg.connect(dsn)
    try:
        for setting in SERVER_SETTINGS:
            await connection.execute(f"ALTER SYSTEM SET {setting}")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def databases(postgres: EmbeddedPostgres) -> Databases:
    databases = Databases(postgres.dsn)
    asyncio.run(databases.make_template())
    return databases


@pytest.fixture
async def broken_connections() -> AsyncGenerator[None, None]:
    """Ignore errors of the future that asyncpg can leave behind when a connection breaks. Nothing can await it."""
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
    data = tmp_path_factory.mktemp("nats")
    server = EmbeddedNats(data, free_port(), free_port())
    server.start()
    keep_folder_of_streams(data)
    yield server
    server.stop()


def keep_folder_of_streams(data: Path) -> None:
    """Put a file into the folder of streams.

    Some time after the last stream is deleted, the server removes the folder if it is empty. A stream that is made at
    that moment would be refused.
    """
    folder = data / "jetstream" / "jetstream" / "$G" / "streams"
    folder.mkdir(parents=True)
    (folder / "keep").touch()


@pytest.fixture
def idle_nats(tmp_path: Path) -> Iterator[EmbeddedNats]:
    """Yield a stopped nats-server that a test may start, stop and kill."""
    server = EmbeddedNats(tmp_path / "nats", free_port(), free_port())
    yield server
    server.stop()


@pytest.fixture
def own_nats(idle_nats: EmbeddedNats) -> EmbeddedNats:
    """Return a running nats-server that a test may stop and kill."""
    idle_nats.start()
    return idle_nats


@pytest.fixture(scope="session")
def nats_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[EmbeddedNats]]:
    """Start three nodes, for streams with three replicas."""
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
    """Delete the stream of the last test and provision an empty one."""
    async with Connection(server.url, "test") as connection:
        await connection.ready()
        await connection.api(f"STREAM.DELETE.{STREAM}")
        async with asyncio.timeout(PROVISION_WITHIN_S):
            while True:
                try:
                    await provision(connection, replicas)
                except LogUnavailable:  # The server may still remove the files of the old stream.
                    await asyncio.sleep(0.05)
                else:
                    return


async def fresh_ledger(books: Books, server: EmbeddedNats) -> Settings:
    """Return the settings of a ledger with these books and an empty stream."""
    await fresh_stream(server, replicas=1)
    return Settings(
        postgres_dsn=books.dsn,
        postgres_schema=books.schema,
        nats_url=server.url,
        nats_monitor_url=server.monitor_url,
    )


@pytest.fixture
def schema() -> str:
    """Return a unique schema name, for tests that create the schema themselves or need none."""
    return f"books_{next(_schemas)}"


@pytest.fixture
async def empty_books(databases: Databases) -> AsyncIterator[Books]:
    async with databases.empty_books() as books:
        yield books


@pytest.fixture
def books(empty_books: Books) -> Books:
    """Return empty books for this test alone."""
    return empty_books


@pytest.fixture
async def stranger(empty_books: Books) -> AsyncIterator[str]:
    """Yield the name of a login that may connect and has no other right."""
    name = f"stranger_{next(_strangers)}"
    async with empty_books.connection() as connection:
        await connection.execute(f"CREATE ROLE {name} LOGIN")
        yield name
        await connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.fixture
async def settings(empty_books: Books, nats_server: EmbeddedNats) -> Settings:
    """Return the settings of a ledger for this test alone, with an empty stream and empty books."""
    return await fresh_ledger(empty_books, nats_server)


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[Connection]:
    async with Connection(settings.nats_url, "test") as connection:
        await connection.ready()
        yield connection


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return the path of an empty folder."""
    return tmp_path / "data"
