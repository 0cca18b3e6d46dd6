"""The scale of the random tests: small by default, and large in `make soak`, which sets SOAK=1."""

import os
from typing import Final, TypeVar

SOAK: Final = os.environ.get("SOAK") == "1"

T = TypeVar("T")


def scale(*, gate: T, soak: T) -> T:
    """Return the seeds, or the number of commands or examples, for this run."""
    return soak if SOAK else gate
