"""Process signals: runs the work of a process until a signal stops it."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any


async def until_stopped(work: Coroutine[Any, Any, None], *, with_parent: bool = False) -> None:
    """Run `work` until it ends, or until SIGINT or SIGTERM cancels it.

    `with_parent`: the end of standard input cancels it too. The parent has the other end of that pipe, so its children
    stop even if the parent is killed.
    Raises: what `work` raises. After a cancellation by a signal, it returns normally.
    """
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        task.cancel()

    def on_standard_input() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin)  # A closed pipe stays readable, so this would run again and again.
            stop()

    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop)

    if with_parent:
        loop.add_reader(sys.stdin, on_standard_input)
    try:
        await task
    except asyncio.CancelledError:
        if not stopped:
            task.cancel()
            raise
    finally:
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(signum)
        if with_parent:
            loop.remove_reader(sys.stdin)
