"""Connections to the books. Errors of Postgres become errors of the books."""

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import Any, ClassVar, Final

import asyncpg

from ledger.runtime.settings import BooksAddress
from ledger.runtime.unavailable import Unavailable

COMMAND_TIMEOUT_S: Final = 30.0
NO_PLANNER_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})
CONNECT_TIMEOUT_S: Final = 5.0

# Errors that can pass while a caller waits: of the server, of a transaction, or of a missing right. Whole classes of
# Postgres errors are listed where they exist. An error that cannot pass is not listed, because it is a bug.
UNAVAILABLE_ERRORS: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # A connection was cut in the middle of a reply.
    asyncpg.PostgresConnectionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InvalidAuthorizationSpecificationError,  # An operator may yet create the login or grant the right.
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.TransactionRollbackError,  # A deadlock, or a conflict of two transactions.
    asyncpg.InsufficientResourcesError,  # No disk, memory or connection is left.
    asyncpg.OperatorInterventionError,  # The server shuts down or starts up, or a query was cancelled.
    asyncpg.PostgresSystemError,  # The disk fails.
)


class BooksUnavailable(Unavailable):
    """The books cannot be reached. Try again."""

    code = "books_unavailable"


class SchemaMissing(Exception):
    """The books are not set up as this version needs them. Run `referral-ledger migrate`."""

    code: ClassVar[str] = "schema_missing"


def connection_options(
    schema: str, name: str, timeout_s: float = COMMAND_TIMEOUT_S, planner: Mapping[str, str] = NO_PLANNER_SETTINGS
) -> dict[str, Any]:
    """Return the options of a connection to the books. A dead peer is noticed within about a minute."""
    return {
        "timeout": CONNECT_TIMEOUT_S,
        "command_timeout": timeout_s,
        "server_settings": {
            "search_path": schema,
            "application_name": f"referral-ledger {name}",
            "idle_in_transaction_session_timeout": "60s",
            "jit": "off",  # The queries are short. Postgres would compile one again whenever it expects a long run.
            "tcp_keepalives_idle": "30",
            "tcp_keepalives_interval": "10",
            "tcp_keepalives_count": "3",
            **planner,
        },
    }


@contextmanager
def translating_errors() -> Generator[None, None, None]:
    """Translate errors of Postgres into BooksUnavailable or SchemaMissing."""
    try:
        yield
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError) as error:
        raise SchemaMissing(f"the schema does not fit this version: {error}; run `referral-ledger migrate`") from error
    except UNAVAILABLE_ERRORS as error:
        raise BooksUnavailable(repr(error)) from error


@asynccontextmanager
async def connect(
    books: BooksAddress,
    name: str,
    timeout_s: float = COMMAND_TIMEOUT_S,
    planner: Mapping[str, str] = NO_PLANNER_SETTINGS,
) -> AsyncGenerator["asyncpg.Connection[Any]", None]:
    """Open a connection outside the pools.

    Raises: BooksUnavailable.
    """
    with translating_errors():
        connection = await asyncpg.connect(books.dsn, **connection_options(books.schema, name, timeout_s, planner))
    try:
        yield connection
    finally:
        await close(connection)


async def close(connection: "asyncpg.Connection[Any]") -> None:
    """Close the connection. Terminate it if the server does not respond within a second."""
    try:
        await connection.close(timeout=1.0)
    except UNAVAILABLE_ERRORS:
        connection.terminate()
