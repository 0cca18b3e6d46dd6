"""Books of one's own: a fresh schema a test."""

from collections.abc import Iterator
from functools import cache

import pytest
import sqlparse

from deploy.embedded import EmbeddedPostgres
from ledger.books.schema import migrate
from tests.books.shown import Books


@pytest.fixture(scope="session", autouse=True)
def _migrations_are_parsed_once() -> Iterator[None]:
    """The same text is split into the same statements, and takes longer to split than to execute."""
    once = cache(sqlparse.split)

    def split(text: str) -> list[str]:
        return [str(statement) for statement in once(text)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlparse, "split", split)
        yield


@pytest.fixture
async def books(postgres: EmbeddedPostgres, schema: str) -> Books:
    await migrate(postgres.dsn, schema)
    return Books(postgres.dsn, schema)
