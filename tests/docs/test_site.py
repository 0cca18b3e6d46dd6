"""The documentation site builds without a warning, and needs no network."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import pytest

from deploy.reference.site import LINKED, build_site

ROOT: Final = Path(__file__).parents[2]
LOADED: Final = re.compile(r"<(?:script|link|img|iframe|source|video|audio|embed|object)\b[^>]*>")
SOURCE: Final = re.compile(r"""\b(?:src|href|data)=["']?([^"'\s>]+)""")
LINK: Final = re.compile(r"""<a\b[^>]*?\bhref=["']?([^"'\s>]+)""")
ELSEWHERE: Final = re.compile(r"(?!data:)[a-z]+:|//")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(ROOT, tmp_path_factory.mktemp("workplace"))


def pages_of(site: Path) -> Iterator[tuple[Path, str]]:
    return ((page, page.read_text()) for page in site.rglob("*.html"))


def test_the_readme_and_every_document_are_pages_of_the_site(site: Path) -> None:
    documents = {file.relative_to(ROOT) for file in (ROOT / "docs").rglob("*.md")}
    built = {page.relative_to(site) for page, _ in pages_of(site)}
    assert len(documents) > 20
    assert {document.with_suffix(".html") for document in documents if document.name != "README.md"} < built
    assert {Path("index.html"), Path("docs/decisions/index.html")} < built


def test_the_site_loads_nothing_from_another_host(site: Path) -> None:
    loaded = {
        (page.name, source)
        for page, text in pages_of(site)
        for tag in LOADED.findall(text)
        for source in SOURCE.findall(tag)
    }
    assert loaded
    assert not {source for source in loaded if ELSEWHERE.match(source[1])}
    styles = [style.read_text() for style in site.rglob("*.css")]
    assert styles
    assert not [found for style in styles for found in re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:|//)", style)]


def test_every_link_of_the_site_leads_to_a_file_of_the_site(site: Path) -> None:
    links = {
        (page, unquote(urlsplit(link.group(1)).path))
        for page, text in pages_of(site)
        for link in LINK.finditer(text)
        if not ELSEWHERE.match(link.group(1))
    }
    assert len(links) > 100
    assert not {(page.name, link) for page, link in links if link and not target_of(site, page, link).is_file()}


def target_of(site: Path, page: Path, link: str) -> Path:
    """Return the file behind a link. Only the page for a missing address has links that begin at the root."""
    return site / link[1:] if link.startswith("/") else page.parent / link


@pytest.mark.parametrize("link", ["none.md", "CHANGELOG.md#none"])
def test_a_broken_link_fails_the_build(link: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    project = tmp_path / "project"
    for folder in LINKED:
        (project / folder).mkdir(parents=True)
    (project / "LICENSE").touch()
    (project / "CHANGELOG.md").write_text("# Changelog\n")
    (project / "README.md").write_text(f"# Home\n\n[A link]({link}).\n")
    (project / "zensical.toml").write_text((ROOT / "zensical.toml").read_text())
    with pytest.raises(subprocess.CalledProcessError):
        build_site(project, project)
    assert "does not exist" in capfd.readouterr().err
