"""The page of events is the catalogue's, and leaves nothing out."""

from pathlib import Path
from typing import Final

import pytest

from deploy.events_page import EXAMPLES, page
from ledger.domain.catalog import EVENTS, OPERATIONS

PAGE: Final = Path(__file__).parents[2] / "docs" / "events.md"


def test_the_page_is_what_the_catalogue_says_today() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"


@pytest.mark.parametrize("tag", EVENTS)
def test_every_event_is_on_the_page_with_every_field(tag: str) -> None:
    paragraph = page().partition(f"### `{tag}`")[2].partition("\n### ")[0].partition("\n## ")[0]
    assert all(f"| `{field}` |" in paragraph for field in EVENTS[tag].__struct_fields__)
    assert ("Posts:" in paragraph) != ("Posts nothing." in paragraph)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_on_the_page(name: str) -> None:
    assert f"`{name}`" in page()


def test_no_example_is_of_a_field_that_no_event_has() -> None:
    assert EXAMPLES.keys() == {field for event in EVENTS.values() for field in event.__struct_fields__}
