"""What still works while a server is away, what comes back by itself, and what `/readyz` says meanwhile."""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.ports import HOST, free_port
from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books.schema import migrate
from ledger.domain.catalog.kinds import KINDS
from ledger.log.connection import Connection
from ledger.log.event_log import Append, AppendUncertain, LogUnavailable
from ledger.log.jetstream import JetStreamLog
from ledger.log.stream import STREAM, StreamDrift, provision, stream_definition
from ledger.runtime.settings import Settings
from services.app import application
from services.command.log_access import require_no_drift
from services.http.health import verdict as verdict_of
from tests.polling import wait_until
from tests.services.caller import Caller, problem_in, refused, serving, started
from tests.services.lifecycles import CLAIM, CONFIRM, FAVOUR, GATHERING, LIFECYCLES, address_of, by, run_lifecycle
from workers.projector import run_projector

THANKED: Final = FAVOUR | by("bob")


class ForgetfulNats(EmbeddedNats):
    """As a nats-server is by default: it acknowledges first and syncs every two minutes."""

    def _config(self) -> str:
        config, changed = re.subn(r", sync_interval: always", "", super()._config())
        assert changed == 1
        return config


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


async def readiness(client: httpx.AsyncClient) -> tuple[int, dict[str, str]]:
    answer = await client.get("/readyz")
    verdicts: dict[str, str] = answer.json()
    return answer.status_code, verdicts


async def stream_on(settings: Settings) -> bool:
    """Makes it, where there is none; whoever serves does not."""
    async with Connection(settings.nats_url, "test") as connection:
        await connection.ready()
        return await provision(connection, 1)


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


# What readiness says


async def test_a_server_that_hangs_is_soon_said_not_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.http.health.CHECK_WITHIN_S", 0.05)

    async def hangs() -> None:
        await asyncio.Event().wait()

    async def answers() -> None:
        pass

    assert await verdict_of(hangs) == "TimeoutError: no answer within 0.05 s"
    assert await verdict_of(answers) == "ok"


# What readiness says of the log


async def test_a_log_that_does_not_fsync_is_not_ready_unless_told_so(settings: Settings, tmp_path: Path) -> None:
    server = ForgetfulNats(tmp_path / "forgetful", free_port(), free_port())
    server.start()
    try:
        forgetful = msgspec.structs.replace(settings, nats_url=server.url, nats_monitor_url=server.monitor_url)
        assert await stream_on(forgetful)

        async def verdict(of: Settings) -> tuple[int, str]:
            async with started("command", of) as client:

                async def connected() -> bool:
                    return not (await readiness(client))[1]["log"].startswith("LogUnavailable")

                await wait_until(connected)
                status, verdicts = await readiness(client)
                return status, verdicts["log"]

        status, why = await verdict(forgetful)
        assert status == 503
        assert why.startswith("NotDurable: sync_interval")
        assert "LEDGER_UNSAFE_LOG=1" in why
        assert await verdict(msgspec.structs.replace(forgetful, unsafe_log=True)) == (200, "ok")
    finally:
        server.stop()


@pytest.mark.parametrize("page", ["hello", "[]", "null", "{}"])
async def test_a_monitor_that_is_something_else_makes_it_not_ready(settings: Settings, page: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(page)}\r\nConnection: close\r\n\r\n{page}".encode())
        await writer.drain()
        writer.close()

    port = free_port()
    elsewhere = msgspec.structs.replace(settings, nats_monitor_url=f"http://{HOST}:{port}")
    async with await asyncio.start_server(answer, HOST, port), started("command", elsewhere) as client:

        async def asked() -> bool:
            return "no connection to NATS" not in (await client.get("/readyz")).text

        await wait_until(asked)
        status, verdicts = await readiness(client)
        assert (status, verdicts.get("log", "").partition(":")[0] in {"LogUnavailable", "NotDurable"}) == (503, True)


@pytest.fixture
async def drifted(settings: Settings, connection: Connection) -> Settings:
    """On a stream that forgets what is older than an hour."""
    await connection.api(f"STREAM.DELETE.{STREAM}")
    answer = await connection.api(f"STREAM.CREATE.{STREAM}", stream_definition(1) | {"max_age": 3_600_000_000_000})
    assert "error" not in answer
    return settings


async def test_a_stream_that_is_not_as_defined_is_not_ready_and_said_why(drifted: Settings) -> None:
    with capture_logs() as logs:
        async with started("command", drifted) as client:

            async def found() -> bool:
                return "StreamDrift" in (await readiness(client))[1]["log"]

            await wait_until(found)
            status, verdicts = await readiness(client)
            assert status == 503
            assert "max_age is 3600000000000 and must be 0" in verdicts["log"]

            async def told() -> bool:
                return any(entry["event"] == "not ready" and "max_age" in entry["reason"] for entry in logs)

            await wait_until(told)
            answer = await Caller(client).post("/favours", FAVOUR | by("ada"), key="drifted")
            refused(answer, 503, "log_unavailable")


async def test_before_anything_is_served_a_stream_that_is_not_as_defined_is_refused(drifted: Settings) -> None:
    with pytest.raises(StreamDrift, match="max_age is 3600000000000 and must be 0"):
        await require_no_drift(drifted)


async def test_a_stream_that_was_lost_is_not_made_anew_by_whoever_serves(
    settings: Settings, connection: Connection, ledger: Caller
) -> None:
    await ledger.recorded("/favours", THANKED, key="before")
    await connection.api(f"STREAM.DELETE.{STREAM}")
    await require_no_drift(settings)
    for _ in range(2):
        status, verdicts = await readiness(ledger.client)
        assert (status, verdicts["log"].partition(":")[0]) == (503, "StreamMissing")
        refused(await ledger.post("/favours", THANKED, key="before"), 503, "log_unavailable", retryable=True)
    assert "error" in await connection.api(f"STREAM.INFO.{STREAM}")


async def test_a_log_that_is_not_there_yet_is_no_reason_not_to_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.log.connection.CONNECT_WITHIN_S", 0.4)
    nowhere = msgspec.structs.replace(settings, nats_url=f"nats://{HOST}:{free_port()}")
    await require_no_drift(nowhere)


# Callers who go away


@asynccontextmanager
async def append_held_back(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[tuple[asyncio.Event, asyncio.Event]]:
    """Appends say that they are under way, and wait to be let go."""
    append, under_way, let_go = JetStreamLog.append, asyncio.Event(), asyncio.Event()

    async def held(self: JetStreamLog, events: Sequence[Append]) -> list[int]:
        under_way.set()
        await let_go.wait()
        return await append(self, events)

    monkeypatch.setattr(JetStreamLog, "append", held)
    yield under_way, let_go
    monkeypatch.undo()


@pytest.mark.parametrize("whole", [True, False])
async def test_a_caller_who_goes_away_leaves_nothing_half_recorded(
    ledger: Caller, log: JetStreamLog, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    items = [{"op": "favour.record", "body": THANKED, "idempotency_key": f"key-{number}"} for number in range(10)]
    async with append_held_back(monkeypatch) as (under_way, let_go):
        asked = ledger.post("/batch", items) if whole else ledger.post("/favours", THANKED, key="key-0")
        asking = asyncio.create_task(asked)
        await under_way.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        let_go.set()
        expected = len(items) if whole else 1

        async def all_recorded() -> bool:
            return await log.end() == expected

        await wait_until(all_recorded)
    repeat = await ledger.post("/favours", THANKED, key="key-0")
    assert (repeat.status_code, repeat.headers["idempotent-replayed"]) == (201, "true")
    assert await log.end() == expected


async def test_a_step_asked_for_by_one_who_went_away_is_not_taken_twice(
    ledger: Caller, log: JetStreamLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    favour = await ledger.recorded(CLAIM.path(), CLAIM.body, key="claim")
    async with append_held_back(monkeypatch) as (under_way, let_go):
        asking = asyncio.create_task(ledger.post(CONFIRM.path(favour["id"]), CONFIRM.body))
        await under_way.wait()
        asking.cancel()
        again = asyncio.create_task(ledger.post(CONFIRM.path(favour["id"]), CONFIRM.body))
        let_go.set()
        answer = await again
    assert (answer.status_code, answer.json()["version"]) == (200, 2)
    assert await log.end() == 2


async def test_a_body_that_never_ends_well_is_no_mistake_of_the_ledger(settings: Settings, log: JetStreamLog) -> None:
    """The connection breaks in the middle of the body: nothing is recorded, and nobody is woken for it."""
    app = application("command", settings)
    parts: Iterator[dict[str, Any]] = iter(
        [{"type": "http.request", "body": b'{"giver": "a', "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> Any:
        return next(parts)

    async def send(_: Any) -> None:
        pass

    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/communities/acme/favours",
        "raw_path": b"/v1/communities/acme/favours",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"idempotency-key", b"k")],
        "client": (HOST, 1),
        "server": (HOST, 80),
        "extensions": {},
    }
    with capture_logs() as logs:
        async with app.asgi.lifespan():
            await app.asgi(scope, receive, send)
    assert [entry for entry in logs if entry["log_level"] == "error"] == []
    assert await log.end() == 0
