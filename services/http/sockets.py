"""Hanging up on a client. The server offers no way to: a connection that is not read from would stay open for good."""

import os
import socket
from collections.abc import Generator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

FILES: Final = Path("/dev/fd")  # This process's own open files, on Linux and macOS.


def hang_up(port: int, peer: tuple[str, int] | None = None) -> int:
    """Cut the connections to this port of ours, of one peer or of all; answers how many."""
    cut = 0
    for connection in own_sockets():
        with connection, suppress(OSError):  # It listens, or was just closed.
            if connection.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            host, from_port = connection.getpeername()[:2]
            if connection.getsockname()[1] == port and peer in (None, address_of(host, from_port)):
                connection.shutdown(socket.SHUT_RDWR)
                cut += 1
    return cut


def own_sockets() -> Generator[socket.socket]:
    """Every socket of this process, as a duplicate to be closed."""
    for file in FILES.iterdir():
        try:
            duplicate = os.dup(int(file.name))
        except OSError:  # The folder itself was open while it was listed.
            continue
        try:
            found = socket.socket(fileno=duplicate)
        except OSError:
            os.close(duplicate)  # No socket.
            continue
        yield found


def address_of(host: str, port: str | int) -> tuple[str, int]:
    return str(ip_address(host.partition("%")[0])), int(port)


def port_and_peer(scope: Any) -> tuple[int, tuple[str, int]]:
    """Ours and theirs, of an ASGI connection. Granian says ports as text."""
    (_, port), (host, from_port) = scope["server"], scope["client"]
    return int(port), address_of(host, from_port)
