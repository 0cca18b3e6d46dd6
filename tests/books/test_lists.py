"""Lists are read along an index, with every filter and in books of any size."""

import itertools
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest

from ledger.books.fold import FOLIO_LINES
from ledger.books.lists import AFTER_ALL, BEFORE_ALL, LISTING_EARLIEST, QUERIES, QUERIES_BY_ORDER, Filters, access_path
from ledger.books.reader import SortOrder
from tests.books.books_database import Books
from tests.books.large_books import (
    AGGREGATE_COUNT,
    BUSY_MEMBER,
    ENTRY_COUNT,
    GATHERING_COUNT,
    LARGE_COMMUNITY,
    MEMBER_COUNT,
    QUIET_MEMBER,
    SMALL_COMMUNITY,
)
from tests.books.query_plans import Values, explain

pytestmark = pytest.mark.slow  # The large books take long to generate.

ALONG: Final[dict[str, set[str]]] = {
    "everything": {"one_aggregate_per_beginning"},
    "by_state": {"aggregates_by_state"},
    "by_topic": {"one_topic_per_tag", "one_aggregate_per_beginning"},
    "by_gathering": {"aggregates_by_gathering"},
    "by_member": {"aggregates_by_party_1", "aggregates_by_party_2", "aggregates_by_party_3"},
    "by_tag": {"tags_by_name", "aggregates_by_party_1"},
    "recorded_before": {"events_by_time"},
}
"""Indexes of each access path. The topics of the rows that it yields may be looked up, each by its key."""
IN_ORDER: Final = frozenset[str]().union(*ALONG.values(), {"claims_by_receiver"})
"""Indexes in the order in which aggregates began. The planner may choose another of them when it knows the values."""
SORTED: Final = {"by_tag": ["aggregate.began"]}
"""The tag index yields members in the order of names, so these rows are sorted: members, not their aggregates."""
GATHERING: Final = UUID(int=MEMBER_COUNT + 7)
ORDERS: Final[tuple[SortOrder, ...]] = ("oldest", "newest")
STATES: Final = {
    "favour": ("posted", "claimed", "forgiven", "never"),
    "intro": ("asked", "made", "never"),
    "member": ("active", "left"),
}
ROLES: Final = {"favour": "receiver", "intro": "target", "member": "member"}


@pytest.fixture
async def connection(large_books: Books) -> AsyncIterator["asyncpg.Connection[Any]"]:
    async with large_books.connection() as connection:
        yield connection


def narrowed(kind: str, member: str) -> Iterator[Filters]:
    """Yield every combination of filters."""
    choices: dict[str, tuple[Any, ...]] = {
        "member": (None, member),
        "role": (None, ROLES[kind]),
        "state": (None, *STATES[kind]),
        "gathering": (None,) if kind == "member" else (None, GATHERING),
        "tag": (None,) if kind == "favour" else (None, "tag-3", "tag-404"),
        "within": (None,) if kind == "member" else (None, "m5"),
    }
    for values in itertools.product(*choices.values()):
        filters = Filters(**dict(zip(choices, values, strict=True)))
        if filters.role is None or filters.member is not None:
            yield filters


async def test_the_large_books_are_what_the_tests_take_them_for(large_books: Books) -> None:
    counts = {
        "aggregate": AGGREGATE_COUNT,
        "journal": AGGREGATE_COUNT + ENTRY_COUNT,
        "posting": 2 * ENTRY_COUNT,
        "aggregate WHERE gathering IS NOT NULL AND kind = 'intro'": None,
        f"posting WHERE member = '{BUSY_MEMBER}'": None,
        f"folio WHERE member = '{BUSY_MEMBER}'": None,
    }
    found = {what: await large_books.value(f"SELECT count(*) FROM {what}") for what in counts}
    assert {what: found[what] for what in counts if counts[what]} == {what: n for what, n in counts.items() if n}
    assert found[f"posting WHERE member = '{BUSY_MEMBER}'"] >= 100_000
    assert (
        found[f"folio WHERE member = '{BUSY_MEMBER}'"]
        == found[f"posting WHERE member = '{BUSY_MEMBER}'"] // FOLIO_LINES
    )
    assert await large_books.value("SELECT sum(points) FROM posting") == 0
    assert await large_books.value("SELECT position FROM checkpoint") == AGGREGATE_COUNT + ENTRY_COUNT
    assert await large_books.value("SELECT count(DISTINCT gathering) FROM aggregate") == GATHERING_COUNT
    last = "SELECT points, given, received FROM posting WHERE member = $1"
    lines = """
        SELECT sum(main), sum(given), sum(received) FROM (
            SELECT DISTINCT ON (folio) main, given, received FROM folio_line WHERE member = $1
            ORDER BY folio, happened_at DESC, position DESC, leg DESC
        ) l
    """
    until = "(SELECT max(until) FROM folio WHERE member = $1)"
    sums = f"SELECT sum(points), sum(given), sum(received) FROM ({last} AND position <= {until}) p"
    assert await large_books.rows(lines, BUSY_MEMBER) == await large_books.rows(sums, BUSY_MEMBER)


@pytest.mark.parametrize("values", ["known", "unknown"])
@pytest.mark.parametrize("kind", ["favour", "intro", "member"])
async def test_every_list_is_read_along_an_index(
    connection: "asyncpg.Connection[Any]", kind: str, values: Values
) -> None:
    gone: set[str] = set()
    planned: set[tuple[str, SortOrder]] = set()
    for filters in {**dict.fromkeys(narrowed(kind, BUSY_MEMBER)), **dict.fromkeys(narrowed(kind, QUIET_MEMBER))}:
        query, others = access_path(kind, filters)
        gone.add(query)
        for order, community in itertools.product(ORDERS, (LARGE_COMMUNITY, SMALL_COMMUNITY)):
            if values == "unknown" and (query, order) in planned:
                continue  # A plan for unknown values does not depend on the arguments.
            planned.add((query, order))
            arguments = (community, kind, BEFORE_ALL, AFTER_ALL, LISTING_EARLIEST, 501, *others)
            plan = await explain(connection, QUERIES_BY_ORDER[order][query], *arguments, values=values)
            asked = (filters, order, community)
            assert plan.sequential_scans == set(), asked
            assert plan.bitmap_scans == set(), asked
            assert [key.removesuffix(" DESC") for key in plan.unlimited_sorts] == SORTED.get(query, []), asked
            if values == "known":
                assert plan.indexes <= IN_ORDER, asked
            else:
                assert plan.indexes - {"one_topic_per_tag"} == ALONG[query] - {"one_topic_per_tag"}, asked
                assert ALONG[query] <= plan.indexes, asked
    ways = {"favour": {"by_state"}, "intro": {"by_topic", "by_state"}, "member": {"by_state", "by_tag"}}[kind]
    gatherings = {"by_gathering"} if kind != "member" else set[str]()
    assert gone == {"everything", "by_member", *gatherings, *ways}


@pytest.mark.parametrize("values", ["known", "unknown"])
async def test_a_page_begins_where_the_last_one_ended_without_reading_up_to_there(
    connection: "asyncpg.Connection[Any]", values: Values
) -> None:
    """This holds for any page. The bounds are conditions of the index, not filters on the rows that it yields."""
    for kind, order in itertools.product(("favour", "intro"), ORDERS):
        for filters in narrowed(kind, BUSY_MEMBER):
            query, others = access_path(kind, filters)
            low, high = (AGGREGATE_COUNT // 2, AFTER_ALL) if order == "oldest" else (BEFORE_ALL, AGGREGATE_COUNT // 2)
            arguments = (LARGE_COMMUNITY, kind, low, high, LISTING_EARLIEST, 501, *others)
            plan = await explain(connection, QUERIES_BY_ORDER[order][query], *arguments, values=values)
            index = {"by_topic": {"one_topic_per_tag"}}.get(query, IN_ORDER - {"one_topic_per_tag"})
            scans = [node.node for node in plan.nodes() if node.node.get("Index Name") in index]
            paged = [scan for scan in scans if "began = " not in scan["Index Cond"]]
            assert paged
            for scan in paged:
                assert "began > " in scan["Index Cond"], (query, filters)
                assert "began < " in scan["Index Cond"], (query, filters)


async def test_where_since_begins_is_found_by_the_index_on_time(connection: "asyncpg.Connection[Any]") -> None:
    at = datetime(2020, 3, 1, tzinfo=UTC)
    for values in ("known", "unknown"):
        plan = await explain(connection, QUERIES["recorded_before"], at, values=values)
        assert (plan.indexes, plan.sequential_scans, plan.unlimited_sorts) == (ALONG["recorded_before"], set(), [])


def test_of_every_query_it_is_known_along_which_index_it_goes() -> None:
    assert ALONG.keys() == QUERIES.keys()


def test_every_list_can_be_turned_round() -> None:
    for name, query in QUERIES.items():
        turned = QUERIES_BY_ORDER["newest"][name]
        assert turned.count("ORDER BY began DESC") == query.count("ORDER BY began") == turned.count("ORDER BY began")
        assert (turned != query) is (name != "recorded_before")
