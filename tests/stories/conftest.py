"""A ledger to tell stories with."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

import pytest

from ledger.runtime.settings import Settings
from tests.stories.served import Served, served
from tests.stories.telling import Story

ONCE: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
async def ledger(settings: Settings) -> AsyncIterator[Served]:
    async with served(settings, ONCE) as ledger:
        yield ledger


@pytest.fixture
def story(ledger: Served) -> Story:
    return Story(ledger)
