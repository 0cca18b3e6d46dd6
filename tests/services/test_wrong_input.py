"""The service names each wrong input and records none of it. No request causes an internal error."""

from collections.abc import AsyncIterator

import pytest

from ledger.log.jetstream import JetStreamLog
from services.http.parameters import BODY_MAX_BYTES
from tests.services.bad_requests.catalogue import every_bad_request
from tests.services.bad_requests.subjects import create_subjects
from tests.services.caller import Caller, refused
from tests.services.lifecycles import FAVOUR, by


async def test_what_is_wrong_is_named_and_nothing_of_it_is_recorded(
    ledger: Caller, log: JetStreamLog, subtests: pytest.Subtests
) -> None:
    about = await create_subjects(ledger)
    position = await log.end()
    for request in every_bad_request(about):
        with subtests.test(request.name):
            answer = await request.send(ledger)
            refused(answer, request.status, request.code, **request.facts)
            assert answer.headers.get("retry-after") is None
    assert await log.end() == position


async def test_a_body_that_does_not_say_its_length_is_cut_off_at_1_mib(ledger: Caller, log: JetStreamLog) -> None:
    sent_bytes = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent_bytes
        while True:
            sent_bytes += 65_536
            yield b" " * 65_536

    for path in ("/favours", "/batch"):
        sent_bytes = 0
        answer = await ledger.client.post(ledger.path(path), content=endless(), headers={"Idempotency-Key": "endless"})
        refused(answer, 413, "too_large")
        assert sent_bytes <= BODY_MAX_BYTES + 2 * 65_536
    assert await log.end() == 0


async def test_a_body_of_1_mib_is_read(ledger: Caller) -> None:
    words = b'{"giver":"ada","receiver":"bob","size":"small","actor":"bob"}'.ljust(BODY_MAX_BYTES)
    answer = await ledger.client.post(ledger.path("/favours"), content=words, headers={"Idempotency-Key": "long"})
    assert answer.status_code == 201


async def test_a_wrong_method_is_told_the_right_ones(ledger: Caller) -> None:
    for path, methods in {"/batch": {"POST"}, "/favours": {"GET", "POST"}, "/balances": {"GET"}}.items():
        answer = await ledger.client.delete(ledger.path(path))
        refused(answer, 405, "no_such_method")
        assert {method.strip() for method in answer.headers["allow"].split(",")} == {*methods, "OPTIONS"}


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_a_body_that_is_not_said_to_be_json_is_refused(
    ledger: Caller, log: JetStreamLog, media_type: str
) -> None:
    words = b'{"giver":"ada","receiver":"bob","size":"small","actor":"bob"}'
    headers = {"Idempotency-Key": "a-form", "Content-Type": media_type}
    for path, body in (("/favours", words), ("/batch", b"[]")):
        answer = await ledger.client.post(ledger.path(path), content=body, headers=headers)
        refused(answer, 415, "not_json")
    assert await log.end() == 0


async def test_a_refused_request_leaves_its_key_free(ledger: Caller) -> None:
    for _ in range(2):
        refused(await ledger.post("/favours", FAVOUR | by("eve"), key="mended"), 403, "not_yours")
    mended = await ledger.post("/favours", FAVOUR | by("ada"), key="mended")
    assert (mended.status_code, "idempotent-replayed" in mended.headers) == (201, False)
