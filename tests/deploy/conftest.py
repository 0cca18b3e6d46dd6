"""Helpers that run the command line as a person does: in a folder, with variables, as a separate process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import psutil
import pytest
from click.testing import CliRunner, Result

from deploy.cli.main import main
from ledger.books.reader import Reader
from ledger.runtime.settings import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from ledger.runtime.settings import Settings

    Invoke = Callable[..., Result]

ROOT: Final = Path(__file__).parents[2]
COMMAND: Final = (sys.executable, "-P", "-m", "deploy.cli")
ENDS_WITHIN_S: Final = 60.0
POLL_S: Final = 0.02


def until(holds: Callable[[], bool], within_s: float = 45.0, *, what: str = "it") -> None:
    """Poll until `holds` returns true. Other processes send this one no notice."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"{what} never came to hold"
        time.sleep(POLL_S)


async def until_shown(settings: Settings, position: int) -> None:
    """Wait until the books show this position."""
    async with Reader(settings.books, 1) as reader, asyncio.timeout(30):
        while await reader.position() < position:  # noqa: ASYNC110  The projector is another process.
            await asyncio.sleep(POLL_S)


def at_work(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def variables_of(settings: Settings) -> dict[str, str]:
    """Return the environment variables that name the servers of these settings."""
    return {
        PREFIX + name.upper(): getattr(settings, name)
        for name in ("postgres_dsn", "postgres_schema", "nats_url", "nats_monitor_url")
    }


class Started:
    """A running command. Both of its outputs go to one file."""

    def __init__(self, folder: Path, log: Path, arguments: tuple[str, ...], variables: Mapping[str, str]) -> None:
        self._log = log
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                arguments,
                cwd=folder,
                env=environment(variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.process = psutil.Process(self.popen.pid)

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def until_said(self, text: str, within_s: float = 45.0) -> None:
        try:
            until(lambda: text in self.said or self.popen.poll() is not None, within_s)
        except AssertionError:
            raise AssertionError(f"{text!r} was never said, but:\n{self.said}") from None
        assert text in self.said, self.said

    def address(self, name: str) -> str:
        """Return the address that `up` printed for `name`."""
        found = re.search(rf"^ *{re.escape(name)} +(\S+)$", self.said, re.MULTILINE)
        assert found, self.said
        return found[1]

    def part(self, *words: str) -> psutil.Process | None:
        """Return the running child whose program and arguments include all these words, or None."""
        for child in self.children():
            try:
                said = child.cmdline()
            except psutil.Error:
                continue
            if said and all(word in (Path(said[0]).name, *said) for word in words) and at_work(child):
                return child
        return None

    def until_part(self, *words: str) -> psutil.Process:
        until(lambda: self.part(*words) is not None, what=f"a child {words}")
        found = self.part(*words)
        assert found is not None
        return found

    def children(self, *, recursive: bool = False) -> list[psutil.Process]:
        try:
            return self.process.children(recursive=recursive)
        except psutil.NoSuchProcess:
            return []

    def end(self, signum: signal.Signals = signal.SIGINT) -> int:
        """Send a signal, wait for the exit, and return the exit status."""
        self.popen.send_signal(signum)
        return self.popen.wait(ENDS_WITHIN_S)

    def sweep(self) -> None:
        """Kill the command and its children at the end of a test, whether it passed or failed."""
        family = self.children(recursive=True)
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        for process in family:
            if at_work(process):
                process.kill()


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment, with these settings of the ledger and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**inherited, "PYTHONPATH": str(ROOT), "COLUMNS": "160", **variables}


class CommandLine:
    """Commands that run in one folder."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self.folder = folder
        self.variables: dict[str, str] = {}
        self._logs = logs
        self._started: list[Started] = []

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. `stdout` contains both outputs. A traceback in them fails the test."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=environment(self.variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=ENDS_WITHIN_S,
            check=False,
        )
        assert "Traceback" not in done.stdout, done.stdout
        return done

    def start(self, *arguments: str, command: tuple[str, ...] = COMMAND) -> Started:
        log = self._logs / f"{len(self._started)}.log"
        started = Started(self.folder, log, (*command, *arguments), self.variables)
        self._started.append(started)
        return started

    def sweep(self) -> None:
        for started in self._started:
            started.sweep()


@contextmanager
def in_a_folder() -> Generator[CommandLine]:
    """Yield the command line in an empty folder, with no variables set. Kill the started commands afterwards.

    The folder is outside pytest's own. Each start of pytest closes that folder to other users, and Postgres may run as
    one of them.
    """
    with tempfile.TemporaryDirectory(prefix="ledger-") as top:
        folder, logs = Path(top) / "here", Path(top) / "logs"
        folder.mkdir()
        logs.mkdir()
        commands = CommandLine(folder, logs)
        try:
            yield commands
        finally:
            commands.sweep()


@pytest.fixture
def command_line() -> Iterator[CommandLine]:
    """Yield the command line in an empty folder, with no variables set."""
    with in_a_folder() as commands:
        yield commands


@pytest.fixture
def beside_servers(anyio_backend: str, settings: Settings, command_line: CommandLine) -> CommandLine:
    """Return the command line, with variables for an empty ledger on external servers."""
    command_line.variables |= variables_of(settings)
    return command_line


def get(url: str, **parameters: Any) -> Any:
    """Return the JSON body of a successful GET from a running API."""
    response = httpx.get(url, params=parameters, timeout=10.0)
    assert response.status_code == 200, response.text
    return response.json()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10.0).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run a command in this process, in an empty folder. An error that is not reported in a sentence fails the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "deploy.cli.environment.configure_logs", str
    )  # Does nothing: logs would go to the outputs of the runner.

    def run(*arguments: str, variables: Mapping[str, str] | None = None, given: bytes | None = None) -> Result:
        environment: dict[str, str | None] = {"COLUMNS": "200", **(variables or {})}
        return CliRunner().invoke(main, arguments, input=given, env=environment, catch_exceptions=False)

    return run
