"""A timer that is reset far more often than it fires."""

import asyncio
from collections.abc import Callable


class ResettableTimer:
    """Calls `fire` once its time is over. A reset costs next to nothing: one event-loop timer checks again later.

    A reset may only move the time to later. `stop` cancels it.
    """

    def __init__(self, fire: Callable[[], None]) -> None:
        self._fire = fire
        self._loop = asyncio.get_running_loop()
        self._due_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def reset(self, within_s: float) -> None:
        self._due_at = self._loop.time() + within_s
        if self._timer is None:
            self._timer = self._loop.call_at(self._due_at, self._check)

    def stop(self) -> None:
        self._due_at = None

    def close(self) -> None:
        self.stop()
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        self._timer = None
        if self._due_at is None:
            return
        if self._loop.time() < self._due_at:
            self._timer = self._loop.call_at(self._due_at, self._check)
        else:
            self._due_at = None
            self._fire()
