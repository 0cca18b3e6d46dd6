"""Catalog: every operation of the ledger is listed, has a proper name and is parsed strictly."""

import re
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.catalog.kinds import DISPUTE, EVENTS, INTRO, KIND_OF_EVENT, KINDS, AnyEvent, union_members
from ledger.domain.catalog.operations import LAPSES, OPERATIONS
from ledger.domain.kinds import attendance, contact, favour, gathering, member, one_to_one, publication, referral
from ledger.domain.kinds.dispute import commands as dispute_commands
from ledger.domain.kinds.dispute import states as dispute_states
from ledger.domain.kinds.intro import commands as intro_commands
from ledger.domain.kinds.intro import states as intro_states
from ledger.domain.values import policy, refusals
from ledger.domain.values.aggregate_types import Command, Creation, Event, Lapse, tag_of
from ledger.domain.values.context import Context, EventOf, StateOf
from ledger.domain.values.refusals import Bug, Refusal, WrongState
from tests.domain.dispute_examples import OPENED
from tests.domain.intro_examples import ASKED, ASKER, CONNECTOR, TARGET
from tests.domain.spec import NOW, fold
from tests.domain.strategies import structs_of

PARENT: Final = "0190f000-0000-7000-8000-000000000001"
EVENING: Final = "0190f000-0000-7000-8000-000000000002"  # The id of a gathering.
COMMANDS: Final = {
    "favour": favour.FavourCommand,
    "referral": referral.ReferralCommand,
    "intro": intro_commands.IntroCommand,
    "dispute": dispute_commands.DisputeCommand,
    "member": member.MemberCommand,
    "gathering": gathering.GatheringCommand,
    "attendance": attendance.AttendanceCommand,
    "contact": contact.ContactCommand,
    "one-to-one": one_to_one.OneToOneCommand,
    "policy": publication.PublicationCommand,
}

# Bodies from a caller, with every required field.
BODIES: Final[dict[str, dict[str, Any]]] = {
    "favour.record": {"giver": "ada", "receiver": "bob", "size": "small"},
    "favour.confirm": {},
    "favour.refuse": {},
    "favour.forgive": {},
    "referral.give": {"referrer": "ada", "recipient": "bob", "prospect": "prospect-7", "level": 3},
    "referral.qualify": {},
    "referral.disqualify": {"reason": "duplicate"},
    "referral.contact": {},
    "referral.win": {"band": "XL"},
    "referral.lose": {},
    "intro.propose": {"asker": "ada", "connector": "bob", "target": "cyd"},
    "intro.accept": {"level": 1},
    "intro.decline": {},
    "intro.withdraw": {},
    "intro.consent": {},
    "intro.refuse": {},
    "intro.make": {},
    "intro.meet": {},
    "intro.close": {"outcome": "fruitful"},
    "dispute.open": {"about": PARENT, "entry": "favour.thanked", "code": "not_mine"},
    "dispute.uphold": {},
    "dispute.reject": {},
    "member.join": {"member": "ada"},
    "member.pause": {},
    "member.resume": {},
    "member.wants": {"tags": ["law"]},
    "member.offers": {"tags": ["tax"]},
    "member.caps": {},
    "member.leave": {},
    "gathering.hold": {"host": "ada"},
    "attendance.attend": {"gathering": EVENING, "member": "bob"},
    "attendance.pay": {},
    "contact.make": {"member": "ada", "other": "bob"},
    "one-to-one.book": {"member": "ada", "other": "bob"},
    "one-to-one.hold": {},
    "one-to-one.cancel": {},
    "policy.publish": {"policy": {}, "starts_at": "2026-03-03T00:00:00Z"},
}
REFUSALS: Final = [
    refusal
    for refusal in vars(refusals).values()
    if isinstance(refusal, type) and issubclass(refusal, Refusal) and refusal is not Refusal
]
CREATIONS: Final = {
    "favour.record",
    "referral.give",
    "intro.propose",
    "dispute.open",
    "member.join",
    "gathering.hold",
    "attendance.attend",
    "contact.make",
    "one-to-one.book",
    "policy.publish",
}
COMMAND_TYPES: Final = [*(operation.command for operation in OPERATIONS.values()), *LAPSES.values()]
every_operation = pytest.mark.parametrize("name", OPERATIONS)
every_event = pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS.keys())


def read(name: str, body: dict[str, Any]) -> Command:
    return msgspec.json.decode(msgspec.json.encode(body), type=OPERATIONS[name].command)


# Tables of the catalog


def test_the_kinds_know_every_event_there_is() -> None:
    assert list(KINDS) == [
        "favour",
        "referral",
        "intro",
        "dispute",
        "member",
        "gathering",
        "attendance",
        "contact",
        "one-to-one",
        "policy",
    ]
    assert set(KIND_OF_EVENT) == set(union_members(AnyEvent)) == set(EVENTS.values())


@pytest.mark.parametrize("kind", KINDS)
def test_every_command_of_a_kind_is_an_operation_or_the_lapse_and_no_other_is(kind: str) -> None:
    operations = {operation.command for operation in OPERATIONS.values() if operation.kind.name == kind}
    lapses = {LAPSES[kind]} if kind in LAPSES else set[type[Lapse]]()
    assert operations | lapses == set(union_members(COMMANDS[kind]))


@every_operation
def test_an_operation_is_named_for_its_kind(name: str) -> None:
    assert re.fullmatch(rf"{OPERATIONS[name].kind.name}\.[a-z]+", name)


def test_one_operation_of_each_kind_creates() -> None:
    assert {name for name, operation in OPERATIONS.items() if operation.creates} == CREATIONS


def test_only_a_referral_a_dispute_and_an_attendance_begin_with_another_aggregate() -> None:
    grown = read("referral.give", {**BODIES["referral.give"], "actor": "ada", "parent": PARENT})
    assert KINDS["referral"].needs(grown, None, UUID(int=1)) == (StateOf("referral", UUID(PARENT)),)
    commands: list[tuple[str, Command | Lapse]] = [
        (name, read(name, {**body, "actor": "ada"})) for name, body in BODIES.items()
    ]
    commands += [(f"{kind}.lapse", lapse()) for kind, lapse in LAPSES.items()]
    asked = {name: KINDS[name.partition(".")[0]].needs(command, None, UUID(int=1)) for name, command in commands}
    assert {name: needs for name, needs in asked.items() if needs} == {
        "dispute.open": (EventOf("favour", UUID(PARENT), "thanked"), StateOf("favour", UUID(PARENT))),
        "attendance.attend": (StateOf("gathering", UUID(EVENING)),),
    }


# Events


@every_event
def test_the_tag_of_an_event_is_its_kind_and_a_word_or_two(event: type[Event]) -> None:
    assert re.fullmatch(rf"{KIND_OF_EVENT[event].name}\.[a-z]+(-[a-z]+)?", tag_of(event))
    assert EVENTS[tag_of(event)] is event


def test_no_two_events_share_a_tag() -> None:
    assert len(EVENTS) == len(KIND_OF_EVENT) == len({tag_of(event) for event in KIND_OF_EVENT})


@pytest.mark.parametrize("kind", KINDS)
def test_the_states_of_a_kind_are_named_by_one_word_each(kind: str) -> None:
    tags = [tag_of(state) for state in union_members(KINDS[kind].states)]
    assert len(set(tags)) == len(tags)
    assert all(re.fullmatch(r"[a-z]+", tag) for tag in tags)


@pytest.mark.parametrize(
    "told",
    [
        *EVENTS.values(),
        *(state for kind in KINDS.values() for state in union_members(kind.states)),
        *COMMAND_TYPES,
        *REFUSALS,
    ],
)
def test_everything_that_is_published_says_what_it_means(told: type) -> None:
    said = vars(told).get("__doc__")
    assert said, f"{told.__name__} has no sentence of its own"
    assert re.match(r"[A-Z`].*\.$", said.strip(), re.DOTALL)


@pytest.mark.parametrize(
    "struct",
    [*EVENTS.values(), *(state for kind in KINDS.values() for state in union_members(kind.states)), *COMMAND_TYPES],
)
def test_nothing_that_was_said_can_be_edited(struct: type[msgspec.Struct]) -> None:
    assert struct.__struct_config__.frozen


@given(event=st.one_of([structs_of(event) for event in EVENTS.values()]))
def test_every_event_survives_being_stored_and_says_which_it_is(event: Event) -> None:
    stored = msgspec.json.encode(event)
    assert msgspec.json.decode(stored)["event"] == tag_of(event)
    assert msgspec.json.decode(stored, type=AnyEvent) == event


# Commands, as callers send them


def test_there_is_an_example_of_every_operation() -> None:
    assert BODIES.keys() == OPERATIONS.keys()


@every_operation
def test_a_whole_command_is_understood(name: str) -> None:
    command = read(name, {**BODIES[name], "actor": "ada", "occurred_at": "2026-03-02T09:30:00Z"})
    assert type(command) is OPERATIONS[name].command
    assert command.actor == "ada"


@every_operation
def test_a_command_that_lacks_anything_is_refused(name: str) -> None:
    whole = {**BODIES[name], "actor": "ada"}
    for missing in whole:
        with pytest.raises(msgspec.ValidationError, match="missing required field"):
            read(name, {field: value for field, value in whole.items() if field != missing})


@every_operation
def test_a_field_nobody_knows_is_refused(name: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `points`"):
        read(name, {**BODIES[name], "actor": "ada", "points": 1_000})


@every_operation
@pytest.mark.parametrize("bad", ["", "a" * 65, "ada lovelace", "-ada", "ada.", "clock", None, 7, ["ada"]])
def test_no_party_of_any_command_has_a_bad_id(name: str, bad: object) -> None:
    whole = {**BODIES[name], "actor": "ada"}
    parties = whole.keys() & {
        "actor",
        "giver",
        "receiver",
        "referrer",
        "recipient",
        "asker",
        "connector",
        "target",
        "member",
        "other",
        "host",
    }
    for party in parties:
        with pytest.raises(msgspec.ValidationError, match=rf"\$\.{party}"):
            read(name, {**whole, party: bad})


@pytest.mark.parametrize(
    ("name", "field", "bad"),
    [
        ("favour.record", "size", "huge"),
        ("favour.record", "id", "7"),
        ("favour.record", "gathering", "evening"),
        ("favour.confirm", "occurred_at", "2026-03-02T09:30:00"),
        ("referral.give", "level", 0),
        ("referral.give", "level", 6),
        ("referral.give", "level", "3"),
        ("referral.give", "level", True),
        ("referral.give", "level", 3.5),
        ("referral.give", "prospect", "a b"),
        ("referral.give", "tags", ["Law"]),
        ("referral.give", "tags", ["law"] * 17),
        ("referral.give", "parent", "7"),
        ("referral.disqualify", "reason", "rude"),
        ("referral.win", "band", "XXL"),
        ("intro.propose", "level", 6),
        ("intro.propose", "respond_by", "2026-03-02T09:30:00"),
        ("intro.decline", "tell_now", 1),
        ("intro.close", "outcome", "great"),
        ("intro.close", "fault", "target"),
        ("dispute.open", "about", "7"),
        ("dispute.open", "entry", "favour.claimed"),
        ("dispute.open", "code", "unfair"),
        ("intro.propose", "expects_percent", 101),
        ("member.join", "sponsor", "a b"),
        ("member.wants", "tags", ["Law"]),
        ("member.wants", "tags", None),
        ("member.offers", "tags", ["law"] * 17),
        ("member.caps", "asks_in", -1),
        ("member.caps", "asks_in", 1_001),
        ("member.caps", "asks_in", True),
        ("member.caps", "welcome", ["clock"]),
        ("member.caps", "welcome", ["bob"] * 101),
        ("gathering.hold", "dues", 1),
        ("gathering.hold", "id", "7"),
        ("attendance.attend", "gathering", "evening"),
        ("contact.make", "gathering", "evening"),
        ("one-to-one.book", "gathering", "evening"),
        ("one-to-one.book", "id", "7"),
        ("policy.publish", "starts_at", "2026-03-03"),
        ("policy.publish", "policy", None),
    ],
)
def test_a_value_the_page_does_not_know_is_refused(name: str, field: str, bad: object) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"\$\.{field}"):
        read(name, {**BODIES[name], "actor": "ada", field: bad})


def test_a_creation_decides_on_no_id_unless_it_says_so() -> None:
    assert Creation(actor="ada").own_id("acme") is None


STRAY: Final = {  # By kind: a command of another kind, from an actor who may send it.
    "favour": (
        intro_commands.ConsentIntro(actor="bob"),
        favour.Posted(giver="ada", receiver="bob", size="small", points=60),
    ),
    "referral": (
        favour.ConfirmFavour(actor="bob"),
        referral.Lost(referrer="ada", recipient="bob", prospect="prospect-7", level=3, points=120),
    ),
    "intro": (
        referral.QualifyReferral(actor="bob"),
        intro_states.Withdrawn(asker="ada", connector="bob", target="cyd"),
    ),
    "dispute": (
        favour.ConfirmFavour(actor="zoe"),
        dispute_states.Rejected(
            about=UUID(PARENT),
            entry="favour.thanked",
            entry_id=UUID(int=1),
            happened_at=NOW,
            opener="bob",
            code="not_mine",
            parties=("ada", "bob"),
            transfers=(),
        ),
    ),
    "member": (favour.ConfirmFavour(actor="ada"), member.Active(member="ada", joined_at=NOW)),
    "gathering": (member.PauseMember(actor="ada"), gathering.Held(host="ada", held_at=NOW)),
    "attendance": (
        member.PauseMember(actor="ada"),
        attendance.Paid(gathering=UUID(EVENING), member="bob", host="ada", dues=True),
    ),
    "contact": (member.PauseMember(actor="ada"), contact.Made(member="ada", other="bob")),
    "one-to-one": (member.PauseMember(actor="ada"), one_to_one.Held(member="ada", other="bob")),
    "policy": (
        favour.ConfirmFavour(actor="ada"),
        publication.Published(versions=(publication.PolicyVersion(starts_at=NOW, policy=policy.Policy(version=2)),)),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_that_went_astray_is_not_taken_for_a_repeat(kind: str) -> None:
    command, state = STRAY[kind]
    with pytest.raises((Bug, AssertionError)):
        KINDS[kind].decide(command, state, Context(now=NOW))


# Refusals, as callers read them


def test_no_two_refusals_share_a_code() -> None:
    codes = [refusal.code for refusal in REFUSALS]
    assert len(set(codes)) == len(codes) > 0


@pytest.mark.parametrize("refusal", REFUSALS)
def test_the_code_of_a_refusal_is_its_name_in_snake_case(refusal: type[Refusal]) -> None:
    assert refusal.code == re.sub(r"(?<!^)(?=[A-Z])", "_", refusal.__name__).lower()


def test_a_refusal_says_why_to_a_person_and_lists_the_facts_for_a_program() -> None:
    refused = WrongState(expected="claimed", found="lapsed")
    assert refused.title() == "The state it is in does not allow this"
    assert refused.title() in str(refused)
    assert refused.facts == {"expected": "claimed", "found": "lapsed"}


def test_a_state_concerns_its_parties_once_each_in_the_order_of_their_roles() -> None:
    asked = fold(INTRO, [ASKED])
    assert asked is not None
    assert sorted(INTRO.concerned(asked)) == sorted([ASKER, CONNECTOR, TARGET])


def test_a_dispute_concerns_its_opener_first_and_then_the_other_parties() -> None:
    dispute = fold(DISPUTE, [OPENED])
    assert dispute is not None
    assert DISPUTE.concerned(dispute) == (OPENED.opener, *(m for m in OPENED.parties if m != OPENED.opener))


def test_a_kind_that_hides_nothing_shows_its_version() -> None:
    dispute = fold(DISPUTE, [OPENED])
    assert dispute is not None
    assert DISPUTE.version_read_by(OPENED.opener, dispute, 7, NOW) == 7
