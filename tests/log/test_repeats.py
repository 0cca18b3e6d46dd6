"""Repeated commands: each is recorded once, and returns the same as the first time."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid4

import msgspec
import pytest

from ledger.commands.refusals import KeyMissing, KeyReused
from ledger.domain.catalog.kinds import KINDS, AnyEvent, Kind
from ledger.domain.kinds.favour import Claimed, Forgiven, Posted
from ledger.domain.kinds.intro.events import IntroConsented
from ledger.domain.kinds.member import Active, Left
from ledger.domain.kinds.one_to_one import OneToOneHeld
from ledger.domain.values.aggregate_types import State
from ledger.domain.values.refusals import AlreadyExists, Bug, SelfDealing
from ledger.envelope import encode_state
from ledger.log.event_log import EventLog
from ledger.log.memory import MemoryLog
from ledger.log.snapshot import REMEMBERED_COMMANDS, CommandMark, Snapshot, load_aggregate
from tests.envelopes import NOW
from tests.log.reads import wait_for_last_event
from tests.log.samples import (
    CONFIRMED,
    GOLDEN,
    claim,
    confirm,
    first_append,
    golden_envelope,
    next_append,
    submission_of,
)
from tests.log.submissions import executor_on, join, on_both, propose, set_wants


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
    intro = UUID((await execute(propose(key="k"))).ref.id)
    await execute(submission_of("intro.accept", id=intro, actor="bob", level=3, key="k"))
    refused = await execute(submission_of("intro.refuse", id=intro, actor="cyd", key="k"))
    withdrawn = await execute(submission_of("intro.withdraw", id=intro, actor="ada", key="k"))
    assert [refused.how, withdrawn.how, withdrawn.version] == ["recorded", "recorded", 4]
    again = await execute(submission_of("intro.refuse", id=intro, actor="cyd", key="k"))
    assert again == msgspec.structs.replace(refused, how="replayed")
    with pytest.raises(KeyReused):
        await execute(submission_of("intro.refuse", id=intro, actor="cyd", key="k", tell_now=True))
    assert (await execute(propose(key="k"))).version == 1
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
    joined = await execute(join(key="k-join"))
    wanted = await execute(set_wants("law", key="k-0"))
    for n in range(later):
        await execute(set_wants(f"tag-{n}", key=f"k-{n + 1}"))
    assert await execute(join(key="k-join")) == msgspec.structs.replace(joined, how="replayed")
    assert await execute(set_wants("law", key="k-0")) == msgspec.structs.replace(wanted, how="replayed")
    assert (await execute(set_wants(f"tag-{later - 1}", key=f"k-{later}"))).how == "replayed"
    with pytest.raises(KeyReused):
        await execute(set_wants("tax", key="k-0"))
    assert await log.end() == later + 2
    assert (await execute(set_wants("law", key="k-new"))).how == "recorded"


async def test_without_a_key_what_is_said_again_later_is_said_anew() -> None:
    log = MemoryLog()
    execute = executor_on(log).execute
    await execute(join())
    for n in range(2 * REMEMBERED_COMMANDS):
        assert (await execute(set_wants("law" if n % 2 else "tax"))).how == "recorded"
    assert (await execute(set_wants("law"))).how == "unchanged"


@on_both
async def test_one_who_has_left_may_join_again_with_or_without_a_key(log: EventLog) -> None:
    execute = executor_on(log).execute
    first_time = await execute(join())
    assert (await execute(join())).how == "unchanged"
    with pytest.raises(AlreadyExists):
        await execute(join(sponsor="cyd"))
    left = await execute(submission_of("member.leave", id=UUID(first_time.ref.id), actor="ada"))
    assert isinstance(left.state, Left)
    again = await execute(join())
    assert isinstance(again.state, Active)
    assert (again.how, again.version) == ("recorded", 3)
    await execute(submission_of("member.leave", id=UUID(first_time.ref.id), actor="ada"))
    with_key = await execute(join(key="k-1"))
    assert (with_key.how, with_key.version) == ("recorded", 5)
    assert (await execute(join(key="k-1"))).how == "replayed"
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
