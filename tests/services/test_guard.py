"""The guard over HTTP: its advice on an ask, its refusals, its exceptions, and its behaviour without books."""

import os
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import msgspec
import psutil
import pytest

from deploy.embedded.ports import HOST, free_port
from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books.schema import migrate
from ledger.commands.consultation import CONSULT_WITHIN_S
from ledger.domain.kinds.publication import POLICY_NOTICE
from ledger.log.jetstream import JetStreamLog
from ledger.runtime.settings import Settings
from tests.services.caller import Caller, Clock, problem_in, refused, serving
from tests.services.lifecycles import INTRO, by

NOTICE: Final = POLICY_NOTICE + timedelta(seconds=5)


@pytest.fixture
def ledger(ledger: Caller, projector: None) -> Caller:
    """Provide a ledger whose books follow the log."""
    return ledger


async def published(ledger: Caller, clock: Clock, **policy: object) -> None:
    """Publish a policy, and move the clock until the policy is in force."""
    body = by("mod", policy=policy, starts_at=(clock() + POLICY_NOTICE + timedelta(seconds=4)).isoformat())
    await ledger.recorded("/policies", body, key=uuid4().hex)
    clock.ahead += NOTICE


async def asks(ledger: Caller, *, asker: str = "ann", connector: str = "cas", target: str = "tom") -> httpx.Response:
    """Send an ask and return the response. If it is recorded, wait until the books show it."""
    body = {"asker": asker, "connector": connector, "target": target, "actor": asker}
    answer = await ledger.post("/intros", body, key=uuid4().hex)
    if answer.status_code == 201:
        await caught_up(ledger, answer)
    return answer


async def caught_up(ledger: Caller, answer: httpx.Response) -> None:
    assert answer.status_code in {200, 201}, answer.text
    shown = await ledger.get("/summary", min_position=int(answer.headers["ledger-position"]))
    assert shown.status_code == 200


async def does(ledger: Caller, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Execute a command. Return its resource once the books show it."""
    answer = await ledger.post(path, body, key=uuid4().hex)
    await caught_up(ledger, answer)
    view: dict[str, Any] = answer.json()
    return view


async def five_open(ledger: Caller) -> list[str]:
    """Record asks of ann to five connectors. Return their ids."""
    answers = [await asks(ledger, connector=f"connector-{number}") for number in range(5)]
    assert [answer.status_code for answer in answers] == [201] * 5
    return [answer.json()["id"] for answer in answers]


def reasons_in(answer: httpx.Response) -> list[str]:
    """Return the reasons against the ask, as a service reads them."""
    assert answer.status_code == 201, answer.text
    reasons: list[str] = answer.json()["advice"].get("reasons", [])
    return reasons


# Limit of open asks


async def test_five_asks_may_be_open_and_no_sixth(ledger: Caller, clock: Clock) -> None:
    await published(ledger, clock, guard="enforce")
    await five_open(ledger)
    refused(await asks(ledger), 409, "open_asks", open_asks=5, open_asks_max=5, retryable=False)
    assert (await asks(ledger, asker="bob")).status_code == 201
    offer = await ledger.post("/intros", INTRO | by("cas", level=3), key="offer")
    assert offer.status_code == 201


async def test_a_silent_no_frees_no_place_for_that_would_tell_of_it(ledger: Caller, clock: Clock) -> None:
    await published(ledger, clock, guard="enforce")
    first, second, third, fourth, _ = await five_open(ledger)
    await does(ledger, f"/intros/{first}/decline", by("connector-0"))
    await does(ledger, f"/intros/{second}/accept", by("connector-1", level=1))
    await does(ledger, f"/intros/{second}/refuse", by("tom"))
    refused(await asks(ledger), 409, "open_asks", open_asks=5)
    await does(ledger, f"/intros/{third}/decline", by("connector-2", tell_now=True))
    assert (await asks(ledger, connector="dee")).status_code == 201
    refused(await asks(ledger), 409, "open_asks", open_asks=5)
    await does(ledger, f"/intros/{fourth}/withdraw", by("ann"))
    assert (await asks(ledger, connector="eve")).status_code == 201
    clock.ahead += timedelta(days=24, minutes=1)  # Every silence has ended.
    assert (await asks(ledger)).status_code == 201


async def test_a_yes_frees_a_place(ledger: Caller, clock: Clock) -> None:
    await published(ledger, clock, guard="enforce")
    first, *_ = await five_open(ledger)
    await does(ledger, f"/intros/{first}/accept", by("connector-0", level=1))
    await does(ledger, f"/intros/{first}/consent", by("tom"))
    refused(await asks(ledger), 409, "open_asks")
    await does(ledger, f"/intros/{first}/make", by("connector-0"))
    assert (await asks(ledger)).status_code == 201


async def test_a_connector_is_asked_four_times_in_thirty_days_and_how_often_is_not_told(
    ledger: Caller, clock: Clock
) -> None:
    await published(ledger, clock, guard="enforce")
    answers = [await asks(ledger, asker=f"asker-{number}") for number in range(4)]
    assert [reasons_in(answer) for answer in answers] == [[]] * 4
    await does(
        ledger, f"/intros/{answers[3].json()['id']}/withdraw", by("asker-3")
    )  # The ask has reached the connector all the same.
    problem = problem_in(await asks(ledger))
    assert (problem["status"], problem["code"]) == (409, "inbound_asks")
    assert set(problem) == {"type", "title", "status", "code", "retryable", "detail"}
    assert (await asks(ledger, connector="dee")).status_code == 201
    clock.ahead = timedelta(days=30, minutes=1)
    assert (await asks(ledger)).status_code == 201


@pytest.mark.parametrize(("own", "taken"), [(0, 0), (1, 1), (2, 2), (9, 4), (None, 4)])
async def test_a_connector_may_take_fewer_and_not_more(
    ledger: Caller, clock: Clock, own: int | None, taken: int
) -> None:
    await published(ledger, clock, guard="enforce")
    await does(ledger, "/members", by("cas", member="cas"))
    await does(ledger, "/members/cas/caps", by("cas", welcome=["nobody"], **({} if own is None else {"asks_in": own})))
    answers = [await asks(ledger, asker=f"asker-{number}") for number in range(5)]
    assert [answer.status_code for answer in answers] == [201] * taken + [409] * (5 - taken)
    assert {problem_in(answer)["code"] for answer in answers[taken:]} == {"inbound_asks"}


async def test_the_same_is_asked_again_only_after_thirty_days(ledger: Caller, clock: Clock) -> None:
    await published(ledger, clock, guard="enforce")
    first = await asks(ledger)
    await does(ledger, f"/intros/{first.json()['id']}/withdraw", by("ann"))
    problem = problem_in(await asks(ledger))
    assert (problem["status"], problem["code"]) == (409, "asked_before")
    again_at = datetime.fromisoformat(problem["again_at"])
    clock.ahead = timedelta(0)
    assert timedelta(days=29, hours=23) < again_at - clock() <= timedelta(days=30)
    clock.ahead = NOTICE
    assert (await asks(ledger, target="tim")).status_code == 201
    assert (await asks(ledger, connector="dee")).status_code == 201
    clock.ahead = timedelta(days=30) - timedelta(minutes=5)
    refused(await asks(ledger), 409, "asked_before")
    clock.ahead = timedelta(days=30)
    assert (await asks(ledger)).status_code == 201


async def test_the_numbers_are_the_policys(ledger: Caller, clock: Clock) -> None:
    await published(ledger, clock, guard="enforce", open_asks_max=1, inbound_asks_max=2, ask_again="PT1H")
    assert (await asks(ledger)).status_code == 201
    refused(await asks(ledger, connector="dee"), 409, "open_asks", open_asks=1, open_asks_max=1)
    assert (await asks(ledger, asker="bob")).status_code == 201
    refused(await asks(ledger, asker="eve"), 409, "inbound_asks")


# Members who only receive


async def riding(ledger: Caller, clock: Clock) -> None:
    """Record five small favours for ann, and move the clock beyond the newcomer period."""
    for number in range(5):
        thanks = {"giver": f"friend-{number}", "receiver": "ann", "size": "small", "actor": "ann"}
        await does(ledger, "/favours", thanks)
    clock.ahead += timedelta(days=91)


async def test_one_who_rides_is_refused_with_figures_and_ways_to_give(ledger: Caller, clock: Clock) -> None:
    await published(ledger, clock, guard="enforce")
    await riding(ledger, clock)
    claim = {"giver": "dee", "receiver": "ann", "size": "small", "actor": "dee"}
    waiting = await does(ledger, "/favours", claim)
    figures = {"net": -300, "limit": 120, "given": 0, "received": 300, "received_items": 5}
    ways = [f"confirm_favour dee {waiting['id']}", "set_offers", "make_contact"]
    refused(await asks(ledger), 409, "reciprocity_limit", ways=ways, **figures)
    give = {"giver": "ann", "receiver": "dee", "size": "medium", "actor": "dee"}
    await does(ledger, "/favours", give)  # Giving is never blocked, and 120 / 300 is not under 0.2.
    assert (await asks(ledger)).status_code == 201


async def test_one_whom_the_connector_welcomes_is_let_through_and_the_facts_are_told(
    ledger: Caller, clock: Clock
) -> None:
    await published(ledger, clock, guard="enforce", inbound_asks_max=0, ask_again="P365D")
    await riding(ledger, clock)
    refused(await asks(ledger), 409, "reciprocity_limit")
    await does(ledger, "/members", by("cas", member="cas"))
    await does(ledger, "/members/cas/caps", by("cas", welcome=["ann"]))
    invited = await asks(ledger)
    assert invited.json()["invited"] is True
    to_connector = await ledger.get(f"/intros/{invited.json()['id']}", viewer="cas")
    advice = to_connector.json()["advice"]
    assert (advice["verdict"], advice.get("reasons"), advice["net"]) == ("riding", None, -300)
    refused(await asks(ledger), 409, "asked_before")  # A welcome lifts no rule that protects the community alone.
    refused(await asks(ledger, asker="bob"), 409, "inbound_asks")


async def test_one_who_asks_of_ways_to_give_is_told_what_is_wanted(ledger: Caller, clock: Clock) -> None:
    await published(ledger, clock, guard="enforce")
    await riding(ledger, clock)
    for member, side, tags in (("ann", "offers", ["tax"]), ("dee", "wants", ["law", "tax"])):
        await does(ledger, "/members", by(member, member=member))
        await does(ledger, f"/members/{member}/{side}", by(member, tags=tags))
    refused(await asks(ledger), 409, "reciprocity_limit", ways=["meet_want dee tax", "make_contact"])


async def test_the_connector_is_told_what_the_asker_has_done(ledger: Caller, clock: Clock) -> None:
    for number in range(3):
        gathering = await does(ledger, "/gatherings", by("host", host="host", dues=True))
        attended = await does(ledger, "/attendances", by("ann", member="ann", gathering=gathering["id"]))
        if number == 0:
            await does(ledger, f"/attendances/{attended['id']}/pay", by("host"))
    asked = (await asks(ledger)).json()
    advice = (await ledger.get(f"/intros/{asked['id']}", viewer="cas")).json()["advice"]
    assert (advice["attended"], advice["dues_paid"]) == (3, 1)
    clock.ahead = timedelta(days=181)
    again = (await asks(ledger)).json()
    assert not {"attended", "dues_paid"} & again["advice"].keys()


# Settings off, advise and enforce


async def test_advice_refuses_nothing_and_a_guard_that_is_off_says_nothing(ledger: Caller, clock: Clock) -> None:
    await five_open(ledger)
    sixth = await asks(ledger)
    assert reasons_in(sixth) == ["open_asks"]
    assert sixth.json()["advice"] == {
        "verdict": "ok",
        "reasons": ["open_asks"],
        "limit": 120,
        "open_asks": 5,
        "open_asks_max": 5,
    }
    again = await asks(ledger)
    assert reasons_in(again) == ["open_asks", "asked_before"]
    await published(ledger, clock, guard="off")
    without = await asks(ledger)
    assert without.status_code == 201
    assert "advice" not in without.json()


@asynccontextmanager
async def without_books(settings: Settings, clock: Clock) -> AsyncGenerator[Caller]:
    """Run the command service with a log and without Postgres: nothing listens on its port."""
    dsn = f"postgresql://postgres@{HOST}:{free_port()}/postgres"
    nowhere = msgspec.structs.replace(settings, postgres_dsn=dsn, unsafe_log=True)
    async with serving("command", nowhere, clock) as client:
        yield Caller(client)


async def test_without_books_an_ask_is_recorded_with_a_word_about_it(
    settings: Settings, clock: Clock, log: JetStreamLog
) -> None:
    async with without_books(settings, clock) as ledger:
        answer = await ledger.post("/intros", INTRO | by("ann"), key="ask")
        assert (answer.status_code, answer.json()["advice"]) == (201, {"verdict": "unavailable"})
        items = [{"op": "intro.propose", "body": INTRO | by("ann"), "idempotency_key": f"k-{n}"} for n in range(3)]
        results = (await ledger.post("/batch", items)).json()
        assert [result["status"] for result in results] == ["recorded"] * 3
    assert await log.end() == 4


async def test_without_books_a_guard_that_is_enforced_lets_no_ask_through_and_everything_else(
    settings: Settings, clock: Clock, log: JetStreamLog
) -> None:
    async with without_books(settings, clock) as ledger:
        await published(ledger, clock, guard="enforce")
        answer = await ledger.post("/intros", INTRO | by("ann"), key="ask")
        refused(answer, 503, "guard_unavailable", retryable=True)
        assert answer.headers["retry-after"] == "1"
        assert await log.end() == 1
        offer = await ledger.post("/intros", INTRO | by("cas", level=1), key="offer")
        thanks = await ledger.post("/favours", {"giver": "a", "receiver": "b", "size": "small", "actor": "b"}, key="t")
        assert (offer.status_code, thanks.status_code) == (201, 201)
        items = [{"op": "intro.propose", "body": INTRO | by("ann"), "idempotency_key": "ask"}]
        (result,) = (await ledger.post("/batch", items)).json()
        assert (result["status"], result["problem"]["code"]) == ("refused", "guard_unavailable")
        await published(ledger, clock, guard="off")
        unguarded = await ledger.post("/intros", INTRO | by("ann"), key="ask")
        assert (unguarded.status_code, "advice" in unguarded.json()) == (201, False)


def tell(folder: Path, word: int) -> None:
    """Send the signal to every process of the Postgres in this folder."""
    (own,) = folder.rglob("postmaster.pid")
    postmaster = psutil.Process(int(own.read_text().splitlines()[0]))
    for process in [*postmaster.children(recursive=True), postmaster]:
        os.kill(process.pid, word)


async def test_books_that_do_not_answer_hold_nobody_up_for_long(
    settings: Settings, clock: Clock, own_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """A Postgres that hangs is worse than one that is gone. A batch of asks waits for it once, and not once per ask."""
    own = msgspec.structs.replace(settings, postgres_dsn=own_postgres.dsn, unsafe_log=True)
    await migrate(own.books)
    async with serving("command", own, clock) as client:
        ledger = Caller(client)
        before = await ledger.post("/intros", INTRO | by("ann"), key="before")
        assert before.json()["advice"]["verdict"] == "ok"
        tell(tmp_path, signal.SIGSTOP)
        try:
            started_s = time.monotonic()
            answer = await ledger.post("/intros", INTRO | by("ann"), key="during")
            items = [{"op": "intro.propose", "body": INTRO | by("ann"), "idempotency_key": f"k-{n}"} for n in range(50)]
            results = (await ledger.post("/batch", items)).json()
            waited_s = time.monotonic() - started_s
        finally:
            tell(tmp_path, signal.SIGCONT)
        assert (answer.status_code, answer.json()["advice"]) == (201, {"verdict": "unavailable"})
        assert [result["status"] for result in results] == ["recorded"] * 50
        assert waited_s < 5 * CONSULT_WITHIN_S
