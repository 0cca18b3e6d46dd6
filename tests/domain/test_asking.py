"""Asking and offering an introduction, and the advice of the reciprocity guard."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import pytest
from msgspec.structs import replace

from ledger.domain.kinds.intro.commands import ProposeIntro
from ledger.domain.kinds.intro.events import IntroAsked, IntroEvent, IntroOffered
from ledger.domain.kinds.intro.reciprocity_guard import UNAVAILABLE, weigh
from ledger.domain.values.advice import GuardFacts, Suggestion
from ledger.domain.values.aggregate_types import tag_of
from ledger.domain.values.points import Level
from ledger.domain.values.policy import DEFAULT_POLICY, Policy
from ledger.domain.values.refusals import (
    ExpectationMisplaced,
    LevelMisplaced,
    NotYours,
    ReciprocityLimit,
    RespondByOutOfRange,
    SelfDealing,
)
from tests.domain.intro_examples import (
    ACCEPTED,
    ANSWER_DUE,
    ASK,
    ASKED,
    ASKER,
    CLOSE,
    CLOSED,
    CONNECTOR,
    CONSENTED,
    MADE,
    MET,
    OFFER,
    OFFERED,
    PARTIES,
    STRANGER,
    TARGET,
    VISIBLE_UNTIL,
)
from tests.domain.spec import MOMENT, NOW, days, given

EVENING: Final = UUID("0190f000-0000-7000-8000-000000000001")  # The id of a gathering.


# Asking and offering


def test_asking_costs_nothing() -> None:
    asked = given().when(ASK).then(ASKED)
    asked.posting_nothing().leaving("asked", matchmade=False, lapses_at=ANSWER_DUE)


@pytest.mark.parametrize(("level", "points"), [(1, 30), (2, 60), (3, 120), (4, 240), (5, 360)])
def test_an_offer_names_its_level_and_costs_nothing(level: Level, points: int) -> None:
    offered = given().when(replace(OFFER, level=level)).then(replace(OFFERED, level=level, points=points))
    offered.posting_nothing().leaving("offered", matchmade=True, consented=())


def test_an_offer_without_a_level_is_refused() -> None:
    given().when(replace(OFFER, level=None)).then_refused(LevelMisplaced, field="level")


def test_an_ask_with_a_level_is_refused_because_the_connector_picks_it() -> None:
    given().when(replace(ASK, level=3)).then_refused(LevelMisplaced, field="level")


@pytest.mark.parametrize("actor", [TARGET, STRANGER])
@pytest.mark.parametrize("proposal", [ASK, OFFER])
def test_nobody_but_the_asker_asks_and_nobody_but_the_connector_offers(proposal: ProposeIntro, actor: str) -> None:
    given().when(replace(proposal, actor=actor)).then_refused(NotYours, role="asker or connector")


@pytest.mark.parametrize(
    "same",
    [
        replace(ASK, connector=ASKER),
        replace(ASK, target=ASKER),
        replace(ASK, target=CONNECTOR),
        replace(OFFER, asker=CONNECTOR),
        replace(OFFER, target=CONNECTOR),
        replace(OFFER, target=ASKER),
    ],
)
def test_asker_connector_and_target_are_three(same: ProposeIntro) -> None:
    given().when(same).then_refused(SelfDealing, roles=["asker", "connector", "target"])


@pytest.mark.parametrize("respond_by", [NOW + MOMENT, NOW + days(3), ANSWER_DUE])
def test_silence_ends_when_the_one_who_began_it_says(respond_by: datetime) -> None:
    for proposal, event in ((ASK, ASKED), (OFFER, OFFERED)):
        proposed = given().when(replace(proposal, respond_by=respond_by)).then_recorded(tag_of(event))
        proposed.leaving(tag_of(event).removeprefix("intro."), lapses_at=respond_by)


@pytest.mark.parametrize("respond_by", [NOW - days(1), NOW, ANSWER_DUE + MOMENT])
@pytest.mark.parametrize("proposal", [ASK, OFFER])
def test_silence_ends_after_now_and_within_fourteen_days(proposal: ProposeIntro, respond_by: datetime) -> None:
    attempt = given().when(replace(proposal, respond_by=respond_by))
    attempt.then_refused(RespondByOutOfRange, field="respond_by", latest=ANSWER_DUE)


@pytest.mark.parametrize(("proposal", "event"), [(ASK, ASKED), (OFFER, OFFERED)])
def test_the_time_to_answer_runs_from_when_it_was_recorded(proposal: ProposeIntro, event: IntroEvent) -> None:
    given().when(replace(proposal, occurred_at=NOW - days(30))).then(event)


@pytest.mark.parametrize(("proposal", "event"), [(ASK, ASKED), (OFFER, OFFERED)])
def test_an_intro_remembers_its_tags_and_the_gathering_it_came_from(
    proposal: ProposeIntro, event: IntroAsked | IntroOffered
) -> None:
    told = given().when(replace(proposal, tags=("tax", "law"), gathering=EVENING))
    recorded = told.then(replace(event, tags=("tax", "law"), gathering=EVENING))
    recorded.leaving("asked" if proposal is ASK else "offered", **PARTIES, tags=("tax", "law"), gathering=EVENING)


def test_an_intro_may_bring_its_own_id() -> None:
    assert replace(ASK, id=EVENING).own_id("acme") == EVENING
    assert ASK.own_id("acme") is None


# What the guard says of an ask


FACTS: Final = GuardFacts(member=ASKER, net=-10, limit=120, given=480, received=490, open_asks=1, inbound_asks=2)
RIDER: Final = GuardFacts(
    member=ASKER,
    net=-120,
    limit=120,
    received=600,
    received_items=5,
    since=NOW - days(91),
    ways=(Suggestion(way="set_offers"),),
)
OFF: Final = Policy(guard="off")
ENFORCED: Final = Policy(guard="enforce")


@pytest.mark.parametrize("facts", [FACTS, RIDER, replace(FACTS, open_asks=5, inbound_asks=4)])
def test_an_ask_carries_what_the_guard_advises_and_is_not_refused(facts: GuardFacts) -> None:
    advice = weigh(facts, NOW, DEFAULT_POLICY)
    asked = given().when(ASK, facts=facts).then(replace(ASKED, advice=advice))
    asked.leaving("asked", advice=advice, invited=False)


def test_where_there_is_no_guard_there_is_no_advice() -> None:
    given().when(ASK, policy=OFF, facts=RIDER).then(replace(ASKED, advice=None)).leaving("asked", advice=None)


def test_when_the_books_cannot_be_asked_the_advice_says_so_and_nobody_is_refused() -> None:
    given().when(ASK, policy=ENFORCED).then(ASKED).leaving("asked", advice=UNAVAILABLE)


def test_where_the_guard_is_enforced_one_who_rides_cannot_ask() -> None:
    attempt = given().when(ASK, policy=ENFORCED, facts=RIDER)
    attempt.then_refused(
        ReciprocityLimit, net=-120, limit=120, given=0, received=600, received_items=5, ways=["set_offers"]
    )


def test_one_whom_the_connector_invited_can_ask_all_the_same_and_the_connector_can_see_why() -> None:
    invited = replace(RIDER, invited=True)
    advice = weigh(invited, NOW, ENFORCED)
    asked = given().when(ASK, policy=ENFORCED, facts=invited).then(replace(ASKED, advice=advice, invited=True))
    asked.leaving("asked", advice=advice, invited=True)


def test_an_ask_that_is_nobodys_to_make_is_refused_for_that_and_not_by_the_guard() -> None:
    attempt = given().when(replace(ASK, actor=STRANGER), policy=ENFORCED, facts=RIDER)
    attempt.then_refused(NotYours, role="asker or connector")


@pytest.mark.parametrize("policy", [DEFAULT_POLICY, ENFORCED])
def test_an_offer_is_never_guarded(policy: Policy) -> None:
    given().when(OFFER, policy=policy, facts=RIDER).then(OFFERED).leaving("offered", advice=None, invited=False)


@pytest.mark.parametrize("percent", [0, 40, 100])
def test_an_ask_remembers_how_likely_the_asker_thought_a_yes_for_as_long_as_it_lasts(percent: int) -> None:
    asked = given().when(replace(ASK, expects_percent=percent)).then(replace(ASKED, expects_percent=percent))
    asked.leaving("asked", expects_percent=percent, visible_until=VISIBLE_UNTIL)
    closed = given(asked.event, ACCEPTED, CONSENTED, MADE, MET).when(CLOSE).then(CLOSED)
    closed.leaving("closed", expects_percent=percent, visible_until=VISIBLE_UNTIL, advice=UNAVAILABLE)


@pytest.mark.parametrize("percent", [-1, 101, 50.5, "50"])
def test_a_chance_is_a_whole_percentage(percent: object) -> None:
    body = msgspec.json.encode({**PARTIES, "actor": ASKER, "expects_percent": percent})
    with pytest.raises(msgspec.ValidationError, match=r"\$\.expects_percent"):
        msgspec.json.decode(body, type=ProposeIntro)


def test_an_offer_expects_nothing() -> None:
    attempt = given().when(replace(OFFER, expects_percent=50))
    attempt.then_refused(ExpectationMisplaced, field="expects_percent")
