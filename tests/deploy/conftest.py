"""The command line as a person runs it: in a folder, with variables, as a process of its own."""

from __future__ import annotations

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

from ledger.runtime.settings import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from ledger.runtime.settings import Settings

ROOT: Final = Path(__file__).parents[2]
COMMAND: Final = (sys.executable, "-P", "-m", "deploy.cli")
ENDS_WITHIN_S: Final = 60.0
POLL_S: Final = 0.02


def until(holds: Callable[[], bool], within_s: float = 45.0, *, what: str = "it") -> None:
    """Wait for what other processes do. Nobody tells us: it happens elsewhere."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"{what} never came to hold"
        time.sleep(POLL_S)


def at_work(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def variables_of(settings: Settings) -> dict[str, str]:
    """The servers of these settings, as variables."""
    return {
        PREFIX + name.upper(): getattr(settings, name)
        for name in ("postgres_dsn", "postgres_schema", "nats_url", "nats_monitor_url")
    }


class Started:
    """A command at work. What it says, on both outputs, goes to a file."""

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
        """What `up` says that this is at."""
        found = re.search(rf"^ *{re.escape(name)} +(\S+)$", self.said, re.MULTILINE)
        assert found, self.said
        return found[1]

    def part(self, *words: str) -> psutil.Process | None:
        """The child whose program or arguments are these words."""
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
        """Send a signal, and wait for the end; answers the exit status."""
        self.popen.send_signal(signum)
        return self.popen.wait(ENDS_WITHIN_S)

    def sweep(self) -> None:
        """For the end of a test: nothing of it stays, however the test went."""
        family = self.children(recursive=True)
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        for process in family:
            if at_work(process):
                process.kill()


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Ours, with no other settings of the ledger than these."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**inherited, "PYTHONPATH": str(ROOT), "COLUMNS": "160", **variables}


class CommandLine:
    """Commands, all in one folder."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self.folder = folder
        self.variables: dict[str, str] = {}
        self._logs = logs
        self._started: list[Started] = []

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run to the end. What is said on both outputs is in `stdout`; it's never a traceback."""
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
    """Yield the command line in an empty folder, with no variables set. What it started is ended afterwards.

    Not below pytest's own folder: every session that starts shuts that to others, and Postgres may be one of them.
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
    """The command line in an empty folder, with no variables set."""
    with in_a_folder() as commands:
        yield commands


@pytest.fixture
def beside_servers(anyio_backend: str, settings: Settings, command_line: CommandLine) -> CommandLine:
    """The command line, with variables for an empty ledger on outside servers."""
    command_line.variables |= variables_of(settings)
    return command_line


def get(url: str, **parameters: Any) -> Any:
    """What an API that is up answers."""
    response = httpx.get(url, params=parameters, timeout=10.0)
    assert response.status_code == 200, response.text
    return response.json()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10.0).status_code == 200
    except httpx.TransportError:
        return False
