"""Visibility: an asker cannot distinguish a no from a silence."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, cast

import pytest
from msgspec.structs import replace

from ledger.domain.catalog.kinds import INTRO
from ledger.domain.kinds.intro.commands import AcceptIntro, CloseIntro, IntroStep
from ledger.domain.kinds.intro.events import IntroAccepted, IntroEvent
from ledger.domain.kinds.intro.silence import asker_state, state_read_by, version_read_by
from ledger.domain.kinds.intro.states import Intro
from ledger.domain.values.aggregate_types import Command, Event, tag_of
from ledger.domain.values.context import Context
from ledger.domain.values.refusals import AlreadyExists, Bug, Refusal, WrongState
from ledger.domain.visibility import CONFIDENTIAL, EventReader
from tests.domain.intro_examples import (
    ACCEPT,
    ACCEPTED,
    ANSWER_DUE,
    ASK,
    ASKED,
    ASKED_LIFE,
    ASKER,
    CLOSE,
    CLOSED,
    CONNECTOR,
    CONSENT,
    CONSENT_DUE,
    CONSENTED,
    DECLINE,
    DECLINED,
    EXPIRED,
    MADE,
    MAKE,
    MEET,
    MET,
    OFFERED,
    OFFERED_LIFE,
    REFUSE,
    REFUSED,
    TAKE_BACK,
    TARGET,
    TO_CONSENTED,
    TO_MADE,
    VISIBLE_UNTIL,
    WITHDRAW,
    WITHDRAWN,
)
from tests.domain.spec import LATER, MOMENT, NOW, days, fold, given

ACCEPTED_LATE: Final = replace(ACCEPTED, lapses_at=VISIBLE_UNTIL)  # The connector accepted on the last day.
SILENT: Final[dict[str, tuple[IntroEvent, ...]]] = {
    "asked": (ASKED,),
    "accepted": (ASKED, ACCEPTED),
    "accepted late": (ASKED, ACCEPTED_LATE),
    "consented": TO_CONSENTED,
    "declined": (ASKED, DECLINED),
    "refused": (ASKED, ACCEPTED, REFUSED),
    "refused late": (ASKED, ACCEPTED_LATE, REFUSED),
    "expired unanswered": (ASKED, EXPIRED),
    "expired without consent": (ASKED, ACCEPTED, EXPIRED),
}
every_silence = pytest.mark.parametrize("history", SILENT.values(), ids=SILENT.keys())
MOMENTS: Final = (NOW, CONSENT_DUE, ANSWER_DUE, VISIBLE_UNTIL - MOMENT, VISIBLE_UNTIL, LATER)


def intro(*history: Event) -> Intro:
    return cast("Intro", fold(INTRO, history))


@every_silence
@pytest.mark.parametrize("at", MOMENTS)
def test_whoever_is_silent_it_is_pending_until_one_moment_and_not_now_from_then_on(
    history: tuple[IntroEvent, ...], at: datetime
) -> None:
    assert asker_state(intro(*history), at) == ("not_now" if at >= VISIBLE_UNTIL else "pending")


@pytest.mark.parametrize("at", MOMENTS)
def test_one_who_says_no_may_choose_that_the_asker_knows_at_once(at: datetime) -> None:
    assert asker_state(intro(ASKED, replace(DECLINED, tell_now=True)), at) == "not_now"
    assert asker_state(intro(ASKED, ACCEPTED, replace(REFUSED, tell_now=True)), at) == "not_now"


@pytest.mark.parametrize("after", ["made", "met", "closed", "withdrawn"])
@pytest.mark.parametrize("at", MOMENTS)
def test_what_was_made_or_taken_back_is_seen_as_it_is(after: str, at: datetime) -> None:
    assert asker_state(intro(*ASKED_LIFE.after[after]), at) is None


@pytest.mark.parametrize("after", OFFERED_LIFE.after)
def test_nobody_asked_for_a_match_so_all_of_it_is_seen_as_it_is(after: str) -> None:
    if OFFERED_LIFE.after[after]:
        assert asker_state(intro(*OFFERED_LIFE.after[after]), LATER) is None


def test_silence_ends_ten_days_after_the_answer_was_due() -> None:
    soon = NOW + days(2)
    asked = (
        given().when(replace(ASK, respond_by=soon)).then(replace(ASKED, lapses_at=soon, visible_until=soon + days(10)))
    )
    asked.leaving("asked", visible_until=soon + days(10))


@pytest.mark.parametrize(
    ("history", "end"),
    [
        ((), ANSWER_DUE),
        ((ACCEPTED,), CONSENT_DUE),
        ((DECLINED,), ANSWER_DUE),
        ((ACCEPTED, REFUSED), CONSENT_DUE),
        ((EXPIRED,), ANSWER_DUE),
        ((ACCEPTED, EXPIRED), CONSENT_DUE),
    ],
)
def test_an_ask_of_before_there_was_a_visible_end_ends_with_its_own_deadline(
    history: tuple[IntroEvent, ...], end: datetime
) -> None:
    old = intro(replace(ASKED, visible_until=None), *history)
    assert asker_state(old, end - MOMENT) == "pending"
    assert asker_state(old, end) == "not_now"


def test_an_old_ask_that_all_agreed_to_has_no_deadline_and_stays_pending() -> None:
    assert asker_state(intro(replace(ASKED, visible_until=None), ACCEPTED, CONSENTED), LATER) == "pending"


@every_silence
def test_everybody_but_the_asker_is_told_how_it_stands(history: tuple[IntroEvent, ...]) -> None:
    state = intro(*history)
    assert state_read_by(CONNECTOR, state, NOW) == state_read_by(TARGET, state, NOW) == tag_of(state)
    assert state_read_by(ASKER, state, NOW) == "pending"


# Response to a command of the asker

ASKER_SAYS: Final[list[Command]] = [
    *(replace(command, actor=ASKER) for command in ASKED_LIFE.asked_to.values() if isinstance(command, Command)),
    replace(CLOSE, actor=ASKER, fault="asker"),
    replace(CLOSE, actor=ASKER, fault="connector"),
    replace(DECLINE, actor=ASKER, tell_now=True),
]


def answer(command: Command, history: tuple[IntroEvent, ...], at: datetime) -> object:
    try:
        return INTRO.decide(command, intro(*history), Context(now=at))
    except Refusal as refusal:
        return type(refusal), refusal.facts


@pytest.mark.parametrize("command", ASKER_SAYS)
@pytest.mark.parametrize("at", MOMENTS)
def test_no_answer_tells_the_asker_who_was_silent_or_said_no(command: Command, at: datetime) -> None:
    first, *others = [answer(command, history, at) for history in SILENT.values()]
    assert all(other == first for other in others)


@every_silence
@pytest.mark.parametrize("at", MOMENTS)
def test_an_asker_may_withdraw_until_it_is_made_even_if_somebody_said_no(
    history: tuple[IntroEvent, ...], at: datetime
) -> None:
    given(*history).when(WITHDRAW, at=at).then(WITHDRAWN).posting_nothing().leaving("withdrawn")


@pytest.mark.parametrize("no", [(replace(DECLINED, tell_now=True),), (ACCEPTED, replace(REFUSED, tell_now=True))])
def test_an_asker_may_withdraw_what_they_know_was_declined(no: tuple[IntroEvent, ...]) -> None:
    given(ASKED, *no).when(WITHDRAW).then(WITHDRAWN).posting_nothing()
    given(ASKED, *no).when(MEET).then_refused(WrongState, expected="made", found="not_now")


@pytest.mark.parametrize("after", ["made", "met", "closed"])
def test_an_asker_withdraws_nothing_that_was_made(after: str) -> None:
    history = ASKED_LIFE.after[after]
    given(*history).when(WITHDRAW).then_refused(WrongState, expected="pending or not_now", found=after)


@pytest.mark.parametrize("after", ["refused", "expired"])
def test_a_connector_cannot_take_back_an_offer_that_came_to_nothing(after: str) -> None:
    history = OFFERED_LIFE.after[after]
    given(*history).when(TAKE_BACK).then_refused(WrongState, expected="offered or consented", found=after)


@every_silence
@pytest.mark.parametrize(("at", "seen"), [(NOW, "pending"), (VISIBLE_UNTIL, "not_now")])
def test_an_asker_who_says_too_much_is_told_what_they_see(
    history: tuple[IntroEvent, ...], at: datetime, seen: str
) -> None:
    closing = CloseIntro(actor=ASKER, outcome="fruitful")
    given(*history).when(MEET, at=at).then_refused(WrongState, expected="made", found=seen)
    given(*history).when(closing, at=at).then_refused(WrongState, expected="made or met", found=seen)
    given(*history).when(ASK, at=at).then_refused(AlreadyExists, kind="intro")


@every_silence
def test_the_others_are_told_how_it_stands(history: tuple[IntroEvent, ...]) -> None:
    state = intro(*history)
    for actor in (CONNECTOR, TARGET):
        attempt = given(*history).when(replace(CLOSE, actor=actor))
        attempt.then_refused(WrongState, expected="made or met", found=tag_of(state))


@pytest.mark.parametrize("step", [ACCEPT, DECLINE, CONSENT, REFUSE, MAKE])
@every_silence
def test_nobody_goes_on_with_what_was_withdrawn(history: tuple[IntroEvent, ...], step: IntroStep) -> None:
    attempt = given(*history, WITHDRAWN).when(step)
    with pytest.raises(WrongState) as refused:
        INTRO.decide(attempt.command, attempt.state, attempt.context)
    assert refused.value.facts["found"] == "withdrawn"


def test_what_was_made_after_the_visible_end_is_seen_as_made() -> None:
    late = intro(*TO_CONSENTED)
    assert asker_state(late, VISIBLE_UNTIL) == "not_now"
    assert asker_state(intro(*TO_MADE), VISIBLE_UNTIL) is None
    made = replace(MADE, lapses_at=VISIBLE_UNTIL + days(90), made_at=VISIBLE_UNTIL)
    given(*TO_CONSENTED).when(MAKE, at=VISIBLE_UNTIL).then(made)


def test_an_answer_that_comes_after_the_visible_end_does_not_move_it() -> None:
    late = given(ASKED).when(AcceptIntro(actor=CONNECTOR, level=3), at=LATER).then_recorded("intro.accepted")
    assert isinstance(late.event, IntroAccepted)
    assert asker_state(intro(ASKED, late.event), LATER) == "not_now"


# Versions


@every_silence
@pytest.mark.parametrize(("at", "version"), [(NOW, 1), (VISIBLE_UNTIL - MOMENT, 1), (VISIBLE_UNTIL, 2), (LATER, 2)])
def test_the_version_an_asker_reads_counts_what_they_see_and_not_what_happened(
    history: tuple[IntroEvent, ...], at: datetime, version: int
) -> None:
    assert version_read_by(ASKER, intro(*history), len(history), at) == version
    assert version_read_by(ASKER, intro(*history, WITHDRAWN), len(history) + 1, at) == 3


@pytest.mark.parametrize("after", ["made", "met", "closed"])
def test_from_made_on_everybody_reads_the_same_version(after: str) -> None:
    history = ASKED_LIFE.after[after]
    for member in (ASKER, CONNECTOR, TARGET):
        assert version_read_by(member, intro(*history), len(history), LATER) == len(history)


@every_silence
def test_everybody_but_the_asker_reads_the_version_there_is(history: tuple[IntroEvent, ...]) -> None:
    for member in (CONNECTOR, TARGET):
        assert version_read_by(member, intro(*history), len(history), LATER) == len(history)


@pytest.mark.parametrize("after", OFFERED_LIFE.after)
def test_of_a_match_everybody_reads_the_version_there_is(after: str) -> None:
    history = OFFERED_LIFE.after[after]
    if history:
        assert version_read_by(ASKER, intro(*history), len(history), LATER) == len(history)


# Events

ONE_OF_EACH: Final[tuple[IntroEvent, ...]] = (
    *(ASKED, ACCEPTED, CONSENTED, DECLINED, REFUSED, EXPIRED, WITHDRAWN, MADE, MET, CLOSED),
    OFFERED,
)


def test_the_confidential_events_are_all_that_happens_to_an_ask_without_the_asker_seeing_it() -> None:
    """A hidden event leaves an ask pending for the asker, or ends it like a silence."""
    assert {type(event) for event in ONE_OF_EACH} == set(INTRO.events)
    hidden = {
        tag_of(event)
        for history in (*SILENT.values(), *ASKED_LIFE.after.values())
        for event in ONE_OF_EACH
        if history and (after := led_to(history, event)) is not None and asker_state(after, NOW) is not None
    }
    assert hidden == CONFIDENTIAL


def led_to(history: Iterable[Event], event: IntroEvent) -> Intro | None:
    """Return the state after the event. It is None where the event cannot follow."""
    try:
        return intro(*history, event)
    except Bug:
        return None


@pytest.mark.parametrize("event", sorted(CONFIDENTIAL))
def test_a_confidential_event_is_read_by_its_parties_and_by_the_asker_once_the_intro_is_made(event: str) -> None:
    accepted, made, offered = intro(ASKED, ACCEPTED), intro(*TO_MADE), intro(OFFERED)
    asker, connector = EventReader(ASKER, confidential=False), EventReader(CONNECTOR, confidential=False)
    assert connector.may_read(accepted, event)
    assert not asker.may_read(accepted, event)
    assert asker.may_read(made, event)
    assert asker.may_read(offered, event)


@pytest.mark.parametrize("event", sorted(CONFIDENTIAL))
def test_a_service_reads_confidential_events_by_its_scope_alone(event: str) -> None:
    accepted = intro(ASKED, ACCEPTED)
    assert EventReader(None, confidential=True).may_read(accepted, event)
    assert not EventReader(None, confidential=False).may_read(accepted, event)


def test_every_reader_may_know_an_event_that_is_not_confidential() -> None:
    accepted = intro(ASKED, ACCEPTED)
    for reader in (EventReader(ASKER, confidential=False), EventReader(None, confidential=False)):
        assert reader.may_read(accepted, "intro.asked")
