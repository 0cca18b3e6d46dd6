"""Making the log's stream: where there is none, and none was lost."""

from contextlib import suppress

from ledger.books.connection import SchemaMissing, connect, translating_errors
from ledger.books.writer import QUERIES
from ledger.log.connection import connect_within
from ledger.log.stream import STREAM, StreamMissing, provision, require_stream
from ledger.runtime.settings import Settings


class StreamLost(Exception):
    """The books were written from a stream that is gone. Nothing was made."""


async def provision_stream(settings: Settings) -> bool:
    """Make the stream, or check it; answers whether it was made.

    Raises: StreamDrift; StreamLost; LogUnavailable, BooksUnavailable or TimeoutError, when a server does not answer
    in time. The books are only asked where there is no stream.
    """
    async with connect_within(settings.nats_url, "provision") as connection:
        with suppress(StreamMissing):
            await require_stream(connection, settings.log_replicas)
            return False
        await require_nothing_lost(settings)
        return await provision(connection, settings.log_replicas)


async def require_nothing_lost(settings: Settings) -> None:
    """Raises: StreamLost, when there are books that were written from a stream; BooksUnavailable."""
    position = 0
    with suppress(SchemaMissing):
        async with connect(settings.books, "provision") as connection:
            with translating_errors():
                position = await connection.fetchval(QUERIES["position"]) or 0
    if position:
        raise StreamLost(
            f"The stream {STREAM} is not there, and the books in schema {settings.postgres_schema} were written from "
            f"it, up to position {position:,}. Restore the log."
        )
