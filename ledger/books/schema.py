"""The schema of the books: forward migrations, and connections that see it."""

import logging
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import as_file, files
from types import MappingProxyType
from typing import Any, ClassVar, Final

import asyncpg
from pogo_core.util import migrate as pogo
from pogo_core.util import sql as pogo_sql

from ledger.books.queries import named
from ledger.runtime.unavailable import Unavailable

SILENT: Final = logging.getLogger("ledger.migrations")  # What was applied, `migrate` answers.
SILENT.addHandler(logging.NullHandler())
QUERIES: Final = named("schema")
# The migrations before the baseline. No released version has them. Their books are derived again.
UNRELEASED: Final = frozenset({"0001_the_books", "0002_the_whole_domain", "0003_reading", "0004_leaner_orders"})
COMMAND_TIMEOUT_S: Final = 30.0
MIGRATE_TIMEOUT_S: Final = 3_600.0  # Others may be migrating, or a table be large.
NO_HINTS: Final[Mapping[str, str]] = MappingProxyType({})
CONNECT_TIMEOUT_S: Final = 5.0

# Whole classes of errors where Postgres has them: what ails a server or a transaction passes, and a right may be given,
# while we wait. What no waiting mends is none of these, but a bug.
UNREACHABLE: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # How a connection ends that was cut in the middle of an answer.
    asyncpg.PostgresConnectionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InvalidAuthorizationSpecificationError,  # A login, a database or a right may be given.
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.TransactionRollbackError,  # A deadlock, or a conflict of two transactions.
    asyncpg.InsufficientResourcesError,  # No disk, memory or connection is left.
    asyncpg.OperatorInterventionError,  # It shuts down, starts up, or a query is called off.
    asyncpg.PostgresSystemError,  # The disk fails.
)


class BooksUnavailable(Unavailable):
    """The books cannot be reached. Try again."""

    code = "books_unavailable"


class SchemaMissing(Exception):
    """The books are not set up as this version needs them. Run `referral-ledger migrate`."""

    code: ClassVar[str] = "schema_missing"


def connection_options(
    schema: str, name: str, timeout_s: float = COMMAND_TIMEOUT_S, planner: Mapping[str, str] = NO_HINTS
) -> dict[str, Any]:
    """How every connection to the books is made. A dead peer is noticed within about a minute."""
    return {
        "timeout": CONNECT_TIMEOUT_S,
        "command_timeout": timeout_s,
        "server_settings": {
            "search_path": schema,
            "application_name": f"referral-ledger {name}",
            "idle_in_transaction_session_timeout": "60s",
            "jit": "off",  # Our queries are short, and would be compiled anew each time they are thought to be long.
            "tcp_keepalives_idle": "30",
            "tcp_keepalives_interval": "10",
            "tcp_keepalives_count": "3",
            **planner,
        },
    }


@contextmanager
def reaching() -> Generator[None, None, None]:
    """Around whatever talks to Postgres: what goes wrong there is said in the words of the books."""
    try:
        yield
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError) as error:
        raise SchemaMissing(f"the books are not what they must be: {error}: run `referral-ledger migrate`") from error
    except UNREACHABLE as error:
        raise BooksUnavailable(repr(error)) from error


@asynccontextmanager
async def connected(
    dsn: str,
    schema: str,
    name: str,
    timeout_s: float = COMMAND_TIMEOUT_S,
    planner: Mapping[str, str] = NO_HINTS,
) -> AsyncGenerator["asyncpg.Connection[Any]", None]:
    """One connection of one's own.

    Raises: BooksUnavailable.
    """
    with reaching():
        connection = await asyncpg.connect(dsn, **connection_options(schema, name, timeout_s, planner))
    try:
        yield connection
    finally:
        await close(connection)


async def close(connection: "asyncpg.Connection[Any]") -> None:
    """Close politely, and without waiting for a server that no longer answers."""
    try:
        await connection.close(timeout=1.0)
    except UNREACHABLE:
        connection.terminate()


async def migrate(dsn: str, schema: str) -> list[str]:
    """Bring the schema up to date, and return the migrations that were applied. Several callers wait for each other.

    Raises: BooksUnavailable; SchemaMissing, with nothing changed, if the schema is newer than this version.
    """
    async with connected(dsn, schema, "migrate", timeout_s=MIGRATE_TIMEOUT_S) as connection:
        with reaching():
            await connection.execute(QUERIES["lock_migrations"])
            await create(connection, schema)
            before = await applied(connection, schema)
            with as_file(files("ledger.books") / "migrations") as folder:
                await pogo.apply(connection, folder, schema_name=schema, logger=SILENT)
            return sorted(await applied(connection, schema) - before)


async def create(connection: "asyncpg.Connection[Any]", schema: str) -> None:
    """Create the schema. Drop books that the unreleased migrations made.

    The tool's record of a schema without books is deleted, for example after the schema was dropped by hand.
    Raises: SchemaMissing, with nothing dropped, if the schema is newer than this version.
    """
    await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    seen = await applied(connection, schema)
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


async def applied(connection: "asyncpg.Connection[Any]", schema: str) -> set[str]:
    """Return the ids of the migrations that were applied to the schema."""
    await pogo_sql.ensure_pogo_sync(connection)
    return set(await pogo_sql.get_applied_migrations(connection, schema_name=schema))


def known_migrations() -> set[str]:
    """Return the ids of the migrations of this version."""
    return {path.name.removesuffix(".sql") for path in (files("ledger.books") / "migrations").iterdir()}


def refuse_newer(schema: str, seen: set[str]) -> None:
    """Raises: SchemaMissing, naming the applied migrations that this version does not know."""
    if unknown := sorted(seen - known_migrations()):
        raise SchemaMissing(f"schema {schema!r} is newer than this version: it has {', '.join(unknown)}")


async def require_schema(connection: Any, schema: str) -> None:
    """Raises: SchemaMissing, naming the migrations that were not applied yet, or that this version does not know."""
    with reaching():
        has_books = await connection.fetchval(QUERIES["has_checkpoint"], schema)
        seen = set(await pogo_sql.get_applied_migrations(connection, schema_name=schema)) if has_books else set[str]()
    if missing := sorted(known_migrations() - seen):
        raise SchemaMissing(f"schema {schema!r} lacks {', '.join(missing)}: run `referral-ledger migrate`")
    refuse_newer(schema, seen)
