"""Unavailability: a server that the ledger needs does not respond. It is neither a refusal nor a bug."""

from typing import ClassVar


class Unavailable(Exception):
    """A server that the ledger needs does not respond. Try again."""

    code: ClassVar[str] = "unavailable"
