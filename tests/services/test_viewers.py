"""Views by member: each member sees their own data. An asker cannot distinguish a no from a silence."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest

from ledger.commands.executor import Executor
from ledger.commands.submission import Submission
from ledger.domain.catalog.kinds import KINDS
from ledger.domain.catalog.operations import LAPSES
from ledger.log.jetstream import JetStreamLog
from services.http.resources import VIEWS
from tests.services.caller import Caller, Clock, refused
from tests.services.lifecycles import (
    ACCEPT,
    ASK,
    ATTEND,
    BOOK,
    CONSENT,
    DECLINE,
    DISPUTE,
    GIVE,
    HOLD,
    INTRO,
    JOIN,
    MAKE,
    MEET_UP,
    MISDESCRIBED,
    OFFER,
    PUBLISH,
    REFUSE,
    THANKS,
    Lifecycle,
    Request,
    address_of,
    by,
    run_lifecycle,
)

CLOSED_TO_OTHERS: Final[Mapping[str, tuple[Lifecycle, tuple[str, ...]]]] = {
    "favour": ((THANKS,), ("ada", "bob")),
    "referral": ((GIVE,), ("ada", "bob")),
    "intro": ((ASK,), ("ann", "cas", "tom")),
    "dispute": ((DISPUTE,), ("ada", "bob")),
}
OPEN_TO_OTHERS: Final[Mapping[str, Lifecycle]] = {
    "member": (JOIN,),
    "gathering": (HOLD,),
    "attendance": (ATTEND,),
    "contact": (MEET_UP,),
    "one-to-one": (BOOK,),
    "policy": (PUBLISH,),
}


@pytest.fixture
def ledger(ledger: Caller, projector: None) -> Caller:
    """Provide a ledger whose books follow the log."""
    return ledger


async def shown(ledger: Caller, path: str, **query: str | int) -> dict[str, Any]:
    answer = await ledger.get(path, **query)
    assert answer.status_code == 200, answer.text
    view: dict[str, Any] = answer.json()
    return view


# Permission to read


def test_of_every_kind_it_is_known_who_may_see_it() -> None:
    assert CLOSED_TO_OTHERS.keys() == {name for name, kind in KINDS.items() if kind.private}
    assert CLOSED_TO_OTHERS.keys() | OPEN_TO_OTHERS.keys() == VIEWS.keys()


@pytest.mark.parametrize("kind", CLOSED_TO_OTHERS)
async def test_one_who_is_party_to_it_sees_it_and_nobody_else(ledger: Caller, kind: str) -> None:
    life, parties = CLOSED_TO_OTHERS[kind]
    view = await run_lifecycle(ledger, *life)
    path = f"/{KINDS[kind].plural}/{view['id']}"
    for party in parties:
        assert (await shown(ledger, path, viewer=party, min_position=view["position"]))["id"] == view["id"]
    for stranger in ("eve", "mod", "Ada"):
        answer = await ledger.get(path, viewer=stranger)
        refused(answer, 403, "not_yours", role="party")
        assert "ledger-position" not in answer.headers
    assert (await shown(ledger, path))["id"] == view["id"]  # Services see all.


async def test_of_a_dispute_all_are_party_whom_the_disputed_entry_names(ledger: Caller) -> None:
    dispute = await run_lifecycle(ledger, MISDESCRIBED)
    path = f"/disputes/{dispute['id']}"
    for party in ("ann", "cas", "tom"):
        assert (await shown(ledger, path, viewer=party, min_position=dispute["position"])) == dispute
    refused(await ledger.get(path, viewer="mod"), 403, "not_yours", role="party")


@pytest.mark.parametrize("kind", OPEN_TO_OTHERS)
async def test_what_is_no_secret_everybody_sees(ledger: Caller, kind: str) -> None:
    view = await run_lifecycle(ledger, *OPEN_TO_OTHERS[kind])
    path = f"/{KINDS[kind].plural}/{address_of(view, kind)}"
    assert await shown(ledger, path, viewer="eve", min_position=view["position"]) == view


async def test_whom_a_member_welcomes_and_how_often_they_are_asked_is_theirs(ledger: Caller) -> None:
    await ledger.recorded("/members", by("cas", member="cas"))
    whole = await ledger.recorded("/members/cas/caps", by("cas", asks_in=2, welcome=["ann"]))
    own = await shown(ledger, "/members/cas", viewer="cas", min_position=whole["position"])
    assert (own, own["asks_in"], own["welcome"]) == (whole, 2, ["ann"])
    to_others = {name: fact for name, fact in whole.items() if name not in {"asks_in", "welcome"}}
    for other in ("ann", "bob"):
        assert await shown(ledger, "/members/cas", viewer=other) == to_others
    assert await shown(ledger, "/members/cas") == whole


PERSONAL: Final = ("balance", "pairs", "standing", "matches", "coach")


@pytest.mark.parametrize("what", PERSONAL)
async def test_what_a_member_has_and_how_they_stand_is_theirs(ledger: Caller, what: str) -> None:
    await run_lifecycle(ledger, THANKS)
    assert (await ledger.get(f"/members/ada/{what}", viewer="ada", min_position=1)).status_code == 200
    for other in ("bob", "eve"):
        refused(await ledger.get(f"/members/ada/{what}", viewer=other), 403, "not_yours", role="member")


async def test_a_pair_is_both_of_theirs(ledger: Caller) -> None:
    for viewer in ("ada", "bob"):
        assert (await ledger.get("/members/ada/pairs/bob", viewer=viewer)).status_code == 200
    refused(await ledger.get("/members/ada/pairs/bob", viewer="eve"), 403, "not_yours", role="member")


async def test_the_coach_speaks_to_the_member_alone_and_to_no_service(ledger: Caller) -> None:
    refused(await ledger.get("/members/ann/coach"), 400, "invalid_field", field="viewer", source="query")
    assert await shown(ledger, "/members/ann/coach", viewer="ann") == {"asks": 0, "answered": 0, "yes": 0}


@pytest.mark.parametrize("viewer", ["clock", "a b", "", "-a", "a" * 65])
async def test_a_viewer_who_can_be_no_member_is_refused(ledger: Caller, viewer: str) -> None:
    favour = await run_lifecycle(ledger, THANKS)
    for path in (f"/favours/{favour['id']}", "/members/ada/balance", "/members/ada/coach", "/members/ada/pairs/bob"):
        refused(await ledger.get(path, viewer=viewer), 400, "invalid_field", field="viewer", source="query")


async def test_to_a_member_the_position_is_the_one_they_asked_for(ledger: Caller) -> None:
    """The real position moves with every event. In a quiet community it would disclose the time of a decline."""
    intro = await run_lifecycle(ledger, ASK, ACCEPT, CONSENT)
    for path in (f"/intros/{intro['id']}", *(f"/members/ann/{what}" for what in (*PERSONAL, "pairs/bob"))):
        for asked in (3, 1):
            answer = await ledger.get(path, viewer="ann", min_position=asked)
            assert (answer.status_code, answer.headers["ledger-position"]) == (200, str(asked)), path
        assert (await ledger.get(path, viewer="ann")).headers["ledger-position"] == "0"
    assert (await ledger.get(f"/intros/{intro['id']}")).headers["ledger-position"] == "3"


# View of the asker


SILENCES: Final[Mapping[str, Lifecycle]] = {
    "nobody has done anything": (),
    "the connector is willing": (ACCEPT,),
    "everybody is willing": (ACCEPT, CONSENT),
    "the connector has declined": (DECLINE,),
    "the target has refused": (ACCEPT, REFUSE),
}


async def to_the_asker(ledger: Caller, intro: str) -> tuple[str, dict[str, str]]:
    """Return the text and the headers of the asker's read of an intro."""
    answer = await ledger.get(f"/intros/{intro}", viewer="ann")
    assert answer.status_code == 200
    return answer.text, dict(answer.headers)


@pytest.mark.parametrize("life", SILENCES.values(), ids=SILENCES.keys())
async def test_an_asker_reads_the_same_to_the_byte_whatever_the_others_do_and_the_same_end(
    ledger: Caller, log: JetStreamLog, clock: Clock, life: Lifecycle
) -> None:
    asked = await run_lifecycle(ledger, ASK)
    intro = asked["id"]
    assert (await ledger.get(f"/intros/{intro}", min_position=1)).json()["state"] == "asked"
    before = await to_the_asker(ledger, intro)
    assert asked == read(before[0])
    for request in life:
        after = await ledger.recorded(request.path(intro), request.body)
        await ledger.get("/summary", min_position=after["position"])
        assert await to_the_asker(ledger, intro) == before
    clock.ahead = timedelta(days=24, minutes=-1)
    assert await to_the_asker(ledger, intro) == before
    clock.ahead = timedelta(days=24)
    text, headers = await to_the_asker(ledger, intro)
    assert read(text) == asked | {"state": "not_now", "version": 2}
    assert headers["etag"] == '"2"'
    await expire(log, clock, intro)
    assert await to_the_asker(ledger, intro) == (text, headers)


def read(text: str) -> dict[str, Any]:
    view: dict[str, Any] = msgspec.json.decode(text)
    return view


async def expire(log: JetStreamLog, clock: Clock, intro: str) -> None:
    """Send the lapse of an intro that has not ended yet."""
    lapse = LAPSES["intro"]()
    submission = Submission(community="acme", operation="intro.lapse", kind="intro", command=lapse, id=UUID(intro))
    await Executor(log, clock).execute_all([submission])


@pytest.mark.parametrize("life", SILENCES.values(), ids=SILENCES.keys())
@pytest.mark.parametrize(("days", "seen", "version"), [(0, "pending", 1), (25, "not_now", 2)])
async def test_what_an_asker_is_refused_tells_them_no_more(
    ledger: Caller, clock: Clock, life: Lifecycle, days: int, seen: str, version: int
) -> None:
    intro = (await run_lifecycle(ledger, ASK, *life))["id"]
    clock.ahead = timedelta(days=days)
    for verb, body in {"meet": by("ann"), "close": by("ann", outcome="no_result")}.items():
        answer = await ledger.post(f"/intros/{intro}/{verb}", body)
        refused(answer, 409, "wrong_state", found=seen)
    for verb, role in {"accept": "connector", "decline": "connector", "make": "connector", "consent": "target"}.items():
        body = {"level": 3} if verb == "accept" else {}
        refused(await ledger.post(f"/intros/{intro}/{verb}", by("ann", **body)), 403, "not_yours", role=role)
    withdraw = f"/intros/{intro}/withdraw"
    answer = await ledger.post(withdraw, by("ann"), if_match='"7"')
    refused(answer, 412, "version_mismatch", if_match=7, version=version)
    withdrawn = await ledger.post(withdraw, by("ann"), if_match=f'"{version}"')
    assert (withdrawn.status_code, withdrawn.json()["state"], withdrawn.json()["version"]) == (200, "withdrawn", 3)
    assert {name for name in withdrawn.json() if name not in WITHDRAWN_SHOWS} == set()


WITHDRAWN_SHOWS: Final = {
    *("id", "version", "position", "state", "asker", "connector", "target", "tags"),
    *("visible_until", "expects_percent", "advice"),
}


@pytest.mark.parametrize(
    "life",
    [
        (Request("intro.decline", by("cas", tell_now=True), "declined"),),
        (ACCEPT, Request("intro.refuse", by("tom", tell_now=True), "refused")),
    ],
)
async def test_one_who_says_no_may_tell_the_asker_at_once(ledger: Caller, life: Lifecycle) -> None:
    view = await run_lifecycle(ledger, ASK, *life)
    seen = await shown(ledger, f"/intros/{view['id']}", viewer="ann", min_position=view["position"])
    assert (seen["state"], seen["version"], seen["position"]) == ("not_now", 2, 1)
    assert "tell_now" not in seen


async def test_from_made_on_all_three_see_the_same_but_for_what_is_one_ones_own(ledger: Caller) -> None:
    made = await run_lifecycle(ledger, ASK, ACCEPT, CONSENT, MAKE)
    path = f"/intros/{made['id']}"
    views = {who: await shown(ledger, path, viewer=who, min_position=4) for who in ("ann", "cas", "tom")}
    assert {who: (view["state"], view["version"], view["position"]) for who, view in views.items()} == dict.fromkeys(
        views, ("made", 4, 4)
    )
    of_ones_own = {"expects_percent", "advice"}
    common = [{name: fact for name, fact in view.items() if name not in of_ones_own} for view in views.values()]
    assert common[0] == common[1] == common[2]


async def test_nobody_asked_for_a_match_so_both_see_all_of_it(ledger: Caller) -> None:
    declined = Request("intro.refuse", by("tom"), "refused")
    match = await run_lifecycle(ledger, OFFER, declined)
    for who in ("ann", "cas", "tom"):
        view = await shown(ledger, f"/intros/{match['id']}", viewer=who, min_position=match["position"])
        assert (view["state"], view["version"]) == ("refused", 2)


# Advice about the asker


async def test_the_connector_is_told_facts_the_asker_ways_to_give_and_the_target_nothing(
    ledger: Caller, clock: Clock
) -> None:
    """Ann has received 5 times 240 and given nothing. Bob has asked cas once before."""
    for number in range(5):
        thanks = {"giver": f"friend-{number}", "receiver": "ann", "size": "large", "actor": "ann"}
        await ledger.recorded("/favours", thanks, key=f"favour-{number}")
    claimed = await ledger.recorded(
        "/favours", {"giver": "eve", "receiver": "ann", "size": "small", "actor": "eve"}, key="c"
    )
    to_ann = await ledger.recorded(
        "/intros", {"asker": "dee", "connector": "ann", "target": "tom", "actor": "dee"}, key="to-ann"
    )
    clock.ahead = timedelta(days=91)
    before = await ledger.recorded("/intros", INTRO | {"asker": "bob", "actor": "bob"}, key="bobs")
    await ledger.get("/summary", min_position=before["position"])
    asked = await ledger.recorded("/intros", ASK.body, key="anns")
    path, at = f"/intros/{asked['id']}", asked["position"]
    facts = {
        "verdict": "riding",
        "reasons": ["reciprocity_limit"],
        "net": -1_200,
        "limit": 120,
        "received": 1_200,
        "received_items": 5,
        "open_asks_max": 5,
    }
    inbound = {"inbound_asks_max": 4}
    ways = [
        {"way": "answer_ask", "member": "dee", "id": to_ann["id"]},
        {"way": "confirm_favour", "member": "eve", "id": claimed["id"]},
        {"way": "set_offers"},
    ]
    to_asker = await shown(ledger, path, viewer="ann", min_position=at)
    assert (to_asker["advice"], to_asker["expects_percent"]) == (facts | {"ways": ways}, 30)
    assert to_asker == asked
    to_connector = await shown(ledger, path, viewer="cas")
    # The guard counts asks by the log's recording time, which is real time. Bob's ask is 91 days old by now.
    assert to_connector["advice"] == facts | inbound
    assert "expects_percent" not in to_connector
    to_target = await shown(ledger, path, viewer="tom")
    assert not {"advice", "expects_percent"} & to_target.keys()
    assert (await shown(ledger, path))["advice"] == facts | inbound | {"ways": ways}  # Services see all.


async def test_how_often_a_connector_is_asked_is_told_to_them_alone(ledger: Caller) -> None:
    for number in range(4):
        asker = f"asker-{number}"
        other = await ledger.recorded("/intros", INTRO | {"asker": asker, "actor": asker}, key=asker)
        await ledger.get("/summary", min_position=other["position"])
    asked = await run_lifecycle(ledger, ASK)
    path, at = f"/intros/{asked['id']}", asked["position"]
    to_connector = await shown(ledger, path, viewer="cas", min_position=at)
    assert to_connector["advice"] == {
        "verdict": "ok",
        "reasons": ["inbound_asks"],
        "limit": 120,
        "open_asks_max": 5,
        "inbound_asks": 4,
        "inbound_asks_max": 4,
    }
    to_asker = await shown(ledger, path, viewer="ann")
    assert to_asker["advice"] == asked["advice"] == {"verdict": "ok", "limit": 120, "open_asks_max": 5}
    accepted = await ledger.recorded(ACCEPT.path(asked["id"]), ACCEPT.body)
    assert accepted["advice"] == to_connector["advice"]
    assert "advice" not in await ledger.recorded(CONSENT.path(asked["id"]), CONSENT.body)
