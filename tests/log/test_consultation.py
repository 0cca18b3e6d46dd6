"""Consultation: the executor asks the books about a new ask, and decides without them if they do not answer."""

from datetime import datetime
from typing import Final, get_args
from uuid import UUID

import msgspec
import pytest

from ledger.commands.executor import Executor
from ledger.commands.submission import Outcome
from ledger.domain.kinds.intro.commands import ProposeIntro
from ledger.domain.kinds.intro.states import Asked
from ledger.domain.kinds.publication import POLICY_NOTICE
from ledger.domain.values.advice import Advice, GuardFacts
from ledger.domain.values.policy import GuardMode, Policy
from ledger.domain.values.refusals import AlreadyExists, GuardUnavailable, NotYours, OpenAsks
from ledger.log.event_log import EventLog
from ledger.log.memory import MemoryLog
from tests.envelopes import NOW
from tests.log.samples import claim, submission_of
from tests.log.submissions import Clock, executor_on, give, join, on_both, outcomes, propose, publish


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
        await executor.execute(publish(Policy(guard=guard), NOW + POLICY_NOTICE))
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
    ask = propose(key="k-1")
    asked = await executor.execute(ask)
    consulted = 0 if guard == "off" else 1
    assert len(books.asked) == consulted
    await executor.execute(ask)
    await executor.execute(propose(key="k-2", actor="bob", level=3))
    with pytest.raises(AlreadyExists):
        await executor.execute(propose(command_id=asked.ref.id, tags=("law",)))
    await executor.execute(submission_of("intro.accept", id=UUID(asked.ref.id), actor="bob", level=1))
    await executor.execute(claim(key="k-3"))
    await executor.execute(give())
    await executor.execute(join())
    with pytest.raises(NotYours):
        await executor.execute(propose(key="k-4", actor="eve"))
    assert len(books.asked) == consulted


async def test_the_books_are_told_who_asks_by_which_policy_and_when() -> None:
    books = Books(GuardFacts(member="ada"))
    executor = await guarded(MemoryLog(), "enforce", books)
    ask = propose(key="k-1")
    await executor.execute(ask)
    ((community, command, policy, now),) = books.asked
    assert (community, command, now) == ("acme", ask.command, NOW + POLICY_NOTICE)
    assert (policy.guard, policy.version) == ("enforce", 2)


@pytest.mark.parametrize(("guard", "verdict"), [("off", None), ("advise", "ok")])
async def test_what_the_books_say_is_advised_on_and_refuses_nothing(guard: GuardMode, verdict: str | None) -> None:
    executor = await guarded(MemoryLog(), guard, Books(FIVE_OPEN))
    asked = asked_in(await executor.execute(propose(key="k-1")))
    assert (asked.advice and asked.advice.verdict) == verdict
    assert (asked.advice.reasons if asked.advice else ()) == (("open_asks",) if verdict else ())


async def test_what_the_books_say_is_enforced_where_the_community_wants_it() -> None:
    log = MemoryLog()
    executor = await guarded(log, "enforce", Books(FIVE_OPEN))
    with pytest.raises(OpenAsks) as refused:
        await executor.execute(propose(key="k-1"))
    assert refused.value.facts == {"open_asks": 5, "open_asks_max": 5}
    assert (await executor.execute(propose(key="k-2", actor="bob", level=3))).how == "recorded"
    assert await log.end() == 2


@pytest.mark.parametrize("how", ["no books at all", "books that do not answer"])
async def test_an_ask_that_the_books_cannot_be_asked_of_goes_through_with_a_word_about_it(how: str) -> None:
    log = MemoryLog()
    executor = executor_on(log) if how == "no books at all" else Executor(log, lambda: NOW, Books(None))
    asked = asked_in(await executor.execute(propose(key="k-1")))
    assert asked.advice == Advice(verdict="unavailable")


@on_both
async def test_where_the_guard_is_enforced_nothing_is_asked_for_that_the_books_cannot_be_asked_of(
    log: EventLog,
) -> None:
    books = Books(None)
    executor = await guarded(log, "enforce", books)
    with pytest.raises(GuardUnavailable) as refused:
        await executor.execute(propose(key="k-1"))
    assert (refused.value.code, refused.value.facts) == ("guard_unavailable", {})
    results = await executor.execute_all([propose(key="k-1"), claim(key="k-2"), propose(key="k-3")])
    assert outcomes(results) == ["guard_unavailable", "recorded", "guard_unavailable"]
    assert (await executor.execute(propose(key="k-4", actor="bob", level=3))).how == "recorded"
    books.facts = GuardFacts(member="ada")
    assert (await executor.execute(propose(key="k-1"))).how == "recorded"  # Its key is still free.
    assert await log.end() == 4


async def test_an_ask_that_was_recorded_is_answered_again_although_the_books_are_silent() -> None:
    books = Books(GuardFacts(member="ada"))
    executor = await guarded(MemoryLog(), "enforce", books)
    once = await executor.execute(propose(key="k-1"))
    books.facts = None
    assert await executor.execute(propose(key="k-1")) == msgspec.structs.replace(once, how="replayed")
