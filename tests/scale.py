"""The scale of the random tests: small by default, and large in `make soak`, which sets SOAK=1."""

import os
from typing import Final

SOAK: Final = os.environ.get("SOAK") == "1"


def scale(*, gate: int, soak: int) -> int:
    """Return the number of seeds, commands or examples for this run."""
    return soak if SOAK else gate
