"""A ledger to measure: embedded servers with a fresh data folder, and the API and workers as separate processes."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
import psutil
from msgspec import Struct

from deploy.demo import until_ready
from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.ports import free_port
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.provisioning import provision_stream
from deploy.supervisor import environment_of
from ledger.books.schema import migrate
from ledger.runtime.settings import Settings

STOP_WAIT_S: Final = 15


class Process(Struct):
    name: str
    popen: subprocess.Popen[bytes]

    @property
    def peak_mib(self) -> float:
        """Peak resident memory in MiB. On a system without /proc, it is the current resident memory."""
        with suppress(OSError):
            status = Path(f"/proc/{self.popen.pid}/status").read_text()
            (kib,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
            return int(kib) / 2**10
        return psutil.Process(self.popen.pid).memory_info().rss / 2**20

    def stop(self) -> None:
        self.popen.send_signal(signal.SIGTERM)
        self.popen.wait(STOP_WAIT_S)


class Ledger(Struct):
    settings: Settings
    processes: list[Process]

    def start(self, *arguments: str, module: str = "deploy.cli") -> Process:
        command = [sys.executable, "-m", module, *arguments]
        variables = os.environ | environment_of(self.settings)
        process = Process(
            " ".join(arguments) or module, subprocess.Popen(command, env=variables, stderr=subprocess.DEVNULL)
        )
        self.processes.append(process)
        return process

    def stop(self, process: Process) -> None:
        process.stop()
        self.processes.remove(process)


@asynccontextmanager
async def start_ledger() -> AsyncGenerator[Ledger, None]:
    """Run servers and API. The caller starts the projector if it needs one."""
    with tempfile.TemporaryDirectory(prefix="ledger-bench-") as folder:
        postgres = EmbeddedPostgres(Path(folder) / "postgres", free_port())
        nats = EmbeddedNats(Path(folder) / "nats", free_port(), free_port())
        await asyncio.gather(asyncio.to_thread(postgres.start), asyncio.to_thread(nats.start))
        settings = Settings(
            postgres_dsn=postgres.dsn, nats_url=nats.url, nats_monitor_url=nats.monitor_url, port=free_port()
        )
        ledger = Ledger(settings, [])
        try:
            await migrate(settings.books)
            await provision_stream(settings)
            ledger.start("serve", "all")
            async with httpx.AsyncClient(base_url=f"http://{settings.host}:{settings.port}") as client:
                await until_ready(client)
            yield ledger
        finally:
            for process in reversed(ledger.processes):
                process.stop()
            nats.stop()
            postgres.stop()
