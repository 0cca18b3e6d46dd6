"""Every promise in `docs/promises.md` names a test that exists."""

import re
from pathlib import Path
from typing import Final

import pytest

FOLDER: Final = Path(__file__).parents[2] / "docs"
DOCUMENT: Final = (FOLDER / "promises.md").read_text()
ROWS: Final = re.findall(r"^\| (?!promise \|)(.+?) \| (.+) \|$", DOCUMENT, re.MULTILINE)
TEST: Final = re.compile(r"\[`(\w+)`\]\((\.\./tests/[\w/]+\.py)\)")
PROMISES: Final = TEST.findall(DOCUMENT)


def test_the_document_makes_promises() -> None:
    assert len(PROMISES) > 40


@pytest.mark.parametrize(("promise", "test"), ROWS)
def test_every_promise_has_a_test(promise: str, test: str) -> None:
    assert promise.endswith(".")
    assert TEST.match(test)


@pytest.mark.parametrize(("name", "file"), PROMISES)
def test_a_promise_names_a_test_that_exists(name: str, file: str) -> None:
    assert re.search(rf"^(async )?(def|class) {name}\b|^{name}\b.* = ", (FOLDER / file).read_text(), re.MULTILINE)
