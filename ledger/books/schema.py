"""The schema of the books: forward migrations."""

import logging
from importlib.resources import as_file, files
from typing import Any, Final

import asyncpg
from pogo_core.util import migrate as pogo
from pogo_core.util import sql as pogo_sql

from ledger.books.connection import SchemaMissing, connect, translating_errors
from ledger.books.queries import named
from ledger.runtime.settings import BooksAddress

NULL_LOGGER: Final = logging.getLogger("ledger.migrations")  # `migrate` returns what was applied.
NULL_LOGGER.addHandler(logging.NullHandler())
QUERIES: Final = named("schema")
# The migrations before the baseline. No released version has them. Their books are derived again.
UNRELEASED: Final = frozenset({"0001_the_books", "0002_the_whole_domain", "0003_reading", "0004_leaner_orders"})
MIGRATE_TIMEOUT_S: Final = 3_600.0  # Another process may be migrating, or a table may be large.


async def migrate(books: BooksAddress) -> list[str]:
    """Bring the schema up to date, and return the migrations that were applied. Several callers wait for each other.

    Raises: BooksUnavailable; SchemaMissing, with nothing changed, if the schema is newer than this version.
    """
    async with connect(books, "migrate", timeout_s=MIGRATE_TIMEOUT_S) as connection:
        with translating_errors():
            await connection.execute(QUERIES["lock_migrations"])
            await create_schema(connection, books.schema)
            before = await applied_migrations(connection, books.schema)
            with as_file(files("ledger.books") / "migrations") as folder:
                await pogo.apply(connection, folder, schema_name=books.schema, logger=NULL_LOGGER)
            return sorted(await applied_migrations(connection, books.schema) - before)


async def create_schema(connection: "asyncpg.Connection[Any]", schema: str) -> None:
    """Create the schema. Drop books that the unreleased migrations made.

    The tool's record of a schema without books is deleted, for example after the schema was dropped by hand.
    Raises: SchemaMissing, with nothing dropped, if the schema is newer than this version.
    """
    await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    seen = await applied_migrations(connection, schema)
    async with connection.transaction():
        has_books = await connection.fetchval(QUERIES["has_checkpoint"], schema)
        if has_books:
            refuse_newer(schema, seen - UNRELEASED)
        if has_books and seen & UNRELEASED:
            await connection.execute(QUERIES["drop_unreleased_books"])
            has_books = False
        if not has_books:
            for migration in seen:
                await pogo_sql.migration_unapplied(connection, migration, schema_name=schema)


async def applied_migrations(connection: "asyncpg.Connection[Any]", schema: str) -> set[str]:
    """Return the ids of the migrations that were applied to the schema."""
    await pogo_sql.ensure_pogo_sync(connection)
    return set(await pogo_sql.get_applied_migrations(connection, schema_name=schema))


def known_migrations() -> set[str]:
    """Return the ids of the migrations of this version."""
    return {path.name.removesuffix(".sql") for path in (files("ledger.books") / "migrations").iterdir()}


def refuse_newer(schema: str, seen: set[str]) -> None:
    """Raises: SchemaMissing, with the applied migrations that this version does not know."""
    if unknown := sorted(seen - known_migrations()):
        raise SchemaMissing(f"schema {schema!r} is newer than this version: it has {', '.join(unknown)}")


async def require_schema(connection: Any, schema: str) -> None:
    """Raises: SchemaMissing, with the migrations that are not applied, or that this version does not know."""
    with translating_errors():
        has_books = await connection.fetchval(QUERIES["has_checkpoint"], schema)
        seen = set(await pogo_sql.get_applied_migrations(connection, schema_name=schema)) if has_books else set[str]()
    if missing := sorted(known_migrations() - seen):
        raise SchemaMissing(f"schema {schema!r} lacks {', '.join(missing)}: run `referral-ledger migrate`")
    refuse_newer(schema, seen)
