"""A deadline that is moved far more often than it passes."""

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls `passed` once the time is over. To move it on costs next to nothing: one timer looks again when it rings.

    It may be moved to a later time only, or be lifted.
    """

    def __init__(self, passed: Callable[[], None]) -> None:
        self._passed = passed
        self._loop = asyncio.get_running_loop()
        self._due_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def move(self, within_s: float) -> None:
        self._due_at = self._loop.time() + within_s
        if self._timer is None:
            self._timer = self._loop.call_at(self._due_at, self._look)

    def lift(self) -> None:
        self._due_at = None

    def close(self) -> None:
        self.lift()
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self._due_at is None:
            return
        if self._loop.time() < self._due_at:
            self._timer = self._loop.call_at(self._due_at, self._look)
        else:
            self._due_at = None
            self._passed()
