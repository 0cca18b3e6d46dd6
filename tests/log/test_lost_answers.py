"""A log that fails: a command is recorded at most once, and is never called refused if it may be recorded."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from ledger.commands.executor import ATTEMPTS_MAX, Executor
from ledger.commands.refusals import Contended
from ledger.domain.kinds.publication import POLICY_NOTICE
from ledger.domain.values.advice import GuardFacts
from ledger.domain.values.policy import Policy
from ledger.envelope import AggregateRef, RecordedEvent
from ledger.log.event_log import Append, AppendUncertain, Conflict, LogUnavailable
from ledger.log.memory import MemoryLog
from tests.envelopes import NOW
from tests.log.reads import TIMEOUT_S
from tests.log.samples import claim, confirm
from tests.log.submissions import Outpaced, executor_on, outcomes, propose, publish
from tests.polling import wait_until


class Mumbling(MemoryLog):
    """Does not answer the next `times` times; what it then `stores` is another question."""

    def __init__(self, times: int, *, stores: bool) -> None:
        super().__init__()
        self.times = times
        self.stores = stores
        self.attempts = 0

    async def append(self, events: Sequence[Append]) -> list[int]:
        self.attempts += 1
        if self.times <= 0:
            return await super().append(events)
        self.times -= 1
        if self.stores:
            await super().append(events)
        raise AppendUncertain


async def test_a_command_that_others_outpace_a_few_times_is_carried_out() -> None:
    log = Outpaced(ATTEMPTS_MAX - 1)
    assert (await executor_on(log).execute(claim(key="k-1"))).how == "recorded"
    assert log.attempts == ATTEMPTS_MAX


async def test_a_command_that_others_always_outpace_is_given_up() -> None:
    log = Outpaced(1_000)
    with pytest.raises(Contended) as refused:
        await executor_on(log).execute(claim(id=UUID(int=7)))
    assert refused.value.facts == {"kind": "favour", "id": str(UUID(int=7))}
    assert log.attempts == ATTEMPTS_MAX
    assert await log.end() == 0


async def test_of_many_only_those_that_others_outpace_are_given_up() -> None:
    contended = str(uuid4())

    class OutpacedOnOne(MemoryLog):
        async def append(self, events: Sequence[Append]) -> list[int]:
            if any(event.ref.id == contended for event in events):
                raise Conflict
            return await super().append(events)

    submissions = [claim(id=uuid4()) for _ in range(9)]
    submissions.insert(4, claim(id=UUID(contended)))
    log = OutpacedOnOne()
    results = await executor_on(log).execute_all(submissions)
    assert outcomes(results) == [*["recorded"] * 4, Contended.code, *["recorded"] * 5]
    assert await log.end() == 9


@pytest.mark.parametrize("stores", [True, False])
async def test_a_command_whose_answer_was_lost_once_is_recorded_once(*, stores: bool) -> None:
    log = Mumbling(1, stores=stores)
    outcome = await executor_on(log).execute(claim(key="k-1"))
    assert (outcome.how, outcome.position, outcome.version) == ("recorded", 1, 1)
    confirmed = await executor_on(log).execute(confirm(outcome.ref.id))
    assert (confirmed.how, confirmed.position, confirmed.version) == ("recorded", 2, 2)
    assert await log.end() == 2


@pytest.mark.parametrize("stores", [True, False])
async def test_a_step_without_a_key_whose_answer_was_lost_is_recorded_once(*, stores: bool) -> None:
    log = Mumbling(0, stores=stores)
    outcome = await executor_on(log).execute(claim(key="k-1"))
    log.times = 1
    confirmed = await executor_on(log).execute(confirm(outcome.ref.id))
    assert (confirmed.how, confirmed.position, confirmed.version) == ("recorded", 2, 2)
    assert await log.end() == 2


@pytest.mark.parametrize("stores", [True, False])
async def test_many_whose_answer_was_lost_are_each_recorded_once(*, stores: bool) -> None:
    log = Mumbling(1, stores=stores)
    results = await executor_on(log).execute_all([claim(key=f"k-{n}") for n in range(10)])
    assert outcomes(results) == ["recorded"] * 10
    assert await log.end() == 10


async def test_a_command_whose_answer_was_lost_twice_is_said_to_be_uncertain_and_may_be_repeated() -> None:
    log = Mumbling(2, stores=False)
    with pytest.raises(AppendUncertain):
        await executor_on(log).execute(claim(key="k-1"))
    assert log.attempts == 2
    assert (await executor_on(log).execute(claim(key="k-1"))).how == "recorded"
    assert await log.end() == 1


async def test_what_may_be_recorded_is_never_said_to_be_refused() -> None:
    class Stored(Outpaced):
        async def append(self, events: Sequence[Append]) -> list[int]:
            if self.attempts < ATTEMPTS_MAX - 1:
                return await super().append(events)
            await MemoryLog.append(self, events)
            raise AppendUncertain

    log = Stored(1_000)
    try:
        outcome = await executor_on(log).execute(claim(key="k-1"))
    except AppendUncertain:
        pass
    else:
        assert outcome.how == "recorded"
    assert await log.end() == 1


async def test_what_may_be_recorded_is_uncertain_while_others_outpace_the_second_try() -> None:
    class ThenOutpaced(MemoryLog):
        attempts = 0

        async def append(self, events: Sequence[Append]) -> list[int]:
            self.attempts += 1
            raise AppendUncertain if self.attempts == 1 else Conflict

    for count in (1, 2):
        with pytest.raises(AppendUncertain):
            await executor_on(ThenOutpaced()).execute_all([claim(key=f"k-{n}") for n in range(count)])


async def test_what_may_be_recorded_is_uncertain_when_the_log_then_goes_away() -> None:
    class ThenGone(MemoryLog):
        gone = False

        async def last(self, refs: Sequence[AggregateRef], **how: Any) -> list[RecordedEvent | None]:
            if self.gone:
                raise LogUnavailable
            return await super().last(refs, **how)

        async def append(self, events: Sequence[Append]) -> list[int]:
            await super().append(events)
            self.gone = True
            raise AppendUncertain

    log = ThenGone()
    with pytest.raises(AppendUncertain):
        await executor_on(log).execute(claim(key="k-1"))
    assert await log.end() == 1


@pytest.mark.parametrize("count", [1, 3])
async def test_what_may_still_arrive_is_not_said_to_be_refused(count: int) -> None:
    """The guard is asked again after an answer was lost, and has nothing to go by any more."""

    class Late(MemoryLog):
        held: Sequence[Append] = ()

        async def append(self, events: Sequence[Append]) -> list[int]:
            if not self.held and events[0].ref.kind == "intro":
                self.held = events
                raise AppendUncertain
            return await super().append(events)

    log = Late()
    told: list[GuardFacts | None] = [None] * count + [GuardFacts(member="ada")] * count

    async def consult(*_: object) -> GuardFacts | None:
        return told.pop()

    early = NOW - timedelta(days=1)
    await executor_on(log, early).execute(publish(Policy(guard="enforce"), early + POLICY_NOTICE))
    with pytest.raises(AppendUncertain, match="guard_unavailable"):
        await Executor(log, lambda: NOW, consult).execute_all([propose(key=f"k-{n}") for n in range(count)])
    assert len(await log.append(log.held)) == count


async def test_nothing_is_recorded_while_the_log_is_away() -> None:
    class Gone(MemoryLog):
        async def last(self, refs: Sequence[AggregateRef], **how: Any) -> list[RecordedEvent | None]:
            raise LogUnavailable

    with pytest.raises(LogUnavailable):
        await executor_on(Gone()).execute(claim(key="k-1"))


async def test_a_repeat_waits_for_the_event_that_it_repeats() -> None:
    class Lagging(MemoryLog):
        behind = True

        async def at(self, position: int) -> RecordedEvent | None:
            return None if self.behind else await super().at(position)

    log = Lagging()
    once = await executor_on(log).execute(claim(key="k-1"))
    await executor_on(log).execute(confirm(once.ref.id))
    with pytest.raises(LogUnavailable, match="position 1"):
        await executor_on(log).execute(claim(key="k-1"))
    log.behind = False
    assert (await executor_on(log).execute(claim(key="k-1"))).how == "replayed"


async def test_a_caller_who_goes_away_does_not_stop_a_command_halfway() -> None:
    class Slow(MemoryLog):
        def __init__(self) -> None:
            super().__init__()
            self.reached = asyncio.Event()
            self.released = asyncio.Event()

        async def append(self, events: Sequence[Append]) -> list[int]:
            self.reached.set()
            await self.released.wait()
            return await super().append(events)

    log = Slow()
    executing = asyncio.create_task(executor_on(log).execute(claim(key="k-1")))
    async with asyncio.timeout(TIMEOUT_S):
        await log.reached.wait()
    executing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await executing
    assert await log.end() == 0
    log.released.set()

    async def recorded() -> bool:
        return await log.end() == 1

    await wait_until(recorded)
    assert (await executor_on(log).execute(claim(key="k-1"))).how == "replayed"
