"""Limits of the code: the length of a file and of a function."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PRODUCT: Final = ("deploy", "ledger", "services", "workers")
FILE_LINES_MAX: Final = 350
TEST_FILE_LINES_MAX: Final = 500
FUNCTION_LINES_MAX: Final = 60


def sources(*folders: str) -> Iterator[tuple[Path, str]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT), path.read_text()


def functions(text: str) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of lines of every function, without its decorators."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_file_of_the_product_is_longer_than_350_lines() -> None:
    lengths = {str(path): len(text.splitlines()) for path, text in sources(*PRODUCT, "bench")}
    assert {path: lines for path, lines in lengths.items() if lines > FILE_LINES_MAX} == {}


def test_no_test_file_is_longer_than_500_lines() -> None:
    lengths = {str(path): len(text.splitlines()) for path, text in sources("tests")}
    assert {path: lines for path, lines in lengths.items() if lines > TEST_FILE_LINES_MAX} == {}


def test_no_function_of_the_product_is_longer_than_60_lines() -> None:
    long = {
        f"{path}:{name}": lines
        for path, text in sources(*PRODUCT)
        for name, lines in functions(text)
        if lines > FUNCTION_LINES_MAX
    }
    assert long == {}
