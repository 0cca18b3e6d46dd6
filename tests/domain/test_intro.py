"""Introduction: every command after every history, who may give it, and when silence ends."""

from datetime import datetime
from typing import Final

import pytest
from msgspec.structs import replace

from ledger.domain.catalog.kinds import INTRO
from ledger.domain.kinds.intro.commands import CloseIntro, IntroStep
from ledger.domain.kinds.intro.events import IntroClosed, IntroEvent
from ledger.domain.values.points import Level
from ledger.domain.values.refusals import Bug, NotDue, NotYours, WrongState
from tests.domain.intro_examples import (
    ACCEPT,
    ACCEPTED,
    ANSWER_DUE,
    ASKED,
    ASKED_LIFE,
    ASKER,
    ASKER_CONSENTED,
    CLOSE,
    CLOSE_DUE,
    CLOSED,
    CONNECTOR,
    CONSENT,
    CONSENT_DUE,
    CONSENTED,
    DECLINE,
    DECLINED,
    EXPIRED,
    LAPSE,
    MADE,
    MAKE,
    MATCH_CLOSED,
    MATCH_TO_CONSENTED,
    MATCH_TO_MADE,
    MATCH_TO_MET,
    MEET,
    MET,
    OFFERED,
    OFFERED_LIFE,
    REFUSE,
    REFUSED,
    STRANGER,
    TAKE_BACK,
    TARGET,
    TO_CONSENTED,
    TO_MADE,
    TO_MET,
    WITHDRAW,
    WITHDRAWN,
)
from tests.domain.spec import LATER, MOMENT, TransitionTable, check_all_covered, days, given
from tests.oracle.legs import return_stake

EVERYBODY: Final = (ASKER, CONNECTOR, TARGET, STRANGER)


@pytest.mark.parametrize(("after", "command", "outcome"), ASKED_LIFE.cells)
def test_of_an_ask_every_command_after_every_event_does_what_the_table_says(
    after: str, command: str, outcome: str
) -> None:
    ASKED_LIFE.check_cell(after, command, outcome)


@pytest.mark.parametrize(("after", "command", "outcome"), OFFERED_LIFE.cells)
def test_of_an_offer_every_command_after_every_event_does_what_the_table_says(
    after: str, command: str, outcome: str
) -> None:
    OFFERED_LIFE.check_cell(after, command, outcome)


def test_the_tables_forget_no_state_no_event_and_no_command() -> None:
    ASKED_LIFE.check_complete()
    OFFERED_LIFE.check_complete()
    check_all_covered(ASKED_LIFE, OFFERED_LIFE)


@pytest.mark.parametrize("life", [ASKED_LIFE, OFFERED_LIFE])
def test_history_that_no_command_can_write_is_a_bug(life: TransitionTable) -> None:
    life.check_no_other_event()


def test_history_in_which_one_of_the_two_consented_twice_is_a_bug() -> None:
    half = given(OFFERED, ASKER_CONSENTED).when(CONSENT).state
    with pytest.raises(Bug, match=r"^intro\.consented after offered$"):
        INTRO.evolve(half, ASKER_CONSENTED)


# Answering


@pytest.mark.parametrize(("level", "points"), [(1, 30), (2, 60), (3, 120), (4, 240), (5, 360)])
def test_a_connector_who_accepts_picks_how_far_to_vouch(level: Level, points: int) -> None:
    accepted = given(ASKED).when(replace(ACCEPT, level=level))
    accepted.then(replace(ACCEPTED, level=level, points=points)).posting_nothing().leaving(
        "accepted", level=level, points=points, lapses_at=CONSENT_DUE
    )


@pytest.mark.parametrize("tell_now", [False, True])
def test_a_decline_costs_nothing_and_keeps_the_day_on_which_silence_would_have_ended(tell_now: bool) -> None:
    declined = given(ASKED).when(replace(DECLINE, tell_now=tell_now))
    declined.then(replace(DECLINED, tell_now=tell_now)).posting_nothing().leaving(
        "declined", tell_now=tell_now, lapses_at=ANSWER_DUE
    )


@pytest.mark.parametrize("tell_now", [False, True])
@pytest.mark.parametrize(
    ("history", "member", "due"),
    [
        ((ASKED, ACCEPTED), TARGET, CONSENT_DUE),
        ((OFFERED,), TARGET, ANSWER_DUE),
        ((OFFERED,), ASKER, ANSWER_DUE),
        ((OFFERED, ASKER_CONSENTED), TARGET, ANSWER_DUE),
        ((OFFERED, ASKER_CONSENTED), ASKER, ANSWER_DUE),
    ],
)
def test_a_refusal_costs_nothing_and_keeps_the_day_on_which_silence_would_have_ended(
    history: tuple[IntroEvent, ...], member: str, due: datetime, tell_now: bool
) -> None:
    refused = given(*history).when(replace(REFUSE, actor=member, tell_now=tell_now))
    refused.then(replace(REFUSED, member=member, tell_now=tell_now)).posting_nothing().leaving(
        "refused", tell_now=tell_now, lapses_at=due
    )


def test_a_target_who_consents_owes_nothing() -> None:
    given(ASKED, ACCEPTED).when(CONSENT).then(CONSENTED).posting_nothing().leaving("consented")


@pytest.mark.parametrize(("first", "second"), [(ASKER, TARGET), (TARGET, ASKER)])
def test_an_offer_needs_the_consent_of_both_in_any_order(first: str, second: str) -> None:
    one = replace(CONSENTED, member=first)
    both = replace(CONSENTED, member=second)
    half = given(OFFERED).when(replace(CONSENT, actor=first)).then(one)
    half.posting_nothing().leaving("offered", consented=(first,))
    given(OFFERED, one).when(replace(CONSENT, actor=first)).then_nothing()
    given(OFFERED, one).when(MAKE).then_refused(WrongState, expected="consented", found="offered")
    given(OFFERED, one).when(replace(CONSENT, actor=second)).then(both).posting_nothing().leaving("consented")
    for either in (first, second):
        given(OFFERED, one, both).when(replace(CONSENT, actor=either)).then_nothing()


@pytest.mark.parametrize("history", [(ASKED,), (ASKED, ACCEPTED), TO_CONSENTED])
def test_an_asker_may_withdraw_until_it_is_made(history: tuple[IntroEvent, ...]) -> None:
    given(*history).when(WITHDRAW).then(WITHDRAWN).posting_nothing().leaving("withdrawn")


@pytest.mark.parametrize("history", [(OFFERED,), (OFFERED, ASKER_CONSENTED), MATCH_TO_CONSENTED])
def test_a_connector_may_take_an_offer_back_until_it_is_made(history: tuple[IntroEvent, ...]) -> None:
    given(*history).when(TAKE_BACK).then(WITHDRAWN).posting_nothing().leaving("withdrawn")


# Who


OF_AN_ASK: Final[list[tuple[IntroStep, str, set[str]]]] = [
    (ACCEPT, "connector", {CONNECTOR}),
    (DECLINE, "connector", {CONNECTOR}),
    (WITHDRAW, "asker", {ASKER}),
    (CONSENT, "target", {TARGET}),
    (REFUSE, "target", {TARGET}),
    (MAKE, "connector", {CONNECTOR}),
    (MEET, "asker", {ASKER}),
    (CLOSE, "asker, connector or target", {ASKER, CONNECTOR, TARGET}),
    (replace(CLOSE, fault="asker"), "asker", {ASKER}),
    (replace(CLOSE, fault="connector"), "connector", {CONNECTOR}),
]
OF_AN_OFFER: Final[list[tuple[IntroStep, str, set[str]]]] = [
    (ACCEPT, "connector", {CONNECTOR}),
    (DECLINE, "connector", {CONNECTOR}),
    (TAKE_BACK, "connector", {CONNECTOR}),
    (CONSENT, "asker or target", {ASKER, TARGET}),
    (REFUSE, "asker or target", {ASKER, TARGET}),
    (MAKE, "connector", {CONNECTOR}),
    (MEET, "asker or target", {ASKER, TARGET}),
    (CLOSE, "asker, connector or target", {ASKER, CONNECTOR, TARGET}),
    (replace(CLOSE, fault="connector"), "connector", {CONNECTOR}),
]


@pytest.mark.parametrize(
    ("life", "command", "role", "actor"),
    [
        (life, command, role, actor)
        for life, rows in ((ASKED_LIFE, OF_AN_ASK), (OFFERED_LIFE, OF_AN_OFFER))
        for command, role, may in rows
        for actor in EVERYBODY
        if actor not in may
    ],
)
def test_nobody_else_may_whatever_has_happened(
    life: TransitionTable, command: IntroStep, role: str, actor: str
) -> None:
    outside = actor == STRANGER and isinstance(command, CloseIntro)  # Told first that it is none of theirs.
    for history in life.after.values():
        if history:
            given(*history).when(replace(command, actor=actor)).then_refused(
                NotYours, role="asker, connector or target" if outside else role
            )


# Repeats


CHANGED_MINDS: Final[list[tuple[tuple[IntroEvent, ...], IntroStep, str, str]]] = [
    ((ASKED, ACCEPTED), replace(ACCEPT, level=5), "asked", "accepted"),
    ((ASKED, DECLINED), replace(DECLINE, tell_now=True), "asked", "declined"),
    ((OFFERED, REFUSED), replace(REFUSE, tell_now=True), "offered or accepted", "refused"),
    ((*TO_MET, CLOSED), replace(CLOSE, outcome="no_result"), "made or met", "closed"),
    ((*TO_MET, CLOSED), replace(CLOSE, actor=ASKER, fault="asker"), "made or met", "closed"),
    ((*TO_MET, CLOSED), replace(CLOSE, actor=CONNECTOR, fault="connector"), "made or met", "closed"),
]


@pytest.mark.parametrize(("history", "command", "expected", "found"), CHANGED_MINDS)
def test_saying_something_else_is_not_a_repeat(
    history: tuple[IntroEvent, ...], command: IntroStep, expected: str, found: str
) -> None:
    given(*history).when(command).then_refused(WrongState, expected=expected, found=found)


# Deadlines


@pytest.mark.parametrize(
    ("history", "due"),
    [
        ((ASKED,), ANSWER_DUE),
        ((OFFERED,), ANSWER_DUE),
        ((OFFERED, ASKER_CONSENTED), ANSWER_DUE),
        ((ASKED, ACCEPTED), CONSENT_DUE),
    ],
)
def test_silence_expires_when_it_is_due_and_costs_nothing(history: tuple[IntroEvent, ...], due: datetime) -> None:
    expired = given(*history).when(LAPSE, at=due).then(EXPIRED)
    expired.posting_nothing().leaving("expired", lapses_at=due)
    given(*history).when(LAPSE, at=due - MOMENT).then_refused(NotDue, due_at=due)


@pytest.mark.parametrize(
    ("history", "event"),
    [(TO_MADE, CLOSED), (TO_MET, CLOSED), (MATCH_TO_MADE, MATCH_CLOSED), (MATCH_TO_MET, MATCH_CLOSED)],
)
def test_an_open_intro_closes_by_itself_after_ninety_days_and_by_nobodys_fault(
    history: tuple[IntroEvent, ...], event: IntroClosed
) -> None:
    closed = given(*history).when(LAPSE, at=CLOSE_DUE).then(replace(event, outcome="fell_silent"))
    closed.posting(return_stake(CONNECTOR, 60)).leaving("closed", fault="none")
    given(*history).when(LAPSE, at=CLOSE_DUE - MOMENT).then_refused(NotDue, due_at=CLOSE_DUE)


def test_the_ninety_days_run_from_when_it_was_made() -> None:
    made = replace(MADE, lapses_at=LATER + days(90), made_at=LATER)
    given(*TO_CONSENTED).when(MAKE, at=LATER).then(made)
    late = given(*TO_CONSENTED, made).when(MEET, at=LATER + days(60)).then(MET)
    late.leaving("met", lapses_at=LATER + days(90))
