"""Member: a person who has joined, and what they want, offer and are open to."""

from typing import Final
from uuid import UUID

import msgspec
import pytest
from msgspec.structs import replace

from ledger.domain.catalog.kinds import MEMBER
from ledger.domain.kinds.member import (
    JoinMember,
    LeaveMember,
    MemberCapsSet,
    MemberEvent,
    MemberJoined,
    MemberLeft,
    MemberOffersSet,
    MemberPaused,
    MemberResumed,
    MemberStep,
    MemberWantsSet,
    PauseMember,
    ResumeMember,
    SetCaps,
    SetOffers,
    SetWants,
)
from ledger.domain.values.refusals import AlreadyExists, NotYours, SelfDealing, WrongState
from tests.domain.spec import NOW, TransitionTable, check_all_covered, days, given

ADA: Final = "ada"
SPONSOR: Final = "bob"
OTHER_SPONSOR: Final = "cyd"
STRANGER: Final = "zoe"

JOINED = MemberJoined(member=ADA, joined_at=NOW, sponsor=SPONSOR)
PAUSED = MemberPaused(member=ADA)
RESUMED = MemberResumed(member=ADA)
WANTS_SET = MemberWantsSet(member=ADA, tags=("law", "tax"))
OFFERS_SET = MemberOffersSet(member=ADA, tags=("cardiology",))
CAPS_SET = MemberCapsSet(member=ADA, asks_in=2, welcome=("bob", "cyd"))
LEFT = MemberLeft(member=ADA)

JOIN = JoinMember(actor=ADA, member=ADA, sponsor=SPONSOR)
SWITCH = JoinMember(actor=ADA, member=ADA, sponsor=OTHER_SPONSOR)
PAUSE = PauseMember(actor=ADA)
RESUME = ResumeMember(actor=ADA)
WANT = SetWants(actor=ADA, tags=("design",))
OFFER = SetOffers(actor=ADA, tags=("design",))
CAP = SetCaps(actor=ADA, asks_in=0)
LEAVE = LeaveMember(actor=ADA)

LIFE = TransitionTable(
    kind=MEMBER,
    after={
        "nothing": (),
        "joined": (JOINED,),
        "paused": (JOINED, PAUSED),
        "resumed": (JOINED, PAUSED, RESUMED),
        "wants-set": (JOINED, WANTS_SET),
        "offers-set": (JOINED, OFFERS_SET),
        "caps-set": (JOINED, CAPS_SET),
        "left": (JOINED, LEFT),
        "left-paused": (JOINED, PAUSED, LEFT),
        "joined-again": (JOINED, LEFT, JOINED),
    },
    asked_to={
        "join": JOIN,
        "switch": SWITCH,
        "pause": PAUSE,
        "resume": RESUME,
        "want": WANT,
        "offer": OFFER,
        "cap": CAP,
        "leave": LEAVE,
    },
    possible_when={
        "pause": "active",
        "resume": "paused",
        "want": "active or paused",
        "offer": "active or paused",
        "cap": "active or paused",
    },
    table="""
                  join    switch  pause    resume   want       offer       cap       leave
    nothing       joined  joined  unknown  unknown  unknown    unknown     unknown   unknown
    joined        -       exists  paused   -        wants-set  offers-set  caps-set  left
    paused        -       exists  -        resumed  wants-set  offers-set  caps-set  left
    resumed       -       exists  paused   -        wants-set  offers-set  caps-set  left
    wants-set     -       exists  paused   -        wants-set  offers-set  caps-set  left
    offers-set    -       exists  paused   -        wants-set  offers-set  caps-set  left
    caps-set      -       exists  paused   -        wants-set  offers-set  caps-set  left
    left          joined  joined  !        !        !          !           !         -
    left-paused   joined  joined  !        !        !          !           !         -
    joined-again  -       exists  paused   -        wants-set  offers-set  caps-set  left
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


# Actors


def test_a_member_joins_on_the_word_of_a_sponsor() -> None:
    joined = given().when(JOIN).then(JOINED).posting_nothing()
    joined.leaving("active", member=ADA, sponsor=SPONSOR, joined_at=NOW, wants=(), offers=(), asks_in=None, welcome=())


def test_a_member_may_join_without_a_sponsor() -> None:
    given().when(replace(JOIN, sponsor=None)).then(replace(JOINED, sponsor=None)).leaving("active", sponsor=None)


@pytest.mark.parametrize("actor", [SPONSOR, STRANGER])
def test_nobody_joins_for_another_whatever_has_happened(actor: str) -> None:
    for history in LIFE.after.values():
        given(*history).when(replace(JOIN, actor=actor)).then_refused(NotYours, role="member")


def test_nobody_is_their_own_sponsor() -> None:
    for history in LIFE.after.values():
        given(*history).when(replace(JOIN, sponsor=ADA)).then_refused(SelfDealing, roles=["member", "sponsor"])


@pytest.mark.parametrize("command", [PAUSE, RESUME, WANT, OFFER, CAP, LEAVE])
@pytest.mark.parametrize("actor", [SPONSOR, STRANGER])
def test_nobody_else_speaks_for_a_member_whatever_has_happened(command: MemberStep, actor: str) -> None:
    for history in LIFE.after.values():
        if history:
            given(*history).when(replace(command, actor=actor)).then_refused(NotYours, role="member")


# Joining and leaving


def test_a_member_is_away_and_comes_back() -> None:
    given(JOINED).when(PAUSE).then(PAUSED).posting_nothing().leaving("paused", joined_at=NOW, sponsor=SPONSOR)
    given(JOINED, PAUSED).when(RESUME).then(RESUMED).posting_nothing().leaving("active", joined_at=NOW)


def test_what_a_member_said_outlasts_a_pause() -> None:
    away = given(JOINED, WANTS_SET, OFFERS_SET, CAPS_SET).when(PAUSE).then(PAUSED)
    away.leaving("paused", wants=("law", "tax"), offers=("cardiology",), asks_in=2, welcome=("bob", "cyd"))
    back = given(JOINED, WANTS_SET, OFFERS_SET, CAPS_SET, PAUSED).when(RESUME).then(RESUMED)
    back.leaving("active", wants=("law", "tax"), offers=("cardiology",), asks_in=2, welcome=("bob", "cyd"))


def test_joining_again_does_not_end_a_pause() -> None:
    given(JOINED, PAUSED).when(JOIN).then_nothing()


@pytest.mark.parametrize("history", [(JOINED,), (JOINED, PAUSED)])
@pytest.mark.parametrize("sponsor", [None, OTHER_SPONSOR])
def test_a_member_who_has_not_left_does_not_join_again_with_another_sponsor(
    history: tuple[MemberEvent, ...], sponsor: str | None
) -> None:
    given(*history).when(replace(JOIN, sponsor=sponsor)).then_refused(AlreadyExists, kind="member")


def test_a_member_who_leaves_takes_along_what_they_wanted_offered_and_were_open_to() -> None:
    gone = given(JOINED, WANTS_SET, OFFERS_SET, CAPS_SET).when(LEAVE).then(LEFT).posting_nothing()
    gone.leaving("left", joined_at=NOW, sponsor=SPONSOR, wants=(), offers=(), asks_in=None, welcome=())


def test_a_member_who_comes_back_after_leaving_begins_anew_and_is_no_newcomer() -> None:
    later = NOW + days(400)
    again = given(JOINED, WANTS_SET, OFFERS_SET, CAPS_SET, LEFT).when(SWITCH, at=later)
    back = again.then(MemberJoined(member=ADA, joined_at=later, sponsor=OTHER_SPONSOR)).posting_nothing()
    nothing_said = {"wants": (), "offers": (), "asks_in": None, "welcome": ()}
    back.leaving("active", joined_at=NOW, sponsor=OTHER_SPONSOR, **nothing_said)


def test_a_member_has_joined_when_it_was_recorded_and_not_when_it_is_said_to_have_been() -> None:
    given().when(replace(JOIN, occurred_at=NOW - days(300))).then(JOINED)


# Wants, offers and caps


@pytest.mark.parametrize(("history", "state"), [((JOINED,), "active"), ((JOINED, PAUSED), "paused")])
def test_a_member_says_what_they_want_offer_and_are_open_to_also_while_away(
    history: tuple[MemberEvent, ...], state: str
) -> None:
    want = SetWants(actor=ADA, tags=("law", "tax"))
    given(*history).when(want).then(WANTS_SET).posting_nothing().leaving(state, wants=("law", "tax"), offers=())
    offer = SetOffers(actor=ADA, tags=("cardiology",))
    given(*history).when(offer).then(OFFERS_SET).posting_nothing().leaving(state, offers=("cardiology",), wants=())
    cap = SetCaps(actor=ADA, asks_in=2, welcome=("bob", "cyd"))
    capped = given(*history).when(cap).then(CAPS_SET).posting_nothing()
    capped.leaving(state, asks_in=2, welcome=("bob", "cyd"))


def test_tags_and_the_welcome_are_kept_sorted_and_once_each() -> None:
    given(JOINED).when(SetWants(actor=ADA, tags=("tax", "law", "tax"))).then(WANTS_SET)
    given(JOINED).when(SetOffers(actor=ADA, tags=("cardiology", "cardiology"))).then(OFFERS_SET)
    given(JOINED).when(SetCaps(actor=ADA, asks_in=2, welcome=("cyd", "bob", "cyd"))).then(CAPS_SET)


@pytest.mark.parametrize("pause", [(), (PAUSED,)])
@pytest.mark.parametrize(
    "command",
    [
        SetWants(actor=ADA, tags=("law", "tax")),
        SetWants(actor=ADA, tags=("tax", "law", "law")),
        SetOffers(actor=ADA, tags=("cardiology",)),
        SetCaps(actor=ADA, asks_in=2, welcome=("bob", "cyd")),
        SetCaps(actor=ADA, asks_in=2, welcome=("cyd", "bob", "bob")),
    ],
)
def test_saying_the_same_again_records_nothing(pause: tuple[MemberPaused, ...], command: MemberStep) -> None:
    given(JOINED, WANTS_SET, OFFERS_SET, CAPS_SET, *pause).when(command).then_nothing()


@pytest.mark.parametrize("command", [SetWants(actor=ADA, tags=()), SetOffers(actor=ADA, tags=()), SetCaps(actor=ADA)])
def test_a_newcomer_who_says_nothing_records_nothing(command: MemberStep) -> None:
    given(JOINED).when(command).then_nothing()


def test_what_is_said_anew_takes_the_place_of_what_was_said_before() -> None:
    given(JOINED, WANTS_SET).when(WANT).then(replace(WANTS_SET, tags=("design",))).leaving("active", wants=("design",))
    given(JOINED, WANTS_SET).when(replace(WANT, tags=())).then(replace(WANTS_SET, tags=())).leaving("active", wants=())
    other = given(JOINED, OFFERS_SET).when(OFFER).then(replace(OFFERS_SET, tags=("design",)))
    other.leaving("active", offers=("design",))
    fewer = given(JOINED, CAPS_SET).when(CAP).then(MemberCapsSet(member=ADA, asks_in=0))
    fewer.leaving("active", asks_in=0, welcome=())


@pytest.mark.parametrize(
    "cap",
    [
        SetCaps(actor=ADA, asks_in=3, welcome=("bob", "cyd")),
        SetCaps(actor=ADA, welcome=("bob", "cyd")),
        SetCaps(actor=ADA, asks_in=2, welcome=("bob",)),
        SetCaps(actor=ADA, asks_in=2),
    ],
)
def test_either_of_the_caps_may_change_alone(cap: SetCaps) -> None:
    changed = given(JOINED, CAPS_SET).when(cap)
    expected = MemberCapsSet(member=ADA, asks_in=cap.asks_in, welcome=cap.welcome)
    changed.then(expected).leaving("active", asks_in=cap.asks_in, welcome=cap.welcome)


def test_no_asks_at_all_is_not_the_number_of_the_community() -> None:
    given(JOINED).when(CAP).then(MemberCapsSet(member=ADA, asks_in=0)).leaving("active", asks_in=0)
    assert msgspec.json.encode(CAP) == b'{"actor":"ada","asks_in":0}'


def test_a_member_who_has_left_says_no_more() -> None:
    for command in (WANT, OFFER, CAP):
        refused = given(JOINED, PAUSED, LEFT).when(command)
        refused.then_refused(WrongState, expected="active or paused", found="left")


# Ids


def test_the_id_of_a_member_never_changes() -> None:
    assert JOIN.own_id("acme") == UUID("3258428a-8f9c-5440-a529-57d2dce6c603")


def test_a_member_who_joins_again_is_the_same() -> None:
    assert replace(JOIN, sponsor=None, occurred_at=NOW).own_id("acme") == JOIN.own_id("acme")


def test_another_member_and_the_same_one_of_another_community_are_others() -> None:
    other = replace(JOIN, actor=STRANGER, member=STRANGER)
    assert len({JOIN.own_id("acme"), JOIN.own_id("beta"), other.own_id("acme")}) == 3
