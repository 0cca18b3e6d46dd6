"""The schema refuses invalid rows by a named constraint. Its views are stable, and its connections have limits."""

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any, Final, get_args

import asyncpg
import pytest

from deploy.embedded.ports import free_port
from ledger.books.changes import POSTING_COLUMNS
from ledger.books.connection import BooksUnavailable, close, connect, connection_options
from ledger.books.queries import named
from ledger.domain.kinds.intro.commands import ProposeIntro
from ledger.domain.kinds.referral import GiveReferral
from ledger.domain.values.points import Account
from ledger.runtime.settings import BooksAddress
from tests.books.books_database import Books
from tests.books.histories import CommandLog, uuid_of
from tests.envelopes import NOW

A_UUID: Final = "'00000000-0000-0000-0000-000000000001'"


# Limits of connections


async def test_a_connection_says_who_it_is(books: Books) -> None:
    async with connect(books.address, "somebody") as connection:
        assert await connection.fetchval("SHOW application_name") == "referral-ledger somebody"
        assert await connection.fetchval("SELECT current_schema()") == books.schema
        assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "1min"


def test_every_connection_has_time_outs() -> None:
    options = connection_options("books", "somebody")
    assert options["timeout"] > 0
    assert options["command_timeout"] > 0


async def test_a_connection_to_no_server_is_unavailable() -> None:
    with pytest.raises(BooksUnavailable):
        async with connect(BooksAddress(f"postgresql://postgres@127.0.0.1:{free_port()}/postgres", "books"), "test"):
            pass


async def test_closing_does_not_wait_for_a_server_that_no_longer_answers(books: Books) -> None:
    connection = await asyncpg.connect(books.dsn, **connection_options(books.schema, "test"))
    backend = connection.get_server_pid()
    os.kill(backend, signal.SIGSTOP)
    try:
        async with asyncio.timeout(5):
            await close(connection)
    finally:
        with suppress(ProcessLookupError):
            os.kill(backend, signal.SIGCONT)
    assert connection.is_closed()


# Refusals by constraint name

AGGREGATE: Final = (
    "INSERT INTO aggregate (community, kind, id, version, position, began, began_at, state, facts)"
    f" VALUES ('acme', 'favour', {A_UUID}, 1, 1, 1, now(), 'posted', '{{}}')"
)
JOURNAL: Final = f"INSERT INTO journal VALUES (1, now(), 'acme', {{}}, 'favour.thanked', {A_UUID}, '{{{{}}}}')"
FOLIO: Final = "INSERT INTO folio VALUES ('acme', 'ada', 1, 0, {})"
FOLIO_LINE: Final = "INSERT INTO folio_line VALUES ('acme', 'ada', 1, '2026-01-01Z', 1, 0, NULL, 0, 0, 0, 0, 0)"
TOPIC: Final = "INSERT INTO topic VALUES ('acme', 'intro', 'law', 1)"
DEADLINE: Final = f"INSERT INTO deadline VALUES ('acme', 'favour', {A_UUID}, now())"
TAG: Final = "INSERT INTO tag VALUES ('acme', 'ada', '{}', 'law')"
PAIR: Final = "INSERT INTO pair VALUES ('acme', {}, 0, 0, 0, 0)"
BALANCE: Final = (
    "INSERT INTO balance (community, member, main, stake, given, received, disputed, recent_given, recent_received,"
    " settled, kept, broken, postings, first) VALUES ('acme', 'ada', {}, 0, 0, 0, 0, 0, 0, 1, 1)"
)


def entry(*legs: tuple[int, int], account: str = "main") -> str:
    """Return the statement that posts these legs, each a position and points."""
    rows = [
        f"({position}, {leg}, 'acme', 'm{leg}', '{account}', 'ada', {points}, 0, 0, 0, now(), 'favour.thanked', NULL)"
        for leg, (position, points) in enumerate(legs)
    ]
    return f"INSERT INTO posting ({', '.join(POSTING_COLUMNS)}) VALUES {', '.join(rows)}"


REFUSED: Final = {
    "one_checkpoint": "INSERT INTO checkpoint (position) VALUES (0)",
    "only_one_checkpoint": "INSERT INTO checkpoint (one, position) VALUES (false, 0)",
    "position_is_not_negative": f"UPDATE checkpoint SET position = -1, event_id = {A_UUID}",
    "event_id_except_at_zero": "UPDATE checkpoint SET position = 1",
    "one_event_per_position": "; ".join([JOURNAL.format(0)] * 2),
    "previous_is_before_position": JOURNAL.format(1),
    "one_folio_per_number": "; ".join([FOLIO.format(1)] * 2),
    "a_folio_is_not_empty": FOLIO.format(0),
    "one_line_per_posting": f"{FOLIO_LINE}; {FOLIO_LINE}",
    "one_topic_per_tag": f"{TOPIC}; {TOPIC}",
    "one_aggregate_per_beginning": f"{AGGREGATE}; {AGGREGATE.replace('000001', '000002')}",
    "known_account": entry((1, 5), (1, -5), account="savings"),
    "points_are_not_zero": entry((1, 0)),
    "one_posting_per_leg": f"{entry((1, 5), (1, -5))}; {entry((1, 5), (1, -5))}",
    "entries_sum_to_zero": entry((1, 5), (1, -4)),
    "stake_is_not_negative": BALANCE.format("0, -1, 0, 0"),
    "given_is_not_negative": BALANCE.format("0, 0, -1, 0"),
    "received_is_not_negative": BALANCE.format("0, 0, 0, -1"),
    "one_balance_per_member": f"{BALANCE.format('0, 0, 0, 0')}; {BALANCE.format('0, 0, 0, 0')}",
    "one_row_per_pair": "; ".join([PAIR.format("'ada', 'bob', 1, 1")] * 2),
    "low_sorts_before_high": PAIR.format("'bob', 'ada', 1, 1"),
    "tallies_are_not_negative": PAIR.format("'ada', 'bob', 1, -1"),
    "one_aggregate_per_id": f"{AGGREGATE}; {AGGREGATE.replace('1, 1, 1, now()', '1, 2, 2, now()')}",
    "one_deadline_per_aggregate": f"{DEADLINE}; {DEADLINE}",
    "known_side": TAG.format("have"),
    "one_tag_per_side": f"{TAG.format('want')}; {TAG.format('want')}",
    "append_only_postings": "DELETE FROM posting",
    "append_only_journal": "DELETE FROM journal",
}


async def refused(books: Books, sql: str) -> str:
    """Return the name of the constraint that refuses the statement."""
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as raised:
        await books.execute(sql)
    assert raised.value.constraint_name is not None
    return raised.value.constraint_name


async def test_what_must_not_be_is_refused_by_name(books: Books) -> None:
    before = await books.all_rows()
    assert {constraint: await refused(books, sql) for constraint, sql in REFUSED.items()} == {
        constraint: constraint for constraint in REFUSED
    }
    assert await books.all_rows() == before


RULES: Final = """
    SELECT conrelid::regclass::text AS of, conname AS name FROM pg_constraint
    WHERE connamespace = $1::text::regnamespace AND contype <> 'n'
    UNION ALL
    SELECT tgrelid::regclass::text, tgname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
    WHERE c.relnamespace = $1::text::regnamespace AND NOT tgisinternal
    UNION ALL
    SELECT i.indrelid::regclass::text, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE c.relnamespace = $1::text::regnamespace AND i.indisunique
"""
INDEXES: Final = "SELECT tablename, indexname FROM pg_indexes WHERE schemaname = $1::text"


async def test_every_constraint_and_index_has_a_name_of_ours(books: Books) -> None:
    names = await books.rows(f"{RULES} UNION ALL {INDEXES}", books.schema)
    assert len(names) > len(REFUSED)
    by_postgres = [
        (table, name)
        for table, name in names
        if name.startswith(f"{table}_") or name.endswith(("_pkey", "_key", "_check", "_fkey", "_excl", "_idx"))
    ]
    assert by_postgres == []


async def test_every_constraint_is_shown_here_by_what_it_refuses(books: Books) -> None:
    assert {name for _, name in await books.rows(RULES, books.schema)} == REFUSED.keys()


async def test_a_pair_that_is_not_two_in_the_order_of_code_points_is_refused(books: Books) -> None:
    for two in ("'ada', 'ada'", "'ada', 'Zoe'", "'ada', 'a-b'", "'a_b', 'aB'", "'a10', 'a1'"):
        assert await refused(books, PAIR.format(f"{two}, 1, 1")) == "low_sorts_before_high", two


async def test_the_order_of_two_is_that_of_code_points_whatever_the_language_of_the_database(books: Books) -> None:
    """The test database sorts by code points anyway. Other databases sort `Zoe` after `ada`.

    Such a database would refuse a pair that the writer orders correctly.
    """
    columns = "SELECT collation_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = 'pair'"
    assert await books.rows(f"{columns} AND column_name IN ('low', 'high')", books.schema) == [("C",), ("C",)]
    assert 'least($2 COLLATE "C", $3)' in named("reader")["pair"]


async def test_neither_of_two_gave_less_than_nothing(books: Books) -> None:
    for gave in ("-1, 0", "0, -1"):
        assert await refused(books, PAIR.format(f"'ada', 'bob', {gave}")) == "tallies_are_not_negative"


async def test_every_account_and_every_side_of_the_page_is_known(books: Books) -> None:
    for position, account in enumerate(get_args(Account)):
        await books.execute(entry((position, 5), (position, -5), account=account))
    assert await books.value("SELECT count(DISTINCT account) FROM posting") == 3
    for side in ("want", "offer"):
        await books.execute(TAG.format(side))
    assert await books.value("SELECT count(*) FROM tag") == 2


async def test_what_is_disputed_may_be_owed(books: Books) -> None:
    await books.execute(BALANCE.format("0, 0, 0, 0") + "; UPDATE balance SET disputed = -5, main = -5")
    assert await books.rows("SELECT net FROM member_balances") == [(-10,)]


# Entries


async def test_entries_that_balance_are_taken(books: Books) -> None:
    await books.execute(entry((1, 5), (1, -2), (1, -3), (2, 7), (2, -7)))
    assert await books.value("SELECT count(*) FROM posting") == 5


async def test_one_entry_must_not_make_good_for_another(books: Books) -> None:
    assert await refused(books, entry((1, 5), (2, -5))) == "entries_sum_to_zero"


async def test_a_leg_that_is_added_later_is_refused(books: Books) -> None:
    await books.execute(entry((1, 5), (1, -5)))
    late = entry((1, 5), (1, -5), (1, 1)).rpartition("), (")[2]
    assert await refused(books, f"INSERT INTO posting VALUES ({late}") == "entries_sum_to_zero"


async def test_a_copy_of_many_entries_with_one_wrong_leg_is_refused_whole(books: Books) -> None:
    rows: list[tuple[Any, ...]] = []
    for position in range(1, 501):
        points = 120 if position != 250 else 119
        rows += [
            (position, 0, "acme", "ada", "main", "bob", -120, 0, 120, 0, NOW, "favour.thanked", None),
            (position, 1, "acme", "bob", "main", "ada", points, 120, 0, 0, NOW, "favour.thanked", None),
        ]
    async with books.connection() as connection:
        with pytest.raises(asyncpg.CheckViolationError, match="position 250 does not sum to zero") as raised:
            await connection.copy_records_to_table("posting", records=rows, columns=POSTING_COLUMNS)
    assert raised.value.constraint_name == "entries_sum_to_zero"
    assert await books.value("SELECT count(*) FROM posting") == 0


@pytest.mark.parametrize("table", ["journal", "posting"])
@pytest.mark.parametrize("how", ["DELETE FROM {}", "UPDATE {} SET position = position + 100", "TRUNCATE {}"])
async def test_what_is_written_down_stays_as_it_is(books: Books, table: str, how: str) -> None:
    command_log = CommandLog()
    await command_log.thank_many(2)
    await books.write(await command_log.read_events())
    before = await books.all_rows()
    name = {"journal": "append_only_journal", "posting": "append_only_postings"}[table]
    assert await refused(books, how.format(table)) == name
    assert await books.all_rows() == before


# Public views

VIEWS: Final = {
    "member_balances": ["community", "member", "main", "stake", "disputed", "net", "given", "received"],
    "pair_balances": ["community", "member", "counterparty", "given", "received"],
    "entry_legs": [
        "position",
        "leg",
        "community",
        "member",
        "account",
        "counterparty",
        "points",
        "balance_after",
        "happened_at",
    ],
    **{
        view: ["community", "id", "version", "state", *parties, "gathering", "began_at", "facts"]
        for view, parties in {
            "favours": ["giver", "receiver"],
            "referrals": ["referrer", "recipient"],
            "intros": ["asker", "connector", "target"],
        }.items()
    },
}


@pytest.mark.parametrize("view", VIEWS)
async def test_reports_may_rely_on_the_columns_of_the_views(books: Books, view: str) -> None:
    columns = await books.rows(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2"
        " ORDER BY ordinal_position",
        books.schema,
        view,
    )
    assert [name for (name,) in columns] == VIEWS[view]


async def test_the_views_show_what_is_written(books: Books) -> None:
    command_log = CommandLog()
    await command_log.thank_many(2)
    await books.write(await command_log.read_events())
    assert await books.rows("SELECT member, net, given, received FROM member_balances ORDER BY member") == [
        ("ada", -240, 0, 240),
        ("bob", 240, 240, 0),
    ]
    assert await books.rows("SELECT member, counterparty, given, received FROM pair_balances ORDER BY member") == [
        ("ada", "bob", 0, 240),
        ("bob", "ada", 240, 0),
    ]
    assert await books.value("SELECT count(*) FROM entry_legs WHERE points > 0") == 2


async def test_the_views_of_a_kind_show_it_by_the_names_of_the_page(books: Books) -> None:
    command_log = CommandLog()
    await command_log.thank("ada", "bob", own_id=uuid_of(1))
    await command_log.execute(
        GiveReferral(actor="ada", referrer="ada", recipient="cyd", prospect="prospect-7", level=5)
    )
    await command_log.execute(ProposeIntro(actor="bob", asker="bob", connector="ada", target="dee", id=uuid_of(3)))
    await books.write(await command_log.read_events())
    assert await books.rows("SELECT id, state, giver, receiver FROM favours") == [(uuid_of(1), "posted", "ada", "bob")]
    assert await books.rows("SELECT state, referrer, recipient FROM referrals") == [("given", "ada", "cyd")]
    assert await books.rows("SELECT state, asker, connector, target FROM intros") == [("asked", "bob", "ada", "dee")]
