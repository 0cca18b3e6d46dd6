"""The supervisor of `up`: starts embedded servers, the API and the workers, and restarts each that ends."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

import structlog
from msgspec import Struct

from deploy.embedded.child import EmbeddedServerError
from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.ports import free_port, is_free
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.provisioning import provision_stream
from ledger.books.schema import migrate
from ledger.runtime.settings import PREFIX, Settings
from workers.table import WORKERS

WATCH_S: Final = 0.25
RESTART_WAIT_MIN_S: Final = 0.5
RESTART_WAIT_MAX_S: Final = 10.0
SOUND_AFTER_S: Final = 30.0  # A process that ran for so long is restarted after the shortest wait again.
STOP_WAIT_S: Final = 15.0
PORT_WAIT_S: Final = 3.0
PREFERRED_PORTS: Final = {"postgres": 5432, "nats": 4222, "nats_monitor": 8222}

_log = structlog.get_logger()


class Servers(Struct, frozen=True):
    postgres: EmbeddedPostgres
    nats: EmbeddedNats


class Server(Protocol):
    @property
    def alive(self) -> bool: ...
    def start(self, wait_s: float = 30) -> None: ...
    def stop(self) -> None: ...


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the settings as environment variables, for child processes and for other commands of this project."""
    values = {field: getattr(settings, field) for field in settings.__struct_fields__}
    return {
        PREFIX + field.upper(): str(int(value) if isinstance(value, bool) else value)
        for field, value in values.items()
        if value is not None
    }


async def run_everything(
    settings: Settings,
    data: Path,
    environment_file: Path,
    ready: Callable[[Settings], Awaitable[None]],
    *,
    port_is_fixed: bool,
) -> None:
    """Run servers, API and workers until cancelled. The data stays in `data`, and the next start uses it.

    `ready` is called with the final settings when every process has been started. Until the end of the run,
    `environment_file` contains these settings as variables.

    Raises: EmbeddedServerError, if a server does not start or the fixed port is taken. Nothing runs then.
    """
    if port_is_fixed:
        await wait_until_free(settings.port)
    data.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  No other task runs yet.
    servers = Servers(
        EmbeddedPostgres(data / "postgres", free_port(PREFERRED_PORTS["postgres"])),
        EmbeddedNats(data / "nats", free_port(PREFERRED_PORTS["nats"]), free_port(PREFERRED_PORTS["nats_monitor"])),
    )
    port = settings.port if port_is_fixed else free_port(settings.port)
    settings = with_servers(settings, servers, port)
    try:
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in (servers.postgres, servers.nats)))
        await prepare(settings)
        variables = environment_of(settings)
        with environment_in(environment_file, variables):
            await run_processes(variables, servers, ready(settings))
    finally:
        await asyncio.to_thread(servers.nats.stop)
        await asyncio.to_thread(servers.postgres.stop)


@contextmanager
def environment_in(file: Path, variables: Mapping[str, str]) -> Generator[None]:
    """Keep the variables in `file` during the block. Only its owner may read it, because it may contain the API key."""
    file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    try:
        file.chmod(0o600)
        yield
    finally:
        file.unlink(missing_ok=True)


async def wait_until_free(port: int) -> None:
    """Wait up to 3 s until a port is free. The API of a killed `up` may still be stopping.

    Raises: EmbeddedServerError, if another process keeps the port.
    """
    try:
        async with asyncio.timeout(PORT_WAIT_S):
            while not is_free(port):  # noqa: ASYNC110  No event announces a free port.
                await asyncio.sleep(WATCH_S)
    except TimeoutError:
        raise EmbeddedServerError(f"port {port} is taken by another process: choose another --port") from None


def with_servers(settings: Settings, servers: Servers, port: int) -> Settings:
    values = {field: getattr(settings, field) for field in settings.__struct_fields__}
    values |= {
        "postgres_dsn": servers.postgres.dsn,
        "nats_url": servers.nats.url,
        "nats_monitor_url": servers.nats.monitor_url,
        "port": port,
    }
    return Settings(**values)


async def prepare(settings: Settings) -> None:
    await migrate(settings.books)
    await provision_stream(settings)


async def run_processes(variables: Mapping[str, str], servers: Servers, ready: Awaitable[None]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(keep_running("api", ["serve", "all"], variables))
        for worker in WORKERS:
            group.create_task(keep_running(worker, ["work", worker], variables))
        group.create_task(keep_server_running("postgres", servers.postgres))
        group.create_task(keep_server_running("nats", servers.nats))
        await ready


async def keep_running(name: str, arguments: list[str], variables: Mapping[str, str]) -> None:
    """Run a command of this project, and restart it when it ends. Stop it when cancelled."""
    wait_s = RESTART_WAIT_MIN_S
    while True:
        started_at = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # Import no module from the current folder.
            "-m",
            "deploy.cli",
            *arguments,
            "--with-parent",
            stdin=asyncio.subprocess.PIPE,
            env=os.environ | variables,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops the servers last.
        )
        _log.info(f"{name} started", pid=process.pid)
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            await stop(process)
            raise
        wait_s = RESTART_WAIT_MIN_S if time.monotonic() - started_at > SOUND_AFTER_S else wait_s * 2
        wait_s = min(wait_s, RESTART_WAIT_MAX_S)
        _log.error(f"{name} ended and will be restarted", status=status, wait_s=wait_s)
        await asyncio.sleep(wait_s)


async def stop(process: asyncio.subprocess.Process) -> None:
    """Terminate a process, and kill it after 15 s."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_WAIT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def keep_server_running(name: str, server: Server) -> None:
    """Restart a server whenever it has ended."""
    while True:
        await asyncio.sleep(WATCH_S)
        if server.alive:
            continue
        _log.error(f"{name} ended and will be restarted")
        try:
            await asyncio.to_thread(server.start)
        except EmbeddedServerError as error:
            _log.error(f"{name} did not start", reason=str(error))
            await asyncio.sleep(RESTART_WAIT_MAX_S)
