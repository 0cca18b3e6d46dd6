"""The policy in force: the executor decides by the policy that has started by its own time."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import pytest

from ledger.commands.decision import POLICY_CACHED_FOR
from ledger.commands.executor import Executor
from ledger.commands.submission import OCCURRED_AHEAD_MAX
from ledger.domain.kinds.favour import Claimed
from ledger.domain.kinds.publication import POLICY_NOTICE
from ledger.domain.values.policy import Policy
from ledger.envelope import AggregateRef, RecordedEvent
from ledger.log.event_log import EventLog
from ledger.log.memory import MemoryLog
from tests.envelopes import NOW
from tests.log.samples import claim
from tests.log.submissions import MICROSECOND, Clock, executor_on, on_both, publish


class PolicyReads(MemoryLog):
    """Counts how often it is asked for a policy."""

    count = 0

    async def last(self, refs: Sequence[AggregateRef], **how: Any) -> list[RecordedEvent | None]:
        self.count += sum(ref.kind == "policy" for ref in refs)
        return await super().last(refs, **how)


async def worth(executor: Executor, **fields: Any) -> int:
    """What a medium favour is worth now."""
    outcome = await executor.execute(claim(key=str(uuid4()), **fields))
    assert isinstance(outcome.state, Claimed)
    return outcome.state.points


async def policy_versions(log: EventLog) -> list[int]:
    events = [await log.at(position) for position in range(1, await log.end() + 1)]
    return [event.envelope.policyversion for event in events if event is not None]


DEARER: Final = Policy(size_points={"small": 1, "medium": 2, "large": 3})


@on_both
async def test_a_policy_is_decided_by_from_its_start_on_and_not_before_and_the_event_says_which(log: EventLog) -> None:
    clock = Clock()
    executor = Executor(log, clock)
    starts_at = NOW + POLICY_NOTICE
    assert await worth(executor) == 120
    await executor.execute(publish(DEARER, starts_at))
    assert await worth(executor) == 120
    for moment, points in ((starts_at - MICROSECOND, 120), (starts_at, 2), (starts_at + timedelta(days=99), 2)):
        clock.now = moment
        assert await worth(executor) == points
    assert await policy_versions(log) == [1, 1, 1, 1, 2, 2]


async def test_each_of_several_scheduled_policies_has_its_time() -> None:
    clock = Clock()
    executor = Executor(MemoryLog(), clock)
    for day, points in ((1, 10), (2, 20), (3, 30)):
        policy = Policy(size_points={"small": 0, "medium": points, "large": 0})
        await executor.execute(publish(policy, NOW + timedelta(days=day)))
    found: list[int] = []
    for hours in (23, 24, 47, 48, 71, 72):
        clock.now = NOW + timedelta(hours=hours)
        found.append(await worth(executor))
    assert found == [120, 10, 10, 20, 20, 30]


async def test_it_is_by_the_ledgers_time_and_not_by_the_callers_that_a_policy_is_chosen() -> None:
    clock = Clock()
    executor = Executor(MemoryLog(), clock)
    await executor.execute(publish(DEARER, NOW + POLICY_NOTICE))
    assert await worth(executor, occurred_at=NOW + OCCURRED_AHEAD_MAX) == 120
    clock.now = NOW + POLICY_NOTICE
    assert await worth(executor, occurred_at=NOW - timedelta(days=1)) == 2


async def test_a_policy_that_somebody_else_publishes_is_used_in_time_although_the_one_before_is_remembered() -> None:
    """However the reading and the publishing fall: what is remembered has gone stale before a new one can start."""
    assert POLICY_CACHED_FOR < POLICY_NOTICE
    for published_s in range(0, 61, 5):
        log, clock = MemoryLog(), Clock()
        executor, publisher = Executor(log, clock), Executor(log, clock)
        starts_at = NOW + timedelta(seconds=published_s) + POLICY_NOTICE
        for second in range(0, 200, 5):
            clock.now = NOW + timedelta(seconds=second)
            if second == published_s:
                await publisher.execute(publish(DEARER, starts_at))
            assert await worth(executor) == (2 if clock.now >= starts_at else 120), (published_s, second)


async def test_the_policy_is_remembered_for_less_than_its_notice_and_then_read_again() -> None:
    log, clock = PolicyReads(), Clock()
    executor = Executor(log, clock)
    for offset, reads in (
        (timedelta(0), 1),
        (POLICY_CACHED_FOR - MICROSECOND, 1),
        (POLICY_CACHED_FOR, 2),
        (2 * POLICY_CACHED_FOR - MICROSECOND, 2),
        (2 * POLICY_CACHED_FOR, 3),
        (timedelta(0), 4),  # A clock that was set back tells nothing about how old it is.
    ):
        clock.now = NOW + offset
        await worth(executor)
        assert log.count == reads, offset
    await worth(executor, community="umbrella")
    assert log.count == 5


async def test_no_more_policies_are_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.commands.decision.POLICIES_MAX", 2)
    log = PolicyReads()
    executor = executor_on(log)
    for community in ("aa", "bb", "bb", "cc", "cc", "aa"):
        await worth(executor, community=community)
    assert log.count == 4


async def test_a_policy_is_read_at_the_leader() -> None:
    class Stale(MemoryLog):
        """Has heard of no policy yet, unless it is the leader who is asked."""

        async def last(self, refs: Sequence[AggregateRef], *, fresh: bool = False) -> list[RecordedEvent | None]:
            found = await super().last(refs, fresh=fresh)
            return [last if fresh or ref.kind != "policy" else None for ref, last in zip(refs, found, strict=True)]

    log, clock = Stale(), Clock()
    await Executor(log, clock).execute(publish(DEARER, NOW + POLICY_NOTICE))
    clock.now = NOW + POLICY_NOTICE
    assert await worth(Executor(log, clock)) == 2


async def test_the_same_policy_published_again_is_already_so() -> None:
    log = MemoryLog()
    execute = executor_on(log).execute
    publication = publish(DEARER, NOW + POLICY_NOTICE)
    assert [(await execute(publication)).how for _ in range(2)] == ["recorded", "unchanged"]
    assert await log.end() == 1
