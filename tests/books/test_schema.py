"""The schema: it comes about once, says what it lacks, and refuses by name what must not be."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, get_args
from unittest.mock import Mock

import asyncpg
import pytest
from pogo_core.util import sql as pogo_sql

from deploy.embedded.ports import free_port
from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books.queries import named
from ledger.books.schema import (
    QUERIES,
    BooksUnavailable,
    SchemaMissing,
    close,
    connected,
    connection_options,
    migrate,
    require_schema,
)
from ledger.books.writer import POSTING, Checkpoint
from ledger.domain.kinds.intro.commands import ProposeIntro
from ledger.domain.kinds.referral import GiveReferral
from ledger.domain.values.points import Account
from tests.books.page import PageBooks, held_against_the_page
from tests.books.shown import Books, until
from tests.books.telling import NOW, Chronicle, RandomHistory, number

A_UUID: Final = "'00000000-0000-0000-0000-000000000001'"
KNOWN: Final = sorted(
    path.name.removesuffix(".sql") for path in (files("ledger.books") / "migrations").iterdir() if path.is_file()
)


@pytest.fixture
async def new_database(postgres: EmbeddedPostgres, schema: str) -> AsyncIterator[str]:
    """The address of a database that nobody has migrated anything in."""
    name = f"only_{schema}"
    async with connected(postgres.dsn, "public", "test") as connection:
        await connection.execute(f"CREATE DATABASE {name}")
    yield f"{postgres.dsn.rpartition('/')[0]}/{name}"
    async with connected(postgres.dsn, "public", "test") as connection:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def required(dsn: str, schema: str) -> str:
    """What `require_schema` says that is amiss; nothing, when it is content."""
    async with connected(dsn, schema, "test") as connection:
        try:
            await require_schema(connection, schema)
        except SchemaMissing as missing:
            return str(missing)
        return ""


# Coming about


async def test_migrating_again_applies_nothing(postgres: EmbeddedPostgres, schema: str) -> None:
    assert await migrate(postgres.dsn, schema) == KNOWN
    assert await migrate(postgres.dsn, schema) == []
    assert await required(postgres.dsn, schema) == ""


async def test_three_who_migrate_at_once_apply_everything_once(new_database: str, schema: str) -> None:
    """In a new database: there, what remembers the migrations is made first."""
    applied = await asyncio.gather(*(migrate(new_database, schema) for _ in range(3)))
    assert sorted(name for names in applied for name in names) == KNOWN
    assert await required(new_database, schema) == ""


async def test_three_schemas_may_be_migrated_at_once(postgres: EmbeddedPostgres, schema: str) -> None:
    schemas = [f"{schema}_{n}" for n in range(3)]
    assert await asyncio.gather(*(migrate(postgres.dsn, name) for name in schemas)) == [KNOWN] * 3


async def test_a_schema_that_was_dropped_begins_anew(books: Books) -> None:
    chronicle = Chronicle()
    await chronicle.thanks(2)
    await books.write(await chronicle.events())
    await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
    assert await migrate(books.dsn, books.schema) == KNOWN
    assert await books.position() == 0
    await books.write(await chronicle.events())
    assert await books.position() == 2


async def test_a_schema_that_was_dropped_and_made_again_by_hand_begins_anew(books: Books) -> None:
    await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
    await books.execute(f"CREATE SCHEMA {books.schema}")
    assert await migrate(books.dsn, books.schema) == KNOWN
    assert await books.position() == 0


async def test_a_schema_that_was_made_beforehand_is_taken(postgres: EmbeddedPostgres, schema: str) -> None:
    books = Books(postgres.dsn, schema)
    await books.execute(f"CREATE SCHEMA {schema}")
    assert await migrate(postgres.dsn, schema) == KNOWN
    assert await books.position() == 0


THE_FIRST: Final = "0001_the_books"
FILLED: Final = (
    f"INSERT INTO favour VALUES ('acme', {A_UUID}, 1, 1, 'posted', 'ada', 'bob', '{{}}')",
    "INSERT INTO journal VALUES (1, now(), '{}')",
    "INSERT INTO posting SELECT 1, n, 'acme', 'm' || n, 'main', NULL, 5 - 10 * n, 0, 0, 0 FROM generate_series(0, 1) n",
    "INSERT INTO balance VALUES ('acme', 'ada', 5, 0, 5, 0), ('acme', 'bob', -5, 0, 0, 5)",
    "INSERT INTO pair VALUES ('acme', 'ada', 'bob', 5, 0), ('acme', 'bob', 'ada', 0, 5)",
    f"UPDATE checkpoint SET position = 1, event_id = {A_UUID}",
)


@pytest.fixture
async def first_books(
    postgres: EmbeddedPostgres, schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Books:
    """Books as the first migration made them, with something in them."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    text = (files("ledger.books") / "migrations" / f"{THE_FIRST}.sql").read_text()
    (folder / f"{THE_FIRST}.sql").write_text(text)
    with monkeypatch.context() as patch:
        patch.setattr("ledger.books.schema.files", Mock(return_value=tmp_path))
        assert await migrate(postgres.dsn, schema) == [THE_FIRST]
    books = Books(postgres.dsn, schema)
    for statement in FILLED:
        await books.execute(statement)
    return books


async def test_books_of_the_first_migration_are_emptied_by_the_next_and_derived_anew(
    first_books: Books, schema: str
) -> None:
    books = first_books
    assert "lacks 0002_the_whole_domain" in await required(books.dsn, schema)
    assert await migrate(books.dsn, schema) == [name for name in KNOWN if name > THE_FIRST]
    assert await required(books.dsn, schema) == ""
    made_now = Books(books.dsn, f"{schema}_made_now")
    await migrate(made_now.dsn, made_now.schema)
    assert await books.everything() == await made_now.everything()
    events = await RandomHistory(7).tell(200)
    async with books.writer() as writer:
        assert await writer.checkpoint() == Checkpoint(0, None)
    await books.write(events)
    await made_now.write(events)
    assert await books.everything() == await made_now.everything()
    await held_against_the_page(books, PageBooks().record(events))


async def test_a_writer_of_the_first_books_must_not_go_on(first_books: Books) -> None:
    with pytest.raises(SchemaMissing, match="lacks 0002_the_whole_domain"):
        await first_books.write([])


SHAPE: Final = """
    SELECT table_name, column_name, data_type, is_nullable, collation_name FROM information_schema.columns
    WHERE table_schema = $1 ORDER BY table_name, ordinal_position
"""


async def test_books_that_were_migrated_have_the_shape_of_books_made_now(first_books: Books, schema: str) -> None:
    made_now = Books(first_books.dsn, f"{schema}_made_now")
    await migrate(made_now.dsn, made_now.schema)
    await migrate(first_books.dsn, schema)
    for query in (SHAPE, f"{RULES} ORDER BY 1, 2", f"{INDEXES} ORDER BY 1, 2"):
        found, expected = [await books.rows(query, books.schema) for books in (first_books, made_now)]
        assert [[str(word).removeprefix(f"{schema}.") for word in row] for row in found] == [
            [str(word).removeprefix(f"{made_now.schema}.") for word in row] for row in expected
        ]


async def test_two_schemas_stand_side_by_side(books: Books) -> None:
    beside = Books(books.dsn, f"{books.schema}_beside")
    await migrate(beside.dsn, beside.schema)
    chronicle = Chronicle()
    await chronicle.thanks(3)
    empty = await beside.everything()
    await books.write(await chronicle.events())
    assert await beside.everything() == empty
    await beside.write(await chronicle.events())
    assert await beside.everything() == await books.everything()


async def test_migrating_without_a_server_says_that_it_is_unavailable() -> None:
    with pytest.raises(BooksUnavailable):
        await migrate(f"postgresql://postgres@127.0.0.1:{free_port()}/postgres", "books")


async def test_a_connection_that_ends_while_it_waits_to_migrate_is_unavailable(books: Books) -> None:
    waiting = "FROM pg_stat_activity WHERE application_name = 'referral-ledger migrate' AND wait_event_type = 'Lock'"
    async with books.connection() as other:
        await other.execute(QUERIES["one_at_a_time"])
        migrating = asyncio.create_task(migrate(books.dsn, books.schema))
        await until(lambda: books.value(f"SELECT EXISTS (SELECT {waiting})"))
        await other.execute(f"SELECT pg_terminate_backend(pid) {waiting}")
        with pytest.raises(BooksUnavailable):
            await migrating


# Saying what is amiss


async def test_a_database_that_nobody_migrated_lacks_everything(new_database: str, schema: str) -> None:
    assert await required(new_database, schema) == (
        f"schema '{schema}' lacks {', '.join(KNOWN)}: run `referral-ledger migrate`"
    )


async def test_another_schemas_migrations_do_not_count(books: Books) -> None:
    assert "lacks 0001" in await required(books.dsn, f"{books.schema}_beside")


async def test_a_database_that_is_being_prepared_lacks_everything(new_database: str, schema: str) -> None:
    """The first migration of all makes its own table in two steps; whoever looks in between is told to wait."""
    async with connected(new_database, schema, "test") as connection:
        await pogo_sql.v0_upgrade(connection)
    assert "lacks 0001" in await required(new_database, schema)


async def test_a_schema_that_was_dropped_is_missing(books: Books) -> None:
    await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
    assert "referral-ledger migrate" in await required(books.dsn, books.schema)


async def test_a_schema_from_the_future_is_refused_by_the_name_of_what_is_new(books: Books) -> None:
    await books.execute(
        "INSERT INTO public._pogo_migration (migration_hash, migration_id, schema_name, applied)"
        " VALUES ('ff', '9999_from_the_future', $1, now())",
        books.schema,
    )
    assert await required(books.dsn, books.schema) == (
        f"schema '{books.schema}' is newer than this version: it has 9999_from_the_future"
    )


# Connections


async def test_a_connection_says_who_it_is(books: Books) -> None:
    async with connected(books.dsn, books.schema, "somebody") as connection:
        assert await connection.fetchval("SHOW application_name") == "referral-ledger somebody"
        assert await connection.fetchval("SELECT current_schema()") == books.schema
        assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "1min"


def test_every_connection_has_time_outs() -> None:
    options = connection_options("books", "somebody")
    assert options["timeout"] > 0
    assert options["command_timeout"] > 0


async def test_a_connection_to_no_server_is_unavailable() -> None:
    with pytest.raises(BooksUnavailable):
        async with connected(f"postgresql://postgres@127.0.0.1:{free_port()}/postgres", "books", "test"):
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


# Refusing by name

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
    """The statement that posts these legs, each a position and points."""
    rows = [
        f"({position}, {leg}, 'acme', 'm{leg}', '{account}', 'ada', {points}, 0, 0, 0, now(), 'favour.thanked', NULL)"
        for leg, (position, points) in enumerate(legs)
    ]
    return f"INSERT INTO posting ({', '.join(POSTING)}) VALUES {', '.join(rows)}"


REFUSED: Final = {
    "one_checkpoint": "INSERT INTO checkpoint (position) VALUES (0)",
    "only_one": "INSERT INTO checkpoint (one, position) VALUES (false, 0)",
    "position_is_not_negative": f"UPDATE checkpoint SET position = -1, event_id = {A_UUID}",
    "an_event_at_every_position_but_zero": "UPDATE checkpoint SET position = 1",
    "one_event_per_position": "; ".join([JOURNAL.format(0)] * 2),
    "the_previous_came_before": JOURNAL.format(1),
    "one_folio_per_number": "; ".join([FOLIO.format(1)] * 2),
    "a_folio_is_not_empty": FOLIO.format(0),
    "one_line_per_posting": f"{FOLIO_LINE}; {FOLIO_LINE}",
    "one_topic_per_tag": f"{TOPIC}; {TOPIC}",
    "one_aggregate_per_beginning": f"{AGGREGATE}; {AGGREGATE.replace('000001', '000002')}",
    "known_account": entry((1, 5), (1, -5), account="savings"),
    "points_are_moved": entry((1, 0)),
    "one_posting_per_leg": f"{entry((1, 5), (1, -5))}; {entry((1, 5), (1, -5))}",
    "entries_sum_to_zero": entry((1, 5), (1, -4)),
    "stake_is_not_negative": BALANCE.format("0, -1, 0, 0"),
    "given_is_not_negative": BALANCE.format("0, 0, -1, 0"),
    "received_is_not_negative": BALANCE.format("0, 0, 0, -1"),
    "one_balance_per_member": f"{BALANCE.format('0, 0, 0, 0')}; {BALANCE.format('0, 0, 0, 0')}",
    "one_row_per_pair": "; ".join([PAIR.format("'ada', 'bob', 1, 1")] * 2),
    "a_pair_is_two_in_order": PAIR.format("'bob', 'ada', 1, 1"),
    "tallies_are_not_negative": PAIR.format("'ada', 'bob', 1, -1"),
    "one_aggregate_per_id": f"{AGGREGATE}; {AGGREGATE.replace('1, 1, 1, now()', '1, 2, 2, now()')}",
    "one_deadline_per_aggregate": f"{DEADLINE}; {DEADLINE}",
    "known_side": TAG.format("have"),
    "one_tag_per_side": f"{TAG.format('want')}; {TAG.format('want')}",
    "postings_are_for_ever": "DELETE FROM posting",
    "the_journal_is_for_ever": "DELETE FROM journal",
}


async def refused(books: Books, sql: str) -> str:
    """The name of the constraint that refuses it."""
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as raised:
        await books.execute(sql)
    assert raised.value.constraint_name is not None
    return raised.value.constraint_name


async def test_what_must_not_be_is_refused_by_name(books: Books) -> None:
    before = await books.everything()
    assert {constraint: await refused(books, sql) for constraint, sql in REFUSED.items()} == {
        constraint: constraint for constraint in REFUSED
    }
    assert await books.everything() == before


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
        assert await refused(books, PAIR.format(f"{two}, 1, 1")) == "a_pair_is_two_in_order", two


async def test_the_order_of_two_is_that_of_code_points_whatever_the_language_of_the_database(books: Books) -> None:
    """Ours sorts like that anyway; others put `Zoe` after `ada`, and would refuse what the writer thinks in order."""
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
            await connection.copy_records_to_table("posting", records=rows, columns=POSTING)
    assert raised.value.constraint_name == "entries_sum_to_zero"
    assert await books.value("SELECT count(*) FROM posting") == 0


@pytest.mark.parametrize("table", ["journal", "posting"])
@pytest.mark.parametrize("how", ["DELETE FROM {}", "UPDATE {} SET position = position + 100", "TRUNCATE {}"])
async def test_what_is_written_down_stays_as_it_is(books: Books, table: str, how: str) -> None:
    chronicle = Chronicle()
    await chronicle.thanks(2)
    await books.write(await chronicle.events())
    before = await books.everything()
    name = {"journal": "the_journal_is_for_ever", "posting": "postings_are_for_ever"}[table]
    assert await refused(books, how.format(table)) == name
    assert await books.everything() == before


# The public face

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
    chronicle = Chronicle()
    await chronicle.thanks(2)
    await books.write(await chronicle.events())
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
    chronicle = Chronicle()
    await chronicle.thank("ada", "bob", own=number(1))
    await chronicle.say(GiveReferral(actor="ada", referrer="ada", recipient="cyd", prospect="prospect-7", level=5))
    await chronicle.say(ProposeIntro(actor="bob", asker="bob", connector="ada", target="dee", id=number(3)))
    await books.write(await chronicle.events())
    assert await books.rows("SELECT id, state, giver, receiver FROM favours") == [(number(1), "posted", "ada", "bob")]
    assert await books.rows("SELECT state, referrer, recipient FROM referrals") == [("given", "ada", "cyd")]
    assert await books.rows("SELECT state, asker, connector, target FROM intros") == [("asked", "bob", "ada", "dee")]
