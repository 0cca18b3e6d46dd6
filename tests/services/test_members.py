"""Members: their standing, how far two have come, and what disputes cost them."""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import pytest

from services.app import utc_now
from tests.services.caller import Caller, Clock, refused
from tests.services.lifecycles import ACCEPT, ASK, BOOK, CONSENT, LIFECYCLES, MAKE, MEET, by, run_lifecycle
from tests.services.member_requests import get, post, thank


@pytest.fixture
def ledger(ledger: Caller, projector: None) -> Caller:
    """With books that follow the log."""
    return ledger


# Standing


async def standing(ledger: Caller, member: str, at: int = 0) -> dict[str, Any]:
    """But for when they were first seen, which no clock of ours decides."""
    view = await get(ledger, f"/members/{member}/standing", at)
    assert view.pop("member") == member
    if "since" in view:
        since = datetime.fromisoformat(view.pop("since"))
        assert timedelta(minutes=-5) < since - utc_now() < timedelta(minutes=5)
    return view


async def test_one_whom_nobody_has_seen_is_new_and_even(ledger: Caller) -> None:
    view = await get(ledger, "/members/eve/standing")
    assert view == {
        "member": "eve",
        "band": "new",
        "reciprocity_permille": 500,
        "recent_permille": 500,
        "reliability_permille": 500,
        "net": 0,
        "limit": 120,
        "settled": 0,
    }


async def test_a_standing_is_worked_out_from_what_was_given_and_received(ledger: Caller) -> None:
    await thank(ledger, "ada", "bob", "large")  # 240
    await thank(ledger, "ada", "cyd", "large")  # 240
    await thank(ledger, "ada", "cyd", "large")  # 240: 480 to cyd, of which 360 count towards credit.
    at = await thank(ledger, "bob", "ada", "small")  # 60
    assert await standing(ledger, "ada", at) == {
        "band": "giving",  # In four settled items.
        "reciprocity_permille": 824,  # (720 + 120) / (720 + 60 + 240) = 840 / 1020
        "recent_permille": 824,
        "reliability_permille": 500,
        "net": 660,
        "limit": 720,  # 120 + 240 + 360
        "settled": 4,
    }
    assert await standing(ledger, "cyd") == {
        "band": "new",
        "reciprocity_permille": 167,  # 120 / (480 + 240)
        "recent_permille": 167,
        "reliability_permille": 500,
        "net": -480,
        "limit": 120,
        "settled": 2,
    }


async def test_a_sponsor_and_what_was_done_for_others_raise_the_limit_up_to_its_own(ledger: Caller) -> None:
    await post(ledger, "/members", by("ada", member="ada", sponsor="bob"))
    at = 0
    for number in range(6):
        for _ in range(2):
            at = await thank(ledger, "ada", f"friend-{number}", "large")
    assert (await standing(ledger, "ada", at))["limit"] == 2_400  # And not 360 + 6 * 360.
    await post(ledger, "/members", by("eve", member="eve", sponsor="bob"))
    joined = await post(ledger, "/members", by("fay", member="fay"))
    assert (await standing(ledger, "eve", joined["position"]))["limit"] == 360
    assert (await standing(ledger, "fay"))["limit"] == 120


async def test_amounts_halve_every_180_days_in_recent_standing_and_the_index_stays(
    ledger: Caller, clock: Clock
) -> None:
    await thank(ledger, "ada", "bob", "large")
    at = await thank(ledger, "cyd", "ada", "small")
    clock.ahead = timedelta(days=180)
    ada, bob = await standing(ledger, "ada", at), await standing(ledger, "bob")
    assert (ada["reciprocity_permille"], bob["reciprocity_permille"]) == (667, 250)
    assert ada["recent_permille"] == 615  # (120 + 120) / (120 + 30 + 240) = 240 / 390
    assert bob["recent_permille"] == 333  # 120 / (120 + 240)
    assert (ada["band"], bob["band"]) == ("giving", "taking")  # No longer new: over 90 days.
    clock.ahead = timedelta(days=720)
    assert (await standing(ledger, "ada"))["band"] == "even"  # (15 + 120) / (15 + 3.75 + 240) = 52 %


async def test_one_who_takes_and_brings_nothing_rides_once_they_are_no_newcomer(ledger: Caller, clock: Clock) -> None:
    at = 0
    for number in range(5):
        at = await thank(ledger, f"friend-{number}", "eve", "small")
    eve = await standing(ledger, "eve", at)
    assert (eve["band"], eve["net"], eve["limit"]) == ("taking", -300, 120)  # Five items in, but not 90 days.
    clock.ahead = timedelta(days=91)
    assert (await standing(ledger, "eve"))["band"] == "riding"
    await post(ledger, "/members", by("eve", member="eve"))
    paused = await post(ledger, "/members/eve/pause", by("eve"))
    assert (await standing(ledger, "eve", paused["position"]))["band"] != "riding"  # Not while away.
    await post(ledger, "/members/eve/resume", by("eve"))
    at = await thank(ledger, "eve", "ada", "small")  # 60 / 300 is not under 0.2.
    assert (await standing(ledger, "eve", at))["band"] != "riding"
    clock.ahead = timedelta(days=182)
    assert (await standing(ledger, "eve"))["band"] != "riding"  # Nothing received in 180 days.


async def test_reliability_counts_the_introductions_one_could_have_been_at_fault_in(ledger: Caller) -> None:
    for name in ("an intro that ends well", "an intro whose connector was at fault"):
        await run_lifecycle(ledger, *LIFECYCLES[name])
    at = (await run_lifecycle(ledger, *LIFECYCLES["an intro whose connector was at fault"]))["position"]
    assert (await standing(ledger, "cas", at))["reliability_permille"] == 400  # (1 + 1) / (1 + 2 + 2)
    assert (await standing(ledger, "ann"))["reliability_permille"] == 800  # (3 + 1) / (3 + 0 + 2)
    assert (await standing(ledger, "tom"))["reliability_permille"] == 500


async def test_a_standing_is_by_the_policy_in_force(ledger: Caller, clock: Clock) -> None:
    at = await thank(ledger, "ada", "bob")
    body = by(
        "mod",
        policy={"credit_base": 7, "credit_per_counterparty": 20, "newcomer_items": 1},
        starts_at=(utc_now() + timedelta(days=1)).isoformat(),
    )
    at = (await post(ledger, "/policies", body))["position"]
    assert [(await standing(ledger, "ada", at))[name] for name in ("limit", "band")] == [240, "new"]
    clock.ahead = timedelta(days=1)
    assert [(await standing(ledger, "ada"))[name] for name in ("limit", "band")] == [27, "giving"]


# How far two have come


async def stage(ledger: Caller, one: str, other: str, at: int) -> str:
    stages = {(await get(ledger, f"/members/{a}/pairs/{b}", at))["stage"] for a, b in ((one, other), (other, one))}
    (found,) = stages
    listed = {pair["other"]: pair["stage"] for pair in (await get(ledger, f"/members/{one}/pairs"))["pairs"]}
    assert listed.get(other, "none") == found
    return str(found)


async def test_two_members_go_from_contact_to_one_to_one_to_trust(ledger: Caller) -> None:
    assert await stage(ledger, "ada", "bob", 0) == "none"
    made = await post(ledger, "/contacts", by("bob", member="bob", other="ada"))
    assert await stage(ledger, "ada", "bob", made["position"]) == "contact"
    booked = await run_lifecycle(ledger, BOOK)
    path = f"/one-to-ones/{booked['id']}/hold"
    one_says = await ledger.recorded(path, by("ada"))
    assert await stage(ledger, "ada", "bob", one_says["position"]) == "contact"
    both_say = await ledger.recorded(path, by("bob"))
    assert await stage(ledger, "ada", "bob", both_say["position"]) == "one_to_one"
    one_way = await thank(ledger, "ada", "bob")
    assert await stage(ledger, "ada", "bob", one_way) == "one_to_one"
    assert await stage(ledger, "ada", "bob", await thank(ledger, "bob", "ada", "small")) == "trusted"


async def test_two_who_were_introduced_know_each_other_once_they_have_met(ledger: Caller) -> None:
    made = await run_lifecycle(ledger, ASK, ACCEPT, CONSENT, MAKE)
    assert await stage(ledger, "ann", "tom", made["position"]) == "none"
    meeting = await ledger.recorded(MEET.path(made["id"]), MEET.body)
    assert await stage(ledger, "ann", "tom", meeting["position"]) == "contact"
    assert await stage(ledger, "ann", "cas", meeting["position"]) == "none"  # Help one way, and no more is known.


async def test_trust_that_rests_on_what_was_reversed_is_gone(ledger: Caller) -> None:
    await thank(ledger, "ada", "bob")
    own = str(uuid4())
    at = await thank(ledger, "bob", "ada", id=own)
    assert await stage(ledger, "ada", "bob", at) == "trusted"
    opened = await post(ledger, "/disputes", by("ada", about=own, entry="favour.thanked", code="not_mine"))
    assert await stage(ledger, "ada", "bob", opened["position"]) == "trusted"
    upheld = await ledger.recorded(f"/disputes/{opened['id']}/uphold", by("mod"))
    assert await stage(ledger, "ada", "bob", upheld["position"]) == "none"
    assert (await get(ledger, "/members/ada/pairs/bob"))["received"] == 0


# What costs whom what


FIGURES: Final = ("main", "stake", "disputed", "given", "received")


async def figures(ledger: Caller, at: int, *members: str) -> dict[str, tuple[int, ...]]:
    balances = [await get(ledger, f"/members/{member}/balance", at) for member in members]
    return {balance["member"]: tuple(balance[figure] for figure in FIGURES) for balance in balances}


async def test_a_dispute_sets_points_aside_and_a_reversal_undoes_the_tallies(ledger: Caller) -> None:
    own = str(uuid4())
    at = await thank(ledger, "ada", "bob", id=own)
    assert await figures(ledger, at, "ada", "bob") == {"ada": (120, 0, 0, 120, 0), "bob": (-120, 0, 0, 0, 120)}
    opened = await post(ledger, "/disputes", by("bob", about=own, entry="favour.thanked", code="not_mine"))
    assert await figures(ledger, opened["position"], "ada", "bob") == {
        "ada": (0, 0, 120, 120, 0),
        "bob": (0, 0, -120, 0, 120),
    }
    refused(await ledger.post(f"/favours/{own}/forgive", by("ada")), 409, "under_dispute")
    upheld = await ledger.recorded(f"/disputes/{opened['id']}/uphold", by("mod"))
    assert await figures(ledger, upheld["position"], "ada", "bob") == {
        "ada": (0, 0, 0, 0, 0),
        "bob": (0, 0, 0, 0, 0),
    }
    answer = await ledger.post(f"/favours/{own}/forgive", by("ada"))
    refused(answer, 409, "wrong_state", expected="posted", found="disputed")


async def test_an_upheld_fault_makes_the_connector_pay_and_the_intro_gives_the_stake_back(ledger: Caller) -> None:
    made = await run_lifecycle(ledger, ASK, ACCEPT, CONSENT, MAKE)
    path = f"/intros/{made['id']}"
    body = by("ann", about=made["id"], entry="intro.made", code="misdescribed")
    opened = await post(ledger, "/disputes", body)
    refused(await ledger.post(f"{path}/close", by("ann", outcome="no_result")), 409, "under_dispute")
    upheld = await ledger.recorded(f"/disputes/{opened['id']}/uphold", by("mod"))
    assert await figures(ledger, upheld["position"], "ann", "cas", "tom") == {
        "ann": (0, 0, 0, 120, 120),
        "cas": (-120, 60, 0, 120, 180),  # 120 earned, 60 at stake, 120 given back and 60 to the target.
        "tom": (60, 0, 0, 60, 0),
    }
    closed = await ledger.recorded(f"{path}/close", by("ann", outcome="no_result"))
    assert (closed["fault"], closed["settled"]) == ("connector", True)
    assert (await figures(ledger, closed["position"], "cas"))["cas"] == (-60, 0, 0, 120, 180)
    assert (await standing(ledger, "cas"))["reliability_permille"] == 333


async def test_a_word_that_is_found_broken_only_after_all_is_over_is_counted_as_broken(ledger: Caller) -> None:
    made = await run_lifecycle(ledger, ASK, ACCEPT, CONSENT, MAKE)
    closed = await ledger.recorded(f"/intros/{made['id']}/close", by("ann", outcome="no_result"))
    assert (await standing(ledger, "cas", closed["position"]))["reliability_permille"] == 667  # (1 + 1) / (1 + 0 + 2)
    body = by("ann", about=made["id"], entry="intro.made", code="misdescribed")
    opened = await post(ledger, "/disputes", body)
    upheld = await ledger.recorded(f"/disputes/{opened['id']}/uphold", by("mod"))
    assert (await standing(ledger, "cas", upheld["position"]))["reliability_permille"] == 333  # (0 + 1) / (0 + 1 + 2)
    assert (await standing(ledger, "ann"))["reliability_permille"] == 667
