"""URLs of servers, as log lines and messages show them."""

import re
from typing import Final

USERINFO: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)?.*@", re.DOTALL)
"""Everything before the last `@`, after the scheme. A password may contain `@`, `/` or `:`."""


def without_password(url: str) -> str:
    """Return `url` with its user name, password or token replaced by `***`. A URL without them stays as it is."""
    return USERINFO.sub(r"\1***@", url)
