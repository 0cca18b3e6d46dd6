"""Books that are large."""

from typing import Final

import pytest

from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books.connection import connect
from ledger.books.schema import migrate
from ledger.runtime.settings import BooksAddress
from tests.books.filling import fill
from tests.books.shown import Books

FILLED_WITHIN_S: Final = 300.0


@pytest.fixture(scope="session")
async def large_books(postgres: EmbeddedPostgres) -> Books:
    """Books with more than a tenth of a million of everything: to be read, and not to be written."""
    await migrate(BooksAddress(postgres.dsn, "large_books"))
    books = Books(BooksAddress(postgres.dsn, "large_books"))
    async with connect(books.address, "test", timeout_s=FILLED_WITHIN_S) as connection:
        await fill(connection)
    return books
