"""Stale reads: a replica that lags refuses nothing and repeats nothing."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from deploy.embedded.nats import EmbeddedNats
from ledger.commands.executor import Executor
from ledger.commands.submission import fingerprint_of
from ledger.domain.kinds.favour import FavourConfirmed
from ledger.domain.values.refusals import NotYours, Refusal, WrongState
from ledger.envelope import AggregateRef, RecordedEvent
from ledger.log.connection import Connection
from ledger.log.event_log import Append
from ledger.log.jetstream import JetStreamLog
from ledger.log.memory import MemoryLog
from tests.conftest import fresh_stream
from tests.log.samples import claim, confirm, next_append, submission_of, with_fields
from tests.log.submissions import executor_on, give, join, set_wants


class Behind(MemoryLog):
    """The next read of what is last is answered by a replica that has not heard of the newest `events`."""

    def __init__(self) -> None:
        super().__init__()
        self.events = 0

    async def last(self, refs: Sequence[AggregateRef], **how: Any) -> list[RecordedEvent | None]:
        behind, self.events = self.events, 0
        if not behind:
            return await super().last(refs, **how)
        replica = MemoryLog()
        for position in range(1, await self.end() + 1 - behind):
            event = await self.at(position)
            assert event is not None
            (last,) = await replica.last([event.ref])
            subject = self._messages[position - 1][1]
            await replica.append([Append(event.ref, subject, event.body, event.snapshot, last.position if last else 0)])
        return await replica.last(refs)


async def test_a_repeat_that_is_loaded_from_behind_is_recorded_once() -> None:
    log = Behind()
    once = await executor_on(log).execute(claim(key="k-1"))
    log.events = 1
    assert await executor_on(log).execute(claim(key="k-1")) == msgspec.structs.replace(once, how="replayed")
    assert await log.end() == 1


async def test_a_step_that_is_loaded_from_behind_is_not_refused() -> None:
    log = Behind()
    once = await executor_on(log).execute(claim(key="k-1"))
    log.events = 1  # No favour yet, there.
    await executor_on(log).execute(confirm(once.ref.id))
    log.events = 1  # Still a claim, there.
    forgiven = await executor_on(log).execute(
        submission_of("favour.forgive", id=UUID(once.ref.id), actor="ada", if_match=2)
    )
    assert (forgiven.how, forgiven.version) == ("recorded", 3)
    log.events = 1  # Still owed, there.
    with pytest.raises(WrongState):
        await executor_on(log).execute(confirm(once.ref.id))


async def test_a_replica_that_stays_behind_keeps_nobody_from_the_next_step() -> None:
    class StaysBehind(Behind):
        async def last(self, refs: Sequence[AggregateRef], **how: Any) -> list[RecordedEvent | None]:
            self.events = 0 if how.get("fresh") else max(0, await self.end() - 1)
            return await super().last(refs, **how)

    log = StaysBehind()
    await executor_on(log).execute(join(key="k-1"))
    for n, tag in enumerate(("law", "tax", "law"), start=2):
        outcome = await executor_on(log).execute(set_wants(tag, key=f"k-{n}"))
        assert (outcome.how, outcome.version) == ("recorded", n)
    assert (await executor_on(log).execute(set_wants("tax", key="k-3"))).how == "replayed"
    assert (await executor_on(log).execute(claim(key="k-9"))).how == "recorded"
    assert (await executor_on(log).execute(claim(key="k-9"))).how == "replayed"


async def test_a_parent_that_is_loaded_from_behind_is_not_held_against_its_child() -> None:
    class ParentBehind(Behind):
        """Behind when it is asked for the parent, not when it is asked for the child."""

        parent = ""

        async def last(self, refs: Sequence[AggregateRef], **how: Any) -> list[RecordedEvent | None]:
            if [ref.id for ref in refs] == [self.parent]:
                self.events, self.parent = 1, ""
            return await super().last(refs, **how)

    log = ParentBehind()
    execute = executor_on(log).execute
    parent = UUID((await execute(give())).ref.id)
    await execute(submission_of("referral.qualify", id=parent, actor="bob"))
    await execute(submission_of("referral.win", id=parent, actor="bob", band="M"))
    log.parent = str(parent)
    child = await execute(give("prospect-8", actor="bob", referrer="bob", recipient="cyd", parent=parent))
    assert child.how == "recorded"


async def test_a_step_follows_its_creation_at_once_whichever_replica_is_asked(nats_cluster: list[EmbeddedNats]) -> None:
    await fresh_stream(nats_cluster[0], replicas=3)

    async def claim_and_confirm(executor: Executor) -> str:
        favour = uuid4()
        await executor.execute(claim(id=favour))
        (result,) = await executor.execute_all([confirm(favour)])
        return result.code if isinstance(result, Refusal) else result.how

    for server in nats_cluster:
        async with Connection(server.url, "test") as connection:
            await connection.ready()
            executor = executor_on(JetStreamLog(connection))
            for _ in range(10):
                answers = await asyncio.gather(*(claim_and_confirm(executor) for _ in range(20)))
                assert answers == ["recorded"] * 20


async def test_a_step_that_was_recorded_under_its_bare_key_is_met_again() -> None:
    """As steps were once written down: without the actor before the key."""
    log = MemoryLog()
    executor = executor_on(log)
    claim = submission_of("favour.record", giver="ada", receiver="bob", size="small", actor="ada", key="c")
    claimed = await executor.execute(claim)
    confirm = submission_of("favour.confirm", id=UUID(claimed.ref.id), actor="bob", key="k")
    other = submission_of("favour.confirm", id=UUID(claimed.ref.id), actor="cyd", key="k")
    last = await log.at(1)
    assert last is not None
    bare = next_append(last, FavourConfirmed(giver="ada", receiver="bob", points=60), key="k")
    await log.append([with_fields(bare, fingerprint=fingerprint_of(confirm))])
    assert (await executor.execute(confirm)).how == "replayed"
    with pytest.raises(NotYours):  # It is not told that somebody has used the key.
        await executor.execute(other)
