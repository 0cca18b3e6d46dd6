"""The README promises nothing that no test keeps, and shows no command that is none."""

import re
from pathlib import Path
from typing import Final

import pytest

from deploy.cli import main

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text()
PROMISES: Final = re.findall(r"\[`(\w+)`\]\((tests/[\w/]+\.py)\)", README)


def test_the_readme_makes_promises() -> None:
    assert len(PROMISES) > 15


@pytest.mark.parametrize(("name", "file"), PROMISES)
def test_a_promise_names_a_test_that_there_is(name: str, file: str) -> None:
    assert re.search(rf"^(async )?(def|class) {name}\b|^{name}\b.* = ", (ROOT / file).read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", re.findall(r"referral-ledger (?!runs)([a-z]+)", README))
def test_a_command_it_shows_is_one_of_the_command_line(command: str) -> None:
    assert command in main.commands


@pytest.mark.parametrize("link", re.findall(r"\]\(((?:docs|tests)[\w/.-]*|[A-Z]+\.md)\)", README))
def test_a_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
