"""Books that are large."""

from typing import Final

import pytest

from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books.schema import connected, migrate
from tests.books.filling import fill
from tests.books.shown import Books

FILLED_WITHIN_S: Final = 300.0


@pytest.fixture(scope="session")
async def large_books(postgres: EmbeddedPostgres) -> Books:
    """Books with more than a tenth of a million of everything: to be read, and not to be written."""
    await migrate(postgres.dsn, "large_books")
    books = Books(postgres.dsn, "large_books")
    async with connected(books.dsn, books.schema, "test", timeout_s=FILLED_WITHIN_S) as connection:
        await fill(connection)
    return books
