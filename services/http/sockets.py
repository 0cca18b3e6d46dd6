"""Disconnection of clients. The server cannot do it: a connection that the client does not read would stay open."""

import os
import socket
from collections.abc import Generator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

FILES: Final = Path("/dev/fd")  # This process's own open files, on Linux and macOS.


def hang_up(port: int, peer: tuple[str, int] | None = None) -> int:
    """Shut down the connections to a port of this process, of one peer or of all. Return their number."""
    cut = 0
    for connection in own_sockets():
        with connection, suppress(OSError):  # A socket that listens, or was just closed, has no peer.
            if connection.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            host, from_port = connection.getpeername()[:2]
            if connection.getsockname()[1] == port and peer in (None, address_of(host, from_port)):
                connection.shutdown(socket.SHUT_RDWR)
                cut += 1
    return cut


def own_sockets() -> Generator[socket.socket]:
    """Yield a duplicate of every socket of this process. The caller closes it."""
    for file in FILES.iterdir():
        try:
            duplicate = os.dup(int(file.name))
        except OSError:  # The descriptor of the folder itself: it was open only during the listing.
            continue
        try:
            found = socket.socket(fileno=duplicate)
        except OSError:
            os.close(duplicate)  # The descriptor is not a socket.
            continue
        yield found


def address_of(host: str, port: str | int) -> tuple[str, int]:
    return str(ip_address(host.partition("%")[0])), int(port)


def port_and_peer(scope: Any) -> tuple[int, tuple[str, int]]:
    """Return our port and the address of the peer of an ASGI connection. Granian passes ports as text."""
    (_, port), (host, from_port) = scope["server"], scope["client"]
    return int(port), address_of(host, from_port)
