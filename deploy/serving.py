"""The HTTP server: granian inside the process, so that one process id is the whole service."""

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
CONNECTIONS_MAX: Final = 2_048  # Granian counts connections, not requests. Waiting subscribers of the feed count too.
FILES_MAX: Final = 2 * CONNECTIONS_MAX  # A connection is an open file. Many systems begin with a limit of 1,024 or 256.
BUFFER_MAX_BYTES: Final = 64 * 1024  # Per connection and direction, also for a client that does not read.
STOP_WITHIN_S: Final = 10.0


async def serve(app: Application, host: str, port: int) -> None:
    """Serve until cancelled. Then event streams end at once, and running requests get 10 s to finish.

    Raises: OSError, if the port is taken or the host is no address of this machine.
    """
    allow_files()
    app.openapi()  # Build the document now, so that no request waits for it.
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
        server.stop()  # type: ignore[no-untyped-call]  # Granian has no annotations here.
        await asyncio.wait({serving}, timeout=STOP_WITHIN_S)
        if not serving.done():  # A client does not read its response.
            hang_up(port)
        with suppress(asyncio.CancelledError):
            await serving
        raise


def allow_files() -> None:
    """Raise the limit of open files of this process to `FILES_MAX`, or to the hard limit if that is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES_MAX:
        allowed = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


def free_address(host: str, port: int) -> str:
    """Return the IP address of `host`, if no other process listens on `port`.

    Granian would share the port with another process, so the port is bound exclusively first.

    Raises: OSError, if the port is taken, or the host is unknown.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    with socket.create_server(address[:2], family=family):
        return str(address[0])
