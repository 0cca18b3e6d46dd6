"""Consultation: the facts that the books hold about an ask, within a bounded time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

import structlog

from ledger.books.connection import BooksUnavailable, SchemaMissing
from ledger.books.people import People
from ledger.domain.kinds.intro.commands import ProposeIntro
from ledger.domain.values.advice import GuardFacts
from ledger.domain.values.policy import Policy

CONSULT_WITHIN_S: Final = 1.0  # Late advice on an ask is worse than none.

Consult = Callable[[str, ProposeIntro, Policy, datetime], Awaitable[GuardFacts | None]]
"""Facts about an ask, from community, ask, policy and time; None while the books do not respond."""

_log = structlog.get_logger()


async def no_books(_community: str, _ask: ProposeIntro, _policy: Policy, _now: datetime) -> None:
    """Return no facts: the reciprocity guard advises nothing."""


class BooksConsultation:
    """Reads the guard facts from the books, and gives up after `CONSULT_WITHIN_S`.

    After a time-out, it does not read the books for the same time again, because a batch may contain a thousand asks.
    """

    def __init__(self, people: People) -> None:
        self._people = people
        self._silent_until_s = 0.0
        self._abandoned: set[asyncio.Task[GuardFacts]] = set()

    async def facts(self, community: str, ask: ProposeIntro, policy: Policy, now: datetime) -> GuardFacts | None:
        """Return the facts, or None while the books do not respond. It is a `Consult`."""
        if time.monotonic() < self._silent_until_s:
            return None
        task = asyncio.create_task(self._people.facts(community, ask, policy, now))
        done, _ = await asyncio.wait({task}, timeout=CONSULT_WITHIN_S)
        if done:
            with suppress(BooksUnavailable, SchemaMissing):
                return task.result()
            return None
        self._silent_until_s = time.monotonic() + CONSULT_WITHIN_S
        task.cancel()  # Not awaited: while Postgres hangs, even the cancellation may hang.
        self._abandoned.add(task)
        task.add_done_callback(self._forget)
        return None

    def _forget(self, task: asyncio.Task[GuardFacts]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("the books did not respond to an ask in time", reason=repr(error))
