"""docs/events.md is generated from the catalogue, and omits no event."""

import re
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from deploy.reference.events import page, type_of
from ledger.domain.catalog.kinds import EVENTS, KINDS, union_members
from ledger.domain.catalog.operations import LAPSES, OPERATIONS
from ledger.domain.values.advice import Advice, Suggestion
from ledger.domain.values.aggregate_types import tag_of
from ledger.domain.values.entries import Transfer
from ledger.domain.values.policy import Policy
from ledger.domain.values.refusals import Bug
from ledger.examples import EXAMPLES

PAGE: Final = Path(__file__).parents[2] / "docs" / "events.md"


def test_the_page_is_what_the_catalogue_says_today() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"


@pytest.mark.parametrize("tag", EVENTS)
def test_every_event_is_on_the_page_with_every_field(tag: str) -> None:
    paragraph = paragraph_of(f"### `{tag}`")
    assert all(f"| `{field}` |" in paragraph for field in EVENTS[tag].__struct_fields__)
    assert ("Posts:" in paragraph) != ("Posts nothing." in paragraph)


def paragraph_of(heading: str) -> str:
    whole = page()
    assert whole.count(f"{heading}\n") == 1
    return whole.partition(f"{heading}\n")[2].partition("\n### ")[0].partition("\n## ")[0]


@pytest.mark.parametrize("form", [Advice, Policy, Transfer, Suggestion])
def test_every_form_inside_of_an_event_is_on_the_page_with_every_field(form: type[msgspec.Struct]) -> None:
    paragraph = paragraph_of(f"### Form {form.__name__}")
    assert all(f"| `{field}` |" in paragraph for field in form.__struct_fields__)


def test_every_link_leads_to_a_heading() -> None:
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", page(), re.MULTILINE)}
    links = set(re.findall(r"\]\(#([\w-]+)\)", page()))
    assert links == {"form-advice", "form-policy", "form-transfer", "form-suggestion"}
    assert links <= headings


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_on_the_page_with_every_state_and_whether_it_lapses(name: str) -> None:
    section = page().partition(f"\n## {name.capitalize()}\n")[2].partition("\n## ")[0]
    assert all(f"`{tag_of(state)}`" in section for state in union_members(KINDS[name].states))
    assert ("the clock records the lapse" in section) == (name in LAPSES)


@pytest.mark.parametrize("form", [{}, {"type": "array"}, {"format": "colour"}, {"type": "object"}])
def test_a_field_of_a_form_that_the_page_does_not_know_is_not_passed_over(form: dict[str, Any]) -> None:
    with pytest.raises((Bug, KeyError)):
        type_of(form)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_on_the_page(name: str) -> None:
    assert f"`{name}`" in page()


def test_no_example_is_of_a_field_that_no_event_has() -> None:
    assert EXAMPLES.keys() == {field for event in EVENTS.values() for field in event.__struct_fields__}
