"""Intro: a connector introduces an asker to a target, or, unasked, two members to each other."""

from datetime import datetime
from typing import Final, TypedDict
from uuid import UUID

import msgspec
import pytest
from msgspec.structs import replace

from ledger.domain.catalog.kinds import INTRO
from ledger.domain.kinds.intro.commands import (
    AcceptIntro,
    CloseIntro,
    ConsentIntro,
    DeclineIntro,
    IntroStep,
    LapseIntro,
    MakeIntro,
    MeetIntro,
    ProposeIntro,
    RefuseIntro,
    WithdrawIntro,
)
from ledger.domain.kinds.intro.events import (
    IntroAccepted,
    IntroAsked,
    IntroClosed,
    IntroConsented,
    IntroDeclined,
    IntroEvent,
    IntroExpired,
    IntroMade,
    IntroMet,
    IntroOffered,
    IntroRefused,
    IntroWithdrawn,
)
from ledger.domain.kinds.intro.reciprocity_guard import UNAVAILABLE, weigh
from ledger.domain.kinds.intro.states import Outcome
from ledger.domain.values.advice import GuardFacts, Suggestion
from ledger.domain.values.aggregate_types import tag_of
from ledger.domain.values.points import Level
from ledger.domain.values.policy import DEFAULT_POLICY, Policy
from ledger.domain.values.refusals import (
    Bug,
    ExpectationMisplaced,
    LevelMisplaced,
    NobodyAsked,
    NotDue,
    NotYours,
    ReciprocityLimit,
    RespondByOutOfRange,
    SelfDealing,
    WrongState,
)
from tests.domain.spec import (
    LATER,
    MOMENT,
    NOW,
    TransitionTable,
    check_all_covered,
    days,
    given,
)
from tests.oracle.legs import pay, put_at_stake, return_stake

ASKER: Final = "ada"
CONNECTOR: Final = "bob"
TARGET: Final = "cyd"
STRANGER: Final = "zoe"
EVERYBODY: Final = (ASKER, CONNECTOR, TARGET, STRANGER)
EVENING: Final = UUID("0190f000-0000-7000-8000-000000000001")  # A gathering.
ANSWER_DUE: Final = NOW + days(14)
CONSENT_DUE: Final = NOW + days(10)
CLOSE_DUE: Final = NOW + days(90)
VISIBLE_UNTIL: Final = ANSWER_DUE + days(10)  # To the asker, all silence ends then.


class Parties(TypedDict):
    asker: str
    connector: str
    target: str


PARTIES: Final = Parties(asker=ASKER, connector=CONNECTOR, target=TARGET)

DECLINED = IntroDeclined(**PARTIES)
WITHDRAWN = IntroWithdrawn(**PARTIES)
CONSENTED = IntroConsented(**PARTIES, member=TARGET)
REFUSED = IntroRefused(**PARTIES, member=TARGET)
EXPIRED = IntroExpired(**PARTIES)

ASKED = IntroAsked(**PARTIES, lapses_at=ANSWER_DUE, visible_until=VISIBLE_UNTIL, advice=UNAVAILABLE)
ACCEPTED = IntroAccepted(**PARTIES, level=3, points=120, lapses_at=CONSENT_DUE)
MADE = IntroMade(**PARTIES, points=120, stake=60, lapses_at=CLOSE_DUE, made_at=NOW)
MET = IntroMet(**PARTIES, points=30)
CLOSED = IntroClosed(**PARTIES, outcome="fruitful", fault="none", points=120, stake=60)

OFFERED = IntroOffered(**PARTIES, level=3, points=120, lapses_at=ANSWER_DUE)
ASKER_CONSENTED = IntroConsented(**PARTIES, member=ASKER)
MATCH_MADE = replace(MADE, matchmade=True)
MATCH_MET = IntroMet(**PARTIES, points=0)
MATCH_CLOSED = replace(CLOSED, matchmade=True)

ASK = ProposeIntro(actor=ASKER, **PARTIES)
OFFER = ProposeIntro(actor=CONNECTOR, **PARTIES, level=3)
ACCEPT = AcceptIntro(actor=CONNECTOR, level=3)
DECLINE = DeclineIntro(actor=CONNECTOR)
CONSENT = ConsentIntro(actor=TARGET)
REFUSE = RefuseIntro(actor=TARGET)
WITHDRAW = WithdrawIntro(actor=ASKER)
TAKE_BACK = WithdrawIntro(actor=CONNECTOR)  # An offer.
MAKE = MakeIntro(actor=CONNECTOR)
MEET = MeetIntro(actor=ASKER)
CLOSE = CloseIntro(actor=TARGET, outcome="fruitful")
LAPSE = LapseIntro()

TO_CONSENTED = (ASKED, ACCEPTED, CONSENTED)
TO_MADE = (*TO_CONSENTED, MADE)
TO_MET = (*TO_MADE, MET)
MATCH_TO_CONSENTED = (OFFERED, ASKER_CONSENTED, CONSENTED)
MATCH_TO_MADE = (*MATCH_TO_CONSENTED, MATCH_MADE)
MATCH_TO_MET = (*MATCH_TO_MADE, MATCH_MET)

POSSIBLE_WHEN: Final = {
    "accept": "asked",
    "decline": "asked",
    "withdraw": "pending or not_now",
    "consent": "offered or accepted",
    "refuse": "offered or accepted",
    "make": "consented",
    "meet": "made",
    "close": "made or met",
    "lapse": "asked, offered, accepted, made or met",
}
ASKED_LIFE = TransitionTable(
    kind=INTRO,
    after={
        "nothing": (),
        "asked": (ASKED,),
        "accepted": (ASKED, ACCEPTED),
        "consented": TO_CONSENTED,
        "made": TO_MADE,
        "met": TO_MET,
        "closed": (*TO_MET, CLOSED),
        "declined": (ASKED, DECLINED),
        "refused": (ASKED, ACCEPTED, REFUSED),
        "withdrawn": (ASKED, WITHDRAWN),
        "expired": (ASKED, EXPIRED),
    },
    asked_to={
        "propose": ASK,
        "accept": ACCEPT,
        "decline": DECLINE,
        "withdraw": WITHDRAW,
        "consent": CONSENT,
        "refuse": REFUSE,
        "make": MAKE,
        "meet": MEET,
        "close": CLOSE,
        "lapse": LAPSE,
    },
    possible_when=POSSIBLE_WHEN,
    table="""
               propose  accept    decline   withdraw   consent    refuse   make     meet      close    lapse
    nothing    asked    unknown   unknown   unknown    unknown    unknown  unknown  unknown   unknown  unknown
    asked      exists   accepted  declined  withdrawn  !          !        !        !not_now  !        expired
    accepted   exists   -         !         withdrawn  consented  refused  !        !not_now  !        expired
    consented  exists   !         !         withdrawn  -          !        made     !not_now  !        !
    made       exists   !         !         !          !          !        -        met       closed   closed
    met        exists   !         !         !          !          !        !        -         closed   closed
    closed     exists   !         !         !          !          !        !        !         -        -
    declined   exists   !         -         withdrawn  !          !        !        !not_now  !        !
    refused    exists   !         !         withdrawn  !          -        !        !not_now  !        !
    withdrawn  exists   !         !         -          !          !        !        !         !        !
    expired    exists   !         !         withdrawn  !          !        !        !not_now  !        -
    """,
)
OFFERED_LIFE = TransitionTable(
    kind=INTRO,
    after={
        "nothing": (),
        "offered": (OFFERED,),
        "halfway": (OFFERED, ASKER_CONSENTED),
        "consented": MATCH_TO_CONSENTED,
        "made": MATCH_TO_MADE,
        "met": MATCH_TO_MET,
        "closed": (*MATCH_TO_MET, MATCH_CLOSED),
        "refused": (OFFERED, REFUSED),
        "withdrawn": (OFFERED, WITHDRAWN),
        "expired": (OFFERED, EXPIRED),
    },
    asked_to={**ASKED_LIFE.asked_to, "propose": OFFER, "withdraw": TAKE_BACK},
    possible_when={**POSSIBLE_WHEN, "withdraw": "offered or consented"},
    table="""
               propose  accept   decline  withdraw   consent    refuse   make     meet     close    lapse
    nothing    offered  unknown  unknown  unknown    unknown    unknown  unknown  unknown  unknown  unknown
    offered    exists   !        !        withdrawn  consented  refused  !        !        !        expired
    halfway    exists   !        !        withdrawn  consented  refused  !        !        !        expired
    consented  exists   !        !        withdrawn  -          !        made     !        !        !
    made       exists   !        !        !          !          !        -        met      closed   closed
    met        exists   !        !        !          !          !        !        -        closed   closed
    closed     exists   !        !        !          !          !        !        !        -        -
    refused    exists   !        !        !          !          -        !        !        !        !
    withdrawn  exists   !        !        -          !          !        !        !        !        !
    expired    exists   !        !        !          !          !        !        !        !        -
    """,
)


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
