"""Fixtures of the stories: a ledger, and a narrator for it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

import pytest

from ledger.runtime.settings import Settings
from tests.stories.narrator import Story
from tests.stories.story_ledger import StoryLedger, running_ledger

ONCE: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
async def ledger(settings: Settings) -> AsyncIterator[StoryLedger]:
    async with running_ledger(settings, ONCE) as ledger:
        yield ledger


@pytest.fixture
def story(ledger: StoryLedger) -> Story:
    return Story(ledger)
