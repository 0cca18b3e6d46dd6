"""Ports for servers that are about to start: each is free, and goes to one process only."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from deploy.embedded.child import EmbeddedServerError
from deploy.embedded.ports import HOST, Claims, free_port, is_free

ROOT: Final = Path(__file__).parents[2]
PORTS: Final = 500
TAKE_AND_WAIT: Final = f"""
from deploy.embedded.ports import free_port
print(*(free_port() for _ in range({PORTS})), flush=True)
input()
"""


def test_no_port_is_given_twice() -> None:
    assert len({free_port() for _ in range(1_000)}) == 1_000


def test_two_processes_are_given_different_ports() -> None:
    """The operating system alone would offer some of a thousand ports to both processes."""
    command = [sys.executable, "-c", TAKE_AND_WAIT]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)
    ]
    given: list[int] = []
    for process in processes:
        assert process.stdout is not None
        given += map(int, process.stdout.readline().split())
    for process in processes:
        process.communicate("done\n")
    assert len(set(given)) == len(given) == 2 * PORTS


def test_a_port_is_free_again_after_the_process_that_had_it(tmp_path: Path) -> None:
    path = tmp_path / "claims"
    imports = "from pathlib import Path; from deploy.embedded.ports import Claims"
    claim = f"{imports}; print(Claims(Path({str(path)!r})).claim(4222))"
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", claim], capture_output=True, text=True, cwd=ROOT, check=True)
        assert done.stdout == "True\n"
    claims = Claims(path)
    assert [claims.claim(4222), claims.claim(4222), claims.owns(4222), claims.owns(4223)] == [True, False, True, False]


def test_a_preferred_port_is_taken_when_free_and_another_when_not() -> None:
    free = free_port()
    assert free_port(free) == free
    assert is_free(free)
    with socket.create_server((HOST, free)):
        other = free_port(free)
        assert not is_free(free)
    assert other != free
    assert 1024 <= other < 65536


def test_a_preferred_port_that_another_process_was_given_is_not_taken() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TAKE_AND_WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        theirs = int(process.stdout.readline().split()[0])
        assert is_free(theirs)
        assert free_port(theirs) != theirs
        process.communicate("done\n")


def test_where_no_port_is_free_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.embedded.ports.OFFERS_MAX", 0)
    with pytest.raises(EmbeddedServerError, match=f"no free port found on {HOST}"):
        free_port()
