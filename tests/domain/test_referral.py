"""Referral: a referrer sends a prospect to a recipient."""

from datetime import datetime
from typing import Final
from uuid import UUID

import pytest
from msgspec.structs import replace

from ledger.domain.catalog.kinds import REFERRAL
from ledger.domain.kinds.referral import (
    ContactReferral,
    Disqualification,
    DisqualifyReferral,
    GiveReferral,
    LapseReferral,
    LoseReferral,
    QualifyReferral,
    RecipientCommand,
    ReferralContacted,
    ReferralDisqualified,
    ReferralEvent,
    ReferralGiven,
    ReferralLapsed,
    ReferralLost,
    ReferralQualified,
    ReferralWon,
    WinReferral,
)
from ledger.domain.values.aggregate_types import tag_of
from ledger.domain.values.context import Context, PastEvent, StateOf
from ledger.domain.values.points import DealBand, Level
from ledger.domain.values.policy import Policy
from ledger.domain.values.refusals import Bug, NotDue, NotYours, ParentNotWon, SelfDealing, Unknown, WrongState
from tests.domain.spec import MOMENT, NOW, TransitionTable, check_all_covered, days, fold, given
from tests.oracle.legs import pay

REFERRER: Final = "ada"
RECIPIENT: Final = "bob"
STRANGER: Final = "zoe"
FIRST_REFERRER: Final = "eve"  # The referrer of the parent referral.
PROSPECT: Final = "prospect-7"
PARENT: Final = UUID("0190f000-0000-7000-8000-000000000001")
EVENING: Final = UUID("0190f000-0000-7000-8000-000000000002")  # The id of a gathering.
DUE: Final = NOW + days(14)
OPEN_UNTIL: Final = NOW + days(90)

GIVEN = ReferralGiven(referrer=REFERRER, recipient=RECIPIENT, prospect=PROSPECT, level=3, points=120, lapses_at=DUE)
QUALIFIED = ReferralQualified(referrer=REFERRER, recipient=RECIPIENT, points=120, lapses_at=OPEN_UNTIL)
DISQUALIFIED = ReferralDisqualified(referrer=REFERRER, recipient=RECIPIENT, reason="not_a_fit")
CONTACTED = ReferralContacted(referrer=REFERRER, recipient=RECIPIENT, lapses_at=OPEN_UNTIL)
WON = ReferralWon(referrer=REFERRER, recipient=RECIPIENT, band="M", points=120)
LOST = ReferralLost(referrer=REFERRER, recipient=RECIPIENT)
LAPSED = ReferralLapsed(referrer=REFERRER, recipient=RECIPIENT)

GIVE = GiveReferral(actor=REFERRER, referrer=REFERRER, recipient=RECIPIENT, prospect=PROSPECT, level=3)
QUALIFY = QualifyReferral(actor=RECIPIENT)
DISQUALIFY = DisqualifyReferral(actor=RECIPIENT, reason="not_a_fit")
CONTACT = ContactReferral(actor=RECIPIENT)
WIN = WinReferral(actor=RECIPIENT, band="M")
LOSE = LoseReferral(actor=RECIPIENT)
LAPSE = LapseReferral()

LIFE = TransitionTable(
    kind=REFERRAL,
    after={
        "nothing": (),
        "given": (GIVEN,),
        "qualified": (GIVEN, QUALIFIED),
        "disqualified": (GIVEN, DISQUALIFIED),
        "contacted": (GIVEN, QUALIFIED, CONTACTED),
        "won": (GIVEN, QUALIFIED, WON),
        "lost": (GIVEN, QUALIFIED, LOST),
        "lapsed": (GIVEN, LAPSED),
    },
    asked_to={
        "give": GIVE,
        "qualify": QUALIFY,
        "disqualify": DISQUALIFY,
        "contact": CONTACT,
        "win": WIN,
        "lose": LOSE,
        "lapse": LAPSE,
    },
    possible_when={
        "qualify": "given",
        "disqualify": "given",
        "contact": "qualified",
        "win": "qualified or contacted",
        "lose": "qualified or contacted",
        "lapse": "given, qualified or contacted",
    },
    table="""
                  give    qualify    disqualify    contact    win      lose     lapse
    nothing       given   unknown    unknown       unknown    unknown  unknown  unknown
    given         exists  qualified  disqualified  !          !        !        lapsed
    qualified     exists  -          !             contacted  won      lost     lapsed
    disqualified  exists  !          -             !          !        !        !
    contacted     exists  !          !             -          won      lost     lapsed
    won           exists  !          !             !          -        !        !
    lost          exists  !          !             !          !        -        !
    lapsed        exists  !          !             !          !        !        -
    """,
)


@pytest.mark.parametrize(("after", "command", "outcome"), LIFE.cells)
def test_every_command_after_every_event_does_what_the_table_says(after: str, command: str, outcome: str) -> None:
    LIFE.check_cell(after, command, outcome)


def test_the_table_forgets_no_state_no_event_and_no_command() -> None:
    LIFE.check_complete()
    check_all_covered(LIFE)


def test_history_that_no_command_can_write_is_a_bug() -> None:
    LIFE.check_no_other_event()


# Parties and points


def test_giving_a_referral_earns_nothing_yet() -> None:
    given().when(GIVE).then(GIVEN).posting_nothing().leaving("given", lapses_at=DUE)


@pytest.mark.parametrize(("level", "points"), [(1, 30), (2, 60), (3, 120), (4, 240), (5, 360)])
def test_a_recipient_who_agrees_that_it_is_real_owes_the_points_of_its_level(level: Level, points: int) -> None:
    sent = replace(GIVEN, level=level, points=points)
    given().when(replace(GIVE, level=level)).then(sent).posting_nothing()
    agreed = given(sent).when(QUALIFY).then(replace(QUALIFIED, points=points))
    agreed.posting(pay(RECIPIENT, points, to=REFERRER)).leaving("qualified", level=level)


@pytest.mark.parametrize("reason", ["not_a_fit", "no_consent", "duplicate", "unreachable"])
def test_a_recipient_who_disqualifies_it_says_why_and_owes_nothing(reason: Disqualification) -> None:
    said = given(GIVEN).when(replace(DISQUALIFY, reason=reason)).then(replace(DISQUALIFIED, reason=reason))
    said.posting_nothing().leaving("disqualified", reason=reason)


def test_speaking_with_the_prospect_earns_nothing() -> None:
    given(GIVEN, QUALIFIED).when(CONTACT).then(CONTACTED).posting_nothing().leaving("contacted")


@pytest.mark.parametrize("history", [(GIVEN, QUALIFIED), (GIVEN, QUALIFIED, CONTACTED)])
@pytest.mark.parametrize(("band", "points"), [("S", 60), ("M", 120), ("L", 240), ("XL", 480)])
def test_a_recipient_who_wins_business_owes_the_points_of_its_band(
    history: tuple[ReferralEvent, ...], band: DealBand, points: int
) -> None:
    won = given(*history).when(replace(WIN, band=band)).then(replace(WON, band=band, points=points))
    won.posting(pay(RECIPIENT, points, to=REFERRER)).leaving("won", band=band)


@pytest.mark.parametrize("history", [(GIVEN, QUALIFIED), (GIVEN, QUALIFIED, CONTACTED)])
def test_losing_costs_nothing(history: tuple[ReferralEvent, ...]) -> None:
    given(*history).when(LOSE).then(LOST).posting_nothing().leaving("lost")


def test_a_referral_stays_worth_what_it_was_when_it_was_given() -> None:
    dearer = Policy(version=2, level_points={1: 1, 2: 2, 3: 500, 4: 600, 5: 700})
    given().when(GIVE, policy=dearer).then(replace(GIVEN, points=500))
    given(GIVEN).when(QUALIFY, policy=dearer).then(QUALIFIED)


@pytest.mark.parametrize("command", [QUALIFY, DISQUALIFY, CONTACT, WIN, LOSE])
@pytest.mark.parametrize("actor", [REFERRER, STRANGER])
def test_nobody_but_the_recipient_answers_whatever_has_happened(command: RecipientCommand, actor: str) -> None:
    for history in LIFE.after.values():
        if history:
            given(*history).when(replace(command, actor=actor)).then_refused(NotYours, role="recipient")


@pytest.mark.parametrize("actor", [RECIPIENT, STRANGER])
def test_nobody_but_the_referrer_gives_it(actor: str) -> None:
    given().when(replace(GIVE, actor=actor)).then_refused(NotYours, role="referrer")


@pytest.mark.parametrize(
    "same",
    [
        replace(GIVE, recipient=REFERRER),
        replace(GIVE, prospect=REFERRER),
        replace(GIVE, prospect=RECIPIENT),
        replace(GIVE, recipient=REFERRER, prospect=REFERRER),
    ],
)
def test_referrer_recipient_and_prospect_are_three(same: GiveReferral) -> None:
    given().when(same).then_refused(SelfDealing, roles=["referrer", "recipient", "prospect"])


def test_saying_something_else_is_not_a_repeat() -> None:
    other_reason = replace(DISQUALIFY, reason="duplicate")
    given(GIVEN, DISQUALIFIED).when(other_reason).then_refused(WrongState, expected="given", found="disqualified")
    given(GIVEN, QUALIFIED, WON).when(replace(WIN, band="L")).then_refused(
        WrongState, expected="qualified or contacted", found="won"
    )


# Deadlines


@pytest.mark.parametrize(
    ("history", "due"),
    [
        ((GIVEN,), DUE),
        ((GIVEN, QUALIFIED), OPEN_UNTIL),
        ((GIVEN, QUALIFIED, CONTACTED), OPEN_UNTIL),
    ],
)
def test_an_open_referral_lapses_when_it_is_due_and_not_a_moment_early(
    history: tuple[ReferralEvent, ...], due: datetime
) -> None:
    given(*history).when(LAPSE, at=due).then(LAPSED).posting_nothing().leaving("lapsed")
    given(*history).when(LAPSE, at=due - MOMENT).then_refused(NotDue, due_at=due)


def test_speaking_with_the_prospect_starts_the_ninety_days_again() -> None:
    spoken_at = NOW + days(60)
    again = replace(CONTACTED, lapses_at=spoken_at + days(90))
    given(GIVEN, QUALIFIED).when(CONTACT, at=spoken_at).then(again).leaving("contacted", lapses_at=NOW + days(150))


def test_the_time_to_answer_runs_from_when_it_was_recorded_and_not_from_when_it_was_done() -> None:
    given().when(replace(GIVE, occurred_at=NOW - days(30))).then(GIVEN)


# Parent referrals

GROWN = replace(GIVEN, parent=PARENT, parent_referrer=FIRST_REFERRER)
NEED = StateOf("referral", PARENT)
WON_BEFORE = fold(REFERRAL, (replace(GIVEN, referrer=FIRST_REFERRER), QUALIFIED, WON))


def test_a_referral_may_grow_out_of_one_that_was_won() -> None:
    grown = given().when(replace(GIVE, parent=PARENT), found={NEED: WON_BEFORE}).then(GROWN)
    grown.posting_nothing().leaving("given", parent=PARENT, parent_referrer=FIRST_REFERRER)


@pytest.mark.parametrize("history", [(GROWN, QUALIFIED), (GROWN, QUALIFIED, CONTACTED)])
def test_winning_one_that_grew_out_of_another_pays_the_first_referrer_too(
    history: tuple[ReferralEvent, ...],
) -> None:
    shared = replace(WON, parent_referrer=FIRST_REFERRER, parent_points=60)
    won = given(*history).when(WIN).then(shared)
    won.posting(pay(RECIPIENT, 120, to=REFERRER), pay(RECIPIENT, 60, to=FIRST_REFERRER))


def test_a_recipient_who_referred_the_first_one_owes_themself_nothing() -> None:
    own = replace(GROWN, parent_referrer=RECIPIENT)
    given(own, QUALIFIED).when(WIN).then(WON).posting(pay(RECIPIENT, 120, to=REFERRER))


def test_a_referrer_of_both_is_paid_for_both() -> None:
    both = replace(GROWN, parent_referrer=REFERRER)
    won = given(both, QUALIFIED).when(WIN).then(replace(WON, parent_referrer=REFERRER, parent_points=60))
    won.posting(pay(RECIPIENT, 120, to=REFERRER), pay(RECIPIENT, 60, to=REFERRER))


@pytest.mark.parametrize("after", sorted(LIFE.after.keys() - {"nothing", "won"}))
def test_nothing_grows_out_of_one_that_was_not_won(after: str) -> None:
    unwon = fold(REFERRAL, LIFE.after[after])
    assert unwon is not None
    attempt = given().when(replace(GIVE, parent=PARENT), found={NEED: unwon})
    attempt.then_refused(ParentNotWon, parent=PARENT, found=tag_of(unwon))


def test_nothing_grows_out_of_one_that_does_not_exist() -> None:
    given().when(replace(GIVE, parent=PARENT), found={NEED: None}).then_refused(Unknown, kind="referral", id=PARENT)


def test_a_parent_that_is_no_referral_is_a_bug() -> None:
    happened = PastEvent(PARENT, WON, NOW, NOW)
    context = Context(now=NOW, found={NEED: happened})
    with pytest.raises(Bug, match=r"is no referral$"):
        REFERRAL.decide(replace(GIVE, parent=PARENT), None, context)


# Fields of the events


def test_a_referral_remembers_its_tags_and_the_gathering_it_came_from() -> None:
    told = given().when(replace(GIVE, tags=("tax", "law"), gathering=EVENING))
    recorded = told.then(replace(GIVEN, tags=("tax", "law"), gathering=EVENING))
    recorded.leaving("given", tags=("tax", "law"), gathering=EVENING, prospect=PROSPECT)


def test_the_id_of_a_referral_never_changes() -> None:
    assert GIVE.own_id("acme") == UUID("f7667c3c-65c3-58b4-a866-22bccaaee387")


def test_a_second_referral_of_the_same_three_has_the_id_of_the_first() -> None:
    second = replace(GIVE, level=5, tags=("tax",), gathering=EVENING, parent=PARENT, occurred_at=NOW)
    assert second.own_id("acme") == GIVE.own_id("acme")


def test_any_other_referral_has_another_id() -> None:
    others = {
        GIVE.own_id("acme"),
        GIVE.own_id("beta"),
        replace(GIVE, referrer=RECIPIENT, recipient=REFERRER).own_id("acme"),
        replace(GIVE, referrer=STRANGER).own_id("acme"),
        replace(GIVE, recipient=STRANGER).own_id("acme"),
        replace(GIVE, prospect="prospect-8").own_id("acme"),
    }
    assert len(others) == 6
