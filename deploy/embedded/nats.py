"""nats-server from its wheel, over one data folder, alone or as a node of a cluster."""

from __future__ import annotations

import http
import http.client
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import msgspec

from deploy.embedded.child import MISSING_EXTRA, Child, EmbeddedServerError
from deploy.embedded.ports import HOST


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """Makes a nats-server one node of several. `routes`: the cluster ports of all nodes, on this machine."""

    name: str
    node: str
    cluster_port: int
    routes: tuple[int, ...]


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


def _nats_program() -> Path:
    beside = Path(sys.executable).parent  # Not resolved: a venv's Python is a link to another folder.
    found = shutil.which("nats-server", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None or importlib.util.find_spec("psutil") is None:
        raise EmbeddedServerError(MISSING_EXTRA.format(what="nats-server"))
    return Path(found)
