"""Coach: the figures about a member's own asks, for that member alone. No figure distinguishes a no from a silence."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from statistics import median
from typing import Final, cast
from uuid import UUID

import pytest
from hypothesis import given as arbitrarily
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.domain.catalog.kinds import INTRO
from ledger.domain.kinds.intro.events import IntroEvent
from ledger.domain.kinds.intro.states import Intro
from ledger.domain.standing.coach import Ask, Coaching, RetryableAsk, coach, days_to_yes, rounded_share
from ledger.domain.values.policy import DEFAULT_POLICY, Policy
from tests.domain.intro_examples import (
    ACCEPTED,
    ASKED,
    CLOSED,
    DECLINED,
    EXPIRED,
    MADE,
    MET,
    REFUSED,
    TO_CONSENTED,
    TO_MADE,
    VISIBLE_UNTIL,
    WITHDRAWN,
)
from tests.domain.spec import MOMENT, NOW, days, fold, stored

SILENT: Final[dict[str, tuple[IntroEvent, ...]]] = {
    "asked": (ASKED,),
    "accepted": (ASKED, ACCEPTED),
    "consented": TO_CONSENTED,
    "declined": (ASKED, DECLINED),
    "refused": (ASKED, ACCEPTED, REFUSED),
    "expired": (ASKED, EXPIRED),
}
MADE_AFTER: Final[dict[str, tuple[IntroEvent, ...]]] = {
    "made": TO_MADE,
    "met": (*TO_MADE, MET),
    "closed": (*TO_MADE, CLOSED),
}
NEVER: Final = NOW + days(10_000)


def ask(
    *history: IntroEvent,
    number: int = 1,
    at: datetime = NOW,
    expects: int | None = None,
    connector: str = "bob",
    target: str = "cyd",
    made_at: datetime | None = None,
) -> Ask:
    state = cast("Intro", fold(INTRO, history))
    state = replace(state, connector=connector, target=target, expects_percent=expects)
    if made_at is not None:
        state = replace(state, made_at=made_at)
    return Ask(UUID(int=number), at, state)


def coached(*asks: Ask, now: datetime = NOW, policy: Policy = DEFAULT_POLICY) -> Coaching:
    coaching = coach(asks, now, policy)
    assert stored(coaching, Coaching) == coaching
    return coaching


def test_one_who_has_not_asked_is_told_nothing() -> None:
    assert coached() == Coaching(asks=0, answered=0, yes=0)


def test_expected_and_actual_are_of_the_same_asks_and_the_wait_is_of_the_yeses() -> None:
    asks = [
        ask(*TO_MADE, number=1, expects=30, made_at=NOW + days(2)),
        ask(*TO_MADE, MET, number=2, expects=50, made_at=NOW + days(4)),
        ask(*TO_MADE, CLOSED, number=3, made_at=NOW + days(9)),  # This ask has no expected chance.
        ask(ASKED, replace(DECLINED, tell_now=True), number=4, expects=20),
        ask(ASKED, number=5, expects=99),  # This ask has no answer, so it does not count.
        ask(ASKED, WITHDRAWN, number=6, expects=99),
    ]
    assert coached(*asks) == Coaching(
        asks=6,
        answered=4,
        yes=3,
        actual_permille=750,
        expected_permille=333,  # (30 + 50 + 20) / 3 %.
        days_to_yes=4,
    )


@pytest.mark.parametrize("history", MADE_AFTER.values(), ids=MADE_AFTER.keys())
def test_made_is_a_yes_whatever_came_of_it(history: tuple[IntroEvent, ...]) -> None:
    coaching = coached(ask(*history, made_at=NOW))
    assert (coaching.answered, coaching.yes, coaching.actual_permille, coaching.days_to_yes) == (1, 1, 1_000, 0)


@pytest.mark.parametrize("now", [NOW, VISIBLE_UNTIL - MOMENT, VISIBLE_UNTIL, NOW + days(30), NEVER])
def test_nothing_tells_one_silence_from_another(now: datetime) -> None:
    answers = {coached(ask(*history, expects=40), now=now) for history in SILENT.values()}
    (answer,) = answers
    assert (answer.answered, answer.yes) == ((1, 0) if now >= VISIBLE_UNTIL else (0, 0))
    assert answer.days_to_yes is None


def test_one_who_chose_to_say_no_at_once_is_counted_at_once() -> None:
    assert coached(ask(ASKED, replace(DECLINED, tell_now=True))).answered == 1
    assert coached(ask(ASKED, ACCEPTED, replace(REFUSED, tell_now=True))).answered == 1


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        (timedelta(0), 0),
        (MOMENT, 1),
        (days(1), 1),
        (days(1) + MOMENT, 2),
        (days(90), 90),
    ],
)
def test_the_wait_is_counted_in_whole_days_begun(wait: timedelta, expected: int) -> None:
    assert days_to_yes(ask(*TO_MADE, made_at=NOW + wait)) == expected


def test_of_older_ones_it_is_not_known_when_they_were_made() -> None:
    old = Ask(UUID(int=1), NOW, cast("Intro", fold(INTRO, (*TO_CONSENTED, replace(MADE, made_at=None)))))
    assert days_to_yes(old) is None
    assert coached(old) == Coaching(asks=1, answered=1, yes=1, actual_permille=1_000)


@arbitrarily(st.lists(st.tuples(st.booleans(), st.none() | st.integers(0, 100), st.integers(0, 40)), max_size=12))
def test_the_shares_are_those_of_the_definition(said: list[tuple[bool, int | None, int]]) -> None:
    asks = [
        ask(*TO_MADE, number=n, expects=expects, made_at=NOW + days(wait))
        if is_yes
        else ask(ASKED, replace(DECLINED, tell_now=True), number=n, expects=expects)
        for n, (is_yes, expects, wait) in enumerate(said)
    ]
    coaching = coached(*asks)
    yes = sum(is_yes for is_yes, _, _ in said)
    assert (coaching.asks, coaching.answered, coaching.yes) == (len(said), len(said), yes)
    assert coaching.actual_permille == half_up(Fraction(1_000 * yes, len(said)) if said else None)
    hopes = [expects for _, expects, _ in said if expects is not None]
    assert coaching.expected_permille == half_up(Fraction(10 * sum(hopes), len(hopes)) if hopes else None)
    waits = [wait for is_yes, _, wait in said if is_yes]
    assert (coaching.days_to_yes is None) == (not waits)
    if waits and coaching.days_to_yes is not None:
        assert abs(coaching.days_to_yes - median(waits)) <= 0.5


def half_up(value: Fraction | None) -> int | None:
    return None if value is None else int(value + Fraction(1, 2))


@arbitrarily(st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_half_is_rounded_up(part: int, whole: int) -> None:
    assert rounded_share(part, whole) == half_up(Fraction(part, whole))
    assert rounded_share(part, 0) is None


# Time of the next ask


def again(asks: Sequence[Ask], now: datetime, policy: Policy = DEFAULT_POLICY) -> list[int]:
    return [found.intro.int for found in coached(*asks, now=now, policy=policy).again]


def test_what_came_to_nothing_may_be_tried_again_after_thirty_days_and_not_a_moment_before() -> None:
    nothing = ask(ASKED, DECLINED)
    assert again([nothing], NOW + days(30) - MOMENT) == []
    assert coached(nothing, now=NOW + days(30)).again == (
        RetryableAsk(intro=nothing.id, connector="bob", target="cyd", asked_at=NOW),
    )


def test_the_pause_is_the_policys() -> None:
    told = ask(ASKED, replace(DECLINED, tell_now=True))
    assert again([told], NOW + days(7) - MOMENT, Policy(ask_again=days(7))) == []
    assert again([told], NOW + days(7), Policy(ask_again=days(7))) == [1]


def test_what_is_pending_is_not_asked_again_however_long_the_pause_is_over() -> None:
    late = replace(ASKED, lapses_at=NOW + days(50), visible_until=NOW + days(60))
    assert again([ask(late)], NOW + days(40)) == []
    assert again([ask(late)], NOW + days(60)) == [1]


def test_what_was_taken_back_may_be_tried_again() -> None:
    assert again([ask(ASKED, WITHDRAWN)], NOW + days(30)) == [1]


@pytest.mark.parametrize("history", MADE_AFTER.values(), ids=MADE_AFTER.keys())
def test_what_was_made_is_not_asked_for_again(history: tuple[IntroEvent, ...]) -> None:
    assert again([ask(*history)], NEVER) == []


def test_of_the_same_ask_the_last_counts() -> None:
    first, second = ask(ASKED, DECLINED, number=1), ask(ASKED, DECLINED, number=2, at=NOW + days(31))
    assert again([second, first], NOW + days(60)) == []  # The member asked again meanwhile, so the pause starts again.
    assert again([second, first], NOW + days(61)) == [2]
    assert again([ask(*TO_MADE, number=2, at=NOW + days(31)), first], NEVER) == []


def test_another_connector_or_another_target_is_another_ask_and_the_newest_is_told_first() -> None:
    asks = [
        ask(ASKED, DECLINED, number=1),
        ask(ASKED, DECLINED, number=2, at=NOW + days(2), connector="dee"),
        ask(ASKED, DECLINED, number=3, at=NOW + days(1), target="eve"),
    ]
    assert again(asks, NEVER) == [2, 3, 1]
