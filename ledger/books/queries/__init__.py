"""Named SQL, in one file for each module that runs it.

`-- name: NAME` begins a query; its reasons follow as comments. `-- name: NAME (with position)` begins a query that
returns the position of the books together with its rows: see `WITH_POSITION`.
"""

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final

NAME: Final = re.compile(r"^-- name: (\w+)( \(with position\))?$", re.MULTILINE)
# One statement is one snapshot, so the position is that of the rows. A query without rows returns one row, in which
# only `shown` is not NULL. The rows keep the order of the query: Postgres can run a left join without a condition only
# as a nested loop, here over the one row of `answer_position`.
WITH_POSITION: Final = """\
SELECT answer.*, p.shown
FROM answer_position p
LEFT JOIN (SELECT q.*, true AS found FROM (
{query}
) q) answer ON true"""


def named(file: str) -> Mapping[str, str]:
    """Return the queries of one file by name, as they are run."""
    text = files(__name__).joinpath(f"{file}.sql").read_text()
    _, *parts = NAME.split(text)
    return MappingProxyType(
        {
            name: with_position(body) if mark else body.strip()
            for name, mark, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
        }
    )


def with_position(query: str) -> str:
    """Return a query whose rows end with two more columns: `found`, which is true, and the position `shown`."""
    return WITH_POSITION.format(query=query.strip().removesuffix(";"))


def newest_first(query: str, order: str) -> str:
    """Return the query with every `ORDER BY order` reversed. `order` is a list of columns, with commas between."""
    reverse = ", ".join(f"{column} DESC" for column in order.split(", "))
    return query.replace(f"ORDER BY {order}", f"ORDER BY {reverse}")
