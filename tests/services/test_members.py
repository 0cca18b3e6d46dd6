"""What is computed of members and gatherings. Each figure is worked out by hand from docs/domain.md#standing."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import msgspec
import pytest

from ledger.domain.values.policy import Policy
from services.app import utc_now
from tests.services.bad_requests.case import UNKNOWN_ID
from tests.services.caller import Caller, Clock, refused
from tests.services.lifecycles import (
    ACCEPT,
    ASK,
    BOOK,
    CONSENT,
    HOLD,
    INTRO,
    LIFECYCLES,
    MAKE,
    MEET,
    REFERRAL,
    Request,
    by,
    run_lifecycle,
)


@pytest.fixture
def ledger(ledger: Caller, projector: None) -> Caller:
    """With books that follow the log."""
    return ledger


async def told(ledger: Caller, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return await ledger.recorded(path, body, key=uuid4().hex)


async def thanks(ledger: Caller, giver: str, receiver: str, size: str = "medium", **more: object) -> int:
    """The receiver thanks the giver; answers its position."""
    body = {"giver": giver, "receiver": receiver, "size": size, "actor": receiver, **more}
    position: int = (await told(ledger, "/favours", body))["position"]
    return position


async def shown(ledger: Caller, path: str, at: int = 0, **query: str) -> dict[str, Any]:
    """What a query answers, once the books show that position."""
    answer = await ledger.get(path, min_position=at, **query)
    assert answer.status_code == 200, answer.text
    view: dict[str, Any] = answer.json()
    return view


# Standing


async def standing(ledger: Caller, member: str, at: int = 0) -> dict[str, Any]:
    """But for when they were first seen, which no clock of ours decides."""
    view = await shown(ledger, f"/members/{member}/standing", at)
    assert view.pop("member") == member
    if "since" in view:
        since = datetime.fromisoformat(view.pop("since"))
        assert timedelta(minutes=-5) < since - utc_now() < timedelta(minutes=5)
    return view


async def test_one_whom_nobody_has_seen_is_new_and_even(ledger: Caller) -> None:
    view = await shown(ledger, "/members/eve/standing")
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
    await thanks(ledger, "ada", "bob", "large")  # 240
    await thanks(ledger, "ada", "cyd", "large")  # 240
    await thanks(ledger, "ada", "cyd", "large")  # 240: 480 to cyd, of which 360 count towards credit.
    at = await thanks(ledger, "bob", "ada", "small")  # 60
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
    await told(ledger, "/members", by("ada", member="ada", sponsor="bob"))
    at = 0
    for number in range(6):
        for _ in range(2):
            at = await thanks(ledger, "ada", f"friend-{number}", "large")
    assert (await standing(ledger, "ada", at))["limit"] == 2_400  # And not 360 + 6 * 360.
    await told(ledger, "/members", by("eve", member="eve", sponsor="bob"))
    joined = await told(ledger, "/members", by("fay", member="fay"))
    assert (await standing(ledger, "eve", joined["position"]))["limit"] == 360
    assert (await standing(ledger, "fay"))["limit"] == 120


async def test_amounts_halve_every_180_days_in_recent_standing_and_the_index_stays(
    ledger: Caller, clock: Clock
) -> None:
    await thanks(ledger, "ada", "bob", "large")
    at = await thanks(ledger, "cyd", "ada", "small")
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
        at = await thanks(ledger, f"friend-{number}", "eve", "small")
    eve = await standing(ledger, "eve", at)
    assert (eve["band"], eve["net"], eve["limit"]) == ("taking", -300, 120)  # Five items in, but not 90 days.
    clock.ahead = timedelta(days=91)
    assert (await standing(ledger, "eve"))["band"] == "riding"
    await told(ledger, "/members", by("eve", member="eve"))
    paused = await told(ledger, "/members/eve/pause", by("eve"))
    assert (await standing(ledger, "eve", paused["position"]))["band"] != "riding"  # Not while away.
    await told(ledger, "/members/eve/resume", by("eve"))
    at = await thanks(ledger, "eve", "ada", "small")  # 60 / 300 is not under 0.2.
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
    at = await thanks(ledger, "ada", "bob")
    body = by(
        "mod",
        policy={"credit_base": 7, "credit_per_counterparty": 20, "newcomer_items": 1},
        starts_at=(utc_now() + timedelta(days=1)).isoformat(),
    )
    at = (await told(ledger, "/policies", body))["position"]
    assert [(await standing(ledger, "ada", at))[name] for name in ("limit", "band")] == [240, "new"]
    clock.ahead = timedelta(days=1)
    assert [(await standing(ledger, "ada"))[name] for name in ("limit", "band")] == [27, "giving"]


# How far two have come


async def stage(ledger: Caller, one: str, other: str, at: int) -> str:
    stages = {(await shown(ledger, f"/members/{a}/pairs/{b}", at))["stage"] for a, b in ((one, other), (other, one))}
    (found,) = stages
    listed = {pair["other"]: pair["stage"] for pair in (await shown(ledger, f"/members/{one}/pairs"))["pairs"]}
    assert listed.get(other, "none") == found
    return str(found)


async def test_two_members_go_from_contact_to_one_to_one_to_trust(ledger: Caller) -> None:
    assert await stage(ledger, "ada", "bob", 0) == "none"
    made = await told(ledger, "/contacts", by("bob", member="bob", other="ada"))
    assert await stage(ledger, "ada", "bob", made["position"]) == "contact"
    booked = await run_lifecycle(ledger, BOOK)
    path = f"/one-to-ones/{booked['id']}/hold"
    one_says = await ledger.recorded(path, by("ada"))
    assert await stage(ledger, "ada", "bob", one_says["position"]) == "contact"
    both_say = await ledger.recorded(path, by("bob"))
    assert await stage(ledger, "ada", "bob", both_say["position"]) == "one_to_one"
    one_way = await thanks(ledger, "ada", "bob")
    assert await stage(ledger, "ada", "bob", one_way) == "one_to_one"
    assert await stage(ledger, "ada", "bob", await thanks(ledger, "bob", "ada", "small")) == "trusted"


async def test_two_who_were_introduced_know_each_other_once_they_have_met(ledger: Caller) -> None:
    made = await run_lifecycle(ledger, ASK, ACCEPT, CONSENT, MAKE)
    assert await stage(ledger, "ann", "tom", made["position"]) == "none"
    meeting = await ledger.recorded(MEET.path(made["id"]), MEET.body)
    assert await stage(ledger, "ann", "tom", meeting["position"]) == "contact"
    assert await stage(ledger, "ann", "cas", meeting["position"]) == "none"  # Help one way, and no more is known.


async def test_trust_that_rests_on_what_was_reversed_is_gone(ledger: Caller) -> None:
    await thanks(ledger, "ada", "bob")
    own = str(uuid4())
    at = await thanks(ledger, "bob", "ada", id=own)
    assert await stage(ledger, "ada", "bob", at) == "trusted"
    opened = await told(ledger, "/disputes", by("ada", about=own, entry="favour.thanked", code="not_mine"))
    assert await stage(ledger, "ada", "bob", opened["position"]) == "trusted"
    upheld = await ledger.recorded(f"/disputes/{opened['id']}/uphold", by("mod"))
    assert await stage(ledger, "ada", "bob", upheld["position"]) == "none"
    assert (await shown(ledger, "/members/ada/pairs/bob"))["received"] == 0


# The coach


async def asked(ledger: Caller, target: str, expects: int | None = None) -> str:
    """Ann asks cas for one more."""
    body = INTRO | by("ann", target=target) | ({} if expects is None else {"expects_percent": expects})
    own: str = (await told(ledger, "/intros", body))["id"]
    return own


async def test_a_coach_tells_what_was_expected_and_what_came_of_it(ledger: Caller, clock: Clock) -> None:
    yes, no, _ = [await asked(ledger, target, hope) for target, hope in (("tom", 20), ("tim", 60), ("tam", 90))]
    await ledger.recorded(f"/intros/{no}/decline", by("cas", tell_now=True))
    clock.ahead = timedelta(days=2)
    await ledger.recorded(f"/intros/{yes}/accept", by("cas", level=3))
    await ledger.recorded(f"/intros/{yes}/consent", by("tom"))
    made = await ledger.recorded(f"/intros/{yes}/make", by("cas"))
    assert await shown(ledger, "/members/ann/coach", made["position"], viewer="ann") == {
        "asks": 3,
        "answered": 2,
        "yes": 1,
        "actual_permille": 500,
        "expected_permille": 400,  # (20 + 60) / 2 %: of the third nothing is known yet.
        "days_to_yes": 3,  # Two whole days, and a third one begun.
    }
    clock.ahead = timedelta(days=31)
    coaching = await shown(ledger, "/members/ann/coach", viewer="ann")
    assert (coaching["answered"], coaching["yes"], coaching["actual_permille"]) == (3, 1, 333)
    assert coaching["expected_permille"] == 567  # (20 + 60 + 90) / 3 %
    again = [(ask["connector"], ask["target"]) for ask in coaching["again"]]
    assert again == [("cas", "tam"), ("cas", "tim")]  # A no and a silence alike, the newest first.


async def test_a_coach_knows_of_ones_own_asks_alone(ledger: Caller) -> None:
    await run_lifecycle(ledger, ASK, ACCEPT, CONSENT, MAKE)
    offer = await told(ledger, "/intros", INTRO | by("cas", asker="ann", level=1))
    for member, asks in (("ann", 1), ("cas", 0), ("tom", 0)):
        coaching = await shown(ledger, f"/members/{member}/coach", offer["position"], viewer=member)
        assert coaching["asks"] == asks


# Matches


async def joined(ledger: Caller, member: str, *, wants: str = "", offers: str = "") -> int:
    """A member, with tags that are separated by spaces; answers the last position."""
    view = await told(ledger, "/members", by(member, member=member))
    for side, tags in {"wants": wants, "offers": offers}.items():
        if tags:
            view = await told(ledger, f"/members/{member}/{side}", by(member, tags=tags.split()))
    position: int = view["position"]
    return position


async def met(ledger: Caller, one: str, other: str) -> int:
    position: int = (await told(ledger, "/contacts", by(one, member=one, other=other)))["position"]
    return position


async def matches(ledger: Caller, member: str, at: int = 0) -> list[dict[str, Any]]:
    view = await shown(ledger, f"/members/{member}/matches", at)
    assert view["member"] == member
    found: list[dict[str, Any]] = view["matches"]
    return found


async def test_matches_are_those_one_knows_then_those_whom_they_know_then_others(ledger: Caller) -> None:
    await joined(ledger, "ann", wants="law tax")
    await joined(ledger, "zed", offers="law design")
    await joined(ledger, "bob", offers="law")
    await joined(ledger, "cyd", offers="tax")
    await joined(ledger, "abe", offers="law tax")
    await joined(ledger, "eve", offers="tax law")
    await joined(ledger, "gus", offers="design", wants="law")
    await met(ledger, "ann", "zed")  # Known by a contact,
    await thanks(ledger, "bob", "ann")  # or by a favour.
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
    await joined(ledger, "ann", wants="tax")
    await joined(ledger, "cyd", offers="tax")
    for friend in ("abe", "bob", "cas"):
        await met(ledger, friend, "cyd")
    await thanks(ledger, "abe", "ann", "small")
    await thanks(ledger, "ann", "cas", "medium")
    at = await thanks(ledger, "bob", "ann", "large")
    (match,) = await matches(ledger, "ann", at)
    assert match == {"member": "cyd", "nearness": "through", "tags": ["tax"], "connector": "bob"}
    at = await thanks(ledger, "cas", "ann", "large")  # What ann gave counts as well as what she received.
    assert (await matches(ledger, "ann", at))[0]["connector"] == "cas"


async def test_a_one_to_one_and_an_introduction_make_two_known_and_a_booking_does_not(ledger: Caller) -> None:
    for member, tag in (("tom", "tax"), ("cas", "tax"), ("bob", "tax")):
        await joined(ledger, member, offers=tag)
    await joined(ledger, "ann", wants="tax")
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
    await joined(ledger, "ann", wants="tax")
    await joined(ledger, "bob", offers="tax")
    await joined(ledger, "cyd", offers="tax")
    at = await joined(ledger, "dee", offers="tax")
    assert [match["member"] for match in await matches(ledger, "ann", at)] == ["bob", "cyd", "dee"]
    await told(ledger, "/members/bob/pause", by("bob"))
    at = (await told(ledger, "/members/cyd/leave", by("cyd")))["position"]
    assert [match["member"] for match in await matches(ledger, "ann", at)] == ["dee"]
    at = (await told(ledger, "/members/dee/offers", by("dee", tags=["law"])))["position"]
    assert await matches(ledger, "ann", at) == []
    at = (await told(ledger, "/members/bob/resume", by("bob")))["position"]
    assert [match["member"] for match in await matches(ledger, "ann", at)] == ["bob"]
    await told(ledger, "/members", by("cyd", member="cyd"))
    again = await told(ledger, "/members/cyd/offers", by("cyd", tags=["tax"]))
    assert [match["member"] for match in await matches(ledger, "ann", again["position"])] == ["bob", "cyd"]
    at = (await told(ledger, "/members/ann/pause", by("ann")))["position"]
    assert await matches(ledger, "ann", at) == []


async def test_one_who_wants_nothing_has_no_matches_and_nobody_matches_themself(ledger: Caller) -> None:
    assert await matches(ledger, "eve") == []
    at = await joined(ledger, "ann", wants="tax", offers="tax")
    assert await matches(ledger, "ann", at) == []


async def test_of_many_matches_the_nearest_twenty_are_told(ledger: Caller) -> None:
    await joined(ledger, "ann", wants="tax")
    at = 0
    for number in range(23):
        at = await joined(ledger, f"member-{number:02d}", offers="tax")
    at = await met(ledger, "ann", "member-22")
    found = [match["member"] for match in await matches(ledger, "ann", at)]
    assert found == ["member-22", *(f"member-{number:02d}" for number in range(19))]


# What came of a gathering


async def test_a_gathering_has_a_yield(ledger: Caller) -> None:
    gathering = (await run_lifecycle(ledger, HOLD))["id"]
    there = {"gathering": gathering}
    attendances = [await told(ledger, "/attendances", by(who, member=who, **there)) for who in ("bob", "cyd", "dee")]
    await ledger.recorded(f"/attendances/{attendances[0]['id']}/pay", by("ada"))
    await told(ledger, "/contacts", by("bob", member="bob", other="cyd", **there))
    await told(ledger, "/contacts", by("bob", member="bob", other="dee", **there))
    await told(ledger, "/contacts", by("ada", member="ada", other="bob"))  # Not there.
    for said in (("bob", "cyd"), ("bob",)):
        one_to_one = await told(ledger, "/one-to-ones", by("bob", member="bob", other="cyd", **there))
        for who in said:
            await ledger.recorded(f"/one-to-ones/{one_to_one['id']}/hold", by(who))
    for last in (MEET, CONSENT):  # One is made and meets, one is not made.
        intro = await told(ledger, "/intros", {**ASK.body, **there})
        for request in (ACCEPT, CONSENT, MAKE, MEET):
            await ledger.recorded(request.path(intro["id"]), request.body)
            if request is last:
                break
    won = await told(ledger, "/referrals", REFERRAL | there)
    await ledger.recorded(f"/referrals/{won['id']}/qualify", by("bob"))
    await ledger.recorded(f"/referrals/{won['id']}/win", by("bob", band="S"))
    lost = await told(ledger, "/referrals", REFERRAL | there | {"prospect": "lost", "level": 1})
    await ledger.recorded(f"/referrals/{lost['id']}/qualify", by("bob"))
    await ledger.recorded(f"/referrals/{lost['id']}/lose", by("bob"))
    await told(ledger, "/referrals", REFERRAL | there | {"prospect": "given"})
    await thanks(ledger, "ada", "bob", "small", **there)
    at = await thanks(ledger, "ada", "bob", "large")  # Of nothing to do with it.
    view = await shown(ledger, f"/gatherings/{gathering}/yield", at)
    assert view == {
        "gathering": gathering,
        "attended": 3,
        "paid": 1,
        "contacts": 2,
        "one_to_ones": 1,
        "intros_made": 1,
        "referrals_qualified": 2,
        "referrals_won": 1,
        "points": 540,  # 120 made + 30 met + 240 qualified + 60 won + 30 qualified + 60 thanked
    }


async def test_of_what_nothing_names_nothing_came(ledger: Caller) -> None:
    view = await shown(ledger, f"/gatherings/{UNKNOWN_ID}/yield")
    assert view == {
        "gathering": UNKNOWN_ID,
        **dict.fromkeys(
            (
                *("attended", "paid", "contacts", "one_to_ones", "intros_made"),
                *("referrals_qualified", "referrals_won", "points"),
            ),
            0,
        ),
    }
    refused(await ledger.get("/gatherings/7/yield"), 400, "invalid_field", field="id", source="path")


async def test_a_yield_is_of_one_community(ledger: Caller) -> None:
    gathering = (await run_lifecycle(ledger, HOLD))["id"]
    at = await thanks(ledger, "ada", "bob", gathering=gathering)
    assert (await shown(ledger, f"/gatherings/{gathering}/yield", at))["points"] == 120
    assert (await shown(ledger.elsewhere(), f"/gatherings/{gathering}/yield", at))["points"] == 0


# The policy


def policy_shown(**changes: Any) -> dict[str, Any]:
    policy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(Policy(**changes)))
    return policy


async def test_before_anything_is_published_the_policy_is_the_pages(ledger: Caller) -> None:
    assert await shown(ledger, "/policy") == {"policy": policy_shown(), "scheduled": []}


async def test_the_policy_in_force_is_told_with_those_that_are_to_start(ledger: Caller, clock: Clock) -> None:
    now = utc_now()
    starts = [(now + timedelta(days=days)).isoformat().replace("+00:00", "Z") for days in (1, 2)]
    first = await told(ledger, "/policies", by("mod", policy={"met_points": 45}, starts_at=starts[0]))
    second = await told(ledger, "/policies", by("mod", policy={"guard": "off", "version": 99}, starts_at=starts[1]))
    versions = [
        {"starts_at": starts[0], "policy": policy_shown(version=2, met_points=45)},
        {"starts_at": starts[1], "policy": policy_shown(version=3, guard="off")},
    ]
    assert (first["versions"], second["versions"]) == (versions[:1], versions)
    at = second["position"]
    for ahead, policy, scheduled in (
        (timedelta(0), policy_shown(), versions),
        (timedelta(days=1, minutes=1), versions[0]["policy"], versions[1:]),
        (timedelta(days=2, minutes=1), versions[1]["policy"], []),
    ):
        clock.ahead = ahead
        assert await shown(ledger, "/policy", at) == {"policy": policy, "scheduled": scheduled}
    third = await told(ledger, "/policies", by("mod", policy={}, starts_at=(clock() + timedelta(hours=1)).isoformat()))
    assert (third["version"], third["versions"][-1]["policy"]["version"]) == (3, 4)


async def test_what_starts_earlier_takes_the_place_of_all_that_were_to_start_later(ledger: Caller) -> None:
    at = 0
    for day in (1, 3, 2):
        body = by("mod", policy={"met_points": day}, starts_at=(utc_now() + timedelta(days=day)).isoformat())
        at = (await told(ledger, "/policies", body))["position"]
    scheduled = (await shown(ledger, "/policy", at))["scheduled"]
    assert [version["policy"]["met_points"] for version in scheduled] == [1, 2]


async def test_what_is_worth_what_is_by_the_policy_in_force_and_stays_as_it_was_decided(
    ledger: Caller, clock: Clock
) -> None:
    claim = {"giver": "ada", "receiver": "bob", "size": "medium", "actor": "ada"}
    before = await told(ledger, "/favours", claim)
    sizes = {"size_points": {"small": 1, "medium": 2, "large": 3}}
    start = utc_now() + timedelta(minutes=2)
    await told(ledger, "/policies", by("mod", policy=sizes, starts_at=start.isoformat()))
    clock.ahead = timedelta(minutes=3)
    after = await told(ledger, "/favours", claim)
    assert (before["points"], after["points"]) == (120, 2)
    confirmed = [await ledger.recorded(f"/favours/{view['id']}/confirm", by("bob")) for view in (before, after)]
    assert (await shown(ledger, "/members/ada/balance", confirmed[1]["position"]))["main"] == 122


# What costs whom what


FIGURES: Final = ("main", "stake", "disputed", "given", "received")


async def figures(ledger: Caller, at: int, *members: str) -> dict[str, tuple[int, ...]]:
    balances = [await shown(ledger, f"/members/{member}/balance", at) for member in members]
    return {balance["member"]: tuple(balance[figure] for figure in FIGURES) for balance in balances}


async def test_a_dispute_sets_points_aside_and_a_reversal_undoes_the_tallies(ledger: Caller) -> None:
    own = str(uuid4())
    at = await thanks(ledger, "ada", "bob", id=own)
    assert await figures(ledger, at, "ada", "bob") == {"ada": (120, 0, 0, 120, 0), "bob": (-120, 0, 0, 0, 120)}
    opened = await told(ledger, "/disputes", by("bob", about=own, entry="favour.thanked", code="not_mine"))
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
    opened = await told(ledger, "/disputes", body)
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
    opened = await told(ledger, "/disputes", body)
    upheld = await ledger.recorded(f"/disputes/{opened['id']}/uphold", by("mod"))
    assert (await standing(ledger, "cas", upheld["position"]))["reliability_permille"] == 333  # (0 + 1) / (0 + 1 + 2)
    assert (await standing(ledger, "ann"))["reliability_permille"] == 667
