"""Books that are large."""

from collections.abc import AsyncIterator
from typing import Final

import pytest

from ledger.books.connection import connect
from tests.books.books_database import Books
from tests.books.large_books import fill_books
from tests.databases import Databases

FILLED_WITHIN_S: Final = 300.0


@pytest.fixture(scope="session")
async def large_books(databases: Databases) -> AsyncIterator[Books]:
    """Books with more than a tenth of a million of everything: to be read, and not to be written."""
    async with databases.empty_books() as books:
        async with connect(books.address, "test", timeout_s=FILLED_WITHIN_S) as connection:
            await fill_books(connection)
        yield books
