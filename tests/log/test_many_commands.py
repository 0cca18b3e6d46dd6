"""Many commands at once: each succeeds or is refused alone, in its place and once."""

import asyncio
import gc
from datetime import timedelta
from uuid import uuid4

import msgspec

from ledger.commands.refusals import KeyMissing
from ledger.commands.submission import Outcome, Submission
from ledger.domain.kinds.favour import Claimed, Forgiven, Posted
from ledger.domain.kinds.favour import Refused as FavourRefused
from ledger.domain.kinds.referral import GiveReferral
from ledger.domain.values.refusals import NotYours, Refusal, SelfDealing, TimeInFuture, Unknown, WrongState
from ledger.log.event_log import EventLog
from ledger.log.memory import MemoryLog
from ledger.log.snapshot import load_aggregate
from tests.envelopes import NOW
from tests.log.samples import claim, confirm, submission_of
from tests.log.submissions import Outpaced, executor_on, give, on_both, outcomes

# Many commands


@on_both
async def test_each_of_many_succeeds_or_is_refused_alone_and_in_its_place(log: EventLog) -> None:
    one, other = uuid4(), uuid4()
    results = await executor_on(log).execute_all(
        [
            claim(id=one),
            claim(),  # No key, no id.
            confirm(one, actor="ada"),  # Not hers to confirm.
            confirm(one),
            claim(id=other, receiver="ada"),  # To herself.
            claim(id=other),
            confirm(uuid4()),
            confirm(one),
            submission_of("favour.refuse", id=one, actor="bob"),
            claim(key="k-1", occurred_at=NOW + timedelta(hours=1)),
            submission_of("favour.forgive", id=one, actor="ada"),
            claim(id=other),
        ]
    )
    assert outcomes(results) == [
        "recorded",
        KeyMissing.code,
        NotYours.code,
        "recorded",
        SelfDealing.code,
        "recorded",
        Unknown.code,
        "unchanged",
        WrongState.code,
        TimeInFuture.code,
        "recorded",
        "replayed",
    ]
    assert await log.end() == 4
    states = [type(result.state) for result in results if isinstance(result, Outcome)]
    assert states == [Claimed, Posted, Claimed, Posted, Forgiven, Claimed]
    assert {result.position for result in results if isinstance(result, Outcome)} == {1, 2, 3, 4}


@on_both
async def test_of_many_each_knows_what_those_before_it_have_done(log: EventLog) -> None:
    given = give(key="parent")
    assert isinstance(given.command, GiveReferral)
    parent = given.command.own_id("acme")
    assert parent is not None
    grown = give("prospect-8", actor="bob", referrer="bob", recipient="cyd", parent=parent, key="child")
    assert isinstance(grown.command, GiveReferral)
    child = grown.command.own_id("acme")
    assert child is not None
    favour = uuid4()
    submissions = [
        given,
        msgspec.structs.replace(grown, key="too-early"),
        submission_of("referral.qualify", id=parent, actor="bob", key="q"),
        submission_of("referral.win", id=parent, actor="bob", band="M", key="w"),
        grown,
        submission_of("referral.qualify", id=child, actor="cyd", key="q"),
        claim(id=favour, actor="bob", key="thanks"),
        submission_of("dispute.open", about=favour, entry="favour.thanked", actor="bob", code="not_mine", key="d"),
        submission_of("favour.forgive", id=favour, actor="ada", key="f"),
    ]
    told = ["recorded", "parent_not_won", *["recorded"] * 6, "under_dispute"]
    executor = executor_on(log)
    assert outcomes(await executor.execute_all(submissions)) == told
    assert await log.end() == 7
    again = ["replayed" if how == "recorded" else how for how in told]
    again[1] = "already_exists"
    assert outcomes(await executor.execute_all(submissions)) == again
    assert await log.end() == 7


async def test_of_many_that_are_outpaced_each_still_knows_what_those_before_it_have_done() -> None:
    log = Outpaced(2)
    given = give(key="parent")
    assert isinstance(given.command, GiveReferral)
    parent = given.command.own_id("acme")
    assert parent is not None
    executor = executor_on(log)
    grown = [
        give(f"prospect-{n}", actor="bob", referrer="bob", recipient="cyd", parent=parent, key=f"{n}")
        for n in range(100, 105)
    ]
    steps = [
        submission_of("referral.qualify", id=parent, actor="bob"),
        submission_of("referral.win", id=parent, actor="bob", band="M"),
    ]
    others = [claim(id=uuid4()) for _ in range(3)]
    results = await executor.execute_all([others[0], given, others[1], *steps, *grown, others[2]])
    assert outcomes(results) == ["recorded"] * 11
    assert await log.end() == 11


async def test_nothing_to_do_is_nothing_done() -> None:
    assert await executor_on(MemoryLog()).execute_all([]) == []


async def test_a_refusal_keeps_nothing_that_came_with_it() -> None:
    executor = executor_on(MemoryLog())
    gc.collect()
    before = [kept for kept in gc.get_objects() if isinstance(kept, Submission)]
    gc.disable()
    try:
        results = await executor.execute_all([claim(), claim(id=uuid4(), receiver="ada"), confirm(uuid4())])
        assert [result.__traceback__ for result in results if isinstance(result, Refusal)] == [None] * 3
        del results
        assert [kept for kept in gc.get_objects() if isinstance(kept, Submission)] == before
    finally:
        gc.enable()


@on_both
async def test_more_than_one_atomic_append_can_hold_are_carried_out_in_several(log: EventLog) -> None:
    submissions = [claim(id=uuid4()) for _ in range(1_001)]
    executor = executor_on(log)
    results = await executor.execute_all(submissions)
    assert [result.position for result in results if isinstance(result, Outcome)] == list(range(1, 1_002))
    assert set(outcomes(await executor.execute_all(submissions))) == {"replayed"}
    assert await log.end() == 1_001


# Many who ask


@on_both
async def test_fifty_who_answer_one_claim_at_once_come_to_one_event(log: EventLog) -> None:
    executor = executor_on(log)
    favour = uuid4()
    await executor.execute(claim(id=favour))
    results = await asyncio.gather(
        *(
            executor.execute(confirm(favour) if n % 2 else submission_of("favour.refuse", id=favour, actor="bob"))
            for n in range(50)
        ),
        return_exceptions=True,
    )
    answered = [result for result in results if isinstance(result, Outcome)]
    assert [result.how for result in answered].count("recorded") == 1
    assert [type(result) for result in results if not isinstance(result, Outcome)] == [WrongState] * 25
    assert [result.how for result in answered].count("unchanged") == 24
    assert len({type(result.state) for result in answered} & {Posted, FavourRefused}) == 1
    assert await log.end() == 2


@on_both
async def test_fifty_of_the_same_creation_at_once_come_to_one_event(log: EventLog) -> None:
    executor = executor_on(log)
    results = await asyncio.gather(*(executor.execute(claim(key="k-1")) for _ in range(50)))
    assert sorted(result.how for result in results) == ["recorded", *["replayed"] * 49]
    assert {(result.position, result.version) for result in results} == {(1, 1)}
    assert await log.end() == 1


@on_both
async def test_many_commands_of_several_callers_on_the_same_aggregates_are_all_answered_right(log: EventLog) -> None:
    executor = executor_on(log)
    favours = [uuid4() for _ in range(60)]

    def batch(caller: int) -> list[Submission]:
        shared = favours[caller * 8 : caller * 8 + 20]  # Each overlaps with the next two.
        return [claim(id=favour) for favour in shared] + [confirm(favour, key=f"c-{caller}") for favour in shared]

    batches = [batch(caller) for caller in range(6)]
    answers = await asyncio.gather(*(executor.execute_all(submissions) for submissions in batches))
    claimed = [answer for results in answers for answer in outcomes(results)[:20]]
    confirmed = [answer for results in answers for answer in outcomes(results)[20:]]
    assert (claimed.count("recorded"), claimed.count("replayed")) == (60, 60)
    assert (confirmed.count("recorded"), confirmed.count("unchanged")) == (60, 60)
    assert await log.end() == 120
    for submissions, results in zip(batches, answers, strict=True):
        for submission, result in zip(submissions, results, strict=True):
            assert isinstance(result, Outcome)
            event = await log.at(result.position)
            assert event is not None
            assert event.ref == result.ref
            assert load_aggregate(event).state == result.state
            assert submission.kind == result.ref.kind
