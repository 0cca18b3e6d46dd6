"""What makes a test of the books quick."""

from collections.abc import Iterator
from functools import cache

import pytest
import sqlparse


@pytest.fixture(scope="session", autouse=True)
def _migrations_are_parsed_once() -> Iterator[None]:
    """The same text is split into the same statements, and takes longer to split than to execute."""
    once = cache(sqlparse.split)

    def split(text: str) -> list[str]:
        return [str(statement) for statement in once(text)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlparse, "split", split)
        yield
