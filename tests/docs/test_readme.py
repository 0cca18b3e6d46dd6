"""The README and the documents show only commands that the command line has."""

import re
from pathlib import Path
from typing import Final

import pytest

from deploy.cli.main import main

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
COMMANDS: Final = sorted(
    {command for document in DOCUMENTS for command in re.findall(r"referral-ledger ([a-z]+)", document.read_text())}
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_in_a_document_is_one_of_the_command_line(command: str) -> None:
    assert command in main.commands


def test_the_documents_show_every_command() -> None:
    assert set(COMMANDS) == main.commands.keys()
