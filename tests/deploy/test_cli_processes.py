"""The command line: processes that serve and work, and how they end."""

from __future__ import annotations

import signal
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

import httpx
import nats
import pytest

from deploy.embedded.ports import free_port
from ledger.commands.executor import Executor
from ledger.commands.submission import Outcome, Submission
from ledger.domain.kinds.favour import RecordFavour
from ledger.envelope import AggregateRef
from ledger.log.connection import Connection
from ledger.log.jetstream import JetStreamLog
from ledger.log.message import event_subject
from tests.conftest import fresh_stream
from tests.deploy.conftest import CommandLine, answers, until, until_shown
from tests.deploy.invocations import NOBODY, PROJECTS, failure_text, serve, thank
from workers.table import WORKERS

if TYPE_CHECKING:
    from deploy.embedded.nats import EmbeddedNats
    from ledger.runtime.settings import Settings
    from tests.deploy.conftest import Invoke

KEEPS_TIME: Final = "this clock records lapses"
LONG_AGO: Final = datetime(2026, 1, 5, tzinfo=UTC)


async def claim(settings: Settings, count: int) -> None:
    """Favours that ann said she did for bob, long ago; he has not answered."""
    async with Connection(settings.nats_url, "test") as connection:
        await connection.ready()
        outcomes = await Executor(JetStreamLog(connection), lambda: LONG_AGO).execute_all(
            [
                Submission(
                    community="acme",
                    operation="favour.record",
                    kind="favour",
                    command=RecordFavour(actor="ann", giver="ann", receiver="bob", size="medium", id=UUID(int=n)),
                )
                for n in range(1, count + 1)
            ]
        )
    assert all(isinstance(outcome, Outcome) for outcome in outcomes)


# Serving


@pytest.mark.parametrize("part", ["all", "command", "query"])
def test_without_a_key_nobody_outside_is_served(invoke: Invoke, part: str) -> None:
    said = failure_text(invoke("serve", part, variables=NOBODY | {"LEDGER_HOST": "0.0.0.0"}))  # noqa: S104  Refused.
    assert "LEDGER_API_KEY is not set, so only loopback addresses are served" in said


@pytest.mark.parametrize("part", ["all", "query"])
def test_a_taken_port_is_told_also_when_another_ledger_has_it(
    invoke: Invoke, beside_servers: CommandLine, part: str
) -> None:
    _, url = serve(beside_servers, "query")
    port = url.rpartition(":")[2]
    said = failure_text(invoke("serve", part, variables=beside_servers.variables))
    assert f"Error: cannot listen on 127.0.0.1:{port}: " in said
    assert "in use" in said
    assert answers(f"{url}/livez")


def test_a_host_that_is_none_of_ours_is_told_and_localhost_is_one(beside_servers: CommandLine) -> None:
    beside_servers.variables["LEDGER_API_KEY"] = "a key of some length"
    for host in ("nowhere.invalid", "192.0.2.1"):
        beside_servers.variables["LEDGER_HOST"] = host
        done = beside_servers.run("serve", "query")
        assert done.returncode == 1
        assert f"Error: cannot listen on {host}:8080: " in done.stdout
    serve(beside_servers, "query", LEDGER_HOST="localhost")


def test_ctrl_c_stops_serving_with_success(beside_servers: CommandLine) -> None:
    served, _ = serve(beside_servers)
    assert served.end() == 0
    assert served.said == ""


@pytest.mark.slow
def test_it_serves_before_its_servers_are_there_and_says_what_is_missing(command_line: CommandLine) -> None:
    port = free_port()
    command_line.variables |= NOBODY | {"LEDGER_PORT": str(port)}
    served = command_line.start("serve", "all")
    url = f"http://127.0.0.1:{port}"
    until(lambda: answers(f"{url}/livez"))
    response = httpx.get(f"{url}/readyz", timeout=10)
    assert response.status_code == 503
    assert response.json()["log"] == "LogUnavailable: no connection to NATS"
    assert response.json()["books"].startswith("BooksUnavailable: ")
    assert served.end() == 0
    assert "Traceback" not in served.said
    assert "secret" not in served.said


# Working


@pytest.mark.parametrize("worker", WORKERS)
def test_a_metrics_port_that_is_taken_is_told(invoke: Invoke, worker: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        variables = NOBODY | {f"LEDGER_{worker.upper()}_METRICS_PORT": str(port)}
        said = failure_text(invoke("work", worker, variables=variables))
    assert f"Error: cannot listen on 127.0.0.1:{port}: " in said


@pytest.mark.parametrize(("worker", "begins"), [("projector", PROJECTS), ("clock", KEEPS_TIME)])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_is_told_to_stop_ends_with_success(
    beside_servers: CommandLine, worker: str, begins: str, signum: signal.Signals
) -> None:
    working = beside_servers.start("work", worker)
    working.until_said(begins)
    assert working.end(signum) == 0
    assert "Traceback" not in working.said


async def test_the_clock_ends_what_is_overdue_and_shows_its_metrics(
    settings: Settings, beside_servers: CommandLine
) -> None:
    ports = {worker: free_port() for worker in ("projector", "clock")}
    beside_servers.variables |= {f"LEDGER_{worker.upper()}_METRICS_PORT": str(port) for worker, port in ports.items()}
    await claim(settings, 3)
    working = [beside_servers.start("work", worker) for worker in ports]
    await until_shown(settings, 6)
    async with httpx.AsyncClient() as client:
        page = (await client.get(f"http://127.0.0.1:{ports['clock']}/metrics")).text
    assert 'ledger_clock_lapses_recorded_total{kind="favour"} 3.0' in page
    assert "\nledger_clock_overdue_seconds " in page
    assert [worker.end() for worker in working] == [0, 0]


async def test_a_poison_event_stops_the_clock_with_3(settings: Settings, beside_servers: CommandLine) -> None:
    await claim(settings, 1)
    projector = beside_servers.start("work", "projector")
    await until_shown(settings, 1)
    assert projector.end() == 0
    client = await nats.connect(settings.nats_url)
    subject = event_subject(AggregateRef("acme", "favour", str(UUID(int=1))), "confirmed")
    await client.jetstream().publish(subject, b"not an event")
    await client.close()
    done = beside_servers.run("work", "clock")
    assert done.returncode == 3
    assert "The clock stopped: poison event at position 2: " in done.stdout


async def test_a_foreign_log_stops_the_projector_with_3_and_what_to_do(
    settings: Settings, nats_server: EmbeddedNats, beside_servers: CommandLine
) -> None:
    await thank(settings, 3)
    projector = beside_servers.start("work", "projector")
    await until_shown(settings, 3)
    assert projector.end() == 0

    await fresh_stream(nats_server, replicas=1)
    done = beside_servers.run("work", "projector")
    assert done.returncode == 3
    assert "The projector stopped: position 3 was event" in done.stdout
    assert "but the log ends at 0" in done.stdout
    assert "run `referral-ledger migrate`" in done.stdout


async def test_a_poison_event_stops_the_projector_with_3_and_its_position(
    settings: Settings, beside_servers: CommandLine
) -> None:
    await thank(settings, 3)
    client = await nats.connect(settings.nats_url)
    await client.jetstream().publish("ledger.00.acme.favour.x.thanked", b"not an event")
    await client.close()
    done = beside_servers.run("work", "projector")
    assert done.returncode == 3
    assert "The projector stopped: poison event at position 4: " in done.stdout
    verified = beside_servers.run("verify")
    assert verified.returncode == 0, verified.stdout
    assert "up to position 3 (1 behind the log)." in verified.stdout
