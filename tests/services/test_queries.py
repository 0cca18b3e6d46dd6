"""Reads of the books: all readable views, the position of the books, and agreement with the commands' responses."""

import asyncio
from datetime import timedelta
from typing import Any, get_args
from uuid import UUID, uuid4

import pytest

from ledger.commands.executor import Executor
from ledger.commands.submission import Submission
from ledger.domain.catalog.kinds import KINDS, union_members
from ledger.domain.catalog.operations import LAPSES
from ledger.domain.kinds.intro.silence import AskerState
from ledger.domain.values.aggregate_types import tag_of
from ledger.log.jetstream import JetStreamLog
from services.http.resources import VIEWS
from services.query.filters import LISTED_KINDS
from tests.services.bad_requests.case import UNKNOWN_ID
from tests.services.caller import Caller, Clock, refused
from tests.services.lifecycles import (
    ASK,
    CLAIM,
    CLOCK_STATES,
    DISPUTE,
    FAVOUR,
    GIVE,
    LIFECYCLES,
    OFFER,
    THANKS,
    Lifecycle,
    address_of,
    by,
    resolve,
    run_lifecycle,
)

LATER = timedelta(days=91)


@pytest.fixture
def ledger(ledger: Caller, projector: None) -> Caller:
    """Provide a ledger whose books follow the log."""
    return ledger


async def shown(ledger: Caller, path: str, at: int, **query: str | int) -> dict[str, Any]:
    """Return the response to a query, once the books show that position."""
    answer = await ledger.get(path, min_position=at, **query)
    assert answer.status_code == 200, answer.text
    assert int(answer.headers["ledger-position"]) >= at
    view: dict[str, Any] = answer.json()
    return view


async def favours(ledger: Caller, *parties: tuple[str, str]) -> int:
    """Record one small favour per pair, from the first to the second. Return the last position."""
    position = 0
    for number, (giver, receiver) in enumerate(parties):
        body = {"giver": giver, "receiver": receiver, "size": "small", "actor": receiver}
        position = (await ledger.recorded("/favours", body, key=f"favour-{number}"))["position"]
    return position


# Reads after writes


async def test_a_write_is_readable_as_soon_as_its_position_is(ledger: Caller) -> None:
    for number in range(1, 11):
        answer = await ledger.post("/favours", FAVOUR | by("bob"), key=f"key-{number}")
        at = int(answer.headers["ledger-position"])
        assert (await shown(ledger, "/members/ada/balance", at))["given"] == 120 * number
        assert await shown(ledger, f"/favours/{answer.json()['id']}", at) == answer.json()


async def test_a_reader_that_waits_is_answered_by_a_write_that_comes_later(ledger: Caller) -> None:
    waiting = asyncio.create_task(ledger.get("/members/bob/balance", min_position=1))
    await asyncio.wait([waiting], timeout=0.1)
    await run_lifecycle(ledger, THANKS)
    answer = await waiting
    assert (answer.status_code, answer.json()["received"]) == (200, 120)


async def test_a_position_the_books_do_not_reach_in_time_is_to_be_asked_for_again(ledger: Caller) -> None:
    answer = await ledger.get("/summary", min_position=1_000_000)
    refused(answer, 503, "books_behind", retryable=True)
    assert answer.headers["retry-after"] == "1"


async def test_every_answer_says_which_position_it_shows(ledger: Caller) -> None:
    favour, referral, intro = [await run_lifecycle(ledger, *life) for life in ((THANKS,), (GIVE,), (ASK,))]
    paths = [
        "/members/ada/balance",
        "/members/ada/pairs",
        "/members/ada/pairs/bob",
        "/balances",
        "/summary",
        "/policy",
        "/members/ada/standing",
        "/members/ada/matches",
        f"/gatherings/{UNKNOWN_ID}/yield",
        f"/favours/{favour['id']}",
        f"/referrals/{referral['id']}",
        f"/intros/{intro['id']}",
        *(f"/{KINDS[kind].plural}" for kind in LISTED_KINDS),
    ]
    for path in paths:
        answer = await ledger.get(path, min_position=3)
        assert (answer.status_code, answer.headers["ledger-position"]) == (200, "3"), path


# Members


async def test_a_balance_tells_what_was_given_and_received(ledger: Caller) -> None:
    await run_lifecycle(ledger, THANKS)
    made = await run_lifecycle(ledger, *LIFECYCLES["an intro that ends well"][:4])
    at = made["position"]
    assert await shown(ledger, "/members/ada/balance", at) == {
        "member": "ada",
        "main": 120,
        "stake": 0,
        "disputed": 0,
        "net": 120,
        "given": 120,
        "received": 0,
        "reciprocity_permille": 667,
    }
    assert await shown(ledger, "/members/cas/balance", at) == {
        "member": "cas",
        "main": 60,
        "stake": 60,
        "disputed": 0,
        "net": 120,
        "given": 120,
        "received": 0,
        "reciprocity_permille": 667,
    }


async def test_a_member_who_is_in_no_entry_has_zeros(ledger: Caller) -> None:
    assert await shown(ledger, "/members/nobody-yet/balance", 0) == {
        "member": "nobody-yet",
        "main": 0,
        "stake": 0,
        "disputed": 0,
        "net": 0,
        "given": 0,
        "received": 0,
        "reciprocity_permille": 500,
    }
    assert await shown(ledger, "/members/nobody-yet/pairs", 0) == {"pairs": []}
    assert await shown(ledger, "/members/a/pairs/b", 0) == {
        "member": "a",
        "other": "b",
        "given": 0,
        "received": 0,
        "stage": "none",
    }


async def test_both_sides_of_a_pair_see_the_same_exchange(ledger: Caller) -> None:
    at = await favours(ledger, ("ada", "bob"), ("ada", "bob"), ("bob", "ada"))
    assert await shown(ledger, "/members/ada/pairs/bob", at) == {
        "member": "ada",
        "other": "bob",
        "given": 120,
        "received": 60,
        "stage": "trusted",
    }
    assert await shown(ledger, "/members/bob/pairs/ada", at) == {
        "member": "bob",
        "other": "ada",
        "given": 60,
        "received": 120,
        "stage": "trusted",
    }


async def test_pairs_are_paged_in_order_of_the_other(ledger: Caller) -> None:
    at = await favours(ledger, *(("ada", f"friend-{letter}") for letter in "ecbad"))
    pages = [
        [pair["other"] for pair in page["pairs"]] for page in await paged(ledger, "/members/ada/pairs", at, limit=2)
    ]
    assert pages == [["friend-a", "friend-b"], ["friend-c", "friend-d"], ["friend-e"]]


async def paged(ledger: Caller, path: str, at: int, limit: int) -> list[dict[str, Any]]:
    """Return every page of a list."""
    pages = [await shown(ledger, path, at, limit=limit)]
    while "next" in pages[-1]:
        pages.append(await shown(ledger, path, at, limit=limit, cursor=pages[-1]["next"]))
    return pages


# Community totals


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
async def test_balances_are_paged_in_order_of_the_member(ledger: Caller, limit: int) -> None:
    at = await favours(ledger, ("Zoe", "ada"), ("bob", "_".join("cd")), ("ada", "7up"))
    pages = await paged(ledger, "/balances", at, limit)
    members = [balance["member"] for page in pages for balance in page["balances"]]
    assert members == ["7up", "Zoe", "ada", "bob", "c_d"]
    assert [len(page["balances"]) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert pages[-1]["balances"]
    assert sum(balance["net"] for page in pages for balance in page["balances"]) == 0


async def test_a_summary_proves_that_everything_sums_to_zero(ledger: Caller) -> None:
    for life in LIFECYCLES.values():
        await run_lifecycle(ledger, *life)
    await run_lifecycle(ledger, *LIFECYCLES["an intro that ends well"][:4])
    opened = await run_lifecycle(ledger, DISPUTE)
    summary = await shown(ledger, "/summary", opened["position"])
    proof = summary["zero_sum"]
    assert (proof["main"] + proof["stake"] + proof["disputed"], proof["sum"], proof["holds"]) == (0, 0, True)
    assert (proof["stake"], proof["disputed"]) == (120, 0)  # A disputed amount is set aside on both sides.
    assert summary["given"] == summary["received"] > 0
    balances = (await shown(ledger, "/balances", 0))["balances"]
    assert summary["members"] == len(balances)
    assert summary["given"] == sum(balance["given"] for balance in balances)
    assert {balance["member"]: balance["disputed"] for balance in balances if balance["disputed"]} == {
        "ada": 120,
        "bob": -120,
    }
    assert {name: summary[name] for name in summary if name not in TOTALS} == {
        "favours": {"forgiven": 1, "posted": 4, "refused": 1},
        "referrals": {"won": 2, "lost": 1, "disqualified": 1},
        "intros": {"closed": 4, "not_now": 3, "withdrawn": 5, "made": 2},  # Declines are not counted.
        "disputes": {"upheld": 2, "rejected": 1, "opened": 1},
        "memberships": {"active": 1, "left": 1},
        "gatherings": {"held": 2},
        "attendances": {"paid": 1},
        "contacts": {"made": 1},
        "one_to_ones": {"held": 1, "cancelled": 1},
        "policies": {"published": 1},
    }


TOTALS = ("members", "given", "received", "zero_sum")


async def test_an_empty_community_has_an_empty_summary(ledger: Caller) -> None:
    of_each_kind = ("favours", "referrals", "intros", "disputes", "memberships", "gatherings", "attendances")
    assert await shown(ledger, "/summary", 0) == {
        "members": 0,
        "given": 0,
        "received": 0,
        "zero_sum": {"main": 0, "stake": 0, "disputed": 0, "sum": 0, "holds": True},
        **{name: {} for name in (*of_each_kind, "contacts", "one_to_ones", "policies")},
    }
    assert await shown(ledger, "/balances", 0) == {"balances": []}


async def test_a_community_sees_nothing_of_another(ledger: Caller) -> None:
    favour = await run_lifecycle(ledger, THANKS)
    zenith = Caller(ledger.client, "zenith")
    assert await shown(zenith, "/balances", favour["position"]) == {"balances": []}
    refused(await zenith.get(f"/favours/{favour['id']}"), 404, "unknown", kind="favour", id=favour["id"])


# Single resources


async def test_the_books_show_what_the_command_showed(ledger: Caller, subtests: pytest.Subtests) -> None:
    for name, life in LIFECYCLES.items():
        address = None
        for number, request in enumerate(await resolve(ledger, life), start=1):
            with subtests.test(name, state=request.state):
                after = await ledger.recorded(request.path(address), request.body, key=uuid4().hex)
                address = address_of(after, request.kind)
                path = f"/{KINDS[request.kind].plural}/{address}"
                answer = await ledger.get(path, min_position=after["position"], **request.viewer_query)
                assert (answer.status_code, answer.json()) == (200, after)
                assert answer.headers["etag"] == f'"{request.version or number}"'
                whole = await ledger.get(path)
                assert (whole.json()["state"], whole.json()["version"]) == (request.true_state or request.state, number)
                assert whole.headers["etag"] == f'"{number}"'


ENDED_BY_THE_CLOCK = {
    ("favour", "lapsed"): (CLAIM,),
    ("referral", "lapsed"): LIFECYCLES["a referral that is won"][:3],
    ("intro", "expired"): LIFECYCLES["an intro that ends well"][:2],
    ("intro", "closed"): LIFECYCLES["a match that is made and meets"][:5],
    ("dispute", "lapsed"): (DISPUTE,),
}


@pytest.mark.parametrize(("end", "life"), ENDED_BY_THE_CLOCK.items())
async def test_what_the_clock_ended_is_shown_as_such(
    ledger: Caller, log: JetStreamLog, clock: Clock, end: tuple[str, str], life: Lifecycle
) -> None:
    kind, state = end
    before = await run_lifecycle(ledger, *life)
    clock.ahead = LATER
    lapse = Submission(
        community=ledger.community,
        operation=f"{kind}.lapse",
        kind=kind,
        command=LAPSES[kind](),
        id=UUID(before["id"]),
    )
    outcome = await Executor(log, clock).execute(lapse)
    view = await shown(ledger, f"/{KINDS[kind].plural}/{before['id']}", outcome.position)
    assert (view["state"], view["version"], view["position"]) == (state, outcome.version, outcome.position)


def test_what_the_clock_ends_is_read_in_every_such_state() -> None:
    assert set(ENDED_BY_THE_CLOCK) >= CLOCK_STATES


async def test_a_step_after_the_clock_is_refused_with_what_it_found(
    ledger: Caller, log: JetStreamLog, clock: Clock
) -> None:
    offer = await run_lifecycle(ledger, OFFER)
    clock.ahead = LATER
    lapse = Submission(
        community=ledger.community,
        operation="intro.lapse",
        kind="intro",
        command=LAPSES["intro"](),
        id=UUID(offer["id"]),
    )
    await Executor(log, clock).execute(lapse)
    answer = await ledger.post(f"/intros/{offer['id']}/consent", by("ann"))
    refused(answer, 409, "wrong_state", expected="offered or accepted", found="expired")


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_has_a_field_for_everything_that_a_state_knows(kind: str) -> None:
    known = {name for state in union_members(KINDS[kind].states) for name in state.__struct_fields__}
    assert known <= set(VIEWS[kind].__struct_fields__)


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_names_every_state_and_what_an_asker_sees_in_its_place(kind: str) -> None:
    shown = get_args(VIEWS[kind].__annotations__["state"])
    seen = get_args(AskerState) if kind == "intro" else ()
    assert sorted(shown) == sorted([*(tag_of(state) for state in union_members(KINDS[kind].states)), *seen])


@pytest.mark.parametrize("kind", KINDS)
async def test_an_unknown_one_is_not_found(ledger: Caller, kind: str) -> None:
    refused(await ledger.get(f"/{KINDS[kind].plural}/{UNKNOWN_ID}"), 404, "unknown", kind=kind, id=UNKNOWN_ID)
    refused(
        await ledger.get(f"/{KINDS[kind].plural}/{UNKNOWN_ID}", viewer="eve"), 404, "unknown", kind=kind, id=UNKNOWN_ID
    )
