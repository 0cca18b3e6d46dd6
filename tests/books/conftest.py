"""Fixtures of the books: a history without a server, a reader, and large books."""

from collections.abc import AsyncIterator
from typing import Final

import pytest

from ledger.books.connection import connect
from ledger.books.reader import Reader
from tests.books.books_database import Books
from tests.books.histories import CommandLog
from tests.books.large_books import fill_books
from tests.databases import Databases

FILLED_WITHIN_S: Final = 300.0


@pytest.fixture
def command_log() -> CommandLog:
    """An empty history, held in memory."""
    return CommandLog()


@pytest.fixture
async def reader(books: Books) -> AsyncIterator[Reader]:
    """A reader of the empty books, closed after the test."""
    async with books.reader() as reader:
        yield reader


@pytest.fixture(scope="session")
async def large_books(databases: Databases) -> AsyncIterator[Books]:
    """Provide books with over 100,000 rows of everything. Tests may read them and must not write them."""
    async with databases.empty_books() as books:
        async with connect(books.address, "test", timeout_s=FILLED_WITHIN_S) as connection:
            await fill_books(connection)
        yield books
