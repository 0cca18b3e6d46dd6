"""Favour: a giver did something for a receiver."""

from typing import Final
from uuid import UUID

import pytest
from msgspec.structs import replace

from ledger.domain.catalog.kinds import FAVOUR
from ledger.domain.kinds.favour import (
    ConfirmFavour,
    FavourClaimed,
    FavourConfirmed,
    FavourForgiven,
    FavourLapsed,
    FavourRefused,
    FavourThanked,
    ForgiveFavour,
    LapseFavour,
    RecordFavour,
    RefuseFavour,
)
from ledger.domain.values.points import Size
from ledger.domain.values.policy import Policy
from ledger.domain.values.refusals import NotDue, NotYours, SelfDealing
from tests.domain.spec import MOMENT, NOW, TransitionTable, check_all_covered, days, given
from tests.oracle.legs import forgive, pay

GIVER: Final = "ada"
RECEIVER: Final = "bob"
STRANGER: Final = "zoe"
EVENING: Final = UUID("0190f000-0000-7000-8000-000000000001")  # The id of a gathering.
DUE: Final = NOW + days(14)

THANKED = FavourThanked(giver=GIVER, receiver=RECEIVER, size="medium", points=120)
CLAIMED = FavourClaimed(giver=GIVER, receiver=RECEIVER, size="medium", points=120, lapses_at=DUE)
CONFIRMED = FavourConfirmed(giver=GIVER, receiver=RECEIVER, points=120)
REFUSED = FavourRefused(giver=GIVER, receiver=RECEIVER)
LAPSED = FavourLapsed(giver=GIVER, receiver=RECEIVER)
FORGIVEN = FavourForgiven(giver=GIVER, receiver=RECEIVER, points=120)

THANK = RecordFavour(actor=RECEIVER, giver=GIVER, receiver=RECEIVER, size="medium")
CLAIM = RecordFavour(actor=GIVER, giver=GIVER, receiver=RECEIVER, size="medium")
CONFIRM = ConfirmFavour(actor=RECEIVER)
REFUSE = RefuseFavour(actor=RECEIVER)
FORGIVE = ForgiveFavour(actor=GIVER)
LAPSE = LapseFavour()

LIFE = TransitionTable(
    kind=FAVOUR,
    after={
        "nothing": (),
        "thanked": (THANKED,),
        "claimed": (CLAIMED,),
        "confirmed": (CLAIMED, CONFIRMED),
        "refused": (CLAIMED, REFUSED),
        "lapsed": (CLAIMED, LAPSED),
        "forgiven": (THANKED, FORGIVEN),
    },
    asked_to={
        "thank": THANK,
        "claim": CLAIM,
        "confirm": CONFIRM,
        "refuse": REFUSE,
        "forgive": FORGIVE,
        "lapse": LAPSE,
    },
    possible_when={"confirm": "claimed", "refuse": "claimed", "forgive": "posted", "lapse": "claimed"},
    table="""
                thank    claim    confirm    refuse   forgive   lapse
    nothing     thanked  claimed  unknown    unknown  unknown   unknown
    thanked     exists   exists   -          !        forgiven  !
    claimed     exists   exists   confirmed  refused  !         lapsed
    confirmed   exists   exists   -          !        forgiven  !
    refused     exists   exists   !          -        !         !
    lapsed      exists   exists   !          !        !         -
    forgiven    exists   exists   !          !        -         !
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


def test_a_receiver_who_says_thank_you_owes_at_once() -> None:
    given().when(THANK).then(THANKED).posting(pay(RECEIVER, 120, to=GIVER)).leaving("posted", points=120)


def test_a_giver_who_claims_a_favour_is_owed_nothing_yet() -> None:
    given().when(CLAIM).then(CLAIMED).posting_nothing().leaving("claimed", lapses_at=DUE)


def test_a_receiver_who_confirms_owes() -> None:
    given(CLAIMED).when(CONFIRM).then(CONFIRMED).posting(pay(RECEIVER, 120, to=GIVER)).leaving("posted")


def test_a_receiver_who_refuses_owes_nothing() -> None:
    given(CLAIMED).when(REFUSE).then(REFUSED).posting_nothing().leaving("refused")


@pytest.mark.parametrize("owed", [(THANKED,), (CLAIMED, CONFIRMED)])
def test_a_giver_who_forgives_pays_the_debt_back_and_the_gross_tallies_stay(
    owed: tuple[FavourThanked] | tuple[FavourClaimed, FavourConfirmed],
) -> None:
    given(*owed).when(FORGIVE).then(FORGIVEN).posting(forgive(GIVER, 120, to=RECEIVER)).leaving("forgiven")


@pytest.mark.parametrize(("size", "points"), [("small", 60), ("medium", 120), ("large", 240)])
def test_a_favour_is_worth_its_size(size: Size, points: int) -> None:
    thanked = replace(THANKED, size=size, points=points)
    claimed = replace(CLAIMED, size=size, points=points)
    confirmed = replace(CONFIRMED, points=points)
    forgiven = replace(FORGIVEN, points=points)
    given().when(replace(THANK, size=size)).then(thanked).posting(pay(RECEIVER, points, to=GIVER))
    given().when(replace(CLAIM, size=size)).then(claimed).posting_nothing()
    given(claimed).when(CONFIRM).then(confirmed).posting(pay(RECEIVER, points, to=GIVER))
    given(thanked).when(FORGIVE).then(forgiven).posting(forgive(GIVER, points, to=RECEIVER))


def test_a_favour_stays_worth_what_it_was_when_it_was_claimed() -> None:
    dearer = Policy(version=2, size_points={"small": 1, "medium": 500, "large": 1_000})
    given().when(THANK, policy=dearer).then(replace(THANKED, points=500))
    given(CLAIMED).when(CONFIRM, policy=dearer).then(CONFIRMED)
    given(THANKED).when(FORGIVE, policy=dearer).then(FORGIVEN)


@pytest.mark.parametrize(
    ("command", "role", "actor"),
    [
        (CONFIRM, "receiver", GIVER),
        (CONFIRM, "receiver", STRANGER),
        (REFUSE, "receiver", GIVER),
        (REFUSE, "receiver", STRANGER),
        (FORGIVE, "giver", RECEIVER),
        (FORGIVE, "giver", STRANGER),
    ],
)
def test_nobody_else_may_whatever_has_happened(
    command: ConfirmFavour | RefuseFavour | ForgiveFavour, role: str, actor: str
) -> None:
    for history in LIFE.after.values():
        if history:
            given(*history).when(replace(command, actor=actor)).then_refused(NotYours, role=role)


def test_a_stranger_records_no_favour() -> None:
    given().when(replace(THANK, actor=STRANGER)).then_refused(NotYours, role="giver or receiver")


@pytest.mark.parametrize("actor", [GIVER, STRANGER])
def test_nobody_does_themself_a_favour(actor: str) -> None:
    own = replace(THANK, actor=actor, receiver=GIVER)
    given().when(own).then_refused(SelfDealing, roles=["giver", "receiver"])


# Deadlines


def test_a_claim_lapses_when_it_is_due_and_nobody_owes() -> None:
    given(CLAIMED).when(LAPSE, at=DUE).then(LAPSED).posting_nothing().leaving("lapsed")


def test_a_claim_does_not_lapse_a_moment_early() -> None:
    given(CLAIMED).when(LAPSE, at=DUE - MOMENT).then_refused(NotDue, due_at=DUE)


def test_the_time_to_answer_runs_from_when_it_was_claimed_and_not_from_when_it_was_done() -> None:
    given().when(replace(CLAIM, occurred_at=NOW - days(30))).then(CLAIMED)


# Fields of the events


@pytest.mark.parametrize(("command", "event"), [(THANK, THANKED), (CLAIM, CLAIMED)])
def test_a_favour_remembers_the_gathering_it_came_from(
    command: RecordFavour, event: FavourThanked | FavourClaimed
) -> None:
    recorded = given().when(replace(command, gathering=EVENING)).then(replace(event, gathering=EVENING))
    recorded.leaving("posted" if event is THANKED else "claimed", gathering=EVENING, size="medium")


def test_a_favour_may_bring_its_own_id() -> None:
    assert replace(THANK, id=EVENING).own_id("acme") == EVENING
    assert THANK.own_id("acme") is None
