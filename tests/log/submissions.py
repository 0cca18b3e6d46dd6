"""Submissions of a few members, an executor, and its counters."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from ledger.commands.executor import Executor
from ledger.commands.submission import Outcome, Submission
from ledger.domain.kinds.member import membership_id
from ledger.domain.values.policy import Policy
from ledger.domain.values.refusals import Refusal
from ledger.log.event_log import Append, Conflict, EventLog
from ledger.log.memory import MemoryLog
from tests.envelopes import NOW
from tests.log.samples import submission_of

on_both = pytest.mark.parametrize("log", ["memory", "jetstream_r1"], indirect=True)
MICROSECOND: Final = timedelta(microseconds=1)


def executor_on(log: EventLog, now: datetime = NOW) -> Executor:
    return Executor(log, lambda: now)


def give(prospect: str = "prospect-7", **fields: Any) -> Submission:
    """Return the submission of a referral of Ada to Bob."""
    whole: dict[str, Any] = {
        "actor": "ada",
        "referrer": "ada",
        "recipient": "bob",
        "prospect": prospect,
        "level": 3,
        **fields,
    }
    return submission_of("referral.give", **whole)


def join(**fields: Any) -> Submission:
    """Return the submission in which Ada joins."""
    return submission_of("member.join", **{"actor": "ada", "member": "ada", **fields})


def set_wants(*tags: str, **fields: Any) -> Submission:
    """Return the submission in which Ada states what she wants."""
    return submission_of("member.wants", id=membership_id("acme", "ada"), actor="ada", tags=tags, **fields)


def propose(**fields: Any) -> Submission:
    """Return the submission in which Ada asks Bob for Cyd. By Bob and with a level, it is an offer."""
    return submission_of(
        "intro.propose", **{"actor": "ada", "asker": "ada", "connector": "bob", "target": "cyd", **fields}
    )


def publish(policy: Policy, starts_at: datetime, **fields: Any) -> Submission:
    return submission_of("policy.publish", actor="mod", policy=policy, starts_at=starts_at, **fields)


def outcomes(results: Sequence[Outcome | Refusal]) -> list[str]:
    """Return how each submission ended: the code of its refusal, or `recorded` and the like."""
    return [result.code if isinstance(result, Refusal) else result.how for result in results]


class Clock:
    """The time of the ledger, which a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Outpaced(MemoryLog):
    """A log in which another writer is first, the next `times` times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.attempts = 0

    async def append(self, events: Sequence[Append]) -> list[int]:
        self.attempts += 1
        if self.times > 0:
            self.times -= 1
            raise Conflict
        return await super().append(events)
