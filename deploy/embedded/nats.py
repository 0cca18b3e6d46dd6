"""nats-server from its wheel, with one data folder, alone or as a node of a cluster."""

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
    """Membership of a nats-server in a cluster. `routes` are the cluster ports of all nodes, on this machine."""

    name: str
    node: str
    cluster_port: int
    routes: tuple[int, ...]


class EmbeddedNats:
    """One nats-server with JetStream and its data in `data`. It syncs each message before it acknowledges it.

    For a cluster, `launch` every node first and then call `await_ready` for each. A node is ready when it has reached
    the others.
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
        """Process id of the server, or None if it does not run."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.alive

    def start(self, wait_s: float = 30) -> None:
        """Start the server, and wait until JetStream is ready.

        Raises: EmbeddedServerError, if that takes longer than `wait_s`. The server is stopped then.
        """
        self.launch()
        self.await_ready(wait_s)

    def launch(self) -> None:
        """Start the process without waiting for it."""
        program = _nats_program()
        with self._child.starting():
            config = self._data / "nats.conf"
            config.write_text(self._config())
            self._child.launch([str(program), "-c", str(config)], self._data)

    def await_ready(self, wait_s: float = 30) -> None:
        """Wait until the server reports at `/healthz` that it is healthy.

        Raises: EmbeddedServerError, if that takes longer than `wait_s`. The server is stopped then.
        """
        self._child.await_ready(self._is_healthy, wait_s)

    def stop(self) -> None:
        """Stop the server. After 20 s, kill it."""
        self._child.stop()

    def kill(self) -> None:
        """Kill the server with SIGKILL. The next `start` finds every acknowledged message."""
        self._child.kill()

    def _config(self) -> str:
        """Return the configuration of the server. JSON strings are valid strings of its language."""
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
    beside = Path(sys.executable).parent  # Not resolved: the Python of a venv is a link to another folder.
    found = shutil.which("nats-server", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None or importlib.util.find_spec("psutil") is None:
        raise EmbeddedServerError(MISSING_EXTRA.format(program="nats-server"))
    return Path(found)
