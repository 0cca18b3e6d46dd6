"""The executor: one command at a time becomes at most one event, decided by what others have recorded."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Final
from uuid import UUID, uuid4

import msgspec
import pytest
from prometheus_client import REGISTRY

from ledger.commands.executor import Executor
from ledger.commands.refusals import KeyReused, VersionMismatch
from ledger.commands.submission import OCCURRED_AHEAD_MAX, Submission
from ledger.domain.catalog.kinds import KINDS
from ledger.domain.kinds.favour import Claimed, LapseFavour, Posted
from ledger.domain.kinds.referral import Given, GiveReferral, Won
from ledger.domain.values.refusals import (
    AlreadyExists,
    Bug,
    NotDue,
    ParentNotWon,
    SelfDealing,
    TimeInFuture,
    TimeTooEarly,
    Unknown,
)
from ledger.envelope import AggregateRef
from ledger.log.event_log import EventLog
from ledger.log.memory import MemoryLog
from ledger.log.snapshot import load_aggregate
from tests.envelopes import NOW
from tests.log.reads import wait_for_last_event
from tests.log.samples import claim, confirm, submission_of
from tests.log.submissions import MICROSECOND, executor_on, give, on_both, propose


def counted(operation: str, outcome: str) -> float:
    return REGISTRY.get_sample_value("ledger_commands_total", {"operation": operation, "outcome": outcome}) or 0


# One command


@on_both
async def test_a_command_leaves_its_state_its_version_and_its_event(log: EventLog) -> None:
    execute = executor_on(log).execute
    favour = uuid4()
    claimed = await execute(claim(id=favour))
    assert claimed.ref == AggregateRef("acme", "favour", str(favour))
    assert isinstance(claimed.state, Claimed)
    assert (claimed.version, claimed.position, claimed.how) == (1, 1, "recorded")
    confirmed = await execute(confirm(favour))
    assert isinstance(confirmed.state, Posted)
    assert (confirmed.version, confirmed.position, confirmed.how) == (2, 2, "recorded")
    last = load_aggregate(await wait_for_last_event(log, claimed.ref, 2))
    assert (last.state, last.version, last.position) == (confirmed.state, 2, 2)


async def test_the_event_says_who_asked_for_what_when_and_on_which_call() -> None:
    log = MemoryLog()
    happened = NOW - timedelta(days=3)
    submission = msgspec.structs.replace(
        claim(key="k-1", occurred_at=happened), correlation_id="call-7", traceparent="00-trace"
    )
    await executor_on(log).execute(submission)
    event = await log.at(1)
    assert event is not None
    envelope = event.envelope
    assert (envelope.actor, envelope.time, envelope.commandid) == ("ada", happened, "k-1")
    assert (envelope.correlationid, envelope.traceparent) == ("call-7", "00-trace")
    assert UUID(envelope.id).version == 7
    assert len(envelope.fingerprint) == 32


async def test_what_has_no_time_of_its_own_happened_now() -> None:
    log = MemoryLog()
    await executor_on(log).execute(claim(key="k-1"))
    event = await log.at(1)
    assert event is not None
    assert event.envelope.time == NOW


async def test_the_ledger_has_a_clock_of_its_own() -> None:
    outcome = await Executor(MemoryLog()).execute(claim(key="k-1"))
    assert isinstance(outcome.state, Claimed)
    assert outcome.state.lapses_at > NOW


@on_both
async def test_a_refused_command_records_nothing(log: EventLog) -> None:
    execute = executor_on(log).execute
    with pytest.raises(SelfDealing):
        await execute(claim(id=uuid4(), receiver="ada"))
    with pytest.raises(Unknown):
        await execute(confirm(uuid4()))
    assert await log.end() == 0


@pytest.mark.parametrize("offset_h", [0, 5])
async def test_what_happened_lies_at_most_five_minutes_ahead(offset_h: int) -> None:
    execute = executor_on(MemoryLog()).execute
    latest = (NOW + timedelta(minutes=5)).astimezone(timezone(timedelta(hours=offset_h)))
    assert latest == NOW + OCCURRED_AHEAD_MAX
    with pytest.raises(TimeInFuture) as refused:
        await execute(claim(key="k-1", occurred_at=latest + MICROSECOND))
    assert refused.value.facts == {"field": "occurred_at", "latest": latest}
    assert (await execute(claim(key="k-1", occurred_at=latest))).how == "recorded"


async def test_nothing_happened_before_the_ledger_counts_time() -> None:
    execute = executor_on(MemoryLog()).execute
    earliest = datetime(1970, 1, 1, tzinfo=UTC)
    with pytest.raises(TimeTooEarly) as refused:
        await execute(claim(key="k-1", occurred_at=earliest - MICROSECOND))
    assert refused.value.facts == {"field": "occurred_at", "earliest": earliest}
    assert (await execute(claim(key="k-1", occurred_at=earliest))).how == "recorded"


async def test_the_clock_is_one_who_acts_like_anybody() -> None:
    log = MemoryLog()
    claimed = await executor_on(log).execute(claim(key="k-1"))
    lapse = Submission(
        community="acme", operation="favour.lapse", kind="favour", command=LapseFavour(), id=UUID(claimed.ref.id)
    )
    with pytest.raises(NotDue):
        await executor_on(log).execute(lapse)
    after = executor_on(log, NOW + timedelta(days=14))
    assert [(await after.execute(lapse)).how for _ in range(2)] == ["recorded", "unchanged"]
    event = await log.at(2)
    assert event is not None
    assert event.envelope.actor == "clock"


async def test_every_answer_is_counted_by_what_became_of_it() -> None:
    executor = executor_on(MemoryLog())
    before = {how: counted("favour.record", how) for how in ("recorded", "replayed", "self_dealing")}
    await executor.execute_all([claim(key="k-1"), claim(key="k-1"), claim(key="k-2", receiver="ada")])
    assert {how: counted("favour.record", how) - count for how, count in before.items()} == dict.fromkeys(before, 1)


async def test_a_decision_that_does_nothing_to_nothing_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def decide(command: object, state: object, context: object) -> None:
        """Nothing."""

    idle = msgspec.structs.replace(KINDS["favour"], decide=decide)
    monkeypatch.setattr("ledger.commands.decision.KINDS", {"favour": idle})
    with pytest.raises(Bug, match=r"favour\.confirm"):
        await executor_on(MemoryLog()).execute(confirm(uuid4()))


# If-Match


@on_both
async def test_a_step_that_names_a_version_is_carried_out_on_that_one_alone(log: EventLog) -> None:
    execute = executor_on(log).execute
    favour = uuid4()
    with pytest.raises(VersionMismatch) as refused:
        await execute(confirm(favour, if_match=1))
    assert refused.value.facts == {"if_match": 1, "version": 0}
    await execute(claim(id=favour))
    with pytest.raises(VersionMismatch) as refused:
        await execute(confirm(favour, if_match=2))
    assert refused.value.facts == {"if_match": 2, "version": 1}
    assert (await execute(confirm(favour, if_match=1, key="k-2"))).version == 2
    assert await log.end() == 2
    # A repeat is answered as the first time: it is not asked again which version it meant.
    assert (await execute(confirm(favour, if_match=1, key="k-2"))).how == "replayed"


# What one aggregate needs to know of others


@on_both
async def test_there_is_one_referral_of_the_same_prospect_by_the_same_to_the_same(log: EventLog) -> None:
    execute = executor_on(log).execute
    once = await execute(give(key="k-1"))
    assert isinstance(once.state, Given)
    command = give().command
    assert isinstance(command, GiveReferral)
    assert once.ref.id == str(command.own_id("acme"))
    for second in (give(key="k-2"), give(key="k-2", level=5), give(level=5), give(tags=("law",))):
        with pytest.raises(AlreadyExists):
            await execute(second)
    with pytest.raises(KeyReused):
        await execute(give(key="k-1", level=5))
    assert await execute(give(key="k-1")) == msgspec.structs.replace(once, how="replayed")
    assert (await execute(give(prospect="prospect-8"))).how == "recorded"
    assert (await execute(give(prospect="prospect-8"))).how == "replayed"
    assert await log.end() == 2


@on_both
async def test_a_referral_carries_who_gave_the_one_it_grew_out_of(log: EventLog) -> None:
    execute = executor_on(log).execute
    parent = UUID((await execute(give())).ref.id)
    grown = give("prospect-8", actor="bob", referrer="bob", recipient="cyd", parent=parent)
    with pytest.raises(ParentNotWon):
        await execute(grown)
    await execute(submission_of("referral.qualify", id=parent, actor="bob"))
    won = await execute(submission_of("referral.win", id=parent, actor="bob", band="M"))
    assert isinstance(won.state, Won)
    child = await execute(grown)
    assert isinstance(child.state, Given)
    assert (child.state.parent, child.state.parent_referrer) == (parent, "ada")
    with pytest.raises(Unknown):
        await execute(give("prospect-9", parent=uuid4()))


# Of what an asker may not know


async def hidden(log: EventLog, *steps: Submission) -> UUID:
    """An ask of ada's that bob has done something about since."""
    execute = executor_on(log).execute
    intro = UUID((await execute(propose(key="k-1"))).ref.id)
    for step in steps:
        await execute(msgspec.structs.replace(step, id=intro))
    return intro


SILENCES: Final[dict[str, tuple[Submission, ...]]] = {
    "asked": (),
    "accepted": (submission_of("intro.accept", actor="bob", level=3),),
    "consented": (submission_of("intro.accept", actor="bob", level=3), submission_of("intro.consent", actor="cyd")),
    "declined": (submission_of("intro.decline", actor="bob"),),
    "refused": (submission_of("intro.accept", actor="bob", level=3), submission_of("intro.refuse", actor="cyd")),
}


@pytest.mark.parametrize("steps", SILENCES.values(), ids=SILENCES.keys())
@pytest.mark.parametrize(("days", "seen"), [(0, 1), (23, 1), (24, 2)])
async def test_if_match_of_an_asker_is_held_against_what_they_see(
    steps: tuple[Submission, ...], days: int, seen: int
) -> None:
    log = MemoryLog()
    intro = await hidden(log, *steps)
    execute = executor_on(log, NOW + timedelta(days=days)).execute
    for version in {0, 1, 2, 3, 4} - {seen}:
        with pytest.raises(VersionMismatch) as refused:
            await execute(submission_of("intro.withdraw", id=intro, actor="ada", if_match=version))
        assert refused.value.facts == {"if_match": version, "version": seen}
    assert (await execute(submission_of("intro.withdraw", id=intro, actor="ada", if_match=seen))).how == "recorded"


@pytest.mark.parametrize("actor", ["bob", "cyd"])
async def test_if_match_of_those_who_decide_is_held_against_the_version_there_is(actor: str) -> None:
    log = MemoryLog()
    intro = await hidden(log, *SILENCES["consented"])
    execute = executor_on(log).execute
    with pytest.raises(VersionMismatch) as refused:
        await execute(submission_of("intro.make", id=intro, actor=actor, if_match=1))
    assert refused.value.facts == {"if_match": 1, "version": 3}
    made = submission_of("intro.make", id=intro, actor="bob", if_match=3)
    assert (await execute(made)).version == 4
    met = submission_of("intro.meet", id=intro, actor="ada", if_match=4)  # From here on it is the same for all.
    assert (await execute(met)).version == 5
