"""The README shows only commands and links that exist."""

import re
from pathlib import Path
from typing import Final

import pytest

from deploy.cli import main

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("command", re.findall(r"referral-ledger (?!runs)([a-z]+)", README))
def test_a_command_it_shows_is_one_of_the_command_line(command: str) -> None:
    assert command in main.commands


@pytest.mark.parametrize("link", re.findall(r"\]\(((?:docs|tests)[\w/.-]*|[A-Z]+\.md)\)", README))
def test_a_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
