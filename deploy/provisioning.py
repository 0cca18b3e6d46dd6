"""Provisioning: creates the stream of the log, unless a stream was lost."""

from contextlib import suppress

from ledger.books.connection import SchemaMissing, connect, translating_errors
from ledger.books.writer import QUERIES
from ledger.log.connection import connect_within
from ledger.log.stream import STREAM, StreamMissing, provision, require_stream
from ledger.runtime.settings import Settings


class StreamLost(Exception):
    """The books were written from a stream that no longer exists. Nothing was created."""


async def provision_stream(settings: Settings) -> bool:
    """Create the stream, or check the existing one. Return whether it was created.

    The books are read only if there is no stream.

    Raises: StreamDrift, if the stream has another definition; StreamLost; LogUnavailable, BooksUnavailable or
    TimeoutError, if a server does not respond in time. None of them changes anything.
    """
    async with connect_within(settings.nats_url, "provision") as connection:
        with suppress(StreamMissing):
            await require_stream(connection, settings.log_replicas)
            return False
        await require_nothing_lost(settings)
        return await provision(connection, settings.log_replicas)


async def require_nothing_lost(settings: Settings) -> None:
    """Check that the books contain no events.

    Raises: StreamLost, if they contain events; BooksUnavailable.
    """
    position = 0
    with suppress(SchemaMissing):
        async with connect(settings.books, "provision") as connection:
            with translating_errors():
                position = await connection.fetchval(QUERIES["position"]) or 0
    if position:
        raise StreamLost(
            f"The stream {STREAM} does not exist, but the books in schema {settings.postgres_schema} were written "
            f"from it, up to position {position:,}. Restore the log."
        )
