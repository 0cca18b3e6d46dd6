"""The readable content of a cursor: it is encoded, and not encrypted."""

import base64
import json
from typing import Any


def read_cursor(cursor: str) -> list[Any]:
    """Return the JSON array at the end of a cursor. The bytes before it are internal to the ledger.

    Raises: AssertionError, if there is none.
    """
    decoded = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    for start in (place for place, byte in enumerate(decoded) if byte == ord("[")):
        try:
            found: list[Any] = json.loads(decoded[start:])
        except ValueError:  # This bracket is not part of the JSON.
            continue
        return found
    raise AssertionError(f"no JSON array in {decoded!r}")
