"""Making, meeting and closing an introduction: who pays whom, and where the stake goes."""

import pytest
from msgspec.structs import replace

from ledger.domain.kinds.intro.commands import CloseIntro
from ledger.domain.kinds.intro.events import IntroEvent
from ledger.domain.kinds.intro.states import Outcome
from ledger.domain.values.points import Level
from ledger.domain.values.policy import Policy
from ledger.domain.values.refusals import NobodyAsked, NotYours
from tests.domain.intro_examples import (
    ACCEPT,
    ACCEPTED,
    ASKED,
    ASKER,
    ASKER_CONSENTED,
    CLOSE,
    CLOSE_DUE,
    CLOSED,
    CONNECTOR,
    CONSENTED,
    MADE,
    MAKE,
    MATCH_CLOSED,
    MATCH_MADE,
    MATCH_MET,
    MATCH_TO_MADE,
    MATCH_TO_MET,
    MEET,
    MET,
    OFFER,
    OFFERED,
    OFFERED_LIFE,
    STRANGER,
    TARGET,
    TO_CONSENTED,
    TO_MADE,
    TO_MET,
)
from tests.domain.spec import given
from tests.oracle.legs import pay, put_at_stake, return_stake

# Making and meeting


EVERY_LEVEL = pytest.mark.parametrize(
    ("level", "points", "stake"), [(1, 30, 0), (2, 60, 0), (3, 120, 60), (4, 240, 120), (5, 360, 180)]
)


def made_at(level: Level, points: int, stake: int) -> tuple[IntroEvent, ...]:
    accepted = replace(ACCEPTED, level=level, points=points)
    return (ASKED, accepted, CONSENTED, replace(MADE, points=points, stake=stake))


def match_made_at(level: Level, points: int, stake: int) -> tuple[IntroEvent, ...]:
    offered = replace(OFFERED, level=level, points=points)
    return (offered, ASKER_CONSENTED, CONSENTED, replace(MATCH_MADE, points=points, stake=stake))


@EVERY_LEVEL
def test_the_asker_owes_the_connector_the_points_of_the_level_and_the_connector_stakes_half_from_level_3_on(
    level: Level, points: int, stake: int
) -> None:
    *before, made = made_at(level, points, stake)
    at_risk = [put_at_stake(CONNECTOR, stake)] if stake else []
    recorded = given(*before).when(MAKE).then(made).posting(pay(ASKER, points, to=CONNECTOR), *at_risk)
    recorded.leaving("made", stake=stake, lapses_at=CLOSE_DUE)


@EVERY_LEVEL
def test_each_of_two_who_were_matched_owes_the_connector_half(level: Level, points: int, stake: int) -> None:
    *before, made = match_made_at(level, points, stake)
    at_risk = [put_at_stake(CONNECTOR, stake)] if stake else []
    recorded = given(*before).when(MAKE).then(made)
    recorded.posting(pay(ASKER, points // 2, to=CONNECTOR), pay(TARGET, points // 2, to=CONNECTOR), *at_risk)
    recorded.leaving("made", stake=stake, matchmade=True)


def test_meeting_costs_the_asker_the_hour_of_the_target() -> None:
    met = given(*TO_MADE).when(MEET).then(MET).posting(pay(ASKER, 30, to=TARGET))
    met.leaving("met", stake=60, lapses_at=CLOSE_DUE)


@pytest.mark.parametrize("actor", [ASKER, TARGET])
def test_two_who_were_matched_meet_for_nothing_and_either_says_so(actor: str) -> None:
    met = given(*MATCH_TO_MADE).when(replace(MEET, actor=actor)).then(MATCH_MET)
    met.posting_nothing().leaving("met", stake=60, lapses_at=CLOSE_DUE)


def test_an_intro_stays_worth_what_it_was_when_the_connector_chose() -> None:
    dearer = Policy(version=2, level_points={1: 1, 2: 2, 3: 500, 4: 600, 5: 700}, met_points=99)
    given(ASKED).when(ACCEPT, policy=dearer).then(replace(ACCEPTED, points=500))
    given().when(OFFER, policy=dearer).then(replace(OFFERED, points=500))
    given(*TO_MADE).when(MEET, policy=dearer).then(replace(MET, points=99))
    given(*TO_MET).when(CLOSE, policy=dearer).then(CLOSED)


def test_a_stake_is_half_of_what_the_intro_was_worth_when_the_connector_chose() -> None:
    dearer = Policy(version=2, level_points={1: 1, 2: 2, 3: 500, 4: 600, 5: 700})
    given(*TO_CONSENTED).when(MAKE, policy=dearer).then(MADE)


# Closing


OPEN = pytest.mark.parametrize("is_met", [False, True])


@OPEN
@pytest.mark.parametrize("actor", [ASKER, CONNECTOR, TARGET])
@pytest.mark.parametrize("outcome", ["fruitful", "no_result", "fell_silent"])
def test_anyone_in_it_may_close_it_and_the_connector_gets_the_stake_back(
    outcome: Outcome, actor: str, is_met: bool
) -> None:
    closing = CloseIntro(actor=actor, outcome=outcome)
    ask, match = (TO_MET, MATCH_TO_MET) if is_met else (TO_MADE, MATCH_TO_MADE)
    for history, event in ((ask, CLOSED), (match, MATCH_CLOSED)):
        closed = given(*history).when(closing).then(replace(event, outcome=outcome))
        closed.posting(return_stake(CONNECTOR, 60)).leaving("closed", outcome=outcome, fault="none")


@OPEN
@EVERY_LEVEL
def test_an_asker_who_owns_up_owes_sixty_to_each_of_the_others(
    level: Level, points: int, stake: int, is_met: bool
) -> None:
    history = (*made_at(level, points, stake), *([MET] if is_met else []))
    closing = CloseIntro(actor=ASKER, outcome="fell_silent", fault="asker")
    closed = replace(CLOSED, outcome="fell_silent", fault="asker", points=points, stake=stake, penalty=60)
    back = [return_stake(CONNECTOR, stake)] if stake else []
    recorded = given(*history).when(closing).then(closed)
    recorded.posting(*back, pay(ASKER, 60, to=TARGET), pay(ASKER, 60, to=CONNECTOR))
    recorded.leaving("closed", fault="asker")


@OPEN
@EVERY_LEVEL
def test_a_connector_who_owns_up_gives_back_what_they_were_paid_and_the_stake_goes_to_the_target(
    level: Level, points: int, stake: int, is_met: bool
) -> None:
    history = (*made_at(level, points, stake), *([MET] if is_met else []))
    closing = CloseIntro(actor=CONNECTOR, outcome="no_result", fault="connector")
    closed = replace(CLOSED, outcome="no_result", fault="connector", points=points, stake=stake)
    staked = [pay(CONNECTOR, stake, to=TARGET, account="stake")] if stake else []
    recorded = given(*history).when(closing).then(closed)
    recorded.posting(pay(CONNECTOR, points, to=ASKER), *staked).leaving("closed", fault="connector")


@OPEN
@EVERY_LEVEL
def test_a_matchmaker_who_owns_up_gives_both_their_half_back_and_half_of_the_stake(
    level: Level, points: int, stake: int, is_met: bool
) -> None:
    history = (*match_made_at(level, points, stake), *([MATCH_MET] if is_met else []))
    closing = CloseIntro(actor=CONNECTOR, outcome="no_result", fault="connector")
    closed = replace(MATCH_CLOSED, outcome="no_result", fault="connector", points=points, stake=stake)
    pair = (ASKER, TARGET)
    staked = [pay(CONNECTOR, stake // 2, to=m, account="stake") for m in pair if stake]
    recorded = given(*history).when(closing).then(closed)
    recorded.posting(*(pay(CONNECTOR, points // 2, to=m) for m in pair), *staked)


@pytest.mark.parametrize("actor", [ASKER, CONNECTOR, TARGET])
def test_nobody_asked_for_a_match_so_no_asker_is_at_fault(actor: str) -> None:
    blaming = CloseIntro(actor=actor, outcome="fell_silent", fault="asker")
    for history in OFFERED_LIFE.after.values():
        if history:
            given(*history).when(blaming).then_refused(NobodyAsked)
            outside = replace(blaming, actor=STRANGER)
            given(*history).when(outside).then_refused(NotYours, role="asker, connector or target")
