"""One server process with one data folder: the lock of the folder, the process, its log file and its watcher."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    import psutil


POLL_S: Final = 0.02
STOP_WAIT_S: Final = 20.0  # Before it ends, Postgres writes a checkpoint.
LEFT_OVER_WAIT_S: Final = 10.0
LOG_MAX_BYTES: Final = 16 * 1024 * 1024
LOG_TAIL_LINES: Final = 15


class EmbeddedServerError(Exception):
    """A server could not be started. No process of this project is left running. The message gives cause and remedy."""


class ProcessUser(NamedTuple):
    """The user of a process. If all fields are None, it is the current user."""

    uid: int | None
    gid: int | None
    extra_groups: list[int] | None


CURRENT_USER: Final = ProcessUser(None, None, None)


class Child:
    """A server process, with the lock and the watcher that exist while it runs.

    The watcher is a shell that reads a pipe. Only this process keeps the pipe open. If this process dies in any way,
    the pipe ends and the shell stops the server. The kernel signal for this purpose, PDEATHSIG, is no substitute: it
    is sent when the starting *thread* ends, and macOS does not have it.
    """

    def __init__(self, data: Path, name: str, *, programs: tuple[str, ...]) -> None:
        self.log = data / f"{name.removesuffix('-server')}.log"
        self._data = data
        self._name = name
        self._programs = programs
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        if self._process is not None and self._process.poll() is None:
            return True
        self._dismiss_watcher()  # Another process may get the same id.
        return False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.alive else None

    @contextmanager
    def starting(self) -> Generator[None]:
        """Lock the data folder for a start. If the block fails, stop the server and free the folder."""
        self._take_folder()
        try:
            yield
        except BaseException:
            self.stop()
            raise

    def _take_folder(self) -> None:
        """Lock the data folder, and stop servers that an earlier process left running in it.

        Raises: EmbeddedServerError, if another process uses the folder, or a server left running does not end.
        """
        if self.alive:
            raise EmbeddedServerError(f"{self._name} is already running with the data folder {self._data}")
        self._release()
        self._data.mkdir(parents=True, exist_ok=True)
        lock = (self._data / "lock").open("a")
        try:
            # A record lock. The kernel removes it when this process ends, and a forked child does not inherit it.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise EmbeddedServerError(
                f"another process is running {self._name} with the data folder {self._data}: stop it first"
            ) from error
        self._lock = lock
        _stop_leftovers(self._programs, self._data)

    def open_log(self) -> IO[bytes]:
        if self.log.exists() and self.log.stat().st_size > LOG_MAX_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        return self.log.open("ab")

    def log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    def launch(self, command: Sequence[str], folder: Path, user: ProcessUser = CURRENT_USER) -> None:
        with self.open_log() as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                cwd=folder,
                user=user.uid,
                group=user.gid,
                extra_groups=user.extra_groups,
                start_new_session=True,  # Ctrl-C reaches this process alone, which stops the servers last.
            )
        self._watcher = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _ || kill -INT "$1"', "watcher", str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def await_ready(self, ready: Callable[[], bool], wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while self.alive and time.monotonic() < deadline:
            if ready():
                return
            time.sleep(POLL_S)
        outcome = f"was not ready after {wait_s:g} s" if self.alive else "ended during its start"
        self.stop()
        raise EmbeddedServerError(f"{self._name} {outcome}. The last lines of {self.log}:\n{self.log_tail()}")

    def stop(self) -> None:
        if self._process is not None and self.alive:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_WAIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._release()

    def kill(self) -> None:
        if self._process is not None and self.alive:
            self._process.kill()
            self._process.wait()
        self._release()

    def _release(self) -> None:
        """Release the watcher and the lock of a server that has ended."""
        self._dismiss_watcher()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        self._process = None

    def _dismiss_watcher(self) -> None:
        if self._watcher is not None:
            self._watcher.communicate(
                b"done\n"
            )  # A line instead of the end of the pipe: the watcher must stop nothing.
            self._watcher = None


def _stop_leftovers(programs: tuple[str, ...], data: Path) -> None:
    """Stop the servers that run in this data folder. Its lock was free, so the process that started them has ended.

    They are identified by program name and working folder. Postgres backends without a postmaster end by themselves.
    The shared memory of all of them must be free before the next Postgres can start.

    Raises: EmbeddedServerError, if a server does not end.
    """
    import psutil

    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.name() in programs and Path(process.cwd()).is_relative_to(data):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # It has ended meanwhile, or belongs to another user.
    numbers = {process.pid for process in found}
    for process in found:
        with suppress(psutil.NoSuchProcess):
            if process.ppid() not in numbers:
                process.send_signal(signal.SIGINT)
    for process in _still_running(found):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    if staying := _still_running(found):
        numbers = {process.pid for process in staying}
        raise EmbeddedServerError(f"processes of an earlier start do not end: {sorted(numbers)}. End them by hand.")


def _still_running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that have not ended within `LEFT_OVER_WAIT_S`. A zombie has ended."""
    deadline = time.monotonic() + LEFT_OVER_WAIT_S
    while staying := [process for process in processes if _is_running(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    return staying


def _is_running(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def environment() -> dict[str, str]:
    """Return the environment without variables that change how Postgres runs, and without translated messages."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


MISSING_EXTRA: Final = "{program} is not installed: pip install 'referral-ledger[embedded]'"
