"""Favours and introductions under dispute: what may still be done with them."""

from typing import Final, get_args

import pytest
from msgspec.structs import replace

from ledger.domain.catalog.kinds import DISPUTE
from ledger.domain.kinds import favour
from ledger.domain.kinds.dispute.events import DisputeLapsed, DisputeOpened, DisputeRejected, DisputeUpheld
from ledger.domain.kinds.dispute.lookup import dispute_need
from ledger.domain.kinds.dispute.states import Code
from ledger.domain.kinds.intro import events as intro_events
from ledger.domain.kinds.intro.commands import CloseIntro, LapseIntro
from ledger.domain.kinds.intro.events import IntroMade
from ledger.domain.kinds.intro.states import Fault
from ledger.domain.values.aggregate_types import Event, State
from ledger.domain.values.context import Finding, Need
from ledger.domain.values.refusals import NotDue, NotYours, UnderDispute, WrongState
from tests.domain.dispute_examples import (
    ABOUT,
    ADA,
    ASKERS_FAULT,
    BOB,
    CONNECTORS_FAULT,
    CYD,
    DUE,
    INTRO_MADE,
    MATCHMAKERS_FAULT,
    OPENED,
    UPHOLD,
    Books,
    closed_state,
    disputing,
    found_about,
    opened,
    same,
)
from tests.domain.favour_examples import CLAIMED, CONFIRMED, FORGIVE, FORGIVEN, THANKED
from tests.domain.intro_examples import (
    CLOSE,
    CLOSE_DUE,
    CLOSED,
    MADE,
    MATCH_CLOSED,
    MATCH_MADE,
    MATCH_TO_MADE,
    MATCH_TO_MET,
    TO_MADE,
    TO_MET,
)
from tests.domain.spec import MOMENT, fold, given
from tests.oracle.legs import pay, return_stake

# A favour under dispute


def standing(dispute: DisputeOpened, *judged: Event) -> State:
    state = fold(DISPUTE, [dispute, *judged])
    assert state is not None
    return state


@pytest.mark.parametrize("history", [(THANKED,), (CLAIMED, CONFIRMED)])
def test_a_giver_cannot_forgive_what_is_disputed_or_was_reversed(history: tuple[favour.FavourEvent, ...]) -> None:
    dispute = opened(history[-1], BOB)
    judged = same(dispute)
    first, second = (dispute_need(ABOUT, entry) for entry in ("favour.thanked", "favour.confirmed"))
    need, other = (first, second) if len(history) == 1 else (second, first)

    def forgiving(*events: Event) -> dict[Need, Finding]:
        return {need: standing(dispute, *events), other: None}

    given(*history).when(FORGIVE, found=forgiving()).then_refused(UnderDispute, lapses_at=DUE)
    reversed_ = forgiving(DisputeUpheld(**judged, remedy="reversal"))
    given(*history).when(FORGIVE, found=reversed_).then_refused(WrongState, expected="posted", found="disputed")
    for over in (DisputeRejected(**judged), DisputeLapsed(**judged)):
        given(*history).when(FORGIVE, found=forgiving(over)).then(FORGIVEN)
    given(*history).when(FORGIVE, found={first: None, second: None}).then(FORGIVEN)


def test_one_who_may_not_forgive_is_told_so_and_not_that_it_is_disputed() -> None:
    found: dict[Need, Finding] = {dispute_need(ABOUT, "favour.thanked"): standing(OPENED)}
    given(THANKED).when(replace(FORGIVE, actor=BOB), found=found).then_refused(NotYours, role="giver")


# An introduction under dispute


def dispute_of_made(made: IntroMade, code: Code) -> DisputeOpened:
    opener = BOB if code == "asker_ghosted" else ADA
    event = given().when(disputing(made, opener, code), found=found_about(made)).then_recorded("dispute.opened").event
    assert isinstance(event, DisputeOpened)
    return event


def upheld_dispute(made: IntroMade, code: Code) -> dict[Need, Finding]:
    dispute = dispute_of_made(made, code)
    judged = given(dispute).when(UPHOLD, found=found_about(made)).then_recorded("dispute.upheld")
    return {INTRO_MADE: judged.state}


@pytest.mark.parametrize("history", [TO_MADE, TO_MET, MATCH_TO_MADE, MATCH_TO_MET])
def test_what_is_disputed_is_not_closed_by_anybody_nor_by_the_clock(
    history: tuple[intro_events.IntroEvent, ...],
) -> None:
    made = MATCH_MADE if MATCH_MADE in history else MADE
    found: dict[Need, Finding] = {INTRO_MADE: standing(dispute_of_made(made, "not_mine"))}
    for actor in (ADA, BOB, CYD):
        given(*history).when(replace(CLOSE, actor=actor), found=found).then_refused(UnderDispute, lapses_at=DUE)
    owning_up = replace(CLOSE, actor=BOB, fault="connector")
    given(*history).when(owning_up, found=found).then_refused(UnderDispute, lapses_at=DUE)
    given(*history).when(LapseIntro(), at=CLOSE_DUE, found=found).then_refused(NotDue, due_at=DUE)
    early = given(*history).when(LapseIntro(), at=CLOSE_DUE - MOMENT, found=found)
    early.then_refused(NotDue, due_at=CLOSE_DUE)


@pytest.mark.parametrize("history", [TO_MADE, TO_MET, MATCH_TO_MADE, MATCH_TO_MET])
@pytest.mark.parametrize("over", ["never", "rejected", "lapsed"])
def test_what_was_disputed_in_vain_is_closed_as_if_it_had_not_been(
    history: tuple[intro_events.IntroEvent, ...], over: str
) -> None:
    matched = MATCH_MADE in history
    dispute = dispute_of_made(MATCH_MADE if matched else MADE, "no_consent")
    ends = {"rejected": DisputeRejected(**same(dispute)), "lapsed": DisputeLapsed(**same(dispute))}
    found: dict[Need, Finding] = {INTRO_MADE: standing(dispute, ends[over]) if over in ends else None}
    closed = MATCH_CLOSED if matched else CLOSED
    given(*history).when(CLOSE, found=found).then(closed).posting(return_stake(BOB, 60))
    silent = given(*history).when(LapseIntro(), at=CLOSE_DUE, found=found)
    silent.then(replace(closed, outcome="fell_silent")).posting(return_stake(BOB, 60))


SETTLED: Final[list[tuple[bool, Code, Fault]]] = [
    (False, "asker_ghosted", "asker"),
    (False, "no_consent", "connector"),
    (False, "misdescribed", "connector"),
    (True, "no_consent", "connector"),
    (True, "misdescribed", "connector"),
]


@pytest.mark.parametrize("met", [False, True])
@pytest.mark.parametrize(("matched", "code", "fault"), SETTLED)
@pytest.mark.parametrize(("actor", "says"), [(ADA, "none"), (BOB, "none"), (CYD, "none"), (BOB, "connector")])
def test_a_fault_that_was_upheld_closes_it_as_that_fault_and_only_the_stake_goes_back(
    matched: bool, code: Code, fault: Fault, actor: str, says: Fault, met: bool
) -> None:
    of_a_match: list[tuple[intro_events.IntroEvent, ...]] = [MATCH_TO_MADE, MATCH_TO_MET]
    of_an_ask: list[tuple[intro_events.IntroEvent, ...]] = [TO_MADE, TO_MET]
    history = (of_a_match if matched else of_an_ask)[met]
    found = upheld_dispute(MATCH_MADE if matched else MADE, code)
    closing = CloseIntro(actor=actor, outcome="no_result", fault=says)
    event = replace(MATCH_CLOSED if matched else CLOSED, outcome="no_result", fault=fault, settled=True)
    closed = given(*history).when(closing, found=found).then(event).posting(return_stake(BOB, 60))
    closed.leaving("closed", fault=fault, settled=True)
    silent = given(*history).when(LapseIntro(), at=CLOSE_DUE, found=found)
    silent.then(replace(event, outcome="fell_silent")).posting(return_stake(BOB, 60))


def test_what_a_dispute_settled_is_closed_once_and_another_outcome_is_no_repeat() -> None:
    history = (*TO_MADE, replace(CLOSED, fault="asker", settled=True))
    for says in get_args(Fault):
        actor = {"asker": ADA, "connector": BOB, "none": CYD}[says]
        given(*history).when(CloseIntro(actor=actor, outcome="fruitful", fault=says)).then_nothing()
        other = given(*history).when(CloseIntro(actor=actor, outcome="no_result", fault=says))
        other.then_refused(WrongState, expected="made or met", found="closed")


@pytest.mark.parametrize("code", ["not_mine", "duplicate"])
def test_what_was_reversed_is_not_given_back_once_more_by_owning_up(code: Code) -> None:
    found = upheld_dispute(MADE, code)
    owning_up = CloseIntro(actor=BOB, outcome="fruitful", fault="connector")
    closed = given(*TO_MADE).when(owning_up, found=found).then(replace(CONNECTORS_FAULT, points=0))
    closed.posting(pay(BOB, 60, to=CYD, account="stake")).leaving("closed", fault="connector", settled=False)
    asker = CloseIntro(actor=ADA, outcome="fruitful", fault="asker")
    sorry = given(*TO_MADE).when(asker, found=found).then(replace(ASKERS_FAULT, points=0))
    sorry.posting(return_stake(BOB, 60), pay(ADA, 60, to=CYD), pay(ADA, 60, to=BOB))
    given(*TO_MADE).when(CLOSE, found=found).then(replace(CLOSED, points=0)).posting(return_stake(BOB, 60))
    matched = given(*MATCH_TO_MADE).when(owning_up, found=upheld_dispute(MATCH_MADE, code))
    staked = [pay(BOB, 30, to=member, account="stake") for member in (ADA, CYD)]
    matched.then(replace(MATCHMAKERS_FAULT, points=0)).posting(*staked)


def test_an_introduction_that_was_closed_before_it_was_disputed_costs_the_connector_the_stake_all_the_same() -> None:
    books = Books(MADE, CLOSED)
    about = found_about(MADE, closed_state(matched=False, fault="none"))
    dispute = given().when(disputing(MADE, ADA, "no_consent"), found=about).then_recorded("dispute.opened")
    books.post(dispute.event)
    books.post(given(dispute.event).when(UPHOLD, found=about).then_recorded("dispute.upheld").event)
    assert books.accounts == {(BOB, "main"): -60, (CYD, "main"): 60}
