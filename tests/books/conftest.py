"""Books of one's own: a fresh schema a test."""

import pytest

from deploy.embedded import EmbeddedPostgres
from ledger.books.schema import migrate
from tests.books.shown import Books


@pytest.fixture
async def books(postgres: EmbeddedPostgres, schema: str) -> Books:
    await migrate(postgres.dsn, schema)
    return Books(postgres.dsn, schema)
