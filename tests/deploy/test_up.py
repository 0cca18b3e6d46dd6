"""`up` runs everything on one machine, restarts its parts, stops as a whole, and keeps the data."""

from __future__ import annotations

import re
import shutil
import signal
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

import httpx
import pytest

from deploy.embedded.ports import free_port
from deploy.supervisor import PREFERRED_PORTS
from tests.deploy.conftest import CommandLine, Started, answers, at_work, get, until

if TYPE_CHECKING:
    import psutil

RUNS: Final = "Try: curl"  # The end of the output of a start with --demo.
GONE_WITHIN_S: Final = 15.0
BALANCES: Final = {"ada": -120, "bob": -60, "cleo": 330, "dan": -150}
EVENTS: Final = 24
PARTS: Final = {
    "api": ("serve",),
    "projector": ("projector",),
    "clock": ("clock",),
    "nats": ("nats-server",),
    "postgres": ("postgres",),
}

pytestmark = pytest.mark.slow


def demo(command_line: CommandLine, *arguments: str) -> tuple[Started, str]:
    """Start `up --demo`, wait until it is ready, and return it with the address of its API."""
    started = command_line.start("up", "--demo", "--port", str(free_port()), *arguments)
    started.until_said(RUNS)
    return started, started.address("Ready?").removesuffix("/readyz")


def nets(url: str) -> dict[str, int]:
    """Return every member's net, once the books show the whole demo."""
    page = get(f"{url}/v1/communities/demo/balances", min_position=EVENTS)
    return {balance["member"]: balance["net"] for balance in page["balances"]}


def events(url: str) -> int:
    """Return the number of events that the books show."""
    response = httpx.get(f"{url}/v1/communities/demo/summary", params={"min_position": EVENTS}, timeout=10)
    return int(response.headers["Ledger-Position"])


def all_gone(family: list[psutil.Process]) -> None:
    until(lambda: not any(map(at_work, family)), GONE_WITHIN_S, what="the end of every child")


def test_it_shows_balances_and_addresses_and_ctrl_c_stops_it_whole(command_line: CommandLine) -> None:
    started, url = demo(command_line)
    said = started.said
    for member, net in BALANCES.items():
        assert re.search(rf"{member}\b.*[ │]{net} ", said), said
    assert get(f"{url}/readyz") == {"status": "ok", "log": "ok", "books": "ok"}
    assert answers(started.address("Documentation"))
    assert nets(url) == BALANCES
    environment_file = command_line.folder / ".ledger" / "ledger.env"
    assert environment_file.stat().st_mode & 0o077 == 0, "others may read it"

    family = started.children(recursive=True)
    assert len(family) >= len(PARTS)
    assert started.end(signal.SIGINT) == 0
    assert started.said.endswith("Stopped.\n")
    assert "Traceback" not in started.said
    all_gone(family)
    assert not environment_file.exists()

    again, url = demo(command_line)
    assert nets(url) == BALANCES
    assert events(url) == EVENTS, "the second demo recorded something"
    assert again.end(signal.SIGTERM) == 0


def test_whatever_is_killed_is_started_again(command_line: CommandLine) -> None:
    started, url = demo(command_line)
    for name, words in PARTS.items():
        victim = started.until_part(*words)
        victim.kill()
        until(lambda victim=victim: not at_work(victim))  # type: ignore[misc]
        assert started.until_part(*words).pid != victim.pid, name
        until(lambda: answers(f"{url}/readyz"), what=f"/readyz after a killed {name}")
    favour = {"giver": "ada", "receiver": "bob", "size": "small", "actor": "bob"}
    path = f"{url}/v1/communities/demo"
    response = httpx.post(f"{path}/favours", json=favour, headers={"Idempotency-Key": "after"}, timeout=10)
    assert response.status_code == 201, response.text
    position = response.headers["Ledger-Position"]
    assert position == str(EVENTS + 1)
    until(lambda: answers(f"{path}/members/ada/balance?min_position={position}"), what="a book that follows")
    assert nets(url) == BALANCES | {"ada": -60, "bob": -120}
    assert started.end() == 0


def test_killed_itself_it_takes_its_children_along_and_the_next_start_finds_everything(
    command_line: CommandLine,
) -> None:
    started, _ = demo(command_line)
    family = started.children(recursive=True)
    assert started.end(signal.SIGKILL) == -signal.SIGKILL
    all_gone(family)

    again, url = demo(command_line)
    assert nets(url) == BALANCES
    assert events(url) == EVENTS
    assert again.end() == 0


def test_a_second_one_over_the_same_folder_says_why_it_cannot_and_leaves_the_first_alone(
    command_line: CommandLine,
) -> None:
    started, url = demo(command_line)
    second = command_line.run("up")
    assert second.returncode == 1
    assert re.search(r"Error: another process is running (postgres|nats-server) with ", second.stdout)
    assert started.popen.poll() is None
    assert answers(f"{url}/readyz")
    verified = command_line.run("verify")  # It finds the servers of the first run by the file that this run keeps.
    assert verified.returncode == 0, verified.stdout
    assert started.end() == 0


def test_taken_ports_lead_to_others(command_line: CommandLine) -> None:
    with ExitStack() as held:
        taken = list(PREFERRED_PORTS.values())
        for port in taken:
            with suppress(OSError):  # If another process holds the port, it is taken as well.
                held.enter_context(socket.create_server(("127.0.0.1", port)))
        api = held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        command_line.variables["LEDGER_PORT"] = str(api)
        started = command_line.start("up", "--data", "elsewhere")
        started.until_said("NATS   ")
        chosen = [int(started.address(name).split(":")[-1].split("/")[0]) for name in ("Ready?", "Postgres", "NATS")]
        assert not {api, *taken} & set(chosen)
        assert answers(started.address("Ready?"))
        assert (command_line.folder / "elsewhere" / "postgres" / "pgdata").is_dir()
        assert started.end() == 0


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(command_line: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command_line.run("up", "--port", str(port))
    assert done.returncode == 1
    assert f"Error: port {port} is taken" in done.stdout


def test_ctrl_c_during_the_first_start_leaves_nothing_running_and_nothing_broken(command_line: CommandLine) -> None:
    started = command_line.start("up")
    until((command_line.folder / ".ledger" / "postgres" / "postgres.log").exists, what="initdb")
    family = started.children(recursive=True)
    assert started.end(signal.SIGINT) == 0, started.said
    assert "Traceback" not in started.said, started.said
    all_gone(family)

    again, url = demo(command_line)
    assert nets(url) == BALANCES
    assert again.end() == 0


def test_books_whose_log_was_lost_are_not_begun_anew_and_it_says_what_to_do(command_line: CommandLine) -> None:
    started, _ = demo(command_line)
    assert started.end() == 0
    shutil.rmtree(command_line.folder / ".ledger" / "nats")
    done = command_line.run("up")
    assert done.returncode == 1
    assert "were written from it, up to position 24. Restore the log." in done.stdout
    assert "If it is lost for good, remove .ledger/: the ledger starts again without events." in done.stdout
    shutil.rmtree(command_line.folder / ".ledger")
    again, url = demo(command_line)
    assert nets(url) == BALANCES
    assert again.end() == 0


def test_a_folder_with_a_package_named_like_ours_is_no_trouble(command_line: CommandLine) -> None:
    for name in ("deploy", "ledger"):
        (command_line.folder / name).mkdir()
        (command_line.folder / name / "__init__.py").write_text("raise ImportError('not yours')\n")
    started, url = demo(command_line)
    assert nets(url) == BALANCES
    assert started.end() == 0


def test_a_misspelt_variable_is_named(command_line: CommandLine) -> None:
    command_line.variables["LEDGER_PROT"] = "8081"
    done = command_line.run("up")
    assert done.returncode == 1
    assert "unknown variable LEDGER_PROT" in done.stdout
    assert not (command_line.folder / ".ledger").exists()
