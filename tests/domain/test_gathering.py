"""Gathering and attendance: a networking event, the members who attended it, and the dues that they paid."""

from typing import Final
from uuid import UUID

import pytest
from msgspec.structs import replace

from ledger.domain.catalog.kinds import ATTENDANCE, GATHERING
from ledger.domain.kinds.attendance import Attend, AttendanceAttended, AttendanceDuesPaid, PayDues
from ledger.domain.kinds.favour import Refused
from ledger.domain.kinds.gathering import GatheringHeld, HoldGathering
from ledger.domain.values.context import Finding, Need, PastEvent, StateOf
from ledger.domain.values.refusals import Bug, NoDues, NotYours, Unknown
from tests.domain.spec import LATER, NOW, TransitionTable, check_all_covered, days, fold, given

HOST: Final = "ada"
MEMBER: Final = "bob"
STRANGER: Final = "zoe"
EVENING: Final = UUID("0190f000-0000-7000-8000-000000000001")
OTHER_EVENING: Final = UUID("0190f000-0000-7000-8000-000000000002")
NEED: Final = StateOf("gathering", EVENING)

HELD = GatheringHeld(host=HOST, held_at=NOW, dues=True)
FREE = GatheringHeld(host=HOST, held_at=NOW)
ATTENDED = AttendanceAttended(gathering=EVENING, member=MEMBER, host=HOST, dues=True)
ATTENDED_FREE = AttendanceAttended(gathering=EVENING, member=MEMBER, host=HOST)
DUES_PAID = AttendanceDuesPaid(gathering=EVENING, member=MEMBER, host=HOST)

HOLD = HoldGathering(actor=HOST, host=HOST, dues=True)
ATTEND = Attend(actor=MEMBER, gathering=EVENING, member=MEMBER)
PAY = PayDues(actor=HOST)

WITH_DUES: Final[dict[Need, Finding]] = {NEED: fold(GATHERING, (HELD,))}
WITHOUT_DUES: Final[dict[Need, Finding]] = {NEED: fold(GATHERING, (FREE,))}

GATHERINGS = TransitionTable(
    kind=GATHERING,
    after={"nothing": (), "held": (HELD,)},
    asked_to={"hold": HOLD},
    possible_when={},
    table="""
             hold
    nothing  held
    held     exists
    """,
)
ATTENDANCES = TransitionTable(
    kind=ATTENDANCE,
    after={"nothing": (), "attended": (ATTENDED,), "dues-paid": (ATTENDED, DUES_PAID)},
    asked_to={"attend": ATTEND, "pay": PAY},
    possible_when={},
    table="""
               attend    pay
    nothing    attended  unknown
    attended   -         dues-paid
    dues-paid  -         -
    """,
    found=WITH_DUES,
)
LIVES: Final = (GATHERINGS, ATTENDANCES)


@pytest.mark.parametrize(
    ("life", "after", "command", "outcome"), [(life, *cell) for life in LIVES for cell in life.cells]
)
def test_every_command_after_every_event_does_what_the_table_says(
    life: TransitionTable, after: str, command: str, outcome: str
) -> None:
    life.check_cell(after, command, outcome)


@pytest.mark.parametrize("life", LIVES)
def test_the_tables_forget_no_state_no_event_and_no_command(life: TransitionTable) -> None:
    life.check_complete()
    check_all_covered(life)


@pytest.mark.parametrize("life", LIVES)
def test_history_that_no_command_can_write_is_a_bug(life: TransitionTable) -> None:
    life.check_no_other_event()


# Gatherings


@pytest.mark.parametrize("dues", [True, False])
def test_a_host_holds_a_gathering_with_dues_or_without(dues: bool) -> None:
    held = given().when(replace(HOLD, dues=dues)).then(replace(HELD, dues=dues)).posting_nothing()
    held.leaving("held", host=HOST, dues=dues, held_at=NOW)


def test_a_gathering_has_no_dues_unless_its_host_says_so() -> None:
    given().when(HoldGathering(actor=HOST, host=HOST)).then(FREE).leaving("held", dues=False)


def test_a_gathering_was_held_when_its_host_says_so() -> None:
    before = NOW - days(3)
    told = given().when(replace(HOLD, occurred_at=before)).then(replace(HELD, held_at=before))
    told.leaving("held", held_at=before)


@pytest.mark.parametrize("actor", [MEMBER, STRANGER])
def test_nobody_but_the_host_holds_a_gathering(actor: str) -> None:
    given().when(replace(HOLD, actor=actor)).then_refused(NotYours, role="host")


def test_a_gathering_may_bring_its_own_id() -> None:
    assert replace(HOLD, id=EVENING).own_id("acme") == EVENING
    assert HOLD.own_id("acme") is None


# Attendance


@pytest.mark.parametrize("actor", [MEMBER, HOST])
def test_a_member_was_there_when_they_or_the_host_say_so(actor: str) -> None:
    attended = given().when(replace(ATTEND, actor=actor), found=WITH_DUES).then(ATTENDED).posting_nothing()
    attended.leaving("attended", gathering=EVENING, member=MEMBER, host=HOST, dues=True)


def test_an_attendance_knows_that_its_gathering_has_no_dues() -> None:
    given().when(ATTEND, found=WITHOUT_DUES).then(ATTENDED_FREE).leaving("attended", dues=False)


def test_a_host_attends_their_own_gathering_too() -> None:
    own = replace(ATTEND, actor=HOST, member=HOST)
    given().when(own, found=WITH_DUES).then(replace(ATTENDED, member=HOST))


def test_nobody_attends_a_gathering_that_nobody_held() -> None:
    for actor in (MEMBER, HOST, STRANGER):
        lost = given().when(replace(ATTEND, actor=actor), found={NEED: None})
        lost.then_refused(Unknown, kind="gathering", id=EVENING)


@pytest.mark.parametrize(
    "found",
    [
        Refused(giver=HOST, receiver=MEMBER, size="small", points=60),
        PastEvent(id=EVENING, event=HELD, recorded_at=NOW, occurred_at=NOW),
    ],
)
def test_what_is_no_gathering_is_not_taken_for_one(found: Finding) -> None:
    when = given().when(ATTEND, found={NEED: found})
    with pytest.raises(Bug, match=r"is no gathering$"):
        when.kind.decide(when.command, when.state, when.context)


@pytest.mark.parametrize("actor", [MEMBER, HOST])
@pytest.mark.parametrize("history", [(ATTENDED,), (ATTENDED, DUES_PAID)])
def test_attending_again_by_the_word_of_either_records_nothing(
    actor: str, history: tuple[AttendanceAttended | AttendanceDuesPaid, ...]
) -> None:
    given(*history).when(replace(ATTEND, actor=actor), at=LATER).then_nothing()


def test_a_stranger_says_of_nobody_that_they_were_there_whatever_has_happened() -> None:
    for history in ATTENDANCES.after.values():
        attempt = given(*history).when(replace(ATTEND, actor=STRANGER), found=WITH_DUES)
        attempt.then_refused(NotYours, role="member or host")


def test_only_who_is_not_yet_known_to_have_been_there_needs_the_gathering() -> None:
    attended = fold(ATTENDANCE, (ATTENDED,))
    assert ATTENDANCE.needs(ATTEND, None, EVENING) == (NEED,)
    assert ATTENDANCE.needs(ATTEND, attended, EVENING) == ()
    assert ATTENDANCE.needs(PAY, None, EVENING) == ATTENDANCE.needs(PAY, attended, EVENING) == ()


# Dues


def test_a_host_says_that_the_dues_are_paid() -> None:
    paid = given(ATTENDED).when(PAY).then(DUES_PAID).posting_nothing()
    paid.leaving("paid", gathering=EVENING, member=MEMBER, host=HOST, dues=True)


@pytest.mark.parametrize("actor", [MEMBER, STRANGER])
@pytest.mark.parametrize("history", [(ATTENDED,), (ATTENDED_FREE,), (ATTENDED, DUES_PAID)])
def test_nobody_but_the_host_says_that_the_dues_are_paid(
    actor: str, history: tuple[AttendanceAttended | AttendanceDuesPaid, ...]
) -> None:
    given(*history).when(replace(PAY, actor=actor)).then_refused(NotYours, role="host")


def test_nobody_pays_dues_where_there_are_none() -> None:
    given(ATTENDED_FREE).when(PAY).then_refused(NoDues, gathering=EVENING)


# Ids


def test_the_id_of_an_attendance_never_changes() -> None:
    assert ATTEND.own_id("acme") == UUID("a108ddb3-3282-5a4c-8c75-ed206c6de627")


def test_an_attendance_is_the_same_whoever_says_so() -> None:
    assert replace(ATTEND, actor=HOST, occurred_at=NOW).own_id("acme") == ATTEND.own_id("acme")


def test_any_other_attendance_has_another_id() -> None:
    others = {
        ATTEND.own_id("acme"),
        ATTEND.own_id("beta"),
        replace(ATTEND, gathering=OTHER_EVENING).own_id("acme"),
        replace(ATTEND, member=STRANGER).own_id("acme"),
    }
    assert len(others) == 4
