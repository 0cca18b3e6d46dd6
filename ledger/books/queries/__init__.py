"""Named SQL, in files beside its only callers: `-- name:` begins a query, the why stands above it."""

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final

NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def named(file: str) -> Mapping[str, str]:
    """The queries of one file, by name."""
    text = files(__name__).joinpath(f"{file}.sql").read_text()
    _, *parts = NAME.split(text)
    return MappingProxyType({name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)})


def newest_first(query: str, order: str) -> str:
    """The same query from its other end, wherever it is in this order: columns, with commas between."""
    turned = ", ".join(f"{column} DESC" for column in order.split(", "))
    return query.replace(f"ORDER BY {order}", f"ORDER BY {turned}")
