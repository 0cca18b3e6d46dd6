"""Ports of 127.0.0.1 for servers that are about to start. No two processes of a user get the same port."""

import fcntl
import itertools
import os
import socket
import tempfile
from pathlib import Path
from typing import Final

from deploy.embedded.child import EmbeddedServerError

HOST: Final = "127.0.0.1"
OFFERS_MAX: Final = 100


class Claims:
    """Claims of ports by processes, in one file. A process that claims port N locks byte N.

    They are record locks: the kernel removes them when the process ends, and a child process does not inherit them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None  # Never closed, because that would remove the locks.
        self._own: Final[set[int]] = set()

    def claim(self, port: int) -> bool:
        """Claim a port until this process ends. Return False if a process, perhaps this one, has already claimed it."""
        if self._file is None:
            # Other users can write to the folder. Follow no link of theirs.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            self._file = os.open(self._path, flags, 0o600)
        if port in self._own:
            return False
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        self._own.add(port)
        return True

    def owns(self, port: int) -> bool:
        """Return whether this process has claimed the port."""
        return port in self._own


_claims: Final = Claims(Path(tempfile.gettempdir()) / f"referral-ledger-ports-{os.getuid()}")


def free_port(preferred: int | None = None) -> int:
    """Return the preferred port if it is free, else any free port, and claim it until this process ends.

    A server is started some time after its port is chosen. Until then, the system may offer the port to others.

    Raises: EmbeddedServerError, if no free port is found in 100 attempts.
    """
    for port in (preferred, *itertools.repeat(0, OFFERS_MAX)):
        offered = None if port is None else _listenable(port)
        if offered is not None and (_claims.claim(offered) or (offered == preferred and _claims.owns(offered))):
            return offered
    raise EmbeddedServerError(f"no free port found on {HOST} in {OFFERS_MAX} attempts")


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port now. Claims are not considered."""
    return _listenable(port) is not None


def _listenable(port: int) -> int | None:
    """Return the port if nothing listens there; for 0, a port that the system offers; else None."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Both servers set this option too. A port on which only closing connections remain is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])
