"""A server that the ledger stands on does not answer. Not a refusal, and nobody's bug: try again."""

from typing import ClassVar


class Unavailable(Exception):
    """A server that the ledger stands on does not answer. Try again."""

    code: ClassVar[str] = "unavailable"
