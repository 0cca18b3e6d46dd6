"""A ledger to call: the application over an empty log and empty books, with a projector beside it."""

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
    """The time that `ledger` goes by."""
    return Clock()


@pytest.fixture
async def ledger(settings: Settings, clock: Clock) -> AsyncIterator[Caller]:
    """Writes and reads of one community. Nothing moves the books but `projector`."""
    # Whether the server fsyncs is asked once, where it matters: asking costs a tenth of a second.
    async with serving("all", msgspec.structs.replace(settings, unsafe_log=True), clock) as client:
        yield Caller(client)


@pytest.fixture
def log(connection: Connection) -> JetStreamLog:
    return JetStreamLog(connection)


@pytest.fixture
async def projector(log: JetStreamLog, settings: Settings) -> AsyncIterator[None]:
    """The books follow the log."""
    task = asyncio.create_task(run_projector(log, settings))
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
