"""Carrying out commands: each once and for ever, alone among many, and right whoever else is at it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
import pytest
from prometheus_client import REGISTRY

from deploy.embedded import EmbeddedNats
from ledger.domain.catalog import KINDS, AnyEvent, Kind
from ledger.domain.favour import Claimed, Forgiven, LapseFavour, Posted
from ledger.domain.favour import Refused as FavourRefused
from ledger.domain.intro import IntroConsented
from ledger.domain.referral import Given, GiveReferral, Won
from ledger.domain.refusals import (
    AlreadyExists,
    Bug,
    NotDue,
    NotYours,
    ParentNotWon,
    Refusal,
    SelfDealing,
    TimeInFuture,
    TimeTooEarly,
    Unknown,
    WrongState,
)
from ledger.domain.values import State
from ledger.envelope import AggregateRef, Recorded, encode_state
from ledger.log.aggregate import REMEMBERED_COMMANDS, CommandMark, Snapshot, aggregate_of
from ledger.log.connection import Connection
from ledger.log.event_log import Append, AppendUncertain, Conflict, EventLog, LogUnavailable
from ledger.log.executor import (
    AHEAD_MAX,
    ATTEMPTS_MAX,
    Contended,
    Executor,
    KeyMissing,
    KeyReused,
    Outcome,
    Submission,
    VersionMismatch,
)
from ledger.log.jetstream import JetStreamLog
from ledger.log.memory import MemoryLog
from tests.conftest import fresh_stream
from tests.log.story import (
    CONFIRMED,
    GOLDEN,
    NOW,
    WAIT_MAX_S,
    asks,
    claims,
    confirms,
    first,
    following,
    golden,
    last_of,
    until,
)

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
    return asks("referral.give", **whole)


def counted(operation: str, outcome: str) -> float:
    return REGISTRY.get_sample_value("ledger_commands_total", {"operation": operation, "outcome": outcome}) or 0


def outcomes(results: Sequence[Outcome | Refusal]) -> list[str]:
    return [result.code if isinstance(result, Refusal) else result.how for result in results]


# One command


@on_both
async def test_a_command_leaves_its_state_its_version_and_its_event(log: EventLog) -> None:
    execute = executor_on(log).execute
    favour = uuid4()
    claimed = await execute(claims(id=favour))
    assert claimed.ref == AggregateRef("acme", "favour", str(favour))
    assert isinstance(claimed.state, Claimed)
    assert (claimed.version, claimed.position, claimed.how) == (1, 1, "recorded")
    confirmed = await execute(confirms(favour))
    assert isinstance(confirmed.state, Posted)
    assert (confirmed.version, confirmed.position, confirmed.how) == (2, 2, "recorded")
    last = aggregate_of(await last_of(log, claimed.ref, 2))
    assert (last.state, last.version, last.position) == (confirmed.state, 2, 2)


async def test_the_event_says_who_asked_for_what_when_and_on_which_call() -> None:
    log = MemoryLog()
    happened = NOW - timedelta(days=3)
    submission = msgspec.structs.replace(
        claims(key="k-1", occurred_at=happened), correlation_id="call-7", traceparent="00-trace"
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
    await executor_on(log).execute(claims(key="k-1"))
    event = await log.at(1)
    assert event is not None
    assert event.envelope.time == NOW


async def test_the_ledger_has_a_clock_of_its_own() -> None:
    outcome = await Executor(MemoryLog()).execute(claims(key="k-1"))
    assert isinstance(outcome.state, Claimed)
    assert outcome.state.lapses_at > NOW


@on_both
async def test_a_refused_command_records_nothing(log: EventLog) -> None:
    execute = executor_on(log).execute
    with pytest.raises(SelfDealing):
        await execute(claims(id=uuid4(), receiver="ada"))
    with pytest.raises(Unknown):
        await execute(confirms(uuid4()))
    assert await log.end() == 0


@pytest.mark.parametrize("offset_h", [0, 5])
async def test_what_happened_lies_at_most_five_minutes_ahead(offset_h: int) -> None:
    execute = executor_on(MemoryLog()).execute
    latest = (NOW + timedelta(minutes=5)).astimezone(timezone(timedelta(hours=offset_h)))
    assert latest == NOW + AHEAD_MAX
    with pytest.raises(TimeInFuture) as refused:
        await execute(claims(key="k-1", occurred_at=latest + MICROSECOND))
    assert refused.value.facts == {"field": "occurred_at", "latest": latest}
    assert (await execute(claims(key="k-1", occurred_at=latest))).how == "recorded"


async def test_nothing_happened_before_the_ledger_counts_time() -> None:
    execute = executor_on(MemoryLog()).execute
    earliest = datetime(1970, 1, 1, tzinfo=UTC)
    with pytest.raises(TimeTooEarly) as refused:
        await execute(claims(key="k-1", occurred_at=earliest - MICROSECOND))
    assert refused.value.facts == {"field": "occurred_at", "earliest": earliest}
    assert (await execute(claims(key="k-1", occurred_at=earliest))).how == "recorded"


async def test_the_clock_is_one_who_acts_like_anybody() -> None:
    log = MemoryLog()
    claimed = await executor_on(log).execute(claims(key="k-1"))
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
    await executor.execute_all([claims(key="k-1"), claims(key="k-1"), claims(key="k-2", receiver="ada")])
    assert {how: counted("favour.record", how) - count for how, count in before.items()} == dict.fromkeys(before, 1)


async def test_a_decision_that_does_nothing_to_nothing_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def decide(command: object, state: object, context: object) -> None:
        """Nothing."""

    idle = msgspec.structs.replace(KINDS["favour"], decide=decide)
    monkeypatch.setattr("ledger.log.executor.KINDS", {"favour": idle})
    with pytest.raises(Bug, match=r"favour\.confirm"):
        await executor_on(MemoryLog()).execute(confirms(uuid4()))


# If-Match


@on_both
async def test_a_step_that_names_a_version_is_carried_out_on_that_one_alone(log: EventLog) -> None:
    execute = executor_on(log).execute
    favour = uuid4()
    with pytest.raises(VersionMismatch) as refused:
        await execute(confirms(favour, if_match=1))
    assert refused.value.facts == {"if_match": 1, "version": 0}
    await execute(claims(id=favour))
    with pytest.raises(VersionMismatch) as refused:
        await execute(confirms(favour, if_match=2))
    assert refused.value.facts == {"if_match": 2, "version": 1}
    assert (await execute(confirms(favour, if_match=1, key="k-2"))).version == 2
    assert await log.end() == 2
    # A repeat is answered as the first time: it is not asked again which version it meant.
    assert (await execute(confirms(favour, if_match=1, key="k-2"))).how == "replayed"


# The same again


@on_both
async def test_a_repeated_creation_answers_as_the_first_time_even_after_later_steps(log: EventLog) -> None:
    execute = executor_on(log).execute
    once = await execute(claims(key="k-1"))
    assert (await execute(claims(key="k-1"))) == msgspec.structs.replace(once, how="replayed")
    await execute(confirms(once.ref.id))
    await execute(asks("favour.forgive", id=UUID(once.ref.id), actor="ada"))
    again = await execute(claims(key="k-1"))
    assert again == msgspec.structs.replace(once, how="replayed")
    assert isinstance(again.state, Claimed)
    assert await log.end() == 3


@on_both
async def test_a_repeated_step_answers_as_the_first_time_even_after_later_steps(log: EventLog) -> None:
    execute = executor_on(log).execute
    claimed = await execute(claims(key="k-1"))
    once = await execute(confirms(claimed.ref.id, key="k-2"))
    assert await execute(confirms(claimed.ref.id, key="k-2")) == msgspec.structs.replace(once, how="replayed")
    forgiven = await execute(asks("favour.forgive", id=UUID(claimed.ref.id), actor="ada", key="k-3"))
    assert isinstance(forgiven.state, Forgiven)
    again = await execute(confirms(claimed.ref.id, key="k-2"))
    assert again == msgspec.structs.replace(once, how="replayed")
    assert isinstance(again.state, Posted)
    assert await log.end() == 3


@on_both
async def test_a_key_that_comes_with_another_request_is_refused(log: EventLog) -> None:
    execute = executor_on(log).execute
    claimed = await execute(claims(key="k-1"))
    await execute(confirms(claimed.ref.id, key="k-2"))
    for other in (
        claims(key="k-1", size="large"),
        claims(key="k-1", occurred_at=NOW),
        claims(key="k-1", actor="bob"),
        confirms(claimed.ref.id, key="k-1"),
        confirms(claimed.ref.id, key="k-2", occurred_at=NOW),
        asks("favour.refuse", id=UUID(claimed.ref.id), actor="bob", key="k-2"),
    ):
        with pytest.raises(KeyReused) as refused:
            await execute(other)
        assert refused.value.facts == {"kind": "favour", "id": claimed.ref.id}
    assert await log.end() == 2


async def test_the_same_key_in_another_community_is_another_key() -> None:
    execute = executor_on(MemoryLog()).execute
    one = await execute(claims(key="k-1"))
    other = await execute(claims(key="k-1", community="umbrella"))
    assert (one.how, other.how) == ("recorded", "recorded")
    assert one.ref.id != other.ref.id


async def test_a_refused_command_does_not_use_up_its_key() -> None:
    execute = executor_on(MemoryLog()).execute
    with pytest.raises(SelfDealing):
        await execute(claims(key="k-1", receiver="ada"))
    assert (await execute(claims(key="k-1"))).how == "recorded"


async def test_a_creation_without_an_id_needs_a_key() -> None:
    with pytest.raises(KeyMissing):
        await executor_on(MemoryLog()).execute(claims())


@on_both
async def test_a_repeated_creation_by_id_needs_no_key(log: EventLog) -> None:
    execute = executor_on(log).execute
    favour = uuid4()
    once = await execute(claims(id=favour))
    await execute(confirms(favour))
    assert await execute(claims(id=favour)) == msgspec.structs.replace(once, how="replayed")
    with pytest.raises(AlreadyExists):
        await execute(claims(id=favour, size="large"))
    assert await log.end() == 2


@on_both
async def test_a_repeated_step_without_a_key_leaves_it_as_it_is_now(log: EventLog) -> None:
    execute = executor_on(log).execute
    favour = uuid4()
    await execute(claims(id=favour))
    once = await execute(confirms(favour))
    assert await execute(confirms(favour)) == msgspec.structs.replace(once, how="unchanged")
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


@pytest.mark.parametrize("name", KINDS)
def test_no_aggregate_lives_so_long_that_it_forgets_a_command(name: str) -> None:
    events: list[AnyEvent] = [golden(event_type).data for event_type in GOLDEN]
    consent = next(event for event in events if isinstance(event, IntroConsented))
    events.append(msgspec.structs.replace(consent, member=consent.asker))
    of_kind = [event for event in events if type(event) in KINDS[name].events]
    assert 2 < longest_life(KINDS[name], of_kind) <= REMEMBERED_COMMANDS


async def test_a_forgotten_creation_is_refused_and_not_recorded_twice() -> None:
    log = MemoryLog()
    begun = first()
    marks = tuple(CommandMark(f"k-{n}", "f" * 32, 1) for n in range(REMEMBERED_COMMANDS))
    state = Claimed(giver="ada", receiver="bob", size="medium", points=120, lapses_at=NOW)
    snapshot = msgspec.json.encode(Snapshot(9, msgspec.Raw(encode_state(state)), marks))
    await log.append([msgspec.structs.replace(begun, snapshot=snapshot)])
    last = await last_of(log, begun.ref, 1)
    assert [mark.id for mark in aggregate_of(last).commands] == [
        *(f"k-{n}" for n in range(1, REMEMBERED_COMMANDS)),
        last.envelope.commandid,
    ]
    with pytest.raises(AlreadyExists):
        await executor_on(log).execute(claims(id=UUID(begun.ref.id), key="k-0"))
    step = following(last, CONFIRMED, key="k-9")
    await log.append([step])
    aggregate = aggregate_of(await last_of(log, begun.ref, 2))
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
    await execute(asks("referral.qualify", id=parent, actor="bob"))
    won = await execute(asks("referral.win", id=parent, actor="bob", band="M"))
    assert isinstance(won.state, Won)
    child = await execute(grown)
    assert isinstance(child.state, Given)
    assert (child.state.parent, child.state.parent_referrer) == (parent, "ada")
    with pytest.raises(Unknown):
        await execute(gives("prospect-9", parent=uuid4()))


# Many commands


@on_both
async def test_each_of_many_succeeds_or_is_refused_alone_and_in_its_place(log: EventLog) -> None:
    one, other = uuid4(), uuid4()
    results = await executor_on(log).execute_all(
        [
            claims(id=one),
            claims(),  # No key, no id.
            confirms(one, actor="ada"),  # Not hers to confirm.
            confirms(one),
            claims(id=other, receiver="ada"),  # To herself.
            claims(id=other),
            confirms(uuid4()),
            confirms(one),
            asks("favour.refuse", id=one, actor="bob"),
            claims(key="k-1", occurred_at=NOW + timedelta(hours=1)),
            asks("favour.forgive", id=one, actor="ada"),
            claims(id=other),
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


async def test_nothing_to_do_is_nothing_done() -> None:
    assert await executor_on(MemoryLog()).execute_all([]) == []


@on_both
async def test_more_than_one_atomic_append_can_hold_are_carried_out_in_several(log: EventLog) -> None:
    submissions = [claims(id=uuid4()) for _ in range(1_001)]
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
    await executor.execute(claims(id=favour))
    results = await asyncio.gather(
        *(
            executor.execute(confirms(favour) if n % 2 else asks("favour.refuse", id=favour, actor="bob"))
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
    results = await asyncio.gather(*(executor.execute(claims(key="k-1")) for _ in range(50)))
    assert sorted(result.how for result in results) == ["recorded", *["replayed"] * 49]
    assert {(result.position, result.version) for result in results} == {(1, 1)}
    assert await log.end() == 1


@on_both
async def test_many_commands_of_several_callers_on_the_same_aggregates_are_all_answered_right(log: EventLog) -> None:
    executor = executor_on(log)
    favours = [uuid4() for _ in range(60)]

    def batch(caller: int) -> list[Submission]:
        shared = favours[caller * 8 : caller * 8 + 20]  # Each overlaps with the next two.
        return [claims(id=favour) for favour in shared] + [confirms(favour, key=f"c-{caller}") for favour in shared]

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
            assert aggregate_of(event).state == result.state
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
    assert (await executor_on(log).execute(claims(key="k-1"))).how == "recorded"
    assert log.attempts == ATTEMPTS_MAX


async def test_a_command_that_others_always_outpace_is_given_up() -> None:
    log = Outpaced(1_000)
    with pytest.raises(Contended) as refused:
        await executor_on(log).execute(claims(id=UUID(int=7)))
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

    submissions = [claims(id=uuid4()) for _ in range(9)]
    submissions.insert(4, claims(id=UUID(contended)))
    log = OutpacedOnOne()
    results = await executor_on(log).execute_all(submissions)
    assert outcomes(results) == [*["recorded"] * 4, Contended.code, *["recorded"] * 5]
    assert await log.end() == 9


@pytest.mark.parametrize("stores", [True, False])
async def test_a_command_whose_answer_was_lost_once_is_recorded_once(*, stores: bool) -> None:
    log = Mumbling(1, stores=stores)
    outcome = await executor_on(log).execute(claims(key="k-1"))
    assert (outcome.how, outcome.position, outcome.version) == ("recorded", 1, 1)
    confirmed = await executor_on(log).execute(confirms(outcome.ref.id))
    assert (confirmed.how, confirmed.position, confirmed.version) == ("recorded", 2, 2)
    assert await log.end() == 2


@pytest.mark.parametrize("stores", [True, False])
async def test_a_step_without_a_key_whose_answer_was_lost_is_recorded_once(*, stores: bool) -> None:
    log = Mumbling(0, stores=stores)
    outcome = await executor_on(log).execute(claims(key="k-1"))
    log.times = 1
    confirmed = await executor_on(log).execute(confirms(outcome.ref.id))
    assert (confirmed.how, confirmed.position, confirmed.version) == ("recorded", 2, 2)
    assert await log.end() == 2


@pytest.mark.parametrize("stores", [True, False])
async def test_many_whose_answer_was_lost_are_each_recorded_once(*, stores: bool) -> None:
    log = Mumbling(1, stores=stores)
    results = await executor_on(log).execute_all([claims(key=f"k-{n}") for n in range(10)])
    assert outcomes(results) == ["recorded"] * 10
    assert await log.end() == 10


async def test_a_command_whose_answer_was_lost_twice_is_said_to_be_uncertain_and_may_be_repeated() -> None:
    log = Mumbling(2, stores=False)
    with pytest.raises(AppendUncertain):
        await executor_on(log).execute(claims(key="k-1"))
    assert log.attempts == 2
    assert (await executor_on(log).execute(claims(key="k-1"))).how == "recorded"
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
        outcome = await executor_on(log).execute(claims(key="k-1"))
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
            await executor_on(ThenOutpaced()).execute_all([claims(key=f"k-{n}") for n in range(count)])


async def test_what_may_be_recorded_is_uncertain_when_the_log_then_goes_away() -> None:
    class ThenGone(MemoryLog):
        gone = False

        async def last(self, refs: Sequence[AggregateRef], **how: Any) -> list[Recorded | None]:
            if self.gone:
                raise LogUnavailable
            return await super().last(refs, **how)

        async def append(self, events: Sequence[Append]) -> list[int]:
            await super().append(events)
            self.gone = True
            raise AppendUncertain

    log = ThenGone()
    with pytest.raises(AppendUncertain):
        await executor_on(log).execute(claims(key="k-1"))
    assert await log.end() == 1


async def test_nothing_is_recorded_while_the_log_is_away() -> None:
    class Gone(MemoryLog):
        async def last(self, refs: Sequence[AggregateRef], **how: Any) -> list[Recorded | None]:
            raise LogUnavailable

    with pytest.raises(LogUnavailable):
        await executor_on(Gone()).execute(claims(key="k-1"))


async def test_a_repeat_waits_for_the_event_that_it_repeats() -> None:
    class Lagging(MemoryLog):
        behind = True

        async def at(self, position: int) -> Recorded | None:
            return None if self.behind else await super().at(position)

    log = Lagging()
    once = await executor_on(log).execute(claims(key="k-1"))
    await executor_on(log).execute(confirms(once.ref.id))
    with pytest.raises(LogUnavailable, match="position 1"):
        await executor_on(log).execute(claims(key="k-1"))
    log.behind = False
    assert (await executor_on(log).execute(claims(key="k-1"))).how == "replayed"


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
    executing = asyncio.create_task(executor_on(log).execute(claims(key="k-1")))
    async with asyncio.timeout(WAIT_MAX_S):
        await log.reached.wait()
    executing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await executing
    assert await log.end() == 0
    log.released.set()

    async def recorded() -> bool:
        return await log.end() == 1

    await until(recorded)
    assert (await executor_on(log).execute(claims(key="k-1"))).how == "replayed"


# Reads that are behind


class Behind(MemoryLog):
    """The next read of what is last is answered by a replica that has not heard of the newest `events`."""

    def __init__(self) -> None:
        super().__init__()
        self.events = 0

    async def last(self, refs: Sequence[AggregateRef], **how: Any) -> list[Recorded | None]:
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
    once = await executor_on(log).execute(claims(key="k-1"))
    log.events = 1
    assert await executor_on(log).execute(claims(key="k-1")) == msgspec.structs.replace(once, how="replayed")
    assert await log.end() == 1


async def test_a_step_that_is_loaded_from_behind_is_not_refused() -> None:
    log = Behind()
    once = await executor_on(log).execute(claims(key="k-1"))
    log.events = 1  # No favour yet, there.
    await executor_on(log).execute(confirms(once.ref.id))
    log.events = 1  # Still a claim, there.
    forgiven = await executor_on(log).execute(asks("favour.forgive", id=UUID(once.ref.id), actor="ada", if_match=2))
    assert (forgiven.how, forgiven.version) == ("recorded", 3)
    log.events = 1  # Still owed, there.
    with pytest.raises(WrongState):
        await executor_on(log).execute(confirms(once.ref.id))


async def test_a_parent_that_is_loaded_from_behind_is_not_held_against_its_child() -> None:
    class ParentBehind(Behind):
        """Behind when it is asked for the parent, not when it is asked for the child."""

        parent = ""

        async def last(self, refs: Sequence[AggregateRef], **how: Any) -> list[Recorded | None]:
            if [ref.id for ref in refs] == [self.parent]:
                self.events, self.parent = 1, ""
            return await super().last(refs, **how)

    log = ParentBehind()
    execute = executor_on(log).execute
    parent = UUID((await execute(gives())).ref.id)
    await execute(asks("referral.qualify", id=parent, actor="bob"))
    await execute(asks("referral.win", id=parent, actor="bob", band="M"))
    log.parent = str(parent)
    child = await execute(gives("prospect-8", actor="bob", referrer="bob", recipient="cyd", parent=parent))
    assert child.how == "recorded"


async def test_a_step_follows_its_creation_at_once_whichever_replica_is_asked(nats_cluster: list[EmbeddedNats]) -> None:
    await fresh_stream(nats_cluster[0], replicas=3)

    async def claim_and_confirm(executor: Executor) -> str:
        favour = uuid4()
        await executor.execute(claims(id=favour))
        (result,) = await executor.execute_all([confirms(favour)])
        return result.code if isinstance(result, Refusal) else result.how

    for server in nats_cluster:
        async with Connection(server.url, "test") as connection:
            await connection.ready()
            executor = executor_on(JetStreamLog(connection))
            for _ in range(10):
                answers = await asyncio.gather(*(claim_and_confirm(executor) for _ in range(20)))
                assert answers == ["recorded"] * 20
