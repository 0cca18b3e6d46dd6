"""Waiting for what happens elsewhere: in Postgres, in NATS, in another process."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.02


async def wait_until(condition: Callable[[], Awaitable[bool]], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until the condition holds. Raises: TimeoutError, after `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110  Nothing signals it: it happens elsewhere.
            await asyncio.sleep(POLL_S)
