"""Free ports on the loopback address."""

from __future__ import annotations

import itertools
import socket
from typing import Final

from deploy.embedded.child import EmbeddedServerError

HOST: Final = "127.0.0.1"
OFFERS_MAX: Final = 100


_given: Final[set[int]] = set()


def free_port(preferred: int | None = None) -> int:
    """The preferred port when nothing listens there, else any free one of 127.0.0.1 that was not given before.

    For several are asked for before anybody listens there, and the system may offer one again.
    """
    for port in (preferred, *itertools.repeat(0, OFFERS_MAX)):
        if port is None:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As the servers do: a port with only dying connections on it counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            offered = int(probe.getsockname()[1])
        if port or offered not in _given:
            _given.add(offered)
            return offered
    raise EmbeddedServerError(f"no free port on {HOST}")
