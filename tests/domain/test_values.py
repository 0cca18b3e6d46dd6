"""Values: the syntax of ids and times, and the change from one state to the next."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from ledger.domain.kinds.favour import Claimed, FavourThanked, Posted, Refused
from ledger.domain.values.aggregate_types import become, tag_of
from ledger.domain.values.ids import CLOCK, CommunityId, Instant, MemberId, ProspectId, Tag, Tags
from tests.domain.spec import NOW


def read(value: object, as_type: Any) -> object:
    """Return a caller's JSON as parsed with `as_type`."""
    return msgspec.json.decode(msgspec.json.encode(value), type=as_type)


ANY_ID = ["", "-ada", "_ada", "ada.bob", "ada/bob", "ada bob", "ada>", "ada*", "adä", "ada\u0000", 7, None]
BAD_COMMUNITIES = [*ANY_ID, "a", "Acme", "7acme", "ac_me", "a" * 41]
BAD_MEMBERS = [*ANY_ID, "a" * 65, "clock"]
BAD_PROSPECTS = [*ANY_ID, "a" * 65]
BAD_TAGS = [*ANY_ID, "Law", "tax_law", "a" * 41]


@pytest.mark.parametrize(
    ("of", "good"),
    [
        (CommunityId, ["ab", "acme", "acme-2", "a" * 40]),
        (MemberId, ["a", "7", "Ada_Lovelace-7", "a" * 64, "clocks", "Clock", "clock-"]),
        (ProspectId, ["a", "prospect-7", "a" * 64, "clock"]),
        (Tag, ["a", "7", "tax-law", "a" * 40]),
        (Tags, [(), ("law", "tax"), tuple("abcdefghijklmnop")]),
    ],
)
def test_a_good_id_is_taken_as_it_is(of: object, good: list[object]) -> None:
    assert [read(value, of) for value in good] == good


@pytest.mark.parametrize(
    ("of", "bad"),
    [
        *((CommunityId, bad) for bad in BAD_COMMUNITIES),
        *((MemberId, bad) for bad in BAD_MEMBERS),
        *((ProspectId, bad) for bad in BAD_PROSPECTS),
        *((Tag, bad) for bad in BAD_TAGS),
        (Tags, ["Law"]),
        (Tags, list("abcdefghijklmnopq")),
    ],
)
def test_a_bad_id_is_refused(of: object, bad: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(bad, of)


@pytest.mark.parametrize("of", [CommunityId, MemberId, ProspectId, Tag], ids=["community", "member", "prospect", "tag"])
def test_an_id_that_ends_in_a_line_break_is_refused(of: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        read("acme\n", of)


def test_no_member_bears_the_name_of_the_clock() -> None:
    with pytest.raises(msgspec.ValidationError):
        read(CLOCK, MemberId)


def test_a_time_names_its_offset_from_utc() -> None:
    assert read("2026-03-02T10:30:00+01:00", Instant) == NOW
    for bad in ("2026-03-02T10:30:00", "2026-03-02", "yesterday", 1_772_443_800):
        with pytest.raises(msgspec.ValidationError):
            read(bad, Instant)


def test_a_state_becomes_another_and_keeps_what_both_know() -> None:
    claimed = Claimed(giver="ada", receiver="bob", size="small", points=60, lapses_at=NOW)
    assert become(Posted, claimed) == Posted(giver="ada", receiver="bob", size="small", points=60)


def test_a_change_counts_for_more_than_what_was_known() -> None:
    later = datetime(2027, 1, 1, tzinfo=UTC)
    claimed = Claimed(giver="ada", receiver="bob", size="small", points=60, lapses_at=NOW)
    assert become(Claimed, claimed, lapses_at=later).lapses_at == later


def test_a_tag_is_the_same_of_a_value_and_of_its_type() -> None:
    thanked = FavourThanked(giver="ada", receiver="bob", size="small", points=60)
    assert tag_of(thanked) == tag_of(FavourThanked) == "favour.thanked"
    refused = Refused(giver="ada", receiver="bob", size="small", points=60)
    assert tag_of(refused) == tag_of(Refused) == "refused"
