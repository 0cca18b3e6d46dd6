"""Carrying out commands: each once and for ever, alone among many, and right whoever else is at it."""

import asyncio
import gc
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, get_args
from uuid import UUID, uuid4

import msgspec
import pytest
from prometheus_client import REGISTRY

from deploy.embedded.nats import EmbeddedNats
from ledger.commands.decision import POLICY_CACHED_FOR
from ledger.commands.executor import ATTEMPTS_MAX, Executor
from ledger.commands.refusals import Contended, KeyMissing, KeyReused, VersionMismatch
from ledger.commands.submission import OCCURRED_AHEAD_MAX, Outcome, Submission, fingerprint_of
from ledger.domain.catalog.kinds import KINDS, AnyEvent, Kind
from ledger.domain.kinds.favour import Claimed, FavourConfirmed, Forgiven, LapseFavour, Posted
from ledger.domain.kinds.favour import Refused as FavourRefused
from ledger.domain.kinds.intro.commands import ProposeIntro
from ledger.domain.kinds.intro.events import IntroConsented
from ledger.domain.kinds.intro.states import Asked
from ledger.domain.kinds.member import Active, Left, membership_id
from ledger.domain.kinds.one_to_one import OneToOneHeld
from ledger.domain.kinds.publication import POLICY_NOTICE
from ledger.domain.kinds.referral import Given, GiveReferral, Won
from ledger.domain.values.advice import Advice, GuardFacts
from ledger.domain.values.aggregate_types import State
from ledger.domain.values.policy import GuardMode, Policy
from ledger.domain.values.refusals import (
    AlreadyExists,
    Bug,
    GuardUnavailable,
    NotDue,
    NotYours,
    OpenAsks,
    ParentNotWon,
    Refusal,
    SelfDealing,
    TimeInFuture,
    TimeTooEarly,
    Unknown,
    WrongState,
)
from ledger.envelope import AggregateRef, RecordedEvent, encode_state
from ledger.log.connection import Connection
from ledger.log.event_log import Append, AppendUncertain, Conflict, EventLog, LogUnavailable
from ledger.log.jetstream import JetStreamLog
from ledger.log.memory import MemoryLog
from ledger.log.snapshot import REMEMBERED_COMMANDS, CommandMark, Snapshot, load_aggregate
from tests.conftest import fresh_stream
from tests.envelopes import NOW
from tests.log.reads import TIMEOUT_S, wait_for_last_event
from tests.log.samples import (
    CONFIRMED,
    GOLDEN,
    claim,
    confirm,
    first_append,
    golden_envelope,
    next_append,
    submission_of,
    with_fields,
)
from tests.polling import wait_until

on_both = pytest.mark.parametrize("log", ["memory", "jetstream_r1"], indirect=True)
MICROSECOND: Final = timedelta(microseconds=1)


def executor_on(log: EventLog, now: datetime = NOW) -> Executor:
    return Executor(log, lambda: now)


def gives(prospect: str = "prospect-7", **fields: Any) -> Submission:
    """Ada sends Bob a prospect."""
    whole: dict[str, Any] = {
        "actor": "ada",
        "referrer": "ada",
        "recipient": "bob",
        "prospect": prospect,
        "level": 3,
        **fields,
    }
    return submission_of("referral.give", **whole)


def joins(**fields: Any) -> Submission:
    """Ada joins."""
    return submission_of("member.join", **{"actor": "ada", "member": "ada", **fields})


def wants(*tags: str, **fields: Any) -> Submission:
    """Ada says what she is looking for."""
    return submission_of("member.wants", id=membership_id("acme", "ada"), actor="ada", tags=tags, **fields)


def proposes(**fields: Any) -> Submission:
    """Ada asks Bob for Cyd; said by Bob, and with a level, it is an offer."""
    return submission_of(
        "intro.propose", **{"actor": "ada", "asker": "ada", "connector": "bob", "target": "cyd", **fields}
    )


def publishes(policy: Policy, starts_at: datetime, **fields: Any) -> Submission:
    return submission_of("policy.publish", actor="mod", policy=policy, starts_at=starts_at, **fields)


def counted(operation: str, outcome: str) -> float:
    return REGISTRY.get_sample_value("ledger_commands_total", {"operation": operation, "outcome": outcome}) or 0


def outcomes(results: Sequence[Outcome | Refusal]) -> list[str]:
    return [result.code if isinstance(result, Refusal) else result.how for result in results]


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


# The same again


@on_both
async def test_a_repeated_creation_answers_as_the_first_time_even_after_later_steps(log: EventLog) -> None:
    execute = executor_on(log).execute
    once = await execute(claim(key="k-1"))
    assert (await execute(claim(key="k-1"))) == msgspec.structs.replace(once, how="replayed")
    await execute(confirm(once.ref.id))
    await execute(submission_of("favour.forgive", id=UUID(once.ref.id), actor="ada"))
    again = await execute(claim(key="k-1"))
    assert again == msgspec.structs.replace(once, how="replayed")
    assert isinstance(again.state, Claimed)
    assert await log.end() == 3


@on_both
async def test_a_repeated_step_answers_as_the_first_time_even_after_later_steps(log: EventLog) -> None:
    execute = executor_on(log).execute
    claimed = await execute(claim(key="k-1"))
    once = await execute(confirm(claimed.ref.id, key="k-2"))
    assert await execute(confirm(claimed.ref.id, key="k-2")) == msgspec.structs.replace(once, how="replayed")
    forgiven = await execute(submission_of("favour.forgive", id=UUID(claimed.ref.id), actor="ada", key="k-3"))
    assert isinstance(forgiven.state, Forgiven)
    again = await execute(confirm(claimed.ref.id, key="k-2"))
    assert again == msgspec.structs.replace(once, how="replayed")
    assert isinstance(again.state, Posted)
    assert await log.end() == 3


@on_both
async def test_a_key_that_comes_with_another_request_is_refused(log: EventLog) -> None:
    execute = executor_on(log).execute
    claimed = await execute(claim(key="k-1"))
    await execute(confirm(claimed.ref.id, key="k-2"))
    for other in (
        claim(key="k-1", size="large"),
        claim(key="k-1", occurred_at=NOW),
        claim(key="k-1", actor="bob"),
        confirm(claimed.ref.id, key="k-2", occurred_at=NOW),
        submission_of("favour.refuse", id=UUID(claimed.ref.id), actor="bob", key="k-2"),
    ):
        with pytest.raises(KeyReused) as refused:
            await execute(other)
        assert refused.value.facts == {"kind": "favour", "id": claimed.ref.id}
    assert await log.end() == 2


@on_both
async def test_a_steps_key_is_its_actors_own(log: EventLog) -> None:
    """Were ada told that her key was used, she would learn that somebody has taken a step: cyd, who has refused."""
    execute = executor_on(log).execute
    intro = UUID((await execute(proposes(key="k"))).ref.id)
    await execute(submission_of("intro.accept", id=intro, actor="bob", level=3, key="k"))
    refused = await execute(submission_of("intro.refuse", id=intro, actor="cyd", key="k"))
    withdrawn = await execute(submission_of("intro.withdraw", id=intro, actor="ada", key="k"))
    assert [refused.how, withdrawn.how, withdrawn.version] == ["recorded", "recorded", 4]
    again = await execute(submission_of("intro.refuse", id=intro, actor="cyd", key="k"))
    assert again == msgspec.structs.replace(refused, how="replayed")
    with pytest.raises(KeyReused):
        await execute(submission_of("intro.refuse", id=intro, actor="cyd", key="k", tell_now=True))
    assert (await execute(proposes(key="k"))).version == 1
    assert await log.end() == 4


async def test_the_same_key_in_another_community_is_another_key() -> None:
    execute = executor_on(MemoryLog()).execute
    one = await execute(claim(key="k-1"))
    other = await execute(claim(key="k-1", community="umbrella"))
    assert (one.how, other.how) == ("recorded", "recorded")
    assert one.ref.id != other.ref.id


async def test_a_refused_command_does_not_use_up_its_key() -> None:
    execute = executor_on(MemoryLog()).execute
    with pytest.raises(SelfDealing):
        await execute(claim(key="k-1", receiver="ada"))
    assert (await execute(claim(key="k-1"))).how == "recorded"


async def test_a_creation_without_an_id_needs_a_key() -> None:
    with pytest.raises(KeyMissing):
        await executor_on(MemoryLog()).execute(claim())


@on_both
async def test_a_repeated_creation_by_id_needs_no_key(log: EventLog) -> None:
    execute = executor_on(log).execute
    favour = uuid4()
    once = await execute(claim(id=favour))
    await execute(confirm(favour))
    assert await execute(claim(id=favour)) == msgspec.structs.replace(once, how="replayed")
    with pytest.raises(AlreadyExists):
        await execute(claim(id=favour, size="large"))
    assert await log.end() == 2


@on_both
async def test_a_repeated_step_without_a_key_leaves_it_as_it_is_now(log: EventLog) -> None:
    execute = executor_on(log).execute
    favour = uuid4()
    await execute(claim(id=favour))
    once = await execute(confirm(favour))
    assert await execute(confirm(favour)) == msgspec.structs.replace(once, how="unchanged")
    assert await log.end() == 2


def longest_life(kind: Kind, events: Sequence[AnyEvent], state: State | None = None, age: int = 0) -> int:
    """How many events one aggregate can come to; it stops counting where its marks would no longer do."""
    oldest = age
    for event in events:
        if oldest > REMEMBERED_COMMANDS:
            break
        try:
            grown = kind.evolve(state, event)
        except Bug:
            continue
        oldest = max(oldest, longest_life(kind, events, grown, age + 1))
    return oldest


LONGEST_LIVES: Final = {  # In events. Of kinds that come to an end: members and policies go on and on.
    "favour": 3,
    "referral": 4,
    "intro": 6,
    "dispute": 2,
    "gathering": 1,
    "attendance": 2,
    "contact": 1,
    "one-to-one": 3,
}


@pytest.mark.parametrize("name", KINDS)
def test_no_aggregate_that_comes_to_an_end_lives_so_long_that_it_forgets_a_command(name: str) -> None:
    events: list[AnyEvent] = [golden_envelope(sample).data for sample in GOLDEN]
    consent = next(event for event in events if isinstance(event, IntroConsented))
    events.append(msgspec.structs.replace(consent, member=consent.asker))
    held = next(event for event in events if isinstance(event, OneToOneHeld))
    events.append(msgspec.structs.replace(held, said_by=held.other))
    kind = KINDS[name]
    assert kind.recurs == (name not in LONGEST_LIVES)
    if not kind.recurs:
        of_kind = [event for event in events if type(event) in kind.events]
        assert longest_life(kind, of_kind) == LONGEST_LIVES[name] <= REMEMBERED_COMMANDS


@on_both
@pytest.mark.parametrize("later", [1, REMEMBERED_COMMANDS - 1, REMEMBERED_COMMANDS, 3 * REMEMBERED_COMMANDS + 1])
async def test_in_a_life_without_end_a_command_is_met_again_however_long_ago_it_was(log: EventLog, later: int) -> None:
    execute = executor_on(log).execute
    joined = await execute(joins(key="k-join"))
    wanted = await execute(wants("law", key="k-0"))
    for n in range(later):
        await execute(wants(f"tag-{n}", key=f"k-{n + 1}"))
    assert await execute(joins(key="k-join")) == msgspec.structs.replace(joined, how="replayed")
    assert await execute(wants("law", key="k-0")) == msgspec.structs.replace(wanted, how="replayed")
    assert (await execute(wants(f"tag-{later - 1}", key=f"k-{later}"))).how == "replayed"
    with pytest.raises(KeyReused):
        await execute(wants("tax", key="k-0"))
    assert await log.end() == later + 2
    assert (await execute(wants("law", key="k-new"))).how == "recorded"


async def test_without_a_key_what_is_said_again_later_is_said_anew() -> None:
    log = MemoryLog()
    execute = executor_on(log).execute
    await execute(joins())
    for n in range(2 * REMEMBERED_COMMANDS):
        assert (await execute(wants("law" if n % 2 else "tax"))).how == "recorded"
    assert (await execute(wants("law"))).how == "unchanged"


@on_both
async def test_one_who_has_left_may_join_again_with_or_without_a_key(log: EventLog) -> None:
    execute = executor_on(log).execute
    first_time = await execute(joins())
    assert (await execute(joins())).how == "unchanged"
    with pytest.raises(AlreadyExists):
        await execute(joins(sponsor="cyd"))
    left = await execute(submission_of("member.leave", id=UUID(first_time.ref.id), actor="ada"))
    assert isinstance(left.state, Left)
    again = await execute(joins())
    assert isinstance(again.state, Active)
    assert (again.how, again.version) == ("recorded", 3)
    await execute(submission_of("member.leave", id=UUID(first_time.ref.id), actor="ada"))
    with_key = await execute(joins(key="k-1"))
    assert (with_key.how, with_key.version) == ("recorded", 5)
    assert (await execute(joins(key="k-1"))).how == "replayed"
    assert await log.end() == 5


@on_both
async def test_what_the_other_one_has_said_already_is_so_and_records_nothing(log: EventLog) -> None:
    execute = executor_on(log).execute
    said = await execute(submission_of("contact.make", actor="ada", member="ada", other="bob"))
    assert (await execute(submission_of("contact.make", actor="ada", member="ada", other="bob"))).how == "replayed"
    other = await execute(submission_of("contact.make", actor="bob", member="bob", other="ada"))
    assert other == msgspec.structs.replace(said, how="unchanged")
    assert await log.end() == 1


async def test_a_forgotten_creation_is_refused_and_not_recorded_twice() -> None:
    log = MemoryLog()
    begun = first_append()
    marks = tuple(CommandMark(f"k-{n}", "f" * 32, 1) for n in range(REMEMBERED_COMMANDS))
    state = Claimed(giver="ada", receiver="bob", size="medium", points=120, lapses_at=NOW)
    snapshot = msgspec.json.encode(Snapshot(9, msgspec.Raw(encode_state(state)), marks))
    await log.append([msgspec.structs.replace(begun, snapshot=snapshot)])
    last = await wait_for_last_event(log, begun.ref, 1)
    assert [mark.id for mark in load_aggregate(last).commands] == [
        *(f"k-{n}" for n in range(1, REMEMBERED_COMMANDS)),
        last.envelope.commandid,
    ]
    with pytest.raises(AlreadyExists):
        await executor_on(log).execute(claim(id=UUID(begun.ref.id), key="k-0"))
    step = next_append(last, CONFIRMED, key="k-9")
    await log.append([step])
    aggregate = load_aggregate(await wait_for_last_event(log, begun.ref, 2))
    assert (aggregate.version, len(aggregate.commands), aggregate.commands[-1].id) == (10, REMEMBERED_COMMANDS, "k-9")


# What one aggregate needs to know of others


@on_both
async def test_there_is_one_referral_of_the_same_prospect_by_the_same_to_the_same(log: EventLog) -> None:
    execute = executor_on(log).execute
    once = await execute(gives(key="k-1"))
    assert isinstance(once.state, Given)
    command = gives().command
    assert isinstance(command, GiveReferral)
    assert once.ref.id == str(command.own_id("acme"))
    for second in (gives(key="k-2"), gives(key="k-2", level=5), gives(level=5), gives(tags=("law",))):
        with pytest.raises(AlreadyExists):
            await execute(second)
    with pytest.raises(KeyReused):
        await execute(gives(key="k-1", level=5))
    assert await execute(gives(key="k-1")) == msgspec.structs.replace(once, how="replayed")
    assert (await execute(gives(prospect="prospect-8"))).how == "recorded"
    assert (await execute(gives(prospect="prospect-8"))).how == "replayed"
    assert await log.end() == 2


@on_both
async def test_a_referral_carries_who_gave_the_one_it_grew_out_of(log: EventLog) -> None:
    execute = executor_on(log).execute
    parent = UUID((await execute(gives())).ref.id)
    grown = gives("prospect-8", actor="bob", referrer="bob", recipient="cyd", parent=parent)
    with pytest.raises(ParentNotWon):
        await execute(grown)
    await execute(submission_of("referral.qualify", id=parent, actor="bob"))
    won = await execute(submission_of("referral.win", id=parent, actor="bob", band="M"))
    assert isinstance(won.state, Won)
    child = await execute(grown)
    assert isinstance(child.state, Given)
    assert (child.state.parent, child.state.parent_referrer) == (parent, "ada")
    with pytest.raises(Unknown):
        await execute(gives("prospect-9", parent=uuid4()))


# The policy in force


class Clock:
    """The ledger's time, ours to move."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


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
    await executor.execute(publishes(DEARER, starts_at))
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
        await executor.execute(publishes(policy, NOW + timedelta(days=day)))
    found: list[int] = []
    for hours in (23, 24, 47, 48, 71, 72):
        clock.now = NOW + timedelta(hours=hours)
        found.append(await worth(executor))
    assert found == [120, 10, 10, 20, 20, 30]


async def test_it_is_by_the_ledgers_time_and_not_by_the_callers_that_a_policy_is_chosen() -> None:
    clock = Clock()
    executor = Executor(MemoryLog(), clock)
    await executor.execute(publishes(DEARER, NOW + POLICY_NOTICE))
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
                await publisher.execute(publishes(DEARER, starts_at))
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
    await Executor(log, clock).execute(publishes(DEARER, NOW + POLICY_NOTICE))
    clock.now = NOW + POLICY_NOTICE
    assert await worth(Executor(log, clock)) == 2


async def test_the_same_policy_published_again_is_already_so() -> None:
    log = MemoryLog()
    execute = executor_on(log).execute
    publication = publishes(DEARER, NOW + POLICY_NOTICE)
    assert [(await execute(publication)).how for _ in range(2)] == ["recorded", "unchanged"]
    assert await log.end() == 1


# What the guard goes by


class Books:
    """Says what it is told to of every ask, and remembers what it was asked."""

    def __init__(self, facts: GuardFacts | None) -> None:
        self.facts = facts
        self.asked: list[tuple[str, ProposeIntro, Policy, datetime]] = []

    async def __call__(self, community: str, ask: ProposeIntro, policy: Policy, now: datetime) -> GuardFacts | None:
        self.asked.append((community, ask, policy, now))
        return self.facts


async def guarded(log: EventLog, guard: GuardMode, books: Books) -> Executor:
    """An executor of a community with such a guard."""
    clock = Clock()
    executor = Executor(log, clock, books)
    if guard != Policy().guard:
        await executor.execute(publishes(Policy(guard=guard), NOW + POLICY_NOTICE))
    clock.now = NOW + POLICY_NOTICE
    return executor


def asked_in(outcome: Outcome) -> Asked:
    assert isinstance(outcome.state, Asked)
    return outcome.state


FIVE_OPEN: Final = GuardFacts(member="ada", open_asks=5)


@pytest.mark.parametrize("guard", get_args(GuardMode))
async def test_the_books_are_consulted_of_a_new_ask_and_of_nothing_else(guard: GuardMode) -> None:
    books = Books(GuardFacts(member="ada"))
    executor = await guarded(MemoryLog(), guard, books)
    ask = proposes(key="k-1")
    asked = await executor.execute(ask)
    consulted = 0 if guard == "off" else 1
    assert len(books.asked) == consulted
    await executor.execute(ask)
    await executor.execute(proposes(key="k-2", actor="bob", level=3))
    with pytest.raises(AlreadyExists):
        await executor.execute(proposes(command_id=asked.ref.id, tags=("law",)))
    await executor.execute(submission_of("intro.accept", id=UUID(asked.ref.id), actor="bob", level=1))
    await executor.execute(claim(key="k-3"))
    await executor.execute(gives())
    await executor.execute(joins())
    with pytest.raises(NotYours):
        await executor.execute(proposes(key="k-4", actor="eve"))
    assert len(books.asked) == consulted


async def test_the_books_are_told_who_asks_by_which_policy_and_when() -> None:
    books = Books(GuardFacts(member="ada"))
    executor = await guarded(MemoryLog(), "enforce", books)
    ask = proposes(key="k-1")
    await executor.execute(ask)
    ((community, command, policy, now),) = books.asked
    assert (community, command, now) == ("acme", ask.command, NOW + POLICY_NOTICE)
    assert (policy.guard, policy.version) == ("enforce", 2)


@pytest.mark.parametrize(("guard", "verdict"), [("off", None), ("advise", "ok")])
async def test_what_the_books_say_is_advised_on_and_refuses_nothing(guard: GuardMode, verdict: str | None) -> None:
    executor = await guarded(MemoryLog(), guard, Books(FIVE_OPEN))
    asked = asked_in(await executor.execute(proposes(key="k-1")))
    assert (asked.advice and asked.advice.verdict) == verdict
    assert (asked.advice.reasons if asked.advice else ()) == (("open_asks",) if verdict else ())


async def test_what_the_books_say_is_enforced_where_the_community_wants_it() -> None:
    log = MemoryLog()
    executor = await guarded(log, "enforce", Books(FIVE_OPEN))
    with pytest.raises(OpenAsks) as refused:
        await executor.execute(proposes(key="k-1"))
    assert refused.value.facts == {"open_asks": 5, "open_asks_max": 5}
    assert (await executor.execute(proposes(key="k-2", actor="bob", level=3))).how == "recorded"
    assert await log.end() == 2


@pytest.mark.parametrize("how", ["no books at all", "books that do not answer"])
async def test_an_ask_that_the_books_cannot_be_asked_of_goes_through_with_a_word_about_it(how: str) -> None:
    log = MemoryLog()
    executor = executor_on(log) if how == "no books at all" else Executor(log, lambda: NOW, Books(None))
    asked = asked_in(await executor.execute(proposes(key="k-1")))
    assert asked.advice == Advice(verdict="unavailable")


@on_both
async def test_where_the_guard_is_enforced_nothing_is_asked_for_that_the_books_cannot_be_asked_of(
    log: EventLog,
) -> None:
    books = Books(None)
    executor = await guarded(log, "enforce", books)
    with pytest.raises(GuardUnavailable) as refused:
        await executor.execute(proposes(key="k-1"))
    assert (refused.value.code, refused.value.facts) == ("guard_unavailable", {})
    results = await executor.execute_all([proposes(key="k-1"), claim(key="k-2"), proposes(key="k-3")])
    assert outcomes(results) == ["guard_unavailable", "recorded", "guard_unavailable"]
    assert (await executor.execute(proposes(key="k-4", actor="bob", level=3))).how == "recorded"
    books.facts = GuardFacts(member="ada")
    assert (await executor.execute(proposes(key="k-1"))).how == "recorded"  # Its key is still free.
    assert await log.end() == 4


async def test_an_ask_that_was_recorded_is_answered_again_although_the_books_are_silent() -> None:
    books = Books(GuardFacts(member="ada"))
    executor = await guarded(MemoryLog(), "enforce", books)
    once = await executor.execute(proposes(key="k-1"))
    books.facts = None
    assert await executor.execute(proposes(key="k-1")) == msgspec.structs.replace(once, how="replayed")


# Of what an asker may not know


async def hidden(log: EventLog, *steps: Submission) -> UUID:
    """An ask of ada's that bob has done something about since."""
    execute = executor_on(log).execute
    intro = UUID((await execute(proposes(key="k-1"))).ref.id)
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
    given = gives(key="parent")
    assert isinstance(given.command, GiveReferral)
    parent = given.command.own_id("acme")
    assert parent is not None
    grown = gives("prospect-8", actor="bob", referrer="bob", recipient="cyd", parent=parent, key="child")
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
    given = gives(key="parent")
    assert isinstance(given.command, GiveReferral)
    parent = given.command.own_id("acme")
    assert parent is not None
    executor = executor_on(log)
    grown = [
        gives(f"prospect-{n}", actor="bob", referrer="bob", recipient="cyd", parent=parent, key=f"{n}")
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


# A log that fails


class Outpaced(MemoryLog):
    """Somebody else is first, the next `times` times."""

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
    await executor_on(log, early).execute(publishes(Policy(guard="enforce"), early + POLICY_NOTICE))
    with pytest.raises(AppendUncertain, match="guard_unavailable"):
        await Executor(log, lambda: NOW, consult).execute_all([proposes(key=f"k-{n}") for n in range(count)])
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


# Reads that are behind


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
    await executor_on(log).execute(joins(key="k-1"))
    for n, tag in enumerate(("law", "tax", "law"), start=2):
        outcome = await executor_on(log).execute(wants(tag, key=f"k-{n}"))
        assert (outcome.how, outcome.version) == ("recorded", n)
    assert (await executor_on(log).execute(wants("tax", key="k-3"))).how == "replayed"
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
    parent = UUID((await execute(gives())).ref.id)
    await execute(submission_of("referral.qualify", id=parent, actor="bob"))
    await execute(submission_of("referral.win", id=parent, actor="bob", band="M"))
    log.parent = str(parent)
    child = await execute(gives("prospect-8", actor="bob", referrer="bob", recipient="cyd", parent=parent))
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
