"""One server process over one data folder: the folder's lock, the process, its log and its watcher."""

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
STOP_WAIT_S: Final = 20.0  # A fast shutdown of Postgres writes a checkpoint first.
LEFT_OVER_WAIT_S: Final = 10.0
LOG_MAX_BYTES: Final = 16 * 1024 * 1024
LOG_TAIL_LINES: Final = 15


class EmbeddedServerError(Exception):
    """A server could not be started; the message says why and what to do. Nothing of ours is left running."""


class ProcessUser(NamedTuple):
    """Whom a process runs as; all None: as ourselves."""

    uid: int | None
    gid: int | None
    extra_groups: list[int] | None


CURRENT_USER: Final = ProcessUser(None, None, None)


class Child:
    """The process and all that is held while it lives.

    The watcher is a shell that reads a pipe which only this process holds open: should this process die, in
    whatever way, the pipe ends and the shell stops the server. (The kernel's own signal for that, PDEATHSIG,
    goes out when the starting *thread* ends, and does not exist on macOS.)
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
        self._dismiss_watcher()  # The number may become another process's.
        return False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.alive else None

    @contextmanager
    def starting(self) -> Generator[None]:
        """Around everything a start does: the folder is ours alone, and free again if the start fails."""
        self._take_folder()
        try:
            yield
        except BaseException:
            self.stop()
            raise

    def _take_folder(self) -> None:
        """Locks the data folder and ends what an earlier process left running in it.

        Raises: EmbeddedServerError when another process has it.
        """
        if self.alive:
            raise EmbeddedServerError(f"{self._name} is already running over {self._data}")
        self._let_go()
        self._data.mkdir(parents=True, exist_ok=True)
        lock = (self._data / "lock").open("a")
        try:
            # A record lock: the kernel drops it with this process, and a forked child doesn't inherit it.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise EmbeddedServerError(f"another process is running {self._name} over {self._data}") from error
        self._lock = lock
        _stop_leftovers(self._programs, self._data)

    def open_log(self) -> IO[bytes]:
        if self.log.exists() and self.log.stat().st_size > LOG_MAX_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        return self.log.open("ab")

    def log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    def launch(self, command: Sequence[str], folder: Path, account: ProcessUser = CURRENT_USER) -> None:
        with self.open_log() as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                cwd=folder,
                user=account.uid,
                group=account.gid,
                extra_groups=account.extra_groups,
                start_new_session=True,  # Ctrl-C is ours to handle: the servers stop last.
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
        how = f"was not ready after {wait_s:g} s" if self.alive else "ended at once"
        self.stop()
        raise EmbeddedServerError(f"{self._name} {how}; the end of {self.log}:\n{self.log_tail()}")

    def stop(self) -> None:
        if self._process is not None and self.alive:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_WAIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._let_go()

    def kill(self) -> None:
        if self._process is not None and self.alive:
            self._process.kill()
            self._process.wait()
        self._let_go()

    def _let_go(self) -> None:
        """The server is gone: so are its watcher and the lock."""
        self._dismiss_watcher()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        self._process = None

    def _dismiss_watcher(self) -> None:
        if self._watcher is not None:
            self._watcher.communicate(b"done\n")  # A line, not the pipe's end: nothing is left to stop.
            self._watcher = None


def _stop_leftovers(programs: tuple[str, ...], data: Path) -> None:
    """Ends the servers at work in this data folder: its lock was free, so whoever started them is gone.

    Told from all others by their name and by the folder that they work in. Backends that lost their
    postmaster end by themselves, and the memory they share with it must be free before the next may start.
    """
    import psutil

    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.name() in programs and Path(process.cwd()).is_relative_to(data):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # Gone meanwhile, or another user's.
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
        raise EmbeddedServerError(f"processes of an earlier start don't end: {sorted(numbers)}")


def _still_running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that did not end within LEFT_OVER_WAIT_S. A zombie has ended."""
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
    """Ours, without what would steer Postgres past its command line or translate its messages."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


MISSING_EXTRA: Final = "{what} is not installed here: pip install 'referral-ledger[embedded]'"
