"""Comparison of the books in Postgres with the expected content."""

from collections import Counter, defaultdict
from itertools import groupby
from typing import Any, Final

from tests.books.books_database import Books
from tests.oracle.aggregates import Aggregate
from tests.oracle.expected_books import ExpectedBooks, Row
from tests.oracle.legs import ACCOUNTS, Leg

SUMS: Final = ("main", "stake", "disputed", "given", "received", "recent_given", "recent_received", "settled")
COUNTS: Final = ("kept", "broken", "postings", "first")
PAIR_SUMS: Final = ("low_gave", "high_gave", "low_helped", "high_helped", "contacts", "one_to_ones")


async def assert_books_match(books: Books, expected: ExpectedBooks) -> None:
    """Compare every table with the oracle, row by row. Compare the journal byte by byte."""
    position, *_, event_id, _body = expected.journal[-1]
    assert await books.rows("SELECT position, event_id::text FROM checkpoint") == [(position, event_id)]
    exactly = "(extract(epoch FROM recorded_at) * 1000000)::bigint"
    columns = f"position, {exactly}, community, previous, name, event_id::text, event::text"
    assert await books.rows(f"SELECT {columns} FROM journal ORDER BY position") == expected.journal
    await assert_postings_match(books, expected)
    await assert_tallies_match(books, expected)
    exactly = "(extract(epoch FROM began_at) * 1000000)::bigint"
    columns = f"community, kind, id::text, version, position, state, began, {exactly}"
    rows = await books.rows(f"SELECT {columns}, party_1, party_2, party_3, gathering::text FROM aggregate")
    assert {row[:3]: row[3:] for row in rows} == {key: row_of(found) for key, found in expected.aggregates.items()}
    assert set(await books.rows("SELECT community, kind, id::text, due_at FROM deadline")) == expected.deadlines
    assert set(await books.rows("SELECT community, member, side, tag FROM tag")) == expected.tags
    assert set(await books.rows("SELECT community, kind, tag, began FROM topic")) == expected.topics


def row_of(found: Aggregate) -> Row:
    """Return the columns of an aggregate's row after its key."""
    others = [member for member in found.facts.get("parties", []) if member not in found.parties]
    parties = (*found.parties, *others, None, None, None)[:3]
    return (found.version, found.position, found.state, found.began, found.began_at_us, *parties, found.gathering)


async def assert_tallies_match(books: Books, expected: ExpectedBooks) -> None:
    for table, keys, names, tallies in (
        ("balance", ("community", "member"), (*SUMS, *COUNTS), expected.tallies.members),
        ("pair", ("community", "low", "high"), PAIR_SUMS, expected.tallies.pairs),
    ):
        rows = await books.rows(f"SELECT {', '.join((*keys, *names))} FROM {table}")
        found = {row[: len(keys)]: dict(zip(names, row[len(keys) :], strict=True)) for row in rows}
        assert found == {key: {name: tally[name] for name in names} for key, tally in tallies.items()}


async def assert_postings_match(books: Books, expected: ExpectedBooks) -> None:
    """Compare the legs of every entry, in any order, and the running balance after each leg."""
    found: dict[int, Counter[Any]] = defaultdict(Counter)
    headings: dict[int, Row] = {}
    running: Counter[tuple[str, str, str]] = Counter()
    rows = await books.rows(
        "SELECT position, leg, community, member, account, counterparty, points, given, received, balance_after,"
        " happened_at, rule, gathering::text FROM posting ORDER BY position, leg"
    )
    for position, number, community, member, account, *rest, balance_after, happened_at, rule, gathering in rows:
        leg = Leg(member, account, *rest)
        assert number == found[position].total()
        found[position][leg] += 1
        running[community, member, account] += leg.points
        assert balance_after == running[community, member, account]
        heading = (happened_at, rule, gathering)
        assert headings.setdefault(position, heading) == heading
    assert found == expected.legs
    assert headings == expected.headings


async def assert_folios_match(books: Books, lines: int) -> None:
    """Compare the folios with the postings of each member, in the order of the log.

    A folio holds `lines` postings and never splits an entry. Its lines are in the order of happening.
    """
    folios: list[Row] = []
    folio_lines: list[Row] = []
    columns = "community, member, position, happened_at, leg, counterparty, account, points, given, received"
    rows = await books.rows(f"SELECT {columns} FROM posting ORDER BY community, member, position, leg")
    for (community, member), group in groupby(rows, key=lambda row: row[:2]):
        postings = [row[2:] for row in group]
        after = 0
        for number in range(1, len(postings) // lines + 1):
            until = postings[number * lines - 1][0]
            folios.append((community, member, number, after, until))
            sums: Counter[str] = Counter()
            for position, happened_at, leg, counterparty, account, *tallies in sorted(
                (row for row in postings if after < row[0] <= until), key=lambda row: (row[1], row[0], row[2])
            ):
                sums.update(dict(zip((account, "given", "received"), tallies, strict=True)))
                totals = (sums[name] for name in (*ACCOUNTS, "given", "received"))
                folio_lines.append((community, member, number, happened_at, position, leg, counterparty, *totals))
            after = until
    assert await books.rows("SELECT * FROM folio ORDER BY community, member, number") == folios
    keys = "community, member, folio, happened_at, position, leg"
    assert await books.rows(f"SELECT * FROM folio_line ORDER BY {keys}") == folio_lines
