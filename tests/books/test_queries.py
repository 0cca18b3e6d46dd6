"""The named queries: each fits the schema, has a name of its own, and is asked by somebody."""

import ast
import re
from importlib.resources import files
from pathlib import Path
from typing import Final

import asyncpg
import pytest

import ledger
from ledger.books.queries import NAME, named
from tests.books.shown import Books

ROOT: Final = Path(ledger.__path__[0])
FILES: Final = sorted(path.name.removesuffix(".sql") for path in (ROOT / "books" / "queries").glob("*.sql"))
ASKED: Final = re.compile(r"""(?:QUERIES\[|\b_?rows\((?:connection, )?)"(\w+)\"""")
SCRIPTS: Final = {"make_stages", "drop_unreleased_books"}
"""Several statements each, which cannot be prepared. Other tests execute them."""
STAGES: Final = named("writer")["make_stages"]


def asking(file: str) -> str:
    """The source of the one module that loads a file."""
    sources = [path.read_text() for path in ROOT.rglob("*.py")]
    (source,) = [source for source in sources if f'named("{file}")' in source]
    return source


def test_there_are_queries_to_write_and_to_read() -> None:
    assert {"writer", "reader"} <= set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_no_two_queries_of_a_file_share_a_name(file: str) -> None:
    text = files("ledger.books.queries").joinpath(f"{file}.sql").read_text()
    names = NAME.findall(text)
    assert len(names) == len(set(names)) == len(named(file))
    assert len(names) == text.count("-- name:"), "a name is misspelt"


@pytest.mark.parametrize("file", FILES)
async def test_every_query_fits_the_schema(books: Books, file: str) -> None:
    unfit: dict[str, str] = {}
    async with books.connection() as connection:
        await connection.execute(STAGES)  # Others are prepared on these tables.
        for name, query in named(file).items():
            if name in SCRIPTS:
                continue
            try:
                await connection.prepare(query)
            except asyncpg.PostgresError as error:
                unfit[name] = str(error)
    assert unfit == {}


@pytest.mark.parametrize("file", FILES)
def test_every_query_is_asked_by_the_module_that_loads_it(file: str) -> None:
    constants = {node.value for node in ast.walk(ast.parse(asking(file))) if isinstance(node, ast.Constant)}
    assert named(file).keys() <= constants


@pytest.mark.parametrize("file", FILES)
def test_every_query_that_is_asked_is_there(file: str) -> None:
    asked = set(ASKED.findall(asking(file)))
    assert asked
    assert asked <= named(file).keys()
