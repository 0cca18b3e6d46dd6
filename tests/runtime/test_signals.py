"""Run until the work ends by itself or a signal stops it. A stop by signal is a clean end."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ledger.runtime.signals import until_stopped


class Work:
    """Work that runs until it is cancelled, and then cleans up."""

    def __init__(self) -> None:
        self.under_way = asyncio.Event()
        self.tidied_up = False

    async def run(self) -> None:
        try:
            self.under_way.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.tidied_up = True


@pytest.fixture(params=[(signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)])
def told(request: pytest.FixtureRequest) -> Iterator[tuple[signal.Signals, Any]]:
    """Yield a signal and its default handler.

    The fixture sets the default handler, since a shell can have set the signal to be ignored.
    """
    signum, usual = request.param
    inherited = signal.signal(signum, usual)
    yield request.param
    signal.signal(signum, inherited)


async def test_a_signal_ends_the_work_cleanly(told: tuple[signal.Signals, Any]) -> None:
    signum, before = told
    work = Work()
    running = asyncio.create_task(until_stopped(work.run()))
    await work.under_way.wait()
    os.kill(os.getpid(), signum)
    async with asyncio.timeout(5):
        await running
    assert work.tidied_up
    assert signal.getsignal(signum) is before


async def test_work_that_ends_by_itself_ends_it() -> None:
    async def briefly() -> None:
        await asyncio.sleep(0)

    async with asyncio.timeout(5):
        await until_stopped(briefly())


async def test_what_the_work_raises_is_raised() -> None:
    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await until_stopped(broken())
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_what_the_work_raises_while_it_is_stopped_is_raised() -> None:
    under_way = asyncio.Event()

    async def stubborn() -> None:
        try:
            under_way.set()
            await asyncio.Event().wait()
        finally:
            raise ValueError("not tidied up")

    running = asyncio.create_task(until_stopped(stubborn()))
    await under_way.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(ValueError, match="not tidied up"):
        await running


async def test_a_cancellation_that_is_no_signal_stays_one() -> None:
    work = Work()
    running = asyncio.create_task(until_stopped(work.run()))
    await work.under_way.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert work.tidied_up


async def test_a_parent_that_is_gone_takes_the_work_along(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        work = Work()
        running = asyncio.create_task(until_stopped(work.run(), with_parent=True))
        await work.under_way.wait()
        os.write(writing, b"still here")
        done, _ = await asyncio.wait([running], timeout=0.05)
        assert not done
        os.close(writing)
        async with asyncio.timeout(5):
            await running
    assert work.tidied_up
