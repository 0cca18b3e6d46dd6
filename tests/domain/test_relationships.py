"""Contact and one-to-one: the first two steps of a relationship."""

from typing import Final
from uuid import UUID

import pytest
from msgspec.structs import replace

from ledger.domain.catalog.kinds import CONTACT, ONE_TO_ONE
from ledger.domain.kinds.contact import ContactMade, MakeContact
from ledger.domain.kinds.one_to_one import (
    BookOneToOne,
    CancelOneToOne,
    HoldOneToOne,
    OneToOneBooked,
    OneToOneCancelled,
    OneToOneHeld,
)
from ledger.domain.values.refusals import Bug, NotYours, SelfDealing, WrongState
from tests.domain.spec import NOW, TransitionTable, check_all_covered, fold, given

ONE: Final = "ada"
OTHER: Final = "bob"
STRANGER: Final = "zoe"
EVENING: Final = UUID("0190f000-0000-7000-8000-000000000001")  # The id of a gathering.
OTHER_EVENING: Final = UUID("0190f000-0000-7000-8000-000000000002")

MADE = ContactMade(member=ONE, other=OTHER)
BOOKED = OneToOneBooked(member=ONE, other=OTHER)
HELD_SAYS_ONE = OneToOneHeld(member=ONE, other=OTHER, said_by=ONE)
HELD_SAYS_OTHER = OneToOneHeld(member=ONE, other=OTHER, said_by=OTHER)
CANCELLED = OneToOneCancelled(member=ONE, other=OTHER)

MAKE = MakeContact(actor=ONE, member=ONE, other=OTHER)
MAKE_TOO = MakeContact(actor=OTHER, member=OTHER, other=ONE)
BOOK = BookOneToOne(actor=ONE, member=ONE, other=OTHER)
HOLD = HoldOneToOne(actor=ONE)
HOLD_TOO = HoldOneToOne(actor=OTHER)
CANCEL = CancelOneToOne(actor=ONE)
CANCEL_TOO = CancelOneToOne(actor=OTHER)

CONTACTS = TransitionTable(
    kind=CONTACT,
    after={"nothing": (), "made": (MADE,)},
    asked_to={"make": MAKE, "make-too": MAKE_TOO},
    possible_when={},
    table="""
             make  make-too
    nothing  made  made
    made     -     -
    """,
)
ONE_TO_ONES = TransitionTable(
    kind=ONE_TO_ONE,
    after={
        "nothing": (),
        "booked": (BOOKED,),
        "one-says-held": (BOOKED, HELD_SAYS_ONE),
        "held": (BOOKED, HELD_SAYS_ONE, HELD_SAYS_OTHER),
        "cancelled": (BOOKED, CANCELLED),
        "cancelled-late": (BOOKED, HELD_SAYS_OTHER, CANCELLED),
    },
    asked_to={"book": BOOK, "hold": HOLD, "hold-too": HOLD_TOO, "cancel": CANCEL, "cancel-too": CANCEL_TOO},
    possible_when={"hold": "booked", "hold-too": "booked", "cancel": "booked", "cancel-too": "booked"},
    table="""
                    book    hold     hold-too  cancel     cancel-too
    nothing         booked  unknown  unknown   unknown    unknown
    booked          exists  held     held      cancelled  cancelled
    one-says-held   exists  -        held      cancelled  cancelled
    held            exists  -        -         !          !
    cancelled       exists  !        !         -          -
    cancelled-late  exists  !        !         -          -
    """,
)
LIVES: Final = (CONTACTS, ONE_TO_ONES)


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


# Contacts


@pytest.mark.parametrize("actor", [ONE, OTHER])
def test_a_contact_is_made_when_either_of_the_two_says_so(actor: str) -> None:
    made = given().when(replace(MAKE, actor=actor)).then(MADE).posting_nothing()
    made.leaving("made", member=ONE, other=OTHER, gathering=None)


def test_a_contact_is_kept_as_it_was_said() -> None:
    turned = given().when(MAKE_TOO).then(ContactMade(member=OTHER, other=ONE))
    turned.leaving("made", member=OTHER, other=ONE)


def test_a_contact_remembers_the_gathering_it_came_from() -> None:
    met = given().when(replace(MAKE, gathering=EVENING)).then(replace(MADE, gathering=EVENING))
    met.leaving("made", gathering=EVENING)


@pytest.mark.parametrize("again", [MAKE, replace(MAKE, actor=OTHER), MAKE_TOO, replace(MAKE_TOO, actor=ONE)])
@pytest.mark.parametrize("gathering", [None, EVENING, OTHER_EVENING])
def test_a_contact_that_is_made_again_records_nothing_and_the_first_word_stays(
    again: MakeContact, gathering: UUID | None
) -> None:
    given(replace(MADE, gathering=EVENING)).when(replace(again, gathering=gathering)).then_nothing()


def test_a_stranger_makes_no_contact_for_others_whatever_has_happened() -> None:
    for history in CONTACTS.after.values():
        given(*history).when(replace(MAKE, actor=STRANGER)).then_refused(NotYours, role="member or other")


def test_nobody_is_their_own_contact() -> None:
    given().when(replace(MAKE, other=ONE)).then_refused(SelfDealing, roles=["member", "other"])


# One-to-ones


@pytest.mark.parametrize("actor", [ONE, OTHER])
def test_either_of_the_two_books_a_one_to_one(actor: str) -> None:
    booked = given().when(replace(BOOK, actor=actor)).then(BOOKED).posting_nothing()
    booked.leaving("booked", member=ONE, other=OTHER, gathering=None, said=())


def test_a_one_to_one_remembers_the_gathering_it_came_from() -> None:
    booked = replace(BOOKED, gathering=EVENING)
    given().when(replace(BOOK, gathering=EVENING)).then(booked).leaving("booked", gathering=EVENING)
    given(booked).when(HOLD).then(HELD_SAYS_ONE).leaving("booked", gathering=EVENING)
    given(booked, HELD_SAYS_ONE).when(HOLD_TOO).then(HELD_SAYS_OTHER).leaving("held", gathering=EVENING)
    given(booked).when(CANCEL).then(CANCELLED).leaving("cancelled", gathering=EVENING)


def test_a_stranger_books_nothing_for_others() -> None:
    given().when(replace(BOOK, actor=STRANGER)).then_refused(NotYours, role="member or other")


def test_nobody_has_a_one_to_one_with_themself() -> None:
    given().when(replace(BOOK, other=ONE)).then_refused(SelfDealing, roles=["member", "other"])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((HOLD, HELD_SAYS_ONE), (HOLD_TOO, HELD_SAYS_OTHER)),
        ((HOLD_TOO, HELD_SAYS_OTHER), (HOLD, HELD_SAYS_ONE)),
    ],
)
def test_it_counts_as_held_when_both_have_said_so_in_either_order(
    first: tuple[HoldOneToOne, OneToOneHeld], second: tuple[HoldOneToOne, OneToOneHeld]
) -> None:
    (say, said), (agree, agreed) = first, second
    given(BOOKED).when(say).then(said).posting_nothing().leaving("booked", said=(say.actor,))
    given(BOOKED, said).when(say).then_nothing()
    given(BOOKED, said).when(agree).then(agreed).posting_nothing().leaving("held", member=ONE, other=OTHER)


def test_the_same_one_of_the_two_cannot_have_said_so_twice() -> None:
    for said in (HELD_SAYS_ONE, HELD_SAYS_OTHER):
        with pytest.raises(Bug, match=r"^one-to-one\.held after booked$"):
            fold(ONE_TO_ONE, (BOOKED, said, said))


@pytest.mark.parametrize("command", [CANCEL, CANCEL_TOO])
@pytest.mark.parametrize("history", [(BOOKED,), (BOOKED, HELD_SAYS_ONE), (BOOKED, HELD_SAYS_OTHER)])
def test_either_of_the_two_calls_it_off_until_both_say_it_was_held(
    command: CancelOneToOne, history: tuple[OneToOneBooked | OneToOneHeld, ...]
) -> None:
    given(*history).when(command).then(CANCELLED).posting_nothing().leaving("cancelled", member=ONE, other=OTHER)


def test_what_was_held_is_not_called_off_and_what_was_called_off_is_not_held() -> None:
    given(BOOKED, HELD_SAYS_ONE, HELD_SAYS_OTHER).when(CANCEL).then_refused(WrongState, expected="booked", found="held")
    given(BOOKED, CANCELLED).when(HOLD).then_refused(WrongState, expected="booked", found="cancelled")


@pytest.mark.parametrize("command", [HOLD, CANCEL])
def test_a_stranger_says_nothing_of_it_whatever_has_happened(command: HoldOneToOne | CancelOneToOne) -> None:
    for history in ONE_TO_ONES.after.values():
        if history:
            attempt = given(*history).when(replace(command, actor=STRANGER))
            attempt.then_refused(NotYours, role="member or other")


# Ids


def test_the_id_of_a_contact_never_changes() -> None:
    assert MAKE.own_id("acme") == UUID("266808f3-54a6-5df3-a8c6-b2fbbf8eaac9")


def test_a_contact_is_the_same_whichever_of_the_two_says_so_and_in_whatever_order() -> None:
    for same in (replace(MAKE, actor=OTHER), MAKE_TOO, replace(MAKE, gathering=EVENING, occurred_at=NOW)):
        assert same.own_id("acme") == MAKE.own_id("acme")


def test_any_other_contact_has_another_id() -> None:
    others = {
        MAKE.own_id("acme"),
        MAKE.own_id("beta"),
        replace(MAKE, other=STRANGER).own_id("acme"),
        replace(MAKE, member=STRANGER).own_id("acme"),
    }
    assert len(others) == 4


def test_a_one_to_one_may_bring_its_own_id() -> None:
    assert replace(BOOK, id=EVENING).own_id("acme") == EVENING
    assert BOOK.own_id("acme") is None
