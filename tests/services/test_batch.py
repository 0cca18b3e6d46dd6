"""Batches of commands: each command succeeds or fails alone, with its own result."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID, uuid4, uuid5

import httpx
import pytest

from ledger.domain.catalog.operations import OPERATIONS
from ledger.log.event_log import APPEND_MAX
from ledger.log.jetstream import JetStreamLog
from services.http.parameters import BODY_MAX_BYTES
from tests.services.bad_requests.case import UNKNOWN_ID
from tests.services.caller import Caller, refused
from tests.services.lifecycles import (
    ASK,
    CLAIM,
    DISPUTE,
    FAVOUR,
    INTRO,
    LIFECYCLES,
    REFERRAL,
    Request,
    by,
    resolve,
    run_lifecycle,
)

THANKED: Final = FAVOUR | by("bob")


def item(op: str, body: object, key: str | None = None, aggregate: str | None = None) -> dict[str, Any]:
    said = {"op": op, "body": body, "idempotency_key": key, "id": aggregate}
    return {name: value for name, value in said.items() if value is not None}


def thanks(key: str, **changes: object) -> dict[str, Any]:
    return item("favour.record", THANKED | changes, key)


async def results_of(ledger: Caller, items: list[Any]) -> tuple[httpx.Response, list[dict[str, Any]]]:
    answer = await ledger.post("/batch", items)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()
    assert len(results) == len(items)
    return answer, results


def told_of(results: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(result.get(name) for name in names) for result in results]


async def test_good_and_bad_are_answered_in_their_places(ledger: Caller, log: JetStreamLog) -> None:
    items = [
        thanks("a"),
        thanks("b", giver="bob"),
        item("referral.give", REFERRAL),
        thanks("c", size="huge"),
        item("intro.propose", INTRO | by("ann"), "d"),
    ]
    answer, results = await results_of(ledger, items)
    assert told_of(results, "status", "kind", "state", "version", "position") == [
        ("recorded", "favour", "posted", 1, 1),
        ("refused", None, None, None, None),
        ("recorded", "referral", "given", 1, 2),
        ("refused", None, None, None, None),
        ("recorded", "intro", "pending", 1, 3),
    ]
    problems = [result["problem"] for result in results if "problem" in result]
    assert [(problem["code"], problem["status"]) for problem in problems] == [
        ("self_dealing", 422),
        ("invalid_field", 400),
    ]
    assert answer.headers["ledger-position"] == "3"
    assert await log.end() == 3


async def test_an_item_and_its_own_route_are_one_command(ledger: Caller, log: JetStreamLog) -> None:
    favour = await ledger.recorded("/favours", THANKED, key="same")
    _, results = await results_of(ledger, [thanks("same")])
    assert told_of(results, "status", "id", "position") == [("replayed", favour["id"], 1)]
    _, (first,) = await results_of(ledger, [thanks("other")])
    repeat = await ledger.post("/favours", THANKED, key="other")
    assert (repeat.json()["id"], repeat.headers["idempotent-replayed"]) == (first["id"], "true")
    assert await log.end() == 2


async def test_a_key_repeated_within_a_batch_records_once(ledger: Caller, log: JetStreamLog) -> None:
    _, results = await results_of(ledger, [thanks("a"), thanks("a"), thanks("a", size="large"), thanks("b")])
    assert [result["status"] for result in results] == ["recorded", "replayed", "refused", "recorded"]
    assert results[1]["id"] == results[0]["id"]
    assert results[2]["problem"]["code"] == "idempotency_key_reused"
    assert await log.end() == 2


def items_of(life: Sequence[Request], address: str) -> list[dict[str, Any]]:
    """Return the requests as batch items. A step names the id that its own route has in the path."""
    return [
        item(request.operation, request.body, None, None if OPERATIONS[request.operation].creates else address)
        for request in life
    ]


async def test_a_whole_life_in_one_batch_goes_in_order(ledger: Caller, subtests: pytest.Subtests) -> None:
    for name, life in LIFECYCLES.items():
        with subtests.test(name):
            creation, *steps = await resolve(ledger, life)
            if "id" in OPERATIONS[creation.operation].command.__struct_fields__:
                own = str(uuid4())
                requests = [replace(creation, body={**creation.body, "id": own}), *steps]
            else:  # The id follows from the parties of the resource.
                _, (first,) = await results_of(ledger, [item(creation.operation, creation.body)])
                own, requests = first["id"], steps
            if not requests:
                continue
            answer, results = await results_of(ledger, items_of(requests, own))
            assert [result["state"] for result in results] == [request.state for request in requests]
            assert {result["status"] for result in results} == {"recorded"}
            assert {result["id"] for result in results} == {own}
            numbers = range(len(life) - len(requests) + 1, len(life) + 1)
            versions = [request.version or number for number, request in zip(numbers, requests, strict=True)]
            assert [result["version"] for result in results] == versions
            assert answer.headers["ledger-position"] == str(results[-1]["position"])


async def test_a_step_that_is_already_so_is_unchanged(ledger: Caller, log: JetStreamLog) -> None:
    favour = await run_lifecycle(ledger, CLAIM)
    confirm = item("favour.confirm", by("bob"), None, favour["id"])
    _, results = await results_of(ledger, [confirm, confirm])
    assert told_of(results, "status", "version", "position") == [("recorded", 2, 2), ("unchanged", 2, 2)]
    assert await log.end() == 2


async def test_a_thousand_are_recorded_and_a_replay_records_nothing(ledger: Caller, log: JetStreamLog) -> None:
    items = [thanks(f"key-{number}", giver=f"giver-{number}") for number in range(APPEND_MAX)]
    answer, results = await results_of(ledger, items)
    assert [result["position"] for result in results] == list(range(1, APPEND_MAX + 1))
    assert {result["status"] for result in results} == {"recorded"}
    assert answer.headers["ledger-position"] == str(APPEND_MAX)
    again, replayed = await results_of(ledger, items)
    assert replayed == [{**result, "status": "replayed"} for result in results]
    assert again.headers["ledger-position"] == str(APPEND_MAX)
    assert await log.end() == APPEND_MAX


async def test_a_batch_that_was_half_recorded_is_finished_by_repeating_it(ledger: Caller, log: JetStreamLog) -> None:
    items = [thanks(f"key-{number}") for number in range(40)]
    await results_of(ledger, items[:20])
    _, results = await results_of(ledger, items)
    assert [result["status"] for result in results] == ["replayed"] * 20 + ["recorded"] * 20
    assert [result["position"] for result in results] == list(range(1, 41))
    assert await log.end() == 40


async def test_one_too_many_or_none_at_all_record_nothing(ledger: Caller, log: JetStreamLog) -> None:
    for items in ([thanks(f"key-{number}") for number in range(APPEND_MAX + 1)], []):
        refused(await ledger.post("/batch", items), 400, "invalid_field", field="body", source="body")
    assert await log.end() == 0


async def test_a_batch_of_nothing_but_refusals_shows_no_position(ledger: Caller) -> None:
    answer, results = await results_of(ledger, [thanks("a", giver="bob"), 7])
    assert [result["status"] for result in results] == ["refused", "refused"]
    assert "ledger-position" not in answer.headers


DEEP: Final = b"[" * 100_000 + b"]" * 100_000


BAD_ITEMS: Final[Mapping[str, tuple[object, str, str | None]]] = {
    "a number": (7, "invalid_field", "body"),
    "null": (None, "invalid_field", "body"),
    "a list": ([], "invalid_field", "body"),
    "no op": ({"body": {}}, "invalid_field", "op"),
    "no body": ({"op": "favour.confirm"}, "invalid_field", "body"),
    "an op that is a number": ({"op": 7, "body": {}}, "invalid_field", "op"),
    "an op that is the clock's": (item("favour.lapse", {}), "invalid_field", "op"),
    "an unknown op": (item("favour.applaud", {}), "invalid_field", "op"),
    "an unknown field": (thanks("k") | {"by": 1}, "invalid_field", "by"),
    "a body that is a number": (item("favour.record", 7, "k"), "invalid_field", "body"),
    "a body without an actor": (item("favour.confirm", {}, None, UNKNOWN_ID), "invalid_field", "actor"),
    "a bad member in a body": (thanks("k", giver="a b"), "invalid_field", "giver"),
    "a bad tag in a body": (item("referral.give", REFERRAL | {"tags": ["a", "B"]}), "invalid_field", "tags[1]"),
    "an unknown fact in a body": (thanks("k", colour="red"), "invalid_field", "colour"),
    "a level that is a string": (item("referral.give", REFERRAL | {"level": "3"}), "invalid_field", "level"),
    "a step of nothing": (item("favour.confirm", by("bob")), "invalid_field", "id"),
    "an id that is none": (item("favour.confirm", by("bob"), None, "7"), "invalid_field", "id"),
    "a creation with an id beside its body": (item("favour.record", THANKED, "k", UNKNOWN_ID), "invalid_field", "id"),
    "a bad key": (thanks("a b"), "invalid_field", "idempotency_key"),
    "no key": (item("favour.record", THANKED), "idempotency_key_missing", None),
    "an unknown favour": (item("favour.confirm", by("bob"), None, UNKNOWN_ID), "unknown", None),
    "an unknown member": (item("member.pause", by("eve"), None, "eve"), "unknown", None),
    "a member who cannot be one": (item("member.pause", by("eve"), None, "a b"), "invalid_field", "member"),
    "a policy of half a table": (
        item("policy.publish", by("mod", policy={"size_points": {"small": 1}}, starts_at="2999-01-01T00:00:00Z")),
        "policy_invalid",
        "size_points",
    ),
    "a policy with an unknown number": (
        item("policy.publish", by("mod", policy={"bonus": 1}, starts_at="2999-01-01T00:00:00Z")),
        "invalid_field",
        "bonus",
    ),
}


async def test_one_bad_item_is_refused_alone(ledger: Caller, log: JetStreamLog, subtests: pytest.Subtests) -> None:
    for name, (bad, code, field) in BAD_ITEMS.items():
        with subtests.test(name):
            position = await log.end()
            _, results = await results_of(ledger, [thanks(uuid4().hex), bad, thanks(uuid4().hex)])
            assert [result["status"] for result in results] == ["recorded", "refused", "recorded"]
            problem = results[1]["problem"]
            assert (problem["code"], problem.get("field")) == (code, field), problem["detail"]
            assert await log.end() == position + 2


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(rb'[{"op": "\ud800", "body": {}}]', id="half a surrogate pair"),
        pytest.param(b'[{"op": "\xff", "body": {}}]', id="bad UTF-8"),
        pytest.param(b'[{"op": "favour.record", "body": ' + DEEP + b"}]", id="deep nesting"),
    ],
)
async def test_an_item_that_cannot_be_read_is_the_callers_mistake(
    ledger: Caller, log: JetStreamLog, words: bytes
) -> None:
    answer = await ledger.client.post(ledger.path("/batch"), content=words)
    if answer.status_code == 200:
        (result,) = answer.json()
        assert result["problem"]["code"] == "malformed_json"
    else:
        refused(answer, 400, "malformed_json")
    assert await log.end() == 0


async def test_a_batch_over_1_mib_is_refused_before_it_is_read(ledger: Caller, log: JetStreamLog) -> None:
    words = json.dumps([thanks("a")]).encode().ljust(BODY_MAX_BYTES + 1)
    refused(await ledger.client.post(ledger.path("/batch"), content=words), 413, "too_large")
    assert await log.end() == 0


async def test_an_item_shows_no_more_than_the_one_who_acts_may_know(ledger: Caller) -> None:
    ask = item("intro.propose", INTRO | by("ann"), "ask")
    _, (asked,) = await results_of(ledger, [ask])
    _, results = await results_of(ledger, [item("intro.decline", by("cas"), None, asked["id"]), ask])
    assert told_of(results, "status", "state", "version", "position") == [
        ("recorded", "declined", 2, 2),
        ("replayed", "pending", 1, 1),
    ]


async def test_an_item_that_was_already_so_is_no_creation(ledger: Caller, log: JetStreamLog) -> None:
    said = [item("contact.make", by(one, member=one, other=two)) for one, two in (("ada", "bob"), ("bob", "ada"))]
    _, results = await results_of(ledger, [*said, said[0]])
    assert told_of(results, "status", "version", "position") == [
        ("recorded", 1, 1),
        ("unchanged", 1, 1),
        ("replayed", 1, 1),
    ]
    assert await log.end() == 1


async def test_a_dispute_is_opened_and_judged_in_one_batch(ledger: Caller) -> None:
    (opening,) = await resolve(ledger, (DISPUTE,))
    dispute = str(uuid5(UUID(opening.body["about"]), opening.body["entry"]))
    judged = [item(f"dispute.{verb}", by(who), None, dispute) for verb, who in (("uphold", "bob"), ("uphold", "mod"))]
    _, results = await results_of(ledger, [item(opening.operation, opening.body), *judged])
    assert [result.get("state") for result in results] == ["opened", None, "upheld"]
    assert results[1]["problem"]["code"] == "party_to_it"


async def test_a_batch_speaks_for_one_community_alone(ledger: Caller) -> None:
    intro = await run_lifecycle(ledger, ASK)
    step = item("intro.decline", by("cas"), None, intro["id"])
    elsewhere = Caller(ledger.client, "zenith")
    _, (result,) = await results_of(elsewhere, [step])
    assert (result["status"], result["problem"]["code"]) == ("refused", "unknown")


async def test_every_event_of_a_batch_says_which_request_it_came_from(ledger: Caller, log: JetStreamLog) -> None:
    items = [thanks("a"), item("referral.give", REFERRAL)]
    await ledger.client.post(ledger.path("/batch"), json=items, headers={"X-Request-Id": "import-7"})
    events = [await log.at(position) for position in (1, 2)]
    assert [event and event.envelope.correlationid for event in events] == ["import-7", "import-7"]
