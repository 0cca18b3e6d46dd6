"""Process signals: run until told to stop."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any


async def until_stopped(work: Coroutine[Any, Any, None], *, with_parent: bool = False) -> None:
    """Run `work` until it ends, or until SIGINT or SIGTERM cancels it.

    `with_parent`: also when standard input ends, which is a pipe that the parent holds: a parent that is killed
    takes its children along. Raises: whatever `work` raises; a cancellation by signal is a clean end.
    """
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    told = False

    def stop() -> None:
        nonlocal told
        told = True
        task.cancel()

    def on_parent() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin)  # An ended pipe is readable for ever: once is enough.
            stop()

    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop)

    if with_parent:
        loop.add_reader(sys.stdin, on_parent)
    try:
        await task
    except asyncio.CancelledError:
        if not told:
            task.cancel()
            raise
    finally:
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(signum)
        if with_parent:
            loop.remove_reader(sys.stdin)
