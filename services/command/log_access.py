"""The command service's access to the log: its connection, and the checks that the log is safe to append to."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from ledger.log.connection import Connection, connect_within
from ledger.log.event_log import LogUnavailable
from ledger.log.jetstream import JetStreamLog
from ledger.log.monitor import Monitor
from ledger.log.stream import StreamDrift, StreamMissing, require_stream
from ledger.runtime.settings import Settings
from services.http.health import NotDurable

CHECK_RETRY_S: Final = 0.5

_log = structlog.get_logger()


class LogAccess:
    """The log over a connection of its own, with the checks of `/readyz`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection = Connection(settings.nats_url, "command")
        self._monitor = Monitor(settings.nats_monitor_url)
        self.log = JetStreamLog(self._connection)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None, None]:
        """Keep the connection open, and check the stream once it exists."""
        async with self._connection, self._monitor:
            checking = asyncio.create_task(self._check_until_found())
            try:
                yield
            finally:
                checking.cancel()

    async def check(self) -> None:
        """Check that NATS responds, that the stream is as defined, and that it fsyncs before it acknowledges.

        Raises: LogUnavailable, StreamMissing, StreamDrift or NotDurable.
        """
        await require_stream(self._connection, self._settings.log_replicas)
        self.log.unfit = None  # The stream was corrected.
        if not self._settings.unsafe_log and not await self._monitor.fsyncs():
            raise NotDurable(
                "the sync_interval of NATS is not `always`; set LEDGER_UNSAFE_LOG=1 to accept the loss of events"
            )

    async def _check_until_found(self) -> None:
        """Check the stream once it exists; forbid appends if it is not as defined."""
        while True:
            try:
                await self._connection.ready()
                await require_stream(self._connection, self._settings.log_replicas)
            except (LogUnavailable, StreamMissing):
                await asyncio.sleep(CHECK_RETRY_S)
            except StreamDrift as drift:
                _log.error("not ready", reason=str(drift))
                self.log.unfit = str(drift)
                return
            else:
                return


async def require_no_drift(settings: Settings) -> None:
    """Check the definition of the stream before the start. A missing stream or NATS does not prevent the start.

    Raises: StreamDrift, if the stream is not as defined.
    """
    with suppress(LogUnavailable, StreamMissing, TimeoutError):
        async with connect_within(settings.nats_url, "check") as connection:
            await require_stream(connection, settings.log_replicas)
