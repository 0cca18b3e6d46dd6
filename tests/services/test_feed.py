"""The feed in pages: complete, in order from any position, prompt, and limited to the caller's scope."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import msgspec
import pytest

from ledger.books.connection import BooksUnavailable
from ledger.domain.catalog.kinds import EVENTS, KINDS
from ledger.domain.kinds.contact import MakeContact
from ledger.domain.kinds.intro.commands import AcceptIntro, ConsentIntro, DeclineIntro, MakeIntro, ProposeIntro
from ledger.domain.kinds.member import JoinMember
from ledger.domain.values.aggregate_types import tag_of
from ledger.domain.visibility import CONFIDENTIAL
from ledger.runtime.settings import Settings
from services.feed.routes import event_names
from tests.books.histories import uuid_of
from tests.services.caller import Caller, refused, serving
from tests.services.instant_ledger import InstantLedger
from tests.services.lifecycles import FAVOUR, by

KEYS: Final = {
    "api_key": "a key that all who call have",
    "moderator_key": "a key for those who judge",
    "confidential_key": "a key that shows what is secret",
}


@pytest.fixture
def instant_ledger(settings: Settings) -> InstantLedger:
    return InstantLedger(settings)


@pytest.fixture
async def books(settings: Settings) -> AsyncIterator[Caller]:
    """Run the query service alone, without NATS: a read needs only Postgres."""
    nowhere = msgspec.structs.replace(settings, nats_url="nats://127.0.0.1:1")
    async with serving("query", nowhere) as client:
        yield Caller(client)


async def page(ledger: Caller, query: str = "", **parameters: str | int) -> dict[str, Any]:
    answer = await ledger.client.get(ledger.path(f"/events{query}"), params=parameters or None)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def positions(found: dict[str, Any]) -> list[int]:
    return [event["position"] for event in found["events"]]


# Pages


async def test_pages_hold_every_event_once_in_order_with_its_exact_bytes(
    books: Caller, instant_ledger: InstantLedger
) -> None:
    for community in ("acme", "bolt", "acme"):
        await instant_ledger.thank_many(10, community)
    found: list[int] = []
    after: int = 0
    texts: list[str] = []
    while (answer := await books.get("/events", after=after, limit=7)).json()["more"] or answer.json()["events"]:
        assert answer.headers["ledger-position"] == "30"
        found += positions(answer.json())
        texts.append(answer.text)
        after = answer.json()["after"]
    expected = [*range(1, 11), *range(21, 31)]
    assert (found, after) == (expected, 30)
    for stored in await instant_ledger.bodies(expected):
        assert f'"event":{stored}}}' in "".join(texts)


async def test_an_event_is_shown_with_its_position_and_when_it_was_recorded(
    books: Caller, instant_ledger: InstantLedger
) -> None:
    await instant_ledger.thank_many(1)
    (event,) = (await page(books))["events"]
    assert set(event) == {"position", "recorded_at", "event"}
    assert (event["position"], event["recorded_at"]) == (1, "2026-03-02T09:30:00Z")
    assert event["event"]["type"] == "referral-ledger.favour.thanked.v1"
    assert event["event"]["specversion"] == "1.0"


async def test_the_feed_begins_at_the_beginning_and_an_end_is_a_place_to_go_on(
    books: Caller, instant_ledger: InstantLedger
) -> None:
    assert await page(books) == {"events": [], "after": 0, "more": False}
    await instant_ledger.thank_many(3)
    whole = await page(books)
    assert (positions(whole), whole["after"], whole["more"]) == ([1, 2, 3], 3, False)
    await instant_ledger.thank_many(2, "bolt")
    assert await page(books, after=3) == {"events": [], "after": 5, "more": False}
    assert await page(books, after=1_000_000) == {"events": [], "after": 1_000_000, "more": False}


async def test_a_rare_event_takes_several_pages_and_is_not_missed(
    books: Caller, instant_ledger: InstantLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.books.feed.Feed.page.__defaults__", (10,))
    await instant_ledger.thank_many(35)
    await instant_ledger.execute(JoinMember(actor="ada", member="ada"))
    found = [await page(books, kind="member")]
    while found[-1]["more"]:
        found.append(await page(books, kind="member", after=found[-1]["after"]))
    assert [(positions(one), one["after"]) for one in found] == [([], 10), ([], 20), ([], 30), ([36], 36)]


async def test_a_page_may_wait_for_the_books_like_any_read(ledger: Caller, projector: None) -> None:
    recorded = await ledger.recorded("/favours", FAVOUR | by("bob"), key="first")
    found = await page(ledger, min_position=recorded["position"])
    assert positions(found) == [recorded["position"]]


# Filters


async def test_kinds_and_events_are_added_up(books: Caller, instant_ledger: InstantLedger) -> None:
    await instant_ledger.thank_many(1)
    await instant_ledger.execute(MakeContact(actor="ada", member="ada", other="bob"))
    await instant_ledger.execute(JoinMember(actor="ada", member="ada"))
    await instant_ledger.execute(ProposeIntro(actor="ann", asker="ann", connector="cas", target="tom", id=uuid_of(90)))
    assert positions(await page(books, "?kind=contact")) == [2]
    assert positions(await page(books, "?kind=contact&kind=member")) == [2, 3]
    assert positions(await page(books, "?event=intro.asked")) == [4]
    assert positions(await page(books, "?event=intro.asked&event=favour.thanked&kind=contact")) == [1, 2, 4]


@pytest.mark.parametrize(
    "query", ["kind=favor", "kind=", "event=favour", "event=favour.thanked.v1", "kind=favour&kind=x"]
)
async def test_a_kind_or_event_that_there_is_none_of_is_named(books: Caller, query: str) -> None:
    answer = await books.client.get(books.path(f"/events?{query}"))
    refused(answer, 400, "invalid_field", field=query.partition("=")[0], source="query")


@pytest.mark.parametrize(
    "query", ["after=-1", f"after={2**53}", "after=x", "limit=0", "limit=501", "wait=-1", "wait=31", "wait=1.5"]
)
async def test_a_number_that_is_none_or_out_of_range_is_named(books: Caller, query: str) -> None:
    answer = await books.client.get(books.path(f"/events?{query}"))
    refused(answer, 400, "invalid_field", field=query.partition("=")[0], source="query")


def test_without_a_filter_it_is_everything_that_may_be_shown() -> None:
    assert event_names([], [], confidential=True) == EVENTS.keys()
    assert event_names([], [], confidential=False) == EVENTS.keys() - CONFIDENTIAL
    of_intros = {tag_of(event) for event in KINDS["intro"].events}
    assert event_names(["intro"], [], confidential=True) == of_intros
    assert event_names(["intro"], [], confidential=False) == of_intros - CONFIDENTIAL


# Waiting


async def test_one_who_waits_is_answered_by_the_commit_and_long_before_their_time_is_over(
    books: Caller, instant_ledger: InstantLedger
) -> None:
    await instant_ledger.thank_many(2)
    waiting = asyncio.create_task(page(books, after=2, wait=30))
    await asyncio.wait({waiting}, timeout=0.2)
    assert not waiting.done()
    await instant_ledger.thank_many(1)
    async with asyncio.timeout(5):
        assert positions(await waiting) == [3]


async def test_one_who_waits_does_not_wait_when_there_is_something(
    books: Caller, instant_ledger: InstantLedger
) -> None:
    await instant_ledger.thank_many(2)
    async with asyncio.timeout(5):
        assert positions(await page(books, after=1, wait=30)) == [2]


async def test_one_who_waits_is_not_kept_for_what_they_did_not_ask_for(
    books: Caller, instant_ledger: InstantLedger
) -> None:
    waiting = asyncio.create_task(page(books, "?kind=contact&wait=30"))
    elsewhere = asyncio.create_task(page(books.elsewhere(), "?wait=1"))
    await asyncio.wait({waiting, elsewhere}, timeout=0.2)
    await instant_ledger.thank_many(3)
    found = await elsewhere
    assert (found["events"], found["more"]) == ([], False)
    assert found["after"] in {0, 3}
    assert not waiting.done()
    await instant_ledger.execute(MakeContact(actor="ada", member="ada", other="bob"))
    async with asyncio.timeout(5):
        assert positions(await waiting) == [4]


async def test_one_who_waits_in_vain_gets_an_empty_page_that_is_a_place_to_go_on(
    books: Caller, instant_ledger: InstantLedger
) -> None:
    await instant_ledger.thank_many(2)
    waiting = asyncio.create_task(books.get("/events", after=2, wait=1, kind="policy"))
    await asyncio.wait({waiting}, timeout=0.2)
    await instant_ledger.thank_many(2)
    answer = await waiting
    assert answer.json() == {"events": [], "after": 4, "more": False}
    assert answer.headers["ledger-position"] == "4"


async def test_a_hundred_who_wait_are_answered_by_one_commit(books: Caller, instant_ledger: InstantLedger) -> None:
    waiting = [asyncio.create_task(page(books, wait=30)) for _ in range(100)]
    await asyncio.wait(waiting, timeout=0.5)
    await instant_ledger.thank_many(1)
    async with asyncio.timeout(10):
        assert [positions(found) for found in await asyncio.gather(*waiting)] == [[1]] * 100


async def test_when_the_books_go_away_one_who_waits_gets_no_wrong_answer(
    books: Caller, instant_ledger: InstantLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise BooksUnavailable("away")

    monkeypatch.setattr("ledger.books.feed.Feed._rows", away)
    refused(await books.get("/events", wait=30), 503, "books_unavailable", retryable=True)


# Confidential events


@pytest.fixture
async def keyed(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with serving("query", msgspec.structs.replace(settings, **KEYS)) as client:
        yield client


async def read(client: httpx.AsyncClient, key: str, query: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEYS[key]}"}
    return await client.get(f"/v1/communities/acme/events{query}", headers=headers)


async def tell_of_asks(instant_ledger: InstantLedger) -> None:
    """Record two asks: one is declined, one is made. A missing position may be any event of any community."""
    await instant_ledger.execute(ProposeIntro(actor="ann", asker="ann", connector="cas", target="tom", id=uuid_of(1)))
    await instant_ledger.execute(DeclineIntro(actor="cas"), of=1)
    await instant_ledger.execute(ProposeIntro(actor="ann", asker="ann", connector="cas", target="tim", id=uuid_of(2)))
    await instant_ledger.execute(
        AcceptIntro(actor="cas", level=2), ConsentIntro(actor="tim"), MakeIntro(actor="cas"), of=2
    )


async def test_what_an_asker_must_not_know_is_shown_to_a_confidential_key_alone(
    keyed: httpx.AsyncClient, instant_ledger: InstantLedger
) -> None:
    await tell_of_asks(instant_ledger)
    for key in ("api_key", "moderator_key"):
        for query in ("", "?kind=intro"):
            found = (await read(keyed, key, query)).json()
            assert (positions(found), found["after"]) == ([1, 3, 6], 6)
            assert not any(name in str(found) for name in CONFIDENTIAL)
    assert positions((await read(keyed, "confidential_key")).json()) == [1, 2, 3, 4, 5, 6]
    assert positions((await read(keyed, "confidential_key", "?event=intro.declined")).json()) == [2]


@pytest.mark.parametrize("name", sorted(CONFIDENTIAL))
async def test_to_ask_for_what_is_confidential_takes_the_key(keyed: httpx.AsyncClient, name: str) -> None:
    for key in ("api_key", "moderator_key"):
        answer = await read(keyed, key, f"?event=favour.thanked&event={name}")
        refused(answer, 403, "confidential", event=name, retryable=False)
    assert (await read(keyed, "confidential_key", f"?event={name}")).status_code == 200


async def test_a_confidential_key_does_not_judge(settings: Settings) -> None:
    async with serving("command", msgspec.structs.replace(settings, **KEYS, unsafe_log=True)) as client:
        body = by("mod", policy={}, starts_at="2099-01-01T00:00:00Z")
        for key in ("api_key", "confidential_key"):
            headers = {"Authorization": f"Bearer {KEYS[key]}"}
            answer = await client.post("/v1/communities/acme/policies", json=body, headers=headers)
            refused(answer, 403, "not_a_moderator")


async def test_on_loopback_without_keys_everything_is_shown(books: Caller, instant_ledger: InstantLedger) -> None:
    await tell_of_asks(instant_ledger)
    assert positions(await page(books)) == [1, 2, 3, 4, 5, 6]


async def test_nobody_reads_the_feed_without_a_key(keyed: httpx.AsyncClient) -> None:
    refused(await keyed.get("/v1/communities/acme/events"), 401, "unauthorized")
