"""Serving HTTP: granian inside our own process, so that one id is the whole service."""

import asyncio
import resource
import socket
from contextlib import suppress
from typing import Final

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from services.app import Application
from services.http.sockets import hang_up

BACKLOG: Final = 2_048
CONNECTIONS_MAX: Final = 2_048  # Granian counts connections and not requests: waiting readers of the feed among them.
FILES_MAX: Final = 2 * CONNECTIONS_MAX  # A connection is a file, and many systems begin with 1,024, or 256.
BUFFER_MAX_BYTES: Final = 64 * 1024  # Of one connection each way: what is held of a client who does not read.
STOP_WITHIN_S: Final = 10.0


async def serve(app: Application, host: str, port: int) -> None:
    """Serve until cancelled. Then streams end at once; requests under way are finished first, for 10 s.

    Raises: OSError, when the port is taken, or the host is none of ours.
    """
    allow_files()
    app.openapi()  # Made now, so that no request waits for it.
    server = Server(
        app.asgi,
        address=free_address(host, port),
        port=port,
        interface=Interfaces.ASGI,
        backlog=BACKLOG,
        backpressure=CONNECTIONS_MAX,
        http1_settings=HTTP1Settings(max_buffer_size=BUFFER_MAX_BYTES),
        websockets=False,
        log_level=LogLevels.error,
    )
    serving = asyncio.ensure_future(server.serve())
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        app.stopping.set()
        server.stop()  # type: ignore[no-untyped-call]  # Granian leaves it without annotations.
        await asyncio.wait({serving}, timeout=STOP_WITHIN_S)
        if not serving.done():  # Somebody does not read their answer.
            hang_up(port)
        with suppress(asyncio.CancelledError):
            await serving
        raise


def allow_files() -> None:
    """Raise this process's limit of open files as far as it is needed and the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES_MAX:
        allowed = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


def free_address(host: str, port: int) -> str:
    """The host's address. Granian shares a port with whoever else listens there, so it is asked for alone first.

    Raises: OSError.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    with socket.create_server(address[:2], family=family):
        return str(address[0])
