"""The log and the books of a worker."""

from datetime import datetime

import pytest

from ledger.books.reader import Due, Reader
from ledger.log.connection import Connection
from ledger.log.jetstream import JetStreamLog
from ledger.runtime.settings import Settings
from tests.books.books_database import Books
from tests.books.histories import CommandLog


@pytest.fixture
def books(settings: Settings) -> Books:
    """The empty books of `settings`."""
    return Books(settings.books)


@pytest.fixture
def command_log(connection: Connection) -> CommandLog:
    """The empty log of `settings`, and an executor. The clocks of a test use its `now`."""
    return CommandLog(JetStreamLog(connection))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The times at which clocks of this process have read what is due, or tried to."""
    due, taken = Reader.due, list[datetime]()

    async def looking(self: Reader, now: datetime, limit: int) -> tuple[int, list[Due]]:
        taken.append(now)
        return await due(self, now, limit)

    monkeypatch.setattr(Reader, "due", looking)
    return taken
