"""Waits for conditions in Postgres, in NATS or in another process."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.02


async def wait_until(condition: Callable[[], Awaitable[bool]], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until the condition holds. Raises: TimeoutError, after `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110  No signal exists: the condition is outside this process.
            await asyncio.sleep(POLL_S)
