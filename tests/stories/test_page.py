"""docs/stories.md contains every chapter, in order, and nothing else. Each chapter has its own test."""

from tests.stories.narrator import CHAPTERS, PAGE, chapters_of, page_of


def test_the_page_is_its_preface_and_its_chapters() -> None:
    page = PAGE.read_text()
    chapters = chapters_of(page)
    assert tuple(chapters) == CHAPTERS
    assert page == page_of(chapters)
