"""Serving HTTP: granian inside our own process, so that one id is the whole service."""

import asyncio
import socket
from contextlib import suppress
from typing import Final

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
from litestar import Litestar

BACKLOG: Final = 2_048


async def serve(app: Litestar, host: str, port: int) -> None:
    """Serve until cancelled; requests under way are finished first.

    Raises: OSError, when the port is taken, or the host is none of ours.
    """
    server = Server(
        app,
        address=free_address(host, port),
        port=port,
        interface=Interfaces.ASGI,
        backlog=BACKLOG,
        websockets=False,
        log_level=LogLevels.error,
    )
    serving = asyncio.ensure_future(server.serve())
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.stop()  # type: ignore[no-untyped-call]  # Granian leaves it without annotations.
        with suppress(asyncio.CancelledError):
            await serving
        raise


def free_address(host: str, port: int) -> str:
    """The host's address. Granian shares a port with whoever else listens there, so it is asked for alone first.

    Raises: OSError.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    with socket.create_server(address[:2], family=family):
        return str(address[0])
