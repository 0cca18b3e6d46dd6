"""docs/settings.md is generated from the settings, and omits none."""

from pathlib import Path
from typing import Final

import pytest

from deploy.reference.__main__ import write_pages
from deploy.reference.settings import page
from ledger.runtime.settings import Settings, documented_settings

DOCS: Final = Path(__file__).parents[2] / "docs"


def test_the_page_is_generated_from_the_settings_of_today() -> None:
    assert (DOCS / "settings.md").read_text() == page(), "run `make docs`"


@pytest.mark.parametrize("field", Settings.__struct_fields__)
def test_every_setting_has_one_row_with_all_its_columns(field: str) -> None:
    setting = documented_settings()[field]
    (row,) = [line for line in page().splitlines() if line.startswith(f"| `{setting.variable}` |")]
    assert [cell.strip() for cell in row.strip("|").split("|")][1:3] == [setting.meaning, setting.unit]
    assert row.endswith(f" | {setting.allowed} |")
    assert row.count("|") == 6


@pytest.mark.parametrize(
    ("variable", "default"),
    [("LEDGER_PORT", "`8080`"), ("LEDGER_UNSAFE_LOG", "`false`"), ("LEDGER_API_KEY", "unset")],
)
def test_a_default_is_written_as_in_the_environment(variable: str, default: str) -> None:
    (row,) = [line for line in page().splitlines() if f"`{variable}` |" in line]
    assert f" | {default} | " in row


def test_make_docs_writes_every_generated_page(tmp_path: Path) -> None:
    write_pages(tmp_path)
    generated = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert generated.keys() == {"events.md", "settings.md"}
    assert all(text == (DOCS / name).read_text() for name, text in generated.items())
