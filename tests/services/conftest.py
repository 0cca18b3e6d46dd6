"""Fixtures of a ledger: the application over an empty log and empty books, and a projector."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec
import pytest

from ledger.log.connection import Connection
from ledger.log.jetstream import JetStreamLog
from ledger.runtime.settings import Settings
from tests.services.caller import Caller, Clock, serving
from workers.projector import run_projector


@pytest.fixture
def clock() -> Clock:
    """Provide the clock of `ledger`."""
    return Clock()


@pytest.fixture
async def ledger(settings: Settings, clock: Clock) -> AsyncIterator[Caller]:
    """Provide the commands and queries of one community. Only `projector` moves the books."""
    # Only the tests that need it check whether the server fsyncs: the check takes a tenth of a second.
    async with serving("all", msgspec.structs.replace(settings, unsafe_log=True), clock) as client:
        yield Caller(client)


@pytest.fixture
def log(connection: Connection) -> JetStreamLog:
    return JetStreamLog(connection)


@pytest.fixture
async def projector(log: JetStreamLog, settings: Settings) -> AsyncIterator[None]:
    """Run a projector, so that the books follow the log."""
    task = asyncio.create_task(run_projector(log, settings))
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
