"""Each operation through its own route: its response, the response to a repeat, and the effect of If-Match."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from ledger.domain.catalog.kinds import KINDS, union_members
from ledger.domain.catalog.operations import OPERATIONS
from ledger.domain.values.aggregate_types import tag_of
from ledger.log.jetstream import JetStreamLog
from tests.services.caller import Caller, problem_in, refused
from tests.services.lifecycles import (
    ACCEPT,
    ASK,
    CLAIM,
    CLOCK_STATES,
    CONFIRM,
    CONSENT,
    FAVOUR,
    GATHERING,
    GIVE,
    HOLD,
    JOIN,
    LEAVE,
    LIFECYCLES,
    MAKE,
    OFFER,
    QUALIFY,
    REFERRAL,
    THANKS,
    Lifecycle,
    Request,
    address_of,
    by,
    resolve,
    run_lifecycle,
    run_requests,
)

HEADERS_OF_A_CREATION = ("content-type", "etag", "ledger-position", "location")


def test_the_lives_go_through_every_operation_and_every_state() -> None:
    requests = [request for life in LIFECYCLES.values() for request in life]
    assert {request.operation for request in requests} == set(OPERATIONS)
    reached = {(request.kind, request.true_state or request.state) for request in requests}
    states = {(kind.name, tag_of(state)) for kind in KINDS.values() for state in union_members(kind.states)}
    assert reached | CLOCK_STATES == states
    assert not reached & CLOCK_STATES


async def follow(ledger: Caller, life: Lifecycle, position: int) -> None:
    """Send every request of a lifecycle and check each whole response. `position` is the end of the log."""
    address = ""
    for number, request in enumerate(life, start=1):
        path = request.path(address or None)
        creates = OPERATIONS[request.operation].creates
        answer = await ledger.post(path, request.body, key=uuid4().hex)
        assert answer.status_code == (201 if creates else 200), answer.text
        view = answer.json()
        address = address or address_of(view, request.kind)
        assert address_of(view, request.kind) == address
        assert str(UUID(view["id"])) == view["id"]
        assert {name: view.get(name) for name in request.fields} == request.fields
        version = request.version or number
        assert (view["state"], view["version"], view["position"]) == (request.state, version, position + number)
        assert answer.headers["etag"] == f'"{version}"'
        assert answer.headers["ledger-position"] == str(position + number)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers.get("location") == (ledger.path(f"{path}/{address}") if creates else None)
        assert "idempotent-replayed" not in answer.headers


async def test_every_operation_shows_the_resource_after_it(
    ledger: Caller, log: JetStreamLog, subtests: pytest.Subtests
) -> None:
    for name, life in LIFECYCLES.items():
        with subtests.test(name):
            resolved = await resolve(ledger, life)
            await follow(ledger, resolved, await log.end())


async def test_every_request_of_a_life_repeated_with_its_key_answers_as_the_first_time(
    ledger: Caller, log: JetStreamLog, subtests: pytest.Subtests
) -> None:
    for name, life in LIFECYCLES.items():
        with subtests.test(name):
            requests, address, answers = (
                await resolve(ledger, life),
                "",
                list[tuple[str, str, Request, httpx.Response]](),
            )
            for request in requests:
                path, key = request.path(address or None), uuid4().hex
                answer = await ledger.post(path, request.body, key=key)
                address = address or address_of(answer.json(), request.kind)
                answers.append((path, key, request, answer))
            position = await log.end()
            for path, key, request, answer in answers:
                again = await ledger.post(path, request.body, key=key)
                assert (again.status_code, again.json()) == (answer.status_code, answer.json())
                assert again.headers["idempotent-replayed"] == "true"
            assert await log.end() == position


async def test_a_view_has_only_what_its_state_knows(ledger: Caller) -> None:
    thanks = await run_lifecycle(ledger, THANKS)
    assert thanks == FAVOUR | {
        "id": thanks["id"],
        "version": 1,
        "position": 1,
        "state": "posted",
        "points": 120,
        "gathering": GATHERING,
    }


# Idempotency


@pytest.mark.parametrize("again", ["key-1", '"key-1"', ' "key-1" '])
async def test_a_creation_repeated_with_its_key_answers_as_the_first_time(
    ledger: Caller, log: JetStreamLog, again: str
) -> None:
    first = await ledger.post(CLAIM.path(), CLAIM.body, key="key-1")
    await ledger.recorded(CONFIRM.path(first.json()["id"]), CONFIRM.body)
    repeat = await ledger.post(CLAIM.path(), CLAIM.body, key=again)
    assert (repeat.status_code, repeat.json()) == (201, first.json())
    assert {name: repeat.headers[name] for name in HEADERS_OF_A_CREATION} == {
        name: first.headers[name] for name in HEADERS_OF_A_CREATION
    }
    assert repeat.headers["idempotent-replayed"] == "true"
    assert await log.end() == 2


async def test_a_step_repeated_with_its_key_answers_as_the_first_time_whatever_came_after(
    ledger: Caller, log: JetStreamLog
) -> None:
    referral = await run_lifecycle(ledger, GIVE)
    first = await ledger.post(QUALIFY.path(referral["id"]), QUALIFY.body, key="qualify")
    await ledger.recorded(f"/referrals/{referral['id']}/contact", by("bob"))
    repeat = await ledger.post(QUALIFY.path(referral["id"]), QUALIFY.body, key='"qualify"')
    assert (repeat.status_code, repeat.json()) == (200, first.json())
    assert (repeat.headers["etag"], repeat.headers["ledger-position"]) == ('"2"', "2")
    assert repeat.headers["idempotent-replayed"] == "true"
    assert await log.end() == 3


async def test_a_step_repeated_without_a_key_is_harmless(ledger: Caller, log: JetStreamLog) -> None:
    favour = await run_lifecycle(ledger, CLAIM, CONFIRM)
    repeat = await ledger.post(CONFIRM.path(favour["id"]), CONFIRM.body)
    assert (repeat.status_code, repeat.json(), repeat.headers["ledger-position"]) == (200, favour, "2")
    assert "idempotent-replayed" not in repeat.headers
    assert await log.end() == 2


async def test_a_creation_with_an_id_of_its_own_needs_no_key(ledger: Caller, log: JetStreamLog) -> None:
    own = str(uuid4())
    first = await ledger.post("/favours", FAVOUR | by("bob", id=own.upper()))
    assert (first.status_code, first.json()["id"]) == (201, own)
    repeat = await ledger.post("/favours", FAVOUR | by("bob", id=own))
    assert (repeat.status_code, repeat.json()) == (201, first.json())
    assert repeat.headers["idempotent-replayed"] == "true"
    other = await ledger.post("/favours", FAVOUR | by("bob", id=own, size="large"))
    refused(other, 409, "already_exists", kind="favour")
    assert await log.end() == 1


async def test_the_order_of_fields_and_white_space_make_no_other_request(ledger: Caller) -> None:
    first = await ledger.recorded("/favours", FAVOUR | by("bob"), key="same")
    words = b'{ "actor":"bob",\n "size":"medium", "receiver":"bob", "giver":"ada", "gathering": null }'
    repeat = await ledger.client.post(ledger.path("/favours"), content=words, headers={"Idempotency-Key": "same"})
    assert (repeat.status_code, repeat.json()) == (201, first)


async def test_a_key_means_something_else_in_another_community(ledger: Caller) -> None:
    here = await ledger.recorded("/favours", FAVOUR | by("bob"), key="same")
    there = await Caller(ledger.client, "zenith").recorded("/favours", FAVOUR | by("ada"), key="same")
    assert (here["id"] == there["id"], there["state"], there["version"]) == (False, "claimed", 1)


async def test_a_key_used_for_another_request_is_refused(ledger: Caller, log: JetStreamLog) -> None:
    favour = await ledger.recorded("/favours", FAVOUR | by("bob"), key="used")
    other = await ledger.post("/favours", FAVOUR | by("bob", size="large"), key="used")
    refused(other, 422, "idempotency_key_reused", kind="favour", id=favour["id"])
    assert await log.end() == 1
    claim = await run_lifecycle(ledger, CLAIM)
    assert (await ledger.post(CONFIRM.path(claim["id"]), CONFIRM.body, key="used")).status_code == 200
    other = await ledger.post(f"/favours/{claim['id']}/refuse", by("bob"), key="used")
    refused(other, 422, "idempotency_key_reused", kind="favour", id=claim["id"])
    assert await log.end() == 3


async def test_a_key_that_others_have_used_for_a_step_tells_nobody_of_it(ledger: Caller) -> None:
    intro = (await run_lifecycle(ledger, ASK))["id"]
    await ledger.recorded(f"/intros/{intro}/decline", by("cas"), key="k")
    answer = await ledger.post(f"/intros/{intro}/meet", by("ann"), key="k")
    refused(answer, 409, "wrong_state", found="pending")
    assert (await ledger.post(f"/intros/{intro}/withdraw", by("ann"), key="k")).status_code == 200


async def test_of_referrals_there_is_one_for_each_three_parties(ledger: Caller, log: JetStreamLog) -> None:
    first = await ledger.recorded("/referrals", REFERRAL)
    repeat = await ledger.post("/referrals", REFERRAL)
    assert (repeat.status_code, repeat.json(), repeat.headers["idempotent-replayed"]) == (201, first, "true")
    refused(await ledger.post("/referrals", REFERRAL | {"level": 1}), 409, "already_exists", kind="referral")
    assert await log.end() == 1


async def test_many_at_once_with_one_key_record_one(ledger: Caller, log: JetStreamLog) -> None:
    answers = await asyncio.gather(*(ledger.post("/favours", FAVOUR | by("bob"), key="one") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert await log.end() == 1


async def test_of_two_that_contradict_each_other_at_once_one_is_refused(ledger: Caller, log: JetStreamLog) -> None:
    favour = await run_lifecycle(ledger, CLAIM)
    steps = [f"/favours/{favour['id']}/{verb}" for verb in ("confirm", "refuse")]
    answers = await asyncio.gather(*(ledger.post(step, by("bob")) for step in steps))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    (loser,) = (answer for answer in answers if answer.status_code == 409)
    assert problem_in(loser)["code"] == "wrong_state"
    assert await log.end() == 2


# If-Match


async def test_an_asker_names_the_version_that_they_see(ledger: Caller) -> None:
    intro = await run_lifecycle(ledger, ASK, ACCEPT)
    withdraw = f"/intros/{intro['id']}/withdraw"
    refused(await ledger.post(withdraw, by("ann"), if_match='"2"'), 412, "version_mismatch", if_match=2, version=1)
    assert (await ledger.post(withdraw, by("ann"), if_match='"1"')).headers["etag"] == '"3"'


@pytest.mark.parametrize("if_match", ['"2"', 'W/"2"', ' "2" ', "*"])
async def test_a_step_on_the_version_that_was_read_is_carried_out(ledger: Caller, if_match: str) -> None:
    intro = await run_lifecycle(ledger, ASK, ACCEPT)
    answer = await ledger.post(CONSENT.path(intro["id"]), CONSENT.body, if_match=if_match)
    assert (answer.status_code, answer.headers["etag"]) == (200, '"3"')


async def test_a_step_on_an_older_version_is_refused_with_the_newer(ledger: Caller, log: JetStreamLog) -> None:
    intro = await run_lifecycle(ledger, ASK, ACCEPT)
    answer = await ledger.post(CONSENT.path(intro["id"]), CONSENT.body, if_match='"1"')
    refused(answer, 412, "version_mismatch", if_match=1, version=2)
    assert await log.end() == 2


async def test_a_repeat_is_answered_although_its_if_match_is_of_the_past(ledger: Caller) -> None:
    favour = await run_lifecycle(ledger, CLAIM)
    for replayed in (None, "true"):
        answer = await ledger.post(CONFIRM.path(favour["id"]), CONFIRM.body, key="once", if_match='"1"')
        assert (answer.status_code, answer.headers.get("idempotent-replayed")) == (200, replayed)


async def test_a_creation_of_what_must_exist_already_is_refused(ledger: Caller, log: JetStreamLog) -> None:
    answer = await ledger.post("/favours", FAVOUR | by("bob"), key="new", if_match='"1"')
    refused(answer, 412, "version_mismatch", if_match=1, version=0)
    assert await log.end() == 0


# Facts that are already recorded


async def test_what_the_other_one_said_before_is_answered_as_it_stands(ledger: Caller, log: JetStreamLog) -> None:
    first = await ledger.post("/contacts", by("ada", member="ada", other="bob"))
    other = await ledger.post("/contacts", by("bob", member="bob", other="ada", gathering=GATHERING), key="mine")
    assert (other.status_code, other.json()) == (201, first.json())
    assert {name: other.headers[name] for name in HEADERS_OF_A_CREATION} == {
        name: first.headers[name] for name in HEADERS_OF_A_CREATION
    }
    assert "idempotent-replayed" not in other.headers
    assert await log.end() == 1


async def test_an_attendance_that_both_speak_of_is_one(ledger: Caller, log: JetStreamLog) -> None:
    gathering = (await run_lifecycle(ledger, HOLD))["id"]
    said = [await ledger.post("/attendances", by(actor, gathering=gathering, member="bob")) for actor in ("bob", "ada")]
    assert [answer.status_code for answer in said] == [201, 201]
    assert said[1].json() == said[0].json()
    assert await log.end() == 2


async def test_one_who_has_left_joins_again_with_the_same_words(ledger: Caller) -> None:
    words = by("eve", member="eve")
    states = [(await ledger.recorded("/members", words))["version"] for _ in range(2)]
    assert states == [1, 1]
    await ledger.recorded("/members/eve/leave", by("eve"))
    again = await ledger.post("/members", words)
    assert (again.status_code, again.json()["state"], again.json()["version"]) == (201, "active", 3)


async def test_a_member_is_called_by_their_own_id(ledger: Caller, log: JetStreamLog) -> None:
    answer = await ledger.post("/members", by("eve", member="eve"))
    assert answer.headers["location"] == ledger.path("/members/eve")
    refused(await ledger.post(f"/members/{answer.json()['id']}/pause", by("eve")), 404, "unknown", kind="member")
    joined, left = await run_requests(ledger, await resolve(ledger, (JOIN, LEAVE)))
    assert joined["id"] == left["id"]
    assert await log.end() == 3


# Other fields of a request


async def test_a_referral_that_grew_out_of_a_won_one_shares_with_its_referrer(ledger: Caller) -> None:
    parent = await run_lifecycle(ledger, *LIFECYCLES["a referral that is won at once"])
    child = REFERRAL | {"referrer": "bob", "recipient": "eve", "actor": "bob", "parent": parent["id"]}
    view = await ledger.recorded("/referrals", child)
    assert (view["parent"], view["parent_referrer"]) == (parent["id"], "ada")


async def test_what_happened_long_ago_may_be_recorded_now(ledger: Caller, log: JetStreamLog) -> None:
    await ledger.recorded("/favours", FAVOUR | by("bob", occurred_at="1999-12-31T23:59:59+01:00"), key="old")
    event = await log.at(1)
    assert event is not None
    assert event.envelope.time == datetime(1999, 12, 31, 22, 59, 59, tzinfo=UTC)


async def test_an_asker_may_say_until_when_to_answer(ledger: Caller) -> None:
    respond_by = (datetime.now(UTC) + timedelta(days=3)).replace(microsecond=0)
    view = await ledger.recorded("/intros", {**ASK.body, "respond_by": respond_by.isoformat()}, key="soon")
    assert "lapses_at" not in view  # Only the member who is asked may know this deadline.
    assert datetime.fromisoformat(view["visible_until"]) == respond_by + timedelta(days=10)


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Request-Id": "request-1", "traceparent": TRACE}, ("request-1", TRACE)),
        ({"X-Request-Id": "no spaces, please", "traceparent": "of no form"}, (None, None)),
        ({"X-Request-Id": "x" * 129, "traceparent": TRACE.upper()}, (None, None)),
        ({}, (None, None)),
    ],
)
async def test_an_event_says_which_request_it_came_from(
    ledger: Caller, log: JetStreamLog, headers: dict[str, str], expected: tuple[str | None, str | None]
) -> None:
    request = {"json": FAVOUR | by("bob"), "headers": {"Idempotency-Key": "traced", **headers}}
    answer = await ledger.client.request("POST", ledger.path("/favours"), **request)  # type: ignore[arg-type]
    event = await log.at(int(answer.headers["ledger-position"]))
    assert event is not None
    assert (event.envelope.correlationid, event.envelope.traceparent) == expected
    assert (event.envelope.actor, event.envelope.commandid) == ("bob", "traced")


async def test_a_match_made_shows_both_consents_until_it_is_agreed(ledger: Caller) -> None:
    match = await run_lifecycle(ledger, *LIFECYCLES["a match that is made and meets"][:3], MAKE)
    assert (match["stake"], match["version"], "consented" in match) == (180, 4, False)
    offer = await run_lifecycle(ledger, OFFER)
    assert "consented" not in offer
