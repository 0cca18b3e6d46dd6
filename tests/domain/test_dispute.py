"""Dispute: one who was charged opens it in time, and a moderator who is no party judges it."""

from typing import Any, Final, get_args, get_type_hints
from uuid import uuid5

import pytest
from msgspec.structs import replace

from ledger.domain.catalog.kinds import DISPUTE, FAVOUR, INTRO
from ledger.domain.kinds import favour
from ledger.domain.kinds.dispute.commands import DisputeCommand, OpenDispute, RejectDispute, UpholdDispute
from ledger.domain.kinds.dispute.decision import ROLES, needs, parties_of
from ledger.domain.kinds.dispute.events import DisputeLapsed, DisputeRejected, DisputeUpheld
from ledger.domain.kinds.dispute.states import Code, DisputedEntry, dispute_id
from ledger.domain.kinds.favour import ForgiveFavour
from ledger.domain.kinds.intro import states as intro_states
from ledger.domain.kinds.intro.commands import CloseIntro, LapseIntro
from ledger.domain.kinds.intro.events import IntroMet
from ledger.domain.kinds.transfers import TRANSFERS, transfers_of
from ledger.domain.values.aggregate_types import Event, tag_of
from ledger.domain.values.context import EventOf, Finding, Need, StateOf
from ledger.domain.values.ids import MemberId
from ledger.domain.values.policy import Policy
from ledger.domain.values.refusals import AlreadyExists, NotDue, NotYours, PartyToIt, TooLate, Unknown
from tests.domain.dispute_examples import (
    ABOUT,
    ADA,
    BOB,
    CHARGES,
    CYD,
    DEE,
    DUE,
    ENTRY_ID,
    GROWN,
    GROWN_OF_OWN,
    HAPPENED,
    INTRO_MADE,
    LAPSE,
    MODERATOR,
    OPEN,
    OPENED,
    REJECT,
    UPHOLD,
    WON,
    Paid,
    disputing,
    found_about,
    opened,
    same,
)
from tests.domain.favour_examples import LIFE, THANKED
from tests.domain.intro_examples import ASKED_LIFE, CLOSED, MATCH_CLOSED, MET, OFFERED_LIFE
from tests.domain.spec import MOMENT, NOW, TransitionTable, check_all_covered, days, fold, given
from tests.oracle.legs import freeze, reverse, unfreeze

# The life of a dispute, told by one of a thank-you that was not said


POSTED: Final = fold(FAVOUR, [THANKED])

UPHELD = DisputeUpheld(**same(OPENED), remedy="reversal")
REJECTED = DisputeRejected(**same(OPENED))
LAPSED = DisputeLapsed(**same(OPENED))

DISPUTE_LIFE = TransitionTable(
    kind=DISPUTE,
    after={
        "nothing": (),
        "opened": (OPENED,),
        "upheld": (OPENED, UPHELD),
        "rejected": (OPENED, REJECTED),
        "lapsed": (OPENED, LAPSED),
    },
    asked_to={"open": OPEN, "uphold": UPHOLD, "reject": REJECT, "lapse": LAPSE},
    possible_when={"uphold": "opened", "reject": "opened", "lapse": "opened"},
    found=found_about(THANKED, POSTED, recorded_at=NOW + days(60)),
    table="""
              open    uphold   reject    lapse
    nothing   opened  unknown  unknown   unknown
    opened    -       upheld   rejected  lapsed
    upheld    -       -        !         !
    rejected  -       !        -         !
    lapsed    -       !        !         -
    """,
)


@pytest.mark.parametrize(("after", "command", "outcome"), DISPUTE_LIFE.cells)
def test_every_command_after_every_event_does_what_the_table_says(after: str, command: str, outcome: str) -> None:
    DISPUTE_LIFE.check_cell(after, command, outcome)


def test_the_table_forgets_no_state_no_event_and_no_command() -> None:
    DISPUTE_LIFE.check_complete()
    check_all_covered(DISPUTE_LIFE)


def test_history_that_no_command_can_write_is_a_bug() -> None:
    DISPUTE_LIFE.check_no_other_event()


# What can be disputed, and by whom


every_charge = pytest.mark.parametrize(
    ("event", "charged"), CHARGES, ids=[f"{tag_of(event)}-{n}" for n, (event, _) in enumerate(CHARGES)]
)


def test_every_entry_that_can_be_disputed_has_its_charges_and_no_other_has_any() -> None:
    assert set(get_args(DisputedEntry)) == {tag_of(event) for event in TRANSFERS}
    assert {tag_of(event) for event, _ in CHARGES} == set(get_args(DisputedEntry))


@every_charge
@pytest.mark.parametrize("code", ["not_mine", "duplicate"])
@pytest.mark.parametrize("actor", [ADA, BOB, CYD, MODERATOR])
def test_whoever_was_charged_may_say_that_it_is_wrong_and_nobody_else(
    event: Event, charged: list[Paid], code: Code, actor: str
) -> None:
    attempt = given().when(disputing(event, actor, code), found=found_about(event))
    if actor not in {payer for payer, _, _ in charged}:
        attempt.then_refused(NotYours, role="the one who was charged")
        return
    recorded = attempt.then(opened(event, actor, code))
    recorded.posting(*(freeze(payer, points, payee=payee) for payer, payee, points in charged))
    recorded.leaving("opened", opener=actor, code=code, fault="none", owed=(), lapses_at=DUE, happened_at=HAPPENED)


@every_charge
def test_what_is_upheld_is_undone(event: Event, charged: list[Paid]) -> None:
    dispute = opened(event, charged[0][0])
    upheld = (
        given(dispute).when(UPHOLD, found=found_about(event)).then(DisputeUpheld(**same(dispute), remedy="reversal"))
    )
    upheld.posting(*(reverse(payer, points, payee=payee) for payer, payee, points in charged))
    upheld.leaving("upheld", remedy="reversal", entry_id=ENTRY_ID)


@every_charge
def test_what_is_rejected_or_not_judged_in_time_is_put_back(event: Event, charged: list[Paid]) -> None:
    dispute = opened(event, charged[0][0])
    back = [unfreeze(payer, points, payee=payee) for payer, payee, points in charged]
    given(dispute).when(REJECT).then(DisputeRejected(**same(dispute))).posting(*back).leaving("rejected")
    given(dispute).when(LAPSE, at=DUE).then(DisputeLapsed(**same(dispute))).posting(*back).leaving("lapsed")


@pytest.mark.parametrize("event", [CLOSED, MATCH_CLOSED, replace(CLOSED, fault="asker", settled=True)])
@pytest.mark.parametrize("actor", [ADA, BOB, CYD])
def test_an_entry_that_charged_nobody_is_nobodys_to_dispute(event: Event, actor: str) -> None:
    attempt = given().when(disputing(event, actor), found=found_about(event))
    attempt.then_refused(NotYours, role="the one who was charged")


def test_two_who_were_matched_met_for_nothing_and_cannot_dispute_it() -> None:
    met = IntroMet(asker=ADA, connector=BOB, target=CYD, points=0)
    given().when(disputing(met, ADA), found=found_about(met)).then_refused(NotYours, role="the one who was charged")


@pytest.mark.parametrize("entry", get_args(DisputedEntry))
def test_what_never_happened_cannot_be_disputed(entry: DisputedEntry) -> None:
    kind, name = entry.split(".")
    nothing: dict[Need, Finding] = {EventOf(kind, ABOUT, name): None, StateOf(kind, ABOUT): None}
    attempt = given().when(OpenDispute(actor=BOB, about=ABOUT, entry=entry, code="not_mine"), found=nothing)
    attempt.then_refused(Unknown, kind=kind, id=ABOUT, entry=entry)


def test_the_parties_are_all_whom_the_disputed_event_names() -> None:
    assert parties_of(GROWN) == (ADA, BOB, CYD)
    assert parties_of(GROWN_OF_OWN) == parties_of(WON) == parties_of(THANKED) == (ADA, BOB)
    assert parties_of(MET) == (ADA, BOB, CYD)
    for event in TRANSFERS:
        hints = get_type_hints(event, include_extras=True)
        members = {name for name, hint in hints.items() if hint == MemberId or MemberId in get_args(hint)}
        assert members <= set(ROLES)


# How long


@pytest.mark.parametrize("event", [event for event, _ in CHARGES])
def test_an_entry_can_be_disputed_for_sixty_days_to_the_moment_from_when_it_was_recorded(event: Event) -> None:
    payer = transfers_of(event)[0].payer
    last = found_about(event, recorded_at=NOW - days(60))
    given().when(disputing(event, payer), found=last).then(opened(event, payer))
    late = found_about(event, recorded_at=NOW - days(60) - MOMENT)
    given().when(disputing(event, payer), found=late).then_refused(TooLate, latest=NOW - MOMENT)


def test_a_community_may_give_it_more_time_or_less() -> None:
    policy = Policy(dispute_within=days(1), dispute_open=days(7))
    given().when(OPEN, policy=policy, found=found_about(THANKED)).then(replace(OPENED, lapses_at=NOW + days(7)))
    late = given().when(OPEN, at=NOW + MOMENT, policy=policy, found=found_about(THANKED))
    late.then_refused(TooLate, latest=NOW)


def test_one_who_was_not_charged_is_told_so_whether_or_not_it_is_too_late() -> None:
    late = found_about(THANKED, recorded_at=NOW - days(61))
    given().when(replace(OPEN, actor=ADA), found=late).then_refused(NotYours, role="the one who was charged")


def test_a_dispute_lapses_when_it_is_due_and_not_a_moment_early() -> None:
    given(OPENED).when(LAPSE, at=DUE).then(LAPSED)
    given(OPENED).when(LAPSE, at=DUE - MOMENT).then_refused(NotDue, due_at=DUE)


def test_a_moderator_may_still_judge_what_is_due_and_has_not_lapsed() -> None:
    given(OPENED).when(UPHOLD, at=DUE, found=found_about(THANKED)).then(UPHELD)
    given(OPENED).when(REJECT, at=DUE).then(REJECTED)


# Once


def test_an_entry_is_disputed_at_most_once() -> None:
    assert OPEN.own_id("acme") == OPEN.own_id("other") == dispute_id(ABOUT, "favour.thanked")
    assert dispute_id(ABOUT, "favour.thanked") == uuid5(ABOUT, "favour.thanked")
    assert len({dispute_id(ABOUT, entry) for entry in get_args(DisputedEntry)}) == len(get_args(DisputedEntry))


@pytest.mark.parametrize("after", ["opened", "upheld", "rejected", "lapsed"])
def test_to_dispute_it_again_with_another_code_or_by_another_one_is_no_repeat(after: str) -> None:
    history = DISPUTE_LIFE.after[after]
    given(*history).when(OPEN).then_nothing()
    given(*history).when(replace(OPEN, code="duplicate")).then_refused(AlreadyExists, kind="dispute")
    given(*history).when(replace(OPEN, actor=ADA)).then_refused(AlreadyExists, kind="dispute")


# Who judges


@every_charge
@pytest.mark.parametrize("judging", [UPHOLD, REJECT])
@pytest.mark.parametrize("actor", [ADA, BOB, CYD])
def test_nobody_judges_what_they_are_party_to(
    event: Event, charged: list[Paid], judging: UpholdDispute | RejectDispute, actor: str
) -> None:
    dispute = opened(event, charged[0][0])
    judged = DisputeUpheld(**same(dispute), remedy="reversal")
    attempts = [
        given(*h).when(replace(judging, actor=actor), found=found_about(event)) for h in ((dispute,), (dispute, judged))
    ]
    for attempt in attempts:
        if actor in parties_of(event):
            attempt.then_refused(PartyToIt)
    if actor not in parties_of(event):
        attempts[0].then_recorded("dispute.upheld" if isinstance(judging, UpholdDispute) else "dispute.rejected")


def test_the_opener_does_not_judge_even_if_the_event_did_not_name_them() -> None:
    odd = replace(OPENED, opener=DEE)
    given(odd).when(replace(UPHOLD, actor=DEE), found=found_about(THANKED)).then_refused(PartyToIt)
    given(odd).when(replace(REJECT, actor=DEE)).then_refused(PartyToIt)


# What has to be seen first


def test_a_dispute_sees_the_disputed_event_and_what_has_become_of_it() -> None:
    opened_state: Any = fold(DISPUTE, [OPENED])
    upheld_state: Any = fold(DISPUTE, [OPENED, UPHELD])
    own = dispute_id(ABOUT, "favour.thanked")
    assert needs(OPEN, None, own) == (EventOf("favour", ABOUT, "thanked"), StateOf("favour", ABOUT))
    assert needs(UPHOLD, opened_state, own) == (StateOf("favour", ABOUT),)
    unneeded: list[tuple[DisputeCommand, Any]] = [
        (OPEN, opened_state),
        (UPHOLD, None),
        (UPHOLD, upheld_state),
        (REJECT, opened_state),
        (LAPSE, opened_state),
    ]
    for command, state in unneeded:
        assert needs(command, state, own) == ()


def test_to_forgive_a_favour_takes_a_look_at_its_disputes() -> None:
    entries: tuple[DisputedEntry, ...] = ("favour.thanked", "favour.confirmed")
    disputes = tuple(StateOf("dispute", dispute_id(ABOUT, entry)) for entry in entries)
    for history in LIFE.after.values():
        state: Any = fold(FAVOUR, history)
        for command in LIFE.asked_to.values():
            looks = isinstance(command, ForgiveFavour) and isinstance(state, favour.Posted)
            assert FAVOUR.needs(command, state, ABOUT) == (disputes if looks else ())


def test_to_close_an_introduction_takes_a_look_at_its_dispute() -> None:
    for life in (ASKED_LIFE, OFFERED_LIFE):
        for history in life.after.values():
            state: Any = fold(INTRO, history)
            for command in life.asked_to.values():
                looks = isinstance(command, CloseIntro | LapseIntro) and isinstance(
                    state, intro_states.Made | intro_states.Met
                )
                assert INTRO.needs(command, state, ABOUT) == ((INTRO_MADE,) if looks else ())
