"""The fault rule: whose fault an introduction was, and what it costs if a dispute is upheld."""

from typing import Any, Final, Literal, get_args

import pytest
from msgspec.structs import replace

from ledger.domain.kinds.dispute.events import DisputeOpened, DisputeRejected, DisputeUpheld
from ledger.domain.kinds.dispute.states import Code
from ledger.domain.kinds.favour import FavourConfirmed, FavourThanked
from ledger.domain.kinds.intro.events import IntroMade
from ledger.domain.kinds.intro.states import Fault
from ledger.domain.kinds.transfers import transfers_of
from ledger.domain.values.aggregate_types import Event
from ledger.domain.values.entries import Transfer
from ledger.domain.values.policy import Policy
from ledger.domain.values.refusals import NotYours, WrongState
from tests.domain.dispute_examples import (
    ADA,
    ASKERS_FAULT,
    BOB,
    CHARGES,
    CONNECTORS_FAULT,
    CYD,
    GIFT,
    MODERATOR,
    REJECT,
    UPHOLD,
    Paid,
    closed_state,
    disputing,
    found_about,
    opened,
    same,
)
from tests.domain.favour_examples import CONFIRMED, THANKED
from tests.domain.intro_examples import MADE, MATCH_MADE, MET
from tests.domain.spec import given
from tests.oracle.legs import freeze, pay, unfreeze

# The fault rule of an introduction


MADE_AT: Final = [(30, 0), (120, 60), (360, 180), (130, 65)]  # Points and stake.


def fault_of(made: IntroMade, fault: Fault, owed: list[Paid], opener: str, code: Code) -> DisputeOpened:
    return replace(opened(made, opener, code), fault=fault, owed=tuple(Transfer(*paid) for paid in owed if paid[2]))


@pytest.mark.parametrize(("points", "stake"), MADE_AT)
def test_a_connector_whose_asker_ghosted_the_target_gets_sixty_for_both_when_it_is_upheld(
    points: int, stake: int
) -> None:
    made = replace(MADE, points=points, stake=stake)
    about, back = found_about(made), unfreeze(ADA, points, payee=BOB)
    dispute = fault_of(made, "asker", [(ADA, CYD, 60), (ADA, BOB, 60)], BOB, "asker_ghosted")
    told = given().when(disputing(made, BOB, "asker_ghosted"), found=about).then(dispute)
    told.posting(freeze(ADA, points, payee=BOB)).leaving("opened", fault="asker", owed=dispute.owed)
    upheld = DisputeUpheld(**same(dispute), remedy="fault", fault="asker", owed=dispute.owed)
    judged = given(dispute).when(UPHOLD, found=about).then(upheld)
    judged.posting(back, pay(ADA, 60, to=CYD), pay(ADA, 60, to=BOB)).leaving("upheld", remedy="fault", fault="asker")
    given(dispute).when(REJECT).then(DisputeRejected(**same(dispute))).posting(back)


@pytest.mark.parametrize(("points", "stake"), MADE_AT)
@pytest.mark.parametrize("code", ["no_consent", "misdescribed"])
def test_a_connector_at_fault_pays_all_of_it_from_main_when_it_is_upheld(code: Code, points: int, stake: int) -> None:
    made = replace(MADE, points=points, stake=stake)
    dispute = fault_of(made, "connector", [(BOB, ADA, points), (BOB, CYD, stake)], ADA, code)
    told = given().when(disputing(made, ADA, code), found=found_about(made)).then(dispute)
    told.posting(freeze(ADA, points, payee=BOB)).leaving("opened", fault="connector", owed=dispute.owed)
    upheld = DisputeUpheld(**same(dispute), remedy="fault", fault="connector", owed=dispute.owed)
    judged = given(dispute).when(UPHOLD, found=found_about(made)).then(upheld)
    staked = [pay(BOB, stake, to=CYD)] if stake else []
    judged.posting(unfreeze(ADA, points, payee=BOB), pay(BOB, points, to=ADA), *staked).leaving(
        "upheld", remedy="fault"
    )


@pytest.mark.parametrize(("points", "stake"), MADE_AT)
@pytest.mark.parametrize("code", ["no_consent", "misdescribed"])
@pytest.mark.parametrize("opener", [ADA, CYD])
def test_a_matchmaker_at_fault_pays_each_of_the_two_their_half_and_half_of_the_stake(
    opener: str, code: Code, points: int, stake: int
) -> None:
    made, half = replace(MATCH_MADE, points=points, stake=stake), points // 2
    owed = [(BOB, ADA, half), (BOB, CYD, half), (BOB, ADA, stake // 2), (BOB, CYD, stake - stake // 2)]
    dispute = fault_of(made, "connector", owed, opener, code)
    aside = [freeze(member, half, payee=BOB) for member in (ADA, CYD)]
    back = [unfreeze(member, half, payee=BOB) for member in (ADA, CYD)]
    given().when(disputing(made, opener, code), found=found_about(made)).then(dispute).posting(*aside)
    upheld = DisputeUpheld(**same(dispute), remedy="fault", fault="connector", owed=dispute.owed)
    judged = given(dispute).when(UPHOLD, found=found_about(made)).then(upheld)
    judged.posting(*back, *(pay(payer, points, to=payee) for payer, payee, points in owed if points))


@pytest.mark.parametrize("event", [event for event, _ in CHARGES if not isinstance(event, IntroMade)])
@pytest.mark.parametrize("code", ["no_consent", "misdescribed"])
def test_only_that_an_introduction_was_made_can_be_the_fault_of_one(event: Event, code: Code) -> None:
    payer = transfers_of(event)[0].payer
    given().when(disputing(event, payer, code), found=found_about(event)).then(opened(event, payer, code))


@pytest.mark.parametrize("code", get_args(Code))
@pytest.mark.parametrize("actor", [ADA, BOB, CYD, MODERATOR])
@pytest.mark.parametrize("made", [MADE, MATCH_MADE])
def test_who_disputes_an_introduction_follows_from_the_code(made: IntroMade, code: Code, actor: str) -> None:
    attempt = given().when(disputing(made, actor, code), found=found_about(made))
    charged, at_stake = ({ADA, CYD}, set[str]()) if made.matchmade else ({ADA}, {BOB})
    if actor in (at_stake if code == "asker_ghosted" else charged):
        attempt.then_recorded("dispute.opened")
    else:
        attempt.then_refused(NotYours, role="the one who was charged")


@pytest.mark.parametrize("event", [event for event, _ in CHARGES if not isinstance(event, IntroMade)])
@pytest.mark.parametrize("actor", [ADA, BOB, CYD])
def test_nobody_ghosts_in_anything_but_an_introduction_that_was_made(event: Event, actor: str) -> None:
    attempt = given().when(disputing(event, actor, "asker_ghosted"), found=found_about(event))
    attempt.then_refused(NotYours, role="the one who was charged")


def test_a_fault_costs_what_it_cost_when_the_dispute_was_opened() -> None:
    dearer = Policy(version=2, asker_fault_points=100)
    owed = [(ADA, CYD, 100), (ADA, BOB, 100)]
    dispute = fault_of(MADE, "asker", owed, BOB, "asker_ghosted")
    ghosted = disputing(MADE, BOB, "asker_ghosted")
    given().when(ghosted, policy=dearer, found=found_about(MADE)).then(dispute)
    upheld = DisputeUpheld(**same(dispute), remedy="fault", fault="asker", owed=dispute.owed)
    given(dispute).when(UPHOLD, found=found_about(MADE)).then(upheld)


# What those who are in it do meanwhile


@pytest.mark.parametrize("event", [THANKED, CONFIRMED])
def test_a_favour_that_was_forgiven_is_not_disputed(event: FavourThanked | FavourConfirmed) -> None:
    attempt = given().when(disputing(event, BOB), found=found_about(event, GIFT))
    attempt.then_refused(WrongState, expected="posted", found="forgiven")


@pytest.mark.parametrize("event", [THANKED, CONFIRMED])
def test_a_favour_that_was_forgiven_meanwhile_is_not_reversed_as_well(event: FavourThanked | FavourConfirmed) -> None:
    dispute = opened(event, BOB)
    judged = given(dispute).when(UPHOLD, found=found_about(event, GIFT))
    upheld = judged.then(DisputeUpheld(**same(dispute), remedy="none"))
    upheld.posting(unfreeze(BOB, 120, payee=ADA)).leaving("upheld", remedy="none")


REMEDIES: Final[list[tuple[IntroMade, Code, str, Fault, Literal["reversal", "fault", "none"]]]] = [
    # The introduction, the code, who says so; whose fault it was closed as: what is left to do.
    (MADE, "not_mine", ADA, "none", "reversal"),
    (MADE, "not_mine", ADA, "asker", "reversal"),
    (MADE, "not_mine", ADA, "connector", "none"),
    (MADE, "duplicate", ADA, "none", "reversal"),
    (MADE, "duplicate", ADA, "asker", "reversal"),
    (MADE, "duplicate", ADA, "connector", "none"),
    (MADE, "no_consent", ADA, "none", "fault"),
    (MADE, "no_consent", ADA, "asker", "none"),
    (MADE, "no_consent", ADA, "connector", "none"),
    (MADE, "misdescribed", ADA, "none", "fault"),
    (MADE, "misdescribed", ADA, "asker", "none"),
    (MADE, "misdescribed", ADA, "connector", "none"),
    (MADE, "asker_ghosted", BOB, "none", "fault"),
    (MADE, "asker_ghosted", BOB, "asker", "none"),
    (MADE, "asker_ghosted", BOB, "connector", "none"),
    (MATCH_MADE, "not_mine", CYD, "none", "reversal"),
    (MATCH_MADE, "not_mine", CYD, "connector", "none"),
    (MATCH_MADE, "no_consent", CYD, "none", "fault"),
    (MATCH_MADE, "no_consent", CYD, "connector", "none"),
]


@pytest.mark.parametrize(("made", "code", "opener", "closed_as", "remedy"), REMEDIES)
def test_one_who_has_owned_up_meanwhile_does_not_pay_twice(
    made: IntroMade, code: Code, opener: str, closed_as: Fault, remedy: str
) -> None:
    dispute = given().when(disputing(made, opener, code), found=found_about(made)).then_recorded("dispute.opened")
    about = found_about(made, closed_state(made.matchmade, closed_as))
    judged = given(dispute.event).when(UPHOLD, found=about).then_recorded("dispute.upheld")
    judged.leaving("upheld", remedy=remedy)
    assert isinstance(judged.event, DisputeUpheld)
    assert isinstance(dispute.event, DisputeOpened)
    fault: Any = (dispute.event.fault, dispute.event.owed) if remedy == "fault" else ("none", ())
    assert (judged.event.fault, judged.event.owed) == fault
    if remedy == "none":
        paid = [(ADA, 60), (CYD, 60)] if made.matchmade else [(ADA, 120)]
        judged.posting(*(unfreeze(payer, points, payee=BOB) for payer, points in paid))


@pytest.mark.parametrize("event", [MET, ASKERS_FAULT, CONNECTORS_FAULT])
@pytest.mark.parametrize("fault", ["asker", "connector"])
def test_that_it_was_closed_by_a_fault_does_not_make_the_other_entries_good(event: Event, fault: Fault) -> None:
    dispute = opened(event, transfers_of(event)[0].payer)
    judged = given(dispute).when(UPHOLD, found=found_about(event, closed_state(matched=False, fault=fault)))
    judged.then_recorded("dispute.upheld").leaving("upheld", remedy="reversal")
