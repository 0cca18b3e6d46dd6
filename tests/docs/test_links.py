"""Every relative link in a document and every `docs/` reference in code names an existing file and heading."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("bench", "deploy", "docs", "ledger", "services", "tests", "workers")
SUFFIXES: Final = frozenset({".conf", ".md", ".py", ".sql", ".toml", ".yml"})
FENCE: Final = re.compile(r"^ *(```|~~~).*?^ *\1$", re.MULTILINE | re.DOTALL)
HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK: Final = re.compile(r"\]\(<?([^)>\s]+)>?\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)
REFERENCE: Final = re.compile(r"(?<![\w/(.-])docs/[\w./-]+\.md(?:#[\w-]+)?")
ELSEWHERE: Final = re.compile(r"[a-z]+:")
CODE_PATH: Final = re.compile(r"`((?:bench|deploy|ledger|services|tests|workers)/[\w./-]+)`")


def texts() -> Iterator[Path]:
    """Yield the text files of the project, without those of the environment and the caches."""
    yield from (path for path in ROOT.iterdir() if path.suffix in SUFFIXES or path.name == "Makefile")
    for folder in FOLDERS:
        yield from (path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES)


def slugs_of(document: str) -> set[str]:
    """Return the anchors of the headings: lower case, no punctuation, hyphens for spaces."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings_of(document)}


def headings_of(document: str) -> list[str]:
    return HEADING.findall(FENCE.sub("", document))


def broken_links(document: Path) -> list[str]:
    """Return the relative links of a Markdown document that lead nowhere."""
    found = (inline or named for inline, named in LINK.findall(FENCE.sub("", document.read_text())))
    return [link for link in found if not ELSEWHERE.match(link) and not leads_somewhere(document, link)]


def leads_somewhere(document: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = document.parent / path if path else document
    return target.exists() and (not anchor or anchor in slugs_of(target.read_text()))


def broken_references(text: Path, root: Path) -> list[str]:
    """Return the references from a text file to documents below `docs/` that lead nowhere."""
    return [link for link in REFERENCE.findall(text.read_text()) if not leads_somewhere(root / "README.md", link)]


def test_every_relative_link_leads_to_a_file_and_a_heading() -> None:
    broken = {document: links for document in texts() if document.suffix == ".md" and (links := broken_links(document))}
    assert broken == {}


def test_every_reference_to_a_document_leads_to_a_file_and_a_heading() -> None:
    broken = {text: links for text in texts() if (links := broken_references(text, ROOT))}
    assert broken == {}


def test_every_heading_of_the_domain_rules_can_be_linked() -> None:
    headings = headings_of((ROOT / "docs" / "domain.md").read_text())
    assert len(slugs_of((ROOT / "docs" / "domain.md").read_text())) == len(headings) > 50


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """Return the path of a document that the test writes. Other documents exist in two folders beside it."""
    for folder in ("docs", "more"):
        (tmp_path / folder).mkdir()
        text = "# Rules\n\n## One rule: `all`\n\n```sh\n# Not a heading\n```\n"
        (tmp_path / folder / "rules.md").write_text(text)
    return tmp_path / "README.md"


@pytest.mark.parametrize("link", ["more/rules.md", "more/rules.md#one-rule-all", "#here", "https://example.org/none"])
def test_a_link_that_leads_somewhere_is_accepted(link: str, document: Path) -> None:
    document.write_text(f"# Here\n\n[A link]({link}).\n")
    assert broken_links(document) == []


@pytest.mark.parametrize("link", ["more/none.md", "more/rules.md#not-a-heading", "#there", "rules.md"])
def test_a_link_that_leads_nowhere_is_found(link: str, document: Path) -> None:
    document.write_text(f"# Here\n\n[A link]({link}).\n")
    assert broken_links(document) == [link]


def test_a_reference_that_leads_nowhere_is_found(document: Path) -> None:
    right, wrong = (f"docs/{rest}" for rest in ("rules.md#one-rule-all", "rules.md#other-rule"))
    document.write_text(f"# See {right}\n# See `{wrong}`.\n")
    assert broken_references(document, document.parent) == [wrong]


def test_every_path_of_code_in_a_document_exists() -> None:
    documents = [text for text in texts() if text.suffix == ".md"]
    broken = {
        str(document.relative_to(ROOT)): missing
        for document in documents
        if (missing := [path for path in CODE_PATH.findall(document.read_text()) if not (ROOT / path).exists()])
    }
    assert broken == {}
