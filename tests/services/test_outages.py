"""Outages of NATS and Postgres: what goes on, what is refused, and what comes back by itself."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest

from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.ports import HOST, free_port
from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books.schema import migrate
from ledger.domain.catalog.kinds import KINDS
from ledger.log.connection import Connection
from ledger.log.event_log import Append, AppendUncertain, LogUnavailable
from ledger.log.jetstream import JetStreamLog
from ledger.runtime.settings import Settings
from services.app import application
from tests.polling import wait_until
from tests.services.caller import Caller, problem_in, refused, serving, started
from tests.services.lifecycles import CLAIM, CONFIRM, GATHERING, LIFECYCLES, address_of, by, run_lifecycle
from tests.services.readiness import THANKED, readiness, stream_on
from workers.projector import run_projector


@pytest.fixture
def on_own_nats(settings: Settings, idle_nats: EmbeddedNats) -> Settings:
    return msgspec.structs.replace(settings, nats_url=idle_nats.url, nats_monitor_url=idle_nats.monitor_url)


@asynccontextmanager
async def books_following(settings: Settings) -> AsyncGenerator[None]:
    """A projector beside the application."""
    async with Connection(settings.nats_url, "projector") as connection:
        task = asyncio.create_task(run_projector(JetStreamLog(connection), settings))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def end_of(settings: Settings) -> int:
    async with Connection(settings.nats_url, "test") as connection:
        await connection.ready()
        return await JetStreamLog(connection).end()


# All that can be read


@dataclass(frozen=True)
class Read:
    """A route that is read, with something that there is in its path; and the codes of the 503 that it may answer."""

    path: str
    query: Mapping[str, str]
    unavailable: frozenset[str]


async def all_reads(ledger: Caller) -> list[Read]:
    """Every route that is read, once the books show something of all that there can be.

    Raises: KeyError, when a route has a parameter in its path that there is no value for here.
    """
    begun = {life[0].kind: life[0] for life in LIFECYCLES.values()}
    ids = {KINDS[kind].plural: address_of(await run_lifecycle(ledger, begun[kind]), kind) for kind in KINDS}
    last = await ledger.recorded("/favours", THANKED, key="last")
    statement = await ledger.get("/members/ada/statement", min_position=last["position"])
    ids["entries"] = statement.json()["lines"][0]["entry"]
    named = {"community": ledger.community, "member": "ada", "other": "bob"}
    paths: Mapping[str, Any] = application("all", Settings()).openapi()["paths"]
    return [
        Read(
            with_values(path, named, ids),
            {"viewer": "ada"} if "{member}" in path else {},  # The coach speaks to the member alone.
            frozenset(methods["get"]["responses"]["503"]["description"].split(", ")),
        )
        for path, methods in paths.items()
        if path.startswith("/v1/") and "get" in methods
    ]


def with_values(path: str, named: Mapping[str, str], ids: Mapping[str, str]) -> str:
    """A path with a value for each parameter. An `id` is one of the collection before it."""

    def value(collection: str, part: str) -> str:
        if part == "{id}":
            return ids[collection]
        return named[part.strip("{}")] if part.startswith("{") else part

    return "/".join(value(collection, part) for collection, part in pairwise(["", *path.split("/")]))


async def answers_to(reads: Sequence[Read], client: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    """What all of them answer, by path. How far the feed has got is left out: what others record moves it, too."""
    answers = {read.path: await client.get(read.path, params=read.query) for read in reads}
    assert {path: answer.text for path, answer in answers.items() if answer.status_code != 200} == {}
    return {path: answer.json() | {"after": ...} for path, answer in answers.items()}


@pytest.mark.parametrize("path", ["/v1/communities/{community}/{colour}", "/v1/communities/{community}/songs/{id}"])
def test_a_path_with_a_parameter_that_there_is_no_value_for_is_not_passed_over(path: str) -> None:
    with pytest.raises(KeyError, match=r"colour|songs"):
        with_values(path, {"community": "acme"}, {"favours": GATHERING})


# NATS


async def test_while_nats_is_away_reads_go_on_and_writes_come_back_by_themselves(
    on_own_nats: Settings, idle_nats: EmbeddedNats
) -> None:
    idle_nats.start()
    assert await stream_on(on_own_nats)
    async with serving("all", on_own_nats) as client, books_following(on_own_nats):
        ledger = Caller(client)
        await ledger.recorded("/favours", THANKED, key="before")
        reads = await all_reads(ledger.elsewhere())
        before = await answers_to(reads, client)
        position = await end_of(on_own_nats)
        assert (await ledger.get("/members/ada/balance", min_position=position)).json()["main"] == 120

        idle_nats.kill()
        for key in ("before", "during"):
            answer = await ledger.post("/favours", THANKED, key=key)
            problem = problem_in(answer)
            assert (answer.status_code, problem["code"]) in {(503, "log_unavailable"), (504, "append_uncertain")}
            assert problem["retryable"] is True
        answer = await ledger.post("/batch", [{"op": "favour.record", "body": THANKED, "idempotency_key": "during"}])
        assert problem_in(answer)["retryable"] is True
        assert await answers_to(reads, client) == before
        status, verdicts = await readiness(client)
        assert (status, verdicts["books"]) == (503, "ok")
        assert verdicts["log"].startswith("LogUnavailable")
        assert (await client.get("/livez")).status_code == 200

        idle_nats.start()

        async def written() -> bool:
            return (await ledger.post("/favours", THANKED, key="during")).status_code == 201

        await wait_until(written)
        replay = await ledger.post("/favours", THANKED, key="before")
        assert (replay.status_code, replay.headers["idempotent-replayed"]) == (201, "true")
        assert await end_of(on_own_nats) == position + 1

        async def shown() -> bool:  # The projector may need a moment to see that its consumer is gone.
            answer = await ledger.get("/members/ada/balance", min_position=position + 1)
            return answer.status_code == 200 and answer.json()["main"] == 240

        await wait_until(shown)
        assert (await readiness(client))[0] == 200


async def test_an_answer_that_was_lost_is_met_again(
    ledger: Caller, log: JetStreamLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    losing = lost_answers(monkeypatch, 1)
    answer = await ledger.post("/favours", THANKED, key="once")
    assert (answer.status_code, "idempotent-replayed" in answer.headers) == (201, False)
    assert losing == []
    assert await log.end() == 1


async def test_answers_that_are_lost_again_and_again_leave_it_uncertain(
    ledger: Caller, log: JetStreamLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JetStreamLog, "append", never_answered)
    answer = await ledger.post("/favours", THANKED, key="once")
    refused(answer, 504, "append_uncertain", retryable=True)
    batch = [{"op": "favour.record", "body": THANKED, "idempotency_key": key} for key in ("once", "twice")]
    refused(await ledger.post("/batch", batch), 504, "append_uncertain", retryable=True)
    monkeypatch.undo()
    for key in ("once", "twice"):
        assert (await ledger.post("/favours", THANKED, key=key)).status_code == 201
    assert await log.end() == 2


async def test_what_may_be_recorded_is_never_said_not_to_be(
    ledger: Caller, log: JetStreamLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The append was carried out, its answer was lost, and then the log went away: that is uncertain, not refused."""
    append = JetStreamLog.append

    async def gone_after(self: JetStreamLog, events: Sequence[Append]) -> list[int]:
        await append(self, events)
        monkeypatch.setattr(Connection, "require", unreachable)
        raise AppendUncertain("the answer was lost")

    def unreachable(_: Connection) -> Any:
        raise LogUnavailable("no connection to NATS")

    monkeypatch.setattr(JetStreamLog, "append", gone_after)
    answer = await ledger.post("/favours", THANKED, key="once")
    monkeypatch.undo()
    assert await log.end() == 1
    refused(answer, 504, "append_uncertain", retryable=True)


async def never_answered(_: JetStreamLog, __: Sequence[Append]) -> list[int]:
    raise AppendUncertain("the answer was lost")


def lost_answers(monkeypatch: pytest.MonkeyPatch, count: int) -> list[None]:
    """So many appends are carried out and not answered; answers what is left of them."""
    append, left = JetStreamLog.append, [None] * count

    async def losing(self: JetStreamLog, events: Sequence[Append]) -> list[int]:
        positions = await append(self, events)
        if left:
            left.pop()
            raise AppendUncertain("the answer was lost")
        return positions

    monkeypatch.setattr(JetStreamLog, "append", losing)
    return left


# Postgres


async def test_while_postgres_is_away_writes_go_on_and_reads_come_back_by_themselves(
    settings: Settings, idle_postgres: EmbeddedPostgres
) -> None:
    idle_postgres.start()
    on_own = msgspec.structs.replace(settings, postgres_dsn=idle_postgres.dsn)
    await migrate(on_own.books)
    async with serving("all", on_own) as client, books_following(on_own):
        ledger = Caller(client)
        claimed = await ledger.recorded("/favours", CLAIM.body, key="before")
        reads = await all_reads(ledger.elsewhere())
        before = await answers_to(reads, client)
        position = await end_of(on_own)

        idle_postgres.kill()
        for read in reads:
            answer = await client.get(read.path, params=read.query)
            refused(answer, 503, "books_unavailable", retryable=True)
            assert "books_unavailable" in read.unavailable, read.path
            assert int(answer.headers["retry-after"]) >= 1
        during = await ledger.recorded("/favours", THANKED, key="during")
        refused(await ledger.get(f"/favours/{during['id']}", min_position=position + 1), 503, "books_unavailable")
        confirmed = await ledger.recorded(f"/favours/{claimed['id']}/confirm", CONFIRM.body)
        batch = [
            {"op": "favour.record", "body": THANKED, "idempotency_key": "in-a-batch"},
            {"op": "favour.forgive", "body": by("ada"), "id": during["id"]},
        ]
        results = (await ledger.post("/batch", batch)).json()
        assert [(result["status"], result["position"]) for result in results] == [
            ("recorded", position + 3),
            ("recorded", position + 4),
        ]
        status, verdicts = await readiness(client)
        assert (status, verdicts["log"]) == (503, "ok")
        assert verdicts["books"].startswith("BooksUnavailable")

        idle_postgres.start()

        async def caught_up() -> bool:
            return (await ledger.get("/summary", min_position=position + 4)).status_code == 200

        await wait_until(caught_up)
        assert await answers_to(reads, client) == before
        assert (await ledger.get(f"/favours/{claimed['id']}")).json() == confirmed
        assert (await ledger.get(f"/favours/{during['id']}")).json()["state"] == "forgiven"
        assert (await ledger.get("/members/ada/balance")).json()["main"] == 240
        assert (await readiness(client))[0] == 200


async def test_a_reader_who_waits_is_answered_although_the_writers_word_got_lost(
    ledger: Caller, settings: Settings, projector: None
) -> None:
    """What the books show at the end of the wait is shown, also when nobody said that they moved."""
    first = await ledger.recorded("/favours", THANKED, key="first")
    assert (await ledger.get("/summary", min_position=first["position"])).status_code == 200
    postgres = await asyncpg.connect(settings.postgres_dsn)
    try:
        ended = await postgres.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'referral-ledger watermark'"
        )
    finally:
        await postgres.close()
    assert ended >= 1
    second = await ledger.recorded("/favours", THANKED, key="second")
    answer = await ledger.get("/summary", min_position=second["position"])
    assert (answer.status_code, answer.headers.get("ledger-position")) == (200, str(second["position"]))


async def test_books_that_are_set_up_while_it_runs_are_read(settings: Settings, schema: str) -> None:
    unmade = msgspec.structs.replace(settings, postgres_schema=f"{schema}_later")
    async with started("query", unmade) as client:
        ledger = Caller(client)
        answer = await ledger.get("/summary")
        refused(answer, 503, "schema_missing", retryable=True)
        assert answer.headers["retry-after"] == "1"
        status, verdicts = await readiness(client)
        assert (status, "referral-ledger migrate" in verdicts["books"]) == (503, True)
        await migrate(unmade.books)
        assert (await ledger.get("/summary")).status_code == 200
        assert (await readiness(client))[0] == 200


async def test_a_database_that_does_not_exist_is_unavailable_and_no_mistake(settings: Settings) -> None:
    server, _, _ = settings.postgres_dsn.rpartition("/")
    elsewhere = msgspec.structs.replace(settings, postgres_dsn=f"{server}/nowhere")
    async with started("query", elsewhere) as client:
        status, verdicts = await readiness(client)
        assert status == 503
        assert verdicts["books"].startswith("BooksUnavailable")
        refused(await Caller(client).get("/summary"), 503, "books_unavailable")


# Both, from the start


async def test_it_starts_before_its_servers_and_serves_once_they_are_there(
    settings: Settings, idle_nats: EmbeddedNats, idle_postgres: EmbeddedPostgres
) -> None:
    own = msgspec.structs.replace(
        settings,
        postgres_dsn=idle_postgres.dsn,
        nats_url=idle_nats.url,
        nats_monitor_url=idle_nats.monitor_url,
    )
    async with started("all", own) as client:
        ledger = Caller(client)
        assert (await client.get("/livez")).json() == {"status": "ok"}
        status, verdicts = await readiness(client)
        assert (status, verdicts["status"]) == (503, "not ready")
        assert verdicts["log"].startswith("LogUnavailable")
        assert verdicts["books"].startswith("BooksUnavailable")
        refused(await ledger.post("/favours", THANKED, key="early"), 503, "log_unavailable", retryable=True)
        refused(await ledger.get("/summary"), 503, "books_unavailable", retryable=True)

        idle_nats.start()

        async def found_none() -> bool:
            return (await readiness(client))[1]["log"].startswith("StreamMissing")

        await wait_until(found_none)
        refused(await ledger.post("/favours", THANKED, key="early"), 503, "log_unavailable", retryable=True)
        assert await stream_on(own)

        async def written() -> bool:
            return (await ledger.post("/favours", THANKED, key="early")).status_code == 201

        await wait_until(written)
        idle_postgres.start()
        await migrate(own.books)

        async def ready() -> bool:
            return (await readiness(client)) == (200, {"status": "ok", "log": "ok", "books": "ok"})

        await wait_until(ready)


async def test_it_ends_at_once_whenever_it_is_told_to_while_its_servers_are_away(settings: Settings) -> None:
    nowhere = msgspec.structs.replace(
        settings,
        postgres_dsn=f"postgresql://postgres@{HOST}:{free_port()}/postgres",
        nats_url=f"nats://{HOST}:{free_port()}",
    )

    async def life(turns: int, told: asyncio.Event) -> None:
        async with started("all", nowhere):
            for _ in range(turns):
                await asyncio.sleep(0)
            told.set()

    never_ended: list[int] = []
    for turns in range(12):  # So many turns of the event loop it gets on with connecting.
        told = asyncio.Event()
        task = asyncio.create_task(life(turns, told))
        await told.wait()  # How long it takes to begin is another question.
        done, _ = await asyncio.wait([task], timeout=1)
        if not done:
            never_ended.append(turns)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    assert never_ended == []
