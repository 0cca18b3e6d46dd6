"""Each named query fits the schema, has a unique name, and has a caller."""

import ast
import re
from importlib.resources import files
from pathlib import Path
from typing import Final

import asyncpg
import pytest

import ledger
from ledger.books.queries import NAME, named, with_position
from tests.books.books_database import Books
from tests.books.query_plans import parse_plan

ROOT: Final = Path(ledger.__path__[0])
FILES: Final = sorted(path.name.removesuffix(".sql") for path in (ROOT / "books" / "queries").glob("*.sql"))
ASKED: Final = re.compile(r"""(?:QUERIES\[|\b_?(?:rows|fetch)\((?:connection, )?)"(\w+)\"""")
WITH_POSITION: Final = [
    (file, name)
    for file in FILES
    for name, mark in NAME.findall((ROOT / "books" / "queries" / f"{file}.sql").read_text())
    if mark
]
ARGUMENT: Final = re.compile(r"\$(\d+)")
# Settings that make Postgres prefer another kind of join, or parallel workers.
PLANNERS: Final = (
    "SET enable_nestloop = on",
    "SET enable_nestloop = off",
    "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0",
)
SCRIPTS: Final = {"create_staging_tables", "drop_unreleased_books"}
"""Scripts of several statements, which cannot be prepared. Other tests execute them."""
STAGES: Final = named("writer")["create_staging_tables"]


def asking(file: str) -> str:
    """Return the source of the one module that loads a file."""
    sources = [path.read_text() for path in ROOT.rglob("*.py")]
    (source,) = [source for source in sources if f'named("{file}")' in source]
    return source


def test_there_are_queries_to_write_and_to_read() -> None:
    assert {"writer", "reader"} <= set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_no_two_queries_of_a_file_share_a_name(file: str) -> None:
    text = files("ledger.books.queries").joinpath(f"{file}.sql").read_text()
    names = [name for name, _ in NAME.findall(text)]
    assert len(names) == len(set(names)) == len(named(file))
    assert len(names) == text.count("-- name:"), "a name is misspelt"


@pytest.mark.parametrize("file", FILES)
async def test_every_query_fits_the_schema(books: Books, file: str) -> None:
    unfit: dict[str, str] = {}
    async with books.connection() as connection:
        await connection.execute(STAGES)  # Other queries are prepared on these tables.
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


# Position of a response


def test_queries_that_others_see_the_answers_of_show_a_position() -> None:
    assert {"reader", "feed", "lists", "people", "entries", "history"} == {file for file, _ in WITH_POSITION}


@pytest.mark.parametrize("file", sorted({file for file, _ in WITH_POSITION}))
def test_the_position_of_an_answer_comes_from_one_place(file: str) -> None:
    text = (ROOT / "books" / "queries" / f"{file}.sql").read_text()
    assert "checkpoint" not in text
    assert text.count("answer_position") == (1 if file == "reader" else 0)  # In its query `position`.


async def test_a_query_without_rows_returns_the_position(books: Books) -> None:
    assert await books.rows(with_position("SELECT 1 AS one, 2 AS two WHERE false;")) == [(None, None, None, 0)]
    assert await books.rows(with_position("SELECT 1 AS one, 2 AS two")) == [(1, 2, True, 0)]
    assert await books.rows(with_position("SELECT NULL")) == [(None, True, 0)]


@pytest.mark.parametrize("planner", PLANNERS)
async def test_rows_with_the_position_keep_their_order(books: Books, planner: str) -> None:
    """The numbers are in a random order, which no sort and no scan produces by itself."""
    random = "SELECT n FROM generate_series(1, 5000) n ORDER BY hashint4(n)"
    async with books.connection() as connection:
        await connection.execute(planner)
        expected = [row["n"] for row in await connection.fetch(random)]
        found = [row["n"] for row in await connection.fetch(with_position(random))]
    assert found == expected
    assert found != sorted(found)


@pytest.mark.parametrize("planner", PLANNERS)
async def test_every_query_with_position_is_a_loop_over_the_one_position(books: Books, planner: str) -> None:
    """The rows therefore come in the order of the query, whatever statistics Postgres has for the tables."""
    async with books.connection() as connection:
        await connection.execute(f"SET plan_cache_mode = force_generic_plan; {planner}")
        for file, name in WITH_POSITION:
            query = named(file)[name]
            arguments = ", ".join(["NULL"] * max(map(int, ARGUMENT.findall(query)), default=0))
            await connection.execute(f"PREPARE {name} AS {query}")
            explained = await connection.fetchval(
                f"EXPLAIN (FORMAT JSON) EXECUTE {name}{arguments and f'({arguments})'}"
            )
            await connection.execute(f"DEALLOCATE {name}")
            plan = parse_plan(explained)
            if plan.node_type == "Gather":  # One worker gets the one position and runs the whole query.
                (plan,) = plan.children
            assert (plan.node_type, plan.node["Join Type"]) == ("Nested Loop", "Left"), (file, name)
            (outer,) = [part for part in plan.children if part.node["Parent Relationship"] == "Outer"]
            assert {part.node.get("Relation Name", "checkpoint") for part in outer.nodes()} == {"checkpoint"}
