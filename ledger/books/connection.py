"""Connections to the books, and the errors of Postgres in the terms of the books."""

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

# Whole classes of errors where Postgres has them: what ails a server or a transaction passes, and a right may be given,
# while we wait. What no waiting mends is none of these, but a bug.
UNAVAILABLE_ERRORS: Final = (
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
    schema: str, name: str, timeout_s: float = COMMAND_TIMEOUT_S, planner: Mapping[str, str] = NO_PLANNER_SETTINGS
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
def translating_errors() -> Generator[None, None, None]:
    """Around whatever talks to Postgres: what goes wrong there is said in the words of the books."""
    try:
        yield
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError) as error:
        raise SchemaMissing(f"the books are not what they must be: {error}: run `referral-ledger migrate`") from error
    except UNAVAILABLE_ERRORS as error:
        raise BooksUnavailable(repr(error)) from error


@asynccontextmanager
async def connect(
    books: BooksAddress,
    name: str,
    timeout_s: float = COMMAND_TIMEOUT_S,
    planner: Mapping[str, str] = NO_PLANNER_SETTINGS,
) -> AsyncGenerator["asyncpg.Connection[Any]", None]:
    """One connection of one's own.

    Raises: BooksUnavailable.
    """
    with translating_errors():
        connection = await asyncpg.connect(books.dsn, **connection_options(books.schema, name, timeout_s, planner))
    try:
        yield connection
    finally:
        await close(connection)


async def close(connection: "asyncpg.Connection[Any]") -> None:
    """Close politely, and without waiting for a server that no longer answers."""
    try:
        await connection.close(timeout=1.0)
    except UNAVAILABLE_ERRORS:
        connection.terminate()
