"""Queries about the past and its explanations read along an index, for a history of any length."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import pytest

from ledger.books import entries, history
from ledger.books.fold import FOLIO_LINES
from ledger.books.lists import SKEW_MAX
from ledger.books.reader import SortOrder
from tests.books.books_database import Books
from tests.books.large_books import AGGREGATE_COUNT, BUSY_MEMBER, ENTRY_COUNT, LARGE_COMMUNITY, QUIET_MEMBER
from tests.books.query_plans import Values, explain, parse_plan

pytestmark = pytest.mark.slow  # The large books take long to generate.

KNOWN: Final = AGGREGATE_COUNT + ENTRY_COUNT - 10
AT: Final = datetime(2020, 7, 1, tzinfo=UTC)
PLACES: Final = ("{" + f'"{AT}"' + "}", "{5}", "{0}")
PERIOD: Final = (AT, 0, 0, datetime(2021, 1, 1, tzinfo=UTC), 0, 0)
SUMS: Final = (LARGE_COMMUNITY, BUSY_MEMBER, KNOWN, *PLACES)
LINES: Final = (LARGE_COMMUNITY, BUSY_MEMBER, KNOWN, *PERIOD, 101)
AN_ID: Final = "00000000-0000-0000-0000-000000000007"

SINCE: Final = {"one_folio_per_number", "one_posting_per_leg"}  # Indexes for the postings since the last full folio.

# By query: its arguments, and the indexes that its plan may read. The plan reads at least one of them.
ALONG: Final[dict[str, tuple[tuple[Any, ...], set[str]]]] = {
    "position_at": ((AT, SKEW_MAX), {"events_by_time"}),
    "member_sums": (SUMS, {"one_line_per_posting", *SINCE}),
    "pair_sums": ((*SUMS, QUIET_MEMBER), {"lines_by_pair", *SINCE}),
    "member_lines": (LINES, {"lines_by_time", *SINCE, "one_event_per_position"}),
    "pair_lines": ((*LINES, QUIET_MEMBER), {"lines_by_pair", *SINCE, "one_event_per_position"}),
    "last_position_of_member": ((LARGE_COMMUNITY, BUSY_MEMBER, KNOWN), {"one_posting_per_leg"}),
    "entry": ((LARGE_COMMUNITY, AN_ID), {"events_by_id"}),
    "legs": ((LARGE_COMMUNITY, f"{{{BUSY_MEMBER},{QUIET_MEMBER}}}", KNOWN), {"one_posting_per_leg"}),
    "aggregate_events": (
        (LARGE_COMMUNITY, "favour", AN_ID, KNOWN, 500),
        {"one_aggregate_per_id", "one_event_per_position"},
    ),
}
WALKS: Final = {"community_sums", "balance_parts"}
"""Queries that read all postings of a community or a member. They are for stewards and auditors, and documented so."""
QUERIES: Final = {**history.QUERIES, **entries.QUERIES}
FOLIOS: Final = {"folio"}  # Folios are few, and Postgres reads them whole where they are few.


@pytest.fixture
async def connection(large_books: Books) -> AsyncIterator["asyncpg.Connection[Any]"]:
    async with large_books.connection() as connection:
        yield connection


def test_of_every_query_it_is_known_how_it_reads() -> None:
    assert ALONG.keys() | WALKS == QUERIES.keys()


@pytest.mark.parametrize("values", ["known", "unknown"])
@pytest.mark.parametrize("order", history.QUERIES_BY_ORDER)
@pytest.mark.parametrize("name", ALONG)
async def test_the_past_is_read_along_an_index(
    connection: "asyncpg.Connection[Any]", name: str, order: SortOrder, values: Values
) -> None:
    arguments, along = ALONG[name]
    query = history.QUERIES_BY_ORDER[order].get(name) or entries.QUERIES[name]
    plan = await explain(connection, query, *arguments, values=values)
    assert plan.sequential_scans <= FOLIOS
    assert plan.indexes
    assert plan.indexes <= along


async def test_the_sums_of_a_busy_member_read_no_more_than_a_folio_of_their_postings(
    connection: "asyncpg.Connection[Any]",
) -> None:
    """One line of each folio stands for the other postings. The test compares the number of rows, not the time."""
    await connection.execute(f"PREPARE sums AS {QUERIES['member_sums']}")
    said = ", ".join([await connection.fetchval("SELECT quote_literal($1::text)", str(value)) for value in SUMS])
    told = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE sums({said})")
    scans = [
        node.node
        for node in parse_plan(told).nodes()
        if node.node.get("Relation Name") in {"posting", "folio_line"} and node.node["Actual Loops"]
    ]
    assert scans
    met = {scan["Relation Name"]: scan["Actual Rows"] * scan["Actual Loops"] for scan in scans}
    assert met["posting"] < FOLIO_LINES
    assert met["folio_line"] < 2 * ENTRY_COUNT / FOLIO_LINES
