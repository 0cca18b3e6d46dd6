"""What makes a test of the books quick, and books that are large."""

from collections.abc import Iterator
from functools import cache
from typing import Final

import pytest
import sqlparse

from deploy.embedded import EmbeddedPostgres
from ledger.books.schema import connected, migrate
from tests.books.filling import fill
from tests.books.shown import Books

FILLED_WITHIN_S: Final = 300.0


@pytest.fixture(scope="session", autouse=True)
def _migrations_are_parsed_once() -> Iterator[None]:
    """The same text is split into the same statements, and takes longer to split than to execute."""
    once = cache(sqlparse.split)

    def split(text: str) -> list[str]:
        return [str(statement) for statement in once(text)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlparse, "split", split)
        yield


@pytest.fixture(scope="session")
async def large_books(postgres: EmbeddedPostgres) -> Books:
    """Books with more than a tenth of a million of everything: to be read, and not to be written."""
    await migrate(postgres.dsn, "large_books")
    books = Books(postgres.dsn, "large_books")
    async with connected(books.dsn, books.schema, "test", timeout_s=FILLED_WITHIN_S) as connection:
        await fill(connection)
    return books
