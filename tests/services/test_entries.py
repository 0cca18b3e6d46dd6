"""Explanations of the entries of a random history, and the viewers who may read them."""

import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import uuid4

import msgspec
import pytest

from ledger.domain.posting.rules import MOVES_NOTHING, RULES, RULES_IN_WORDS
from ledger.domain.values.aggregate_types import tag_of
from ledger.domain.visibility import CONFIDENTIAL
from ledger.envelope import RecordedEvent
from ledger.runtime.settings import Settings
from tests.books.random_histories import RandomHistory
from tests.databases import Databases
from tests.oracle.entries import entry_history
from tests.services.caller import Caller, refused, serving, started
from tests.services.lifecycles import ACCEPT, ASK, CONSENT, DECLINE, LIFECYCLES, MAKE, Lifecycle, run_lifecycle

SEED: Final = 29
LENGTH: Final = 500
KEY: Final = "a key of sixteen letters"
CONFIDENTIAL_KEY: Final = "another key of sixteen letters"


@pytest.fixture(scope="module")
async def told(databases: Databases) -> AsyncIterator[tuple[list[RecordedEvent], Any]]:
    """Provide a history, and a query service over its books."""
    events = await RandomHistory(SEED).generate(LENGTH)
    async with databases.empty_books() as books:
        await books.write(events)
        async with started("query", Settings(postgres_dsn=books.dsn, postgres_schema=books.schema)) as client:
            yield events, client


def test_every_rule_is_put_into_words() -> None:
    assert RULES_IN_WORDS.keys() == RULES.keys()


async def test_every_entry_is_explained_by_its_rule_its_legs_and_all_that_happened(
    told: tuple[list[RecordedEvent], Any],
) -> None:
    events, client = told
    legs = {entry.event_id: Counter(entry.legs) for entry in entry_history(events).entries}
    lives: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    reversed_by: dict[str, str] = {}
    disputed_by: dict[str, str] = {}
    for event in events:
        envelope = json.loads(event.body)
        lives[event.ref.community, envelope["subject"]].append(envelope["id"])
        data = envelope["data"]
        if data["event"] == "dispute.opened":
            disputed_by[data["entry_id"]] = envelope["id"]
        if data["event"] == "dispute.upheld" and data["remedy"] == "reversal":
            reversed_by[data["entry_id"]] = envelope["id"]
    assert reversed_by
    for event in events:
        envelope = json.loads(event.body)
        answer = await Caller(client, event.ref.community).get(f"/entries/{envelope['id']}")
        assert answer.status_code == 200, answer.text
        view = answer.json()
        assert view["cloudevent"] == envelope
        assert (view["entry"], view["event"], view["actor"], view["position"], view["policy_version"]) == (
            envelope["id"],
            envelope["data"]["event"],
            envelope["actor"],
            event.position,
            envelope["policyversion"],
        )
        found = Counter(
            (leg["member"], leg["account"], leg.get("counterparty"), leg["points"], leg["given"], leg["received"])
            for leg in view["legs"]
        )
        assert found == legs.get(envelope["id"], Counter())
        assert sum(leg["points"] for leg in view["legs"]) == 0
        assert view["rule"] == RULES_IN_WORDS.get(type(event.envelope.data), "Nothing moves.")
        assert [happened["entry"] for happened in view["history"]] == lives[event.ref.community, envelope["subject"]]
        assert view.get("disputed_by") == disputed_by.get(envelope["id"])
        assert view.get("reversed_by") == reversed_by.get(envelope["id"])
        reverses = {by: entry for entry, by in reversed_by.items()}
        assert view.get("reverses") == reverses.get(envelope["id"])


async def test_an_entry_of_another_community_is_unknown(told: tuple[list[RecordedEvent], Any]) -> None:
    events, client = told
    event = next(event for event in events if event.ref.community == "acme")
    answer = await Caller(client, "bolt").get(f"/entries/{event.envelope.id}")
    refused(answer, 404, "unknown", kind="entry", id=event.envelope.id)
    refused(await Caller(client).get(f"/entries/{uuid4()}"), 404, "unknown", kind="entry")
    refused(await Caller(client).get("/entries/first"), 400, "invalid_field", field="id", source="path")


# Viewers


@pytest.fixture
def ledger(ledger: Caller, projector: None) -> Caller:
    """Provide a ledger whose books follow the log."""
    return ledger


async def history_of(ledger: Caller, life: Lifecycle, **query: str) -> tuple[list[str], str]:
    """Return the event names in the history of an intro's first entry, and the id of its first event."""
    last = await run_lifecycle(ledger, *life)
    first = await first_entry(ledger, last)
    answer = await ledger.get(f"/entries/{first}", min_position=last["position"], **query)
    assert answer.status_code == 200, answer.text
    return [happened["event"] for happened in answer.json()["history"]], first


async def first_entry(ledger: Caller, view: dict[str, Any]) -> str:
    """Return the id of an intro's first event, from the feed."""
    page = await ledger.get("/events", min_position=view["position"], event="intro.asked", limit=500)
    asked = [event for event in page.json()["events"] if event["event"]["subject"].endswith(view["id"])]
    return str(asked[0]["event"]["id"])


@pytest.mark.parametrize("end", [(), (ACCEPT,), (ACCEPT, CONSENT), (DECLINE,)])
async def test_an_asker_is_told_of_their_ask_alone_whatever_has_become_of_it(ledger: Caller, end: Lifecycle) -> None:
    assert (await history_of(ledger, (ASK, *end), viewer="ann"))[0] == ["intro.asked"]


async def test_once_it_is_made_all_in_it_read_how_it_came_about(ledger: Caller) -> None:
    whole = ["intro.asked", "intro.accepted", "intro.consented", "intro.made"]
    history, first = await history_of(ledger, (ASK, ACCEPT, CONSENT, MAKE), viewer="ann")
    assert history == whole
    for viewer in ("cas", "tom"):
        answer = await ledger.get(f"/entries/{first}", viewer=viewer)
        assert [happened["event"] for happened in answer.json()["history"]] == whole
        assert "cloudevent" not in answer.json()
    refused(await ledger.get(f"/entries/{first}", viewer="eve"), 403, "not_yours")


async def test_an_asker_asks_for_a_no_by_its_id_in_vain(ledger: Caller) -> None:
    last = await run_lifecycle(ledger, ASK, DECLINE)
    page = await ledger.get("/events", min_position=last["position"], event="intro.declined")
    (declined,) = (event["event"]["id"] for event in page.json()["events"])
    assert (await ledger.get(f"/entries/{declined}", viewer="cas")).status_code == 200
    refused(await ledger.get(f"/entries/{declined}", viewer="ann"), 404, "unknown", kind="entry", id=declined)


async def test_what_is_confidential_takes_a_key_with_that_scope(settings: Settings, projector: None) -> None:
    keys = msgspec.structs.replace(settings, api_key=KEY, confidential_key=CONFIDENTIAL_KEY, unsafe_log=True)
    async with serving("all", keys) as client:
        ledger = Caller(client)
        client.headers["Authorization"] = f"Bearer {CONFIDENTIAL_KEY}"
        history, first = await history_of(ledger, (ASK, DECLINE))
        assert history == ["intro.asked", "intro.declined"]
        declined = (await ledger.get(f"/entries/{first}")).json()["history"][1]["entry"]
        client.headers["Authorization"] = f"Bearer {KEY}"
        answer = await ledger.get(f"/entries/{first}")
        assert [happened["event"] for happened in answer.json()["history"]] == ["intro.asked"]
        refused(await ledger.get(f"/entries/{declined}"), 404, "unknown", kind="entry", id=declined)


def test_everything_that_an_intro_hides_is_confidential() -> None:
    names = {tag_of(event) for event in (*RULES, *MOVES_NOTHING) if tag_of(event).startswith("intro.")}
    shown = {"intro.asked", "intro.offered", "intro.withdrawn", "intro.made", "intro.met", "intro.closed"}
    assert names - shown == CONFIDENTIAL


async def test_who_is_owed_by_an_entry_reads_it_and_nothing_else_of_it(ledger: Caller) -> None:
    """The viewer is the referrer of an earlier referral. The winner of the later referral owes them too."""
    parent = await run_lifecycle(ledger, *LIFECYCLES["a referral that is won"])
    given = {"referrer": "bob", "recipient": "eve", "prospect": "grown", "level": 2, "actor": "bob"}
    child = await ledger.recorded("/referrals", {**given, "parent": parent["id"]}, key="child")
    won = await ledger.recorded(f"/referrals/{child['id']}/qualify", {"actor": "eve"})
    won = await ledger.recorded(f"/referrals/{child['id']}/win", {"actor": "eve", "band": "S"})
    owed = parent["referrer"]
    statement = (await ledger.get(f"/members/{owed}/statement", min_position=won["position"], order="newest")).json()
    line = statement["lines"][0]
    assert (line["event"], line["points"]) == ("referral.won", 60)
    view = (await ledger.get(f"/entries/{line['entry']}", viewer=owed)).json()
    assert [happened["event"] for happened in view["history"]] == ["referral.won"]
    refused(await ledger.get(f"/referrals/{child['id']}", viewer=owed), 403, "not_yours")
    whole = (await ledger.client.get(line["link"], params={"viewer": "eve"})).json()
    assert [happened["event"] for happened in whole["history"]] == [
        "referral.given",
        "referral.qualified",
        "referral.won",
    ]
