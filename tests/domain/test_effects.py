"""Effects: reliability, relationships, help, and the time from which points count."""

from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given as arbitrarily
from hypothesis import settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.domain.catalog.kinds import EVENTS, KIND_OF_EVENT, KINDS, AnyEvent
from ledger.domain.kinds.contact import ContactMade
from ledger.domain.kinds.dispute.events import (
    DisputeEvent,
    DisputeLapsed,
    DisputeOpened,
    DisputeRejected,
    DisputeUpheld,
)
from ledger.domain.kinds.dispute.states import DisputedEntry
from ledger.domain.kinds.favour import FavourConfirmed, FavourForgiven, FavourThanked
from ledger.domain.kinds.intro.events import IntroClosed, IntroMade, IntroMet
from ledger.domain.kinds.intro.states import Fault, Outcome
from ledger.domain.kinds.one_to_one import OneToOneBooked, OneToOneCancelled, OneToOneHeld
from ledger.domain.posting.rules import entry_of
from ledger.domain.standing.effects import Acquaintance, acquaintance, is_help, reliability_changes, weighting_time
from ledger.domain.values.aggregate_types import Event, tag_of
from ledger.domain.values.entries import Transfer
from ledger.domain.values.ids import MemberId
from tests.domain.spec import NOW, days, fold
from tests.domain.strategies import structs_of

CLOSED: Final = IntroClosed(
    asker="ada", connector="bob", target="cyd", outcome="fruitful", fault="none", points=120, stake=60
)
MADE: Final = IntroMade(asker="ada", connector="bob", target="cyd", points=120, stake=60, lapses_at=NOW + days(90))
MET: Final = IntroMet(asker="ada", connector="bob", target="cyd", points=30)
THANKED: Final = FavourThanked(giver="ada", receiver="bob", size="medium", points=120)
CONFIRMED: Final = FavourConfirmed(giver="ada", receiver="bob", points=120)
MET_AT_LAST: Final = ContactMade(member="ada", other="bob")
BOOKED: Final = OneToOneBooked(member="ada", other="bob")
HELD_SAYS_ADA: Final = OneToOneHeld(member="ada", other="bob", said_by="ada")
HELD_SAYS_BOB: Final = OneToOneHeld(member="ada", other="bob", said_by="bob")
CANCELLED: Final = OneToOneCancelled(member="ada", other="bob")
LONG_AGO: Final = NOW - days(50)
SAME: Final[dict[str, Any]] = {
    "about": UUID(int=7),
    "entry_id": UUID(int=8),
    "happened_at": LONG_AGO,
    "opener": "bob",
    "parties": ("ada", "bob"),
    "transfers": (Transfer("bob", "ada", 120),),
}

events = st.one_of([structs_of(event) for event in EVENTS.values()])


def upheld(remedy: str, entry: DisputedEntry = "favour.thanked") -> DisputeUpheld:
    return DisputeUpheld(**SAME, entry=entry, remedy=remedy)  # type: ignore[arg-type]  # The value is one of its literals.


# Reliability

KEPT: Final = (1, 0)
BROKEN: Final = (0, 1)
BROKEN_AFTER_ALL: Final = (-1, 1)


def tried(event: Event) -> dict[MemberId, tuple[int, int]]:
    """Return the changes of kept and broken commitments, by member."""
    found = reliability_changes(event)
    assert len({trial.member for trial in found}) == len(found)
    return {trial.member: (trial.kept, trial.broken) for trial in found}


@pytest.mark.parametrize("outcome", ["fruitful", "no_result", "fell_silent"])
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("none", {"bob": KEPT, "ada": KEPT}),
        ("asker", {"bob": KEPT, "ada": BROKEN}),
        ("connector", {"bob": BROKEN, "ada": KEPT}),
    ],
)
def test_an_introduction_that_is_over_tries_the_connector_and_the_asker(
    outcome: Outcome, fault: Fault, expected: dict[MemberId, tuple[int, int]]
) -> None:
    assert tried(replace(CLOSED, outcome=outcome, fault=fault)) == expected
    assert tried(replace(CLOSED, outcome=outcome, fault=fault, settled=True)) == expected


@pytest.mark.parametrize(("fault", "expected"), [("none", KEPT), ("connector", BROKEN)])
def test_of_a_match_nobody_asked_so_the_connector_alone_is_tried(fault: Fault, expected: tuple[int, int]) -> None:
    assert tried(replace(CLOSED, fault=fault, matchmade=True)) == {"bob": expected}


def test_one_who_is_found_at_fault_after_it_was_closed_has_broken_a_word_that_counted_as_kept() -> None:
    late = replace(upheld("fault", "intro.made"), fault="connector", owed=(Transfer("bob", "ada", 120),))
    assert tried(replace(late, after_closing=True)) == {"bob": BROKEN_AFTER_ALL}
    assert tried(late) == {}  # An open introduction changes reliability only when it is closed.


@pytest.mark.parametrize("remedy", ["reversal", "none"])
def test_nobody_is_tried_by_what_was_nobodys_fault(remedy: str) -> None:
    assert tried(upheld(remedy, "intro.made")) == {}
    assert tried(replace(upheld(remedy, "intro.made"), after_closing=True)) == {}  # Nobody owes anything.


@arbitrarily(events)
def test_nobody_is_tried_by_anything_else_and_the_target_never(event: AnyEvent) -> None:
    members = {trial.member for trial in reliability_changes(event)}
    match event:
        case IntroClosed():
            assert members <= {event.connector, event.asker}
        case DisputeUpheld():
            assert members <= {transfer.payer for transfer in event.owed}
        case _:
            assert reliability_changes(event) == ()


# Relationships


def after(*history: Event) -> Acquaintance | None:
    state = fold(KIND_OF_EVENT[type(history[0])], history)
    assert state is not None
    return acquaintance(history[-1], state)


def test_two_who_have_met_know_each_other() -> None:
    assert after(MET_AT_LAST) == Acquaintance("ada", "bob", one_to_one=False)


def test_two_who_met_through_an_introduction_know_each_other() -> None:
    met = IntroMet(asker="ada", connector="bob", target="cyd", points=30)
    booked = fold(KINDS["one-to-one"], (BOOKED,))
    assert booked is not None
    assert acquaintance(met, booked) == Acquaintance("ada", "cyd", one_to_one=False)


def test_a_one_to_one_counts_when_both_say_that_it_was_held() -> None:
    assert after(BOOKED) is None
    assert after(BOOKED, HELD_SAYS_ADA) is None
    assert after(BOOKED, HELD_SAYS_ADA, HELD_SAYS_BOB) == Acquaintance("ada", "bob", one_to_one=True)
    assert after(BOOKED, HELD_SAYS_BOB, HELD_SAYS_ADA) == Acquaintance("ada", "bob", one_to_one=True)
    assert after(BOOKED, HELD_SAYS_ADA, CANCELLED) is None


@pytest.mark.parametrize("tag", sorted(EVENTS.keys() - {"contact.made", "one-to-one.held", "intro.met"}))
def test_nothing_else_makes_two_know_each_other(tag: str) -> None:
    held = fold(KINDS["one-to-one"], (BOOKED, HELD_SAYS_ADA, HELD_SAYS_BOB))
    assert held is not None

    @settings(max_examples=20)
    @arbitrarily(structs_of(EVENTS[tag]))
    def proved(event: Event) -> None:
        assert acquaintance(event, held) is None

    proved()


# Help


@pytest.mark.parametrize("event", [THANKED, CONFIRMED, MADE, MET, replace(MADE, matchmade=True)], ids=tag_of)
def test_a_favour_or_an_introduction_that_was_settled_is_help(event: Event) -> None:
    assert is_help(event)


HELPFUL: Final = {tag_of(event) for event in (THANKED, CONFIRMED, MADE, MET, upheld("reversal"))}


@pytest.mark.parametrize("tag", sorted(EVENTS.keys() - HELPFUL))
def test_nothing_else_is(tag: str) -> None:
    """Check that no other event counts as help.

    A referral does not count, because it helps a prospect. The cost of a fault and a forgiven debt do not count either.
    """

    @settings(max_examples=20)
    @arbitrarily(structs_of(EVENTS[tag]))
    def proved(event: Event) -> None:
        assert not is_help(event)

    proved()


@pytest.mark.parametrize(
    ("entry", "helped"),
    [
        ("favour.thanked", True),
        ("favour.confirmed", True),
        ("intro.made", True),
        ("intro.met", True),
        ("intro.closed", False),
        ("referral.qualified", False),
        ("referral.won", False),
    ],
)
def test_what_is_reversed_is_counted_off_where_it_was_counted(entry: DisputedEntry, helped: bool) -> None:
    assert is_help(upheld("reversal", entry)) == helped
    assert not is_help(upheld("fault", entry))
    assert not is_help(upheld("none", entry))


@arbitrarily(structs_of(FavourThanked) | structs_of(FavourConfirmed) | structs_of(IntroMade) | structs_of(IntroMet))
def test_help_is_given_by_somebody_to_somebody(event: AnyEvent) -> None:
    """Every gross leg has its counterparty, so that both the giver and the receiver of help are known."""
    assert all(leg.counterparty is not None for leg in entry_of(event).legs if leg.given or leg.received)


# Time from which points count


def test_a_reversal_weighs_as_much_as_what_it_reverses() -> None:
    assert weighting_time(upheld("reversal"), NOW) == LONG_AGO


@pytest.mark.parametrize("remedy", ["fault", "none"])
def test_what_a_fault_costs_weighs_from_the_day_it_was_judged(remedy: str) -> None:
    assert weighting_time(upheld(remedy), NOW) == NOW


@pytest.mark.parametrize(
    "event",
    [
        THANKED,
        FavourForgiven(giver="ada", receiver="bob", points=120),
        CLOSED,
        DisputeOpened(**SAME, entry="favour.thanked", code="not_mine", lapses_at=NOW + days(30)),
        DisputeRejected(**SAME, entry="favour.thanked"),
        DisputeLapsed(**SAME, entry="favour.thanked"),
    ],
    ids=tag_of,
)
def test_everything_else_weighs_from_when_it_happened(event: AnyEvent | DisputeEvent) -> None:
    assert weighting_time(event, NOW) == NOW
