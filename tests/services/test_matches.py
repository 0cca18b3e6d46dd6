"""The coach and the matches of a member."""

from datetime import timedelta
from typing import Any

import pytest

from tests.services.caller import Caller, Clock
from tests.services.lifecycles import ACCEPT, ASK, CONSENT, INTRO, MAKE, MEET, Request, by, run_lifecycle
from tests.services.member_requests import get, join, post, thank


@pytest.fixture
def ledger(ledger: Caller, projector: None) -> Caller:
    """With books that follow the log."""
    return ledger


# The coach


async def asked(ledger: Caller, target: str, expects: int | None = None) -> str:
    """Ann asks cas for one more."""
    body = INTRO | by("ann", target=target) | ({} if expects is None else {"expects_percent": expects})
    own: str = (await post(ledger, "/intros", body))["id"]
    return own


async def test_a_coach_tells_what_was_expected_and_what_came_of_it(ledger: Caller, clock: Clock) -> None:
    yes, no, _ = [await asked(ledger, target, hope) for target, hope in (("tom", 20), ("tim", 60), ("tam", 90))]
    await ledger.recorded(f"/intros/{no}/decline", by("cas", tell_now=True))
    clock.ahead = timedelta(days=2)
    await ledger.recorded(f"/intros/{yes}/accept", by("cas", level=3))
    await ledger.recorded(f"/intros/{yes}/consent", by("tom"))
    made = await ledger.recorded(f"/intros/{yes}/make", by("cas"))
    assert await get(ledger, "/members/ann/coach", made["position"], viewer="ann") == {
        "asks": 3,
        "answered": 2,
        "yes": 1,
        "actual_permille": 500,
        "expected_permille": 400,  # (20 + 60) / 2 %: of the third nothing is known yet.
        "days_to_yes": 3,  # Two whole days, and a third one begun.
    }
    clock.ahead = timedelta(days=31)
    coaching = await get(ledger, "/members/ann/coach", viewer="ann")
    assert (coaching["answered"], coaching["yes"], coaching["actual_permille"]) == (3, 1, 333)
    assert coaching["expected_permille"] == 567  # (20 + 60 + 90) / 3 %
    again = [(ask["connector"], ask["target"]) for ask in coaching["again"]]
    assert again == [("cas", "tam"), ("cas", "tim")]  # A no and a silence alike, the newest first.


async def test_a_coach_knows_of_ones_own_asks_alone(ledger: Caller) -> None:
    await run_lifecycle(ledger, ASK, ACCEPT, CONSENT, MAKE)
    offer = await post(ledger, "/intros", INTRO | by("cas", asker="ann", level=1))
    for member, asks in (("ann", 1), ("cas", 0), ("tom", 0)):
        coaching = await get(ledger, f"/members/{member}/coach", offer["position"], viewer=member)
        assert coaching["asks"] == asks


# Matches


async def met(ledger: Caller, one: str, other: str) -> int:
    position: int = (await post(ledger, "/contacts", by(one, member=one, other=other)))["position"]
    return position


async def matches(ledger: Caller, member: str, at: int = 0) -> list[dict[str, Any]]:
    view = await get(ledger, f"/members/{member}/matches", at)
    assert view["member"] == member
    found: list[dict[str, Any]] = view["matches"]
    return found


async def test_matches_are_those_one_knows_then_those_whom_they_know_then_others(ledger: Caller) -> None:
    await join(ledger, "ann", wants="law tax")
    await join(ledger, "zed", offers="law design")
    await join(ledger, "bob", offers="law")
    await join(ledger, "cyd", offers="tax")
    await join(ledger, "abe", offers="law tax")
    await join(ledger, "eve", offers="tax law")
    await join(ledger, "gus", offers="design", wants="law")
    await met(ledger, "ann", "zed")  # Known by a contact,
    await thank(ledger, "bob", "ann")  # or by a favour.
    at = await met(ledger, "cyd", "bob")  # Cyd knows bob, who knows ann.
    assert await matches(ledger, "ann", at) == [
        {"member": "bob", "nearness": "known", "tags": ["law"]},
        {"member": "zed", "nearness": "known", "tags": ["law"]},
        {"member": "cyd", "nearness": "through", "tags": ["tax"], "connector": "bob"},
        {"member": "abe", "nearness": "other", "tags": ["law", "tax"]},
        {"member": "eve", "nearness": "other", "tags": ["law", "tax"]},
    ]
    at = await met(ledger, "eve", "ann")  # More of what is wanted comes first among those who are as near.
    assert [match["member"] for match in await matches(ledger, "ann", at)] == ["eve", "bob", "zed", "cyd", "abe"]


async def test_the_connector_who_is_named_is_the_one_with_whom_most_was_exchanged(ledger: Caller) -> None:
    await join(ledger, "ann", wants="tax")
    await join(ledger, "cyd", offers="tax")
    for friend in ("abe", "bob", "cas"):
        await met(ledger, friend, "cyd")
    await thank(ledger, "abe", "ann", "small")
    await thank(ledger, "ann", "cas", "medium")
    at = await thank(ledger, "bob", "ann", "large")
    (match,) = await matches(ledger, "ann", at)
    assert match == {"member": "cyd", "nearness": "through", "tags": ["tax"], "connector": "bob"}
    at = await thank(ledger, "cas", "ann", "large")  # What ann gave counts as well as what she received.
    assert (await matches(ledger, "ann", at))[0]["connector"] == "cas"


async def test_a_one_to_one_and_an_introduction_make_two_known_and_a_booking_does_not(ledger: Caller) -> None:
    for member, tag in (("tom", "tax"), ("cas", "tax"), ("bob", "tax")):
        await join(ledger, member, offers=tag)
    await join(ledger, "ann", wants="tax")
    made = await run_lifecycle(ledger, ASK, ACCEPT, CONSENT, MAKE)
    assert {match["member"]: match["nearness"] for match in await matches(ledger, "ann", made["position"])} == {
        "cas": "known",  # Who has introduced her,
        "tom": "other",
        "bob": "other",
    }
    met_him = await ledger.recorded(MEET.path(made["id"]), MEET.body)
    book = Request("one-to-one.book", by("ann", member="ann", other="bob"), "booked")
    booked = await run_lifecycle(ledger, book)
    nearness = {match["member"]: match["nearness"] for match in await matches(ledger, "ann", booked["position"])}
    assert nearness == {"cas": "known", "tom": "known", "bob": "other"}
    assert met_him["state"] == "met"
    for who in ("ann", "bob"):
        booked = await ledger.recorded(f"/one-to-ones/{booked['id']}/hold", by(who))
    nearness = {match["member"]: match["nearness"] for match in await matches(ledger, "ann", booked["position"])}
    assert nearness["bob"] == "known"


async def test_nobody_is_matched_who_is_away_or_has_left_and_they_are_when_they_come_back(ledger: Caller) -> None:
    await join(ledger, "ann", wants="tax")
    await join(ledger, "bob", offers="tax")
    await join(ledger, "cyd", offers="tax")
    at = await join(ledger, "dee", offers="tax")
    assert [match["member"] for match in await matches(ledger, "ann", at)] == ["bob", "cyd", "dee"]
    await post(ledger, "/members/bob/pause", by("bob"))
    at = (await post(ledger, "/members/cyd/leave", by("cyd")))["position"]
    assert [match["member"] for match in await matches(ledger, "ann", at)] == ["dee"]
    at = (await post(ledger, "/members/dee/offers", by("dee", tags=["law"])))["position"]
    assert await matches(ledger, "ann", at) == []
    at = (await post(ledger, "/members/bob/resume", by("bob")))["position"]
    assert [match["member"] for match in await matches(ledger, "ann", at)] == ["bob"]
    await post(ledger, "/members", by("cyd", member="cyd"))
    again = await post(ledger, "/members/cyd/offers", by("cyd", tags=["tax"]))
    assert [match["member"] for match in await matches(ledger, "ann", again["position"])] == ["bob", "cyd"]
    at = (await post(ledger, "/members/ann/pause", by("ann")))["position"]
    assert await matches(ledger, "ann", at) == []


async def test_one_who_wants_nothing_has_no_matches_and_nobody_matches_themself(ledger: Caller) -> None:
    assert await matches(ledger, "eve") == []
    at = await join(ledger, "ann", wants="tax", offers="tax")
    assert await matches(ledger, "ann", at) == []


async def test_of_many_matches_the_nearest_twenty_are_told(ledger: Caller) -> None:
    await join(ledger, "ann", wants="tax")
    at = 0
    for number in range(23):
        at = await join(ledger, f"member-{number:02d}", offers="tax")
    at = await met(ledger, "ann", "member-22")
    found = [match["member"] for match in await matches(ledger, "ann", at)]
    assert found == ["member-22", *(f"member-{number:02d}" for number in range(19))]
