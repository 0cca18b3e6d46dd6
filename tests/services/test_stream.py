"""The event stream: in order, without loss or repetition, without end. A slow reader delays no other."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

import httpx
import msgspec
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books.schema import migrate
from ledger.domain.kinds.contact import MakeContact
from ledger.domain.kinds.intro.commands import AcceptIntro, ConsentIntro, DeclineIntro, MakeIntro, ProposeIntro
from ledger.domain.kinds.member import JoinMember, SetWants, membership_id
from ledger.domain.visibility import CONFIDENTIAL
from ledger.runtime.settings import BooksAddress, Settings
from services.feed import event_stream, hub, sse, stream
from services.feed.routes import position_of
from services.feed.sse import to_chunks
from tests.books.histories import submission, uuid_of
from tests.polling import wait_until
from tests.services.caller import Caller, refused
from tests.services.http_server import HttpServer, running_server
from tests.services.instant_ledger import InstantLedger
from tests.sse_client import SseClient

KEY: Final = "a key that all who call have"
SECRET_KEY: Final = "a key that shows what is secret"
LARGE: Final = tuple(f"{n:0>3}-{'x' * 36}" for n in range(16))  # Tags that add 640 bytes to one event.


@pytest.fixture
def instant_ledger(settings: Settings) -> InstantLedger:
    return InstantLedger(settings)


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[HttpServer]:
    async with running_server(settings) as server:
        yield server


# Order and starting position


async def test_a_stream_tells_what_was_recorded_and_then_what_is_recorded(
    server: HttpServer, instant_ledger: InstantLedger
) -> None:
    await instant_ledger.thank_many(3)
    async with server.subscribe(after=0) as subscriber:
        await subscriber.wait_for_events(3)
        await instant_ledger.thank_many(4)
        events = await subscriber.wait_for_events(7)
        assert subscriber.positions == [1, 2, 3, 4, 5, 6, 7]
        assert [event.data for event in events] == await instant_ledger.bodies(range(1, 8))
        assert {event.event for event in events} == {"favour.thanked"}
        assert (subscriber.status, subscriber.headers["content-type"]) == (200, "text/event-stream")
        assert subscriber.headers["ledger-position"] == "3"
        assert subscriber.headers["cache-control"] == "no-store"
        assert subscriber.parser.retry_ms == sse.RETRY_MS


async def test_without_a_place_to_begin_it_begins_at_the_end_and_says_where_that_is(
    server: HttpServer, instant_ledger: InstantLedger
) -> None:
    await instant_ledger.thank_many(3)
    async with server.subscribe() as subscriber:
        await subscriber.wait_for_start()
        assert (subscriber.parser.last_event_id, subscriber.events) == ("3", [])
        await instant_ledger.thank_many(1)
        await subscriber.wait_for_events(1)
        assert subscriber.positions == [4]


async def test_the_last_event_id_wins_over_after(server: HttpServer, instant_ledger: InstantLedger) -> None:
    await instant_ledger.thank_many(5)
    async with server.subscribe(after=0, last_event_id=3) as subscriber:
        await subscriber.wait_for_events(2)
        assert subscriber.positions == [4, 5]


@pytest.mark.parametrize("given_id", ["", "-1", "1.5", "abc", "٣", "9" * 17, "9" * 400, "0" * 17 + "9" * 23])
async def test_a_last_event_id_that_no_stream_has_sent_is_refused(server: HttpServer, given_id: str) -> None:
    headers = {b"Accept": b"text/event-stream", b"Last-Event-ID": given_id.encode()}
    answer = await server.client.get("/v1/communities/acme/events", headers=headers)
    refused(answer, 400, "invalid_field", field="Last-Event-ID", source="header")


@given(st.integers(0, 2**53 - 1))
def test_whatever_a_stream_has_sent_is_a_place_to_go_on(position: int) -> None:
    assert position_of(str(position), 0) == position


async def test_a_stream_that_is_cut_again_and_again_loses_nothing_and_repeats_nothing(
    server: HttpServer, instant_ledger: InstantLedger
) -> None:
    """While the writer works, the client returns each time with the last event id that it has."""
    rng = random.Random("cuts")
    total = 600

    async def write() -> None:
        while instant_ledger.end < total:
            await instant_ledger.thank_many(min(rng.choice([1, 1, 7, 60]), total - instant_ledger.end))

    writing = asyncio.create_task(write())
    heard: list[int] = []
    last: str = "0"
    while len(heard) < total:
        async with server.subscribe(last_event_id=last) as subscriber:
            await subscriber.wait_for_events(min(rng.choice([1, 3, 40, 200]), total - len(heard)))
            await subscriber.disconnect()
        heard += subscriber.positions
        last = subscriber.parser.last_event_id
        assert int(last) >= (heard[-1] if heard else 0)
    await writing
    assert heard == list(range(1, total + 1))


async def test_every_listener_hears_the_same_in_the_same_order_while_it_is_written(
    server: HttpServer, instant_ledger: InstantLedger
) -> None:
    """Some subscribers begin early, some in the middle, some far behind. The hub and the journal send the same."""
    async with AsyncExitStack() as stack:
        early = [await stack.enter_async_context(server.subscribe(after=0)) for _ in range(5)]
        for subscriber in early:
            await subscriber.wait_for_start()
        late: list[SseClient] = []
        for _ in range(20):
            await instant_ledger.thank_many(37)
            late.append(await stack.enter_async_context(server.subscribe(after=instant_ledger.end // 2)))
        for subscriber in (*early, *late):
            await subscriber.wait_for_position(740)
            first = subscriber.positions[0]
            assert subscriber.positions == list(range(first, 741))
        assert {subscriber.positions[0] for subscriber in early} == {1}


# Filters


async def test_communities_do_not_leak_into_each_other(server: HttpServer, instant_ledger: InstantLedger) -> None:
    async with server.subscribe(after=0) as acme, server.subscribe(after=0, community="bolt") as bolt:
        await acme.wait_for_start()
        await bolt.wait_for_start()
        for community in ("acme", "bolt", "acme", "cern", "bolt"):
            await instant_ledger.thank_many(1, community)
        await acme.wait_for_events(2)
        await bolt.wait_for_events(2)
        assert (acme.positions, bolt.positions) == ([1, 3], [2, 5])
        assert {event.envelope["source"] for event in bolt.events} == {"/communities/bolt"}


async def test_a_stream_tells_what_is_asked_for(server: HttpServer, instant_ledger: InstantLedger) -> None:
    async with (
        server.subscribe("kind=contact&event=member.joined", after=0) as some,
        server.subscribe("kind=favour", after=0) as favours,
    ):
        await some.wait_for_start()
        await favours.wait_for_start()
        await instant_ledger.thank_many(2)
        await instant_ledger.execute(MakeContact(actor="ada", member="ada", other="bob"))
        await instant_ledger.execute(JoinMember(actor="ada", member="ada"))
        await instant_ledger.thank_many(1)
        await some.wait_for_events(2)
        await favours.wait_for_events(3)
        assert [event.event for event in some.events] == ["contact.made", "member.joined"]
        assert favours.positions == [1, 2, 5]


async def test_one_who_hears_little_has_a_place_near_the_end_to_come_back_to(
    server: HttpServer, instant_ledger: InstantLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    async with server.subscribe("kind=policy", after=0) as subscriber:
        await subscriber.wait_for_start()
        await instant_ledger.thank_many(50)
        await subscriber.wait_until(lambda: subscriber.parser.last_event_id == "50")
        assert subscriber.events == []


async def test_a_long_way_without_a_match_is_told_of_on_the_way(
    server: HttpServer, instant_ledger: InstantLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.books.feed.Feed.page.__defaults__", (10,))
    await instant_ledger.thank_many(95)
    async with server.subscribe("kind=policy", after=0) as subscriber:
        await subscriber.wait_until(lambda: len(subscriber.parser.comments) >= 10)
        assert subscriber.parser.comments[:4] == [" position 0", " position 10", " position 20", " position 30"]


# Heartbeats


async def test_a_stream_without_events_says_that_it_lives(
    server: HttpServer, instant_ledger: InstantLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stream.HEARTBEAT_S == 15
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    await instant_ledger.thank_many(2)
    async with server.subscribe() as subscriber:
        await subscriber.wait_until(lambda: len(subscriber.parser.comments) >= 5)
        assert set(subscriber.parser.comments) == {" position 2"}
        assert subscriber.events == []


# Confidential events


@pytest.fixture
async def guarded(settings: Settings) -> AsyncIterator[HttpServer]:
    keys = msgspec.structs.replace(settings, api_key=KEY, confidential_key=SECRET_KEY)
    async with running_server(keys) as server:
        yield server


async def tell_of_two_asks(instant_ledger: InstantLedger) -> None:
    """Record two asks at positions 1 to 6: one is declined, one is made."""
    for n in (1, 2):
        await instant_ledger.execute(
            ProposeIntro(actor="ann", asker="ann", connector="cas", target=f"t{n}", id=uuid_of(n))
        )
    await instant_ledger.execute(DeclineIntro(actor="cas"), of=1)
    await instant_ledger.execute(
        AcceptIntro(actor="cas", level=2), ConsentIntro(actor="t2"), MakeIntro(actor="cas"), of=2
    )


async def test_what_an_asker_must_not_know_only_a_confidential_key_is_told(
    guarded: HttpServer, instant_ledger: InstantLedger
) -> None:
    async with (
        guarded.subscribe(after=0, key=KEY) as anybody,
        guarded.subscribe("kind=intro", after=0, key=KEY) as of_intros,
        guarded.subscribe(after=0, key=SECRET_KEY) as trusted,
    ):
        for subscriber in (anybody, of_intros, trusted):
            await subscriber.wait_for_start()
        await tell_of_two_asks(instant_ledger)
        for subscriber in (anybody, of_intros):
            await subscriber.wait_for_events(3)
            assert [event.event for event in subscriber.events] == ["intro.asked", "intro.asked", "intro.made"]
        await trusted.wait_for_events(6)
        assert {event.event for event in trusted.events} & CONFIDENTIAL == {
            "intro.declined",
            "intro.accepted",
            "intro.consented",
        }


async def test_nobody_listens_without_a_key(guarded: HttpServer) -> None:
    async with guarded.subscribe(after=0) as subscriber:
        await subscriber.wait_for_end()
        assert (subscriber.status, msgspec.json.decode(subscriber.body)["code"]) == (401, "unauthorized")


# Clients that do not read


async def tell_at_length(instant_ledger: InstantLedger, rounds: int) -> None:
    """Write many bytes: 100 members join, then each round records 100 events of more than 1 KiB."""
    members = [f"m{n}" for n in range(100)]
    await instant_ledger.execute(*(JoinMember(actor=member, member=member) for member in members))
    for turn in range(rounds):
        tags = tuple(f"{turn:0>3}-{tag}"[:40] for tag in LARGE)
        said = [submission(SetWants(actor=name, tags=tags), membership_id("acme", name)) for name in members]
        await instant_ledger.command_log.executor.execute_all(said)
        await instant_ledger.project()


@pytest.mark.slow
async def test_one_who_does_not_read_is_left_and_nobody_waits_for_them(
    server: HttpServer, instant_ledger: InstantLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "SEND_WITHIN_S", 0.3)
    monkeypatch.setattr(hub, "QUEUE_MAX_BYTES", 32 * 1024)
    process = psutil.Process()
    async with server.subscribe(after=0) as other, AsyncExitStack() as stack:
        deaf = [await stack.enter_async_context(server.subscribe(after=0, reading=False)) for _ in range(20)]

        async def all_there() -> bool:
            return await server.open_streams() == 21

        await wait_until(all_there)
        files = process.num_fds()
        with capture_logs() as said:
            await tell_at_length(instant_ledger, 60)
            await other.wait_for_events(6_100)

            async def one_is_left() -> bool:
                return await server.open_streams() == 1

            await wait_until(one_is_left)

        async def hung_up() -> bool:  # Checks the server's ends of the connections; the clients' ends are still open.
            return process.num_fds() <= files - 20

        await wait_until(hung_up)
        assert [line["event"] for line in said].count("a client of the feed did not read and was disconnected") == 20
        assert other.positions == list(range(1, 6_101))
        for subscriber in deaf[:3]:
            subscriber.start_reading()
            await subscriber.wait_for_end()
            assert 0 < len(subscriber.events) < 6_100
            heard = subscriber.positions
            async with server.subscribe(last_event_id=subscriber.parser.last_event_id) as again:
                await again.wait_for_events(6_100 - len(heard))
                assert heard + again.positions == list(range(1, 6_101))


# Limit of streams


async def test_more_than_may_wait_are_told_to_come_again(settings: Settings, instant_ledger: InstantLedger) -> None:
    async with (
        running_server(msgspec.structs.replace(settings, streams_max=2)) as server,
        server.subscribe() as one,
        server.subscribe() as two,
    ):
        await one.wait_for_start()
        await two.wait_for_start()
        async with server.subscribe() as three:
            await three.wait_for_end()
            assert (three.status, three.headers["retry-after"]) == (503, "1")
            assert msgspec.json.decode(three.body)["code"] == "too_many_streams"
        answer = await server.client.get("/v1/communities/acme/events?wait=1")
        refused(answer, 503, "too_many_streams", retryable=True)
        assert (await server.client.get("/v1/communities/acme/events")).status_code == 200
        await one.disconnect()

        async def one_is_left() -> bool:
            return await server.open_streams() == 1

        await wait_until(one_is_left)
        async with server.subscribe() as three:
            await three.wait_for_start()
            assert three.status == 200


# Shutdown and outages


async def test_streams_and_waiting_requests_end_at_once_when_the_service_stops(
    settings: Settings, instant_ledger: InstantLedger
) -> None:
    await instant_ledger.thank_many(1)
    async with AsyncExitStack() as outside:
        async with running_server(settings) as server:
            subscriber = await outside.enter_async_context(server.subscribe(after=0))
            await subscriber.wait_for_events(1)
            client = await outside.enter_async_context(httpx.AsyncClient(base_url=server.client.base_url, timeout=60))
            waiting = asyncio.create_task(client.get("/v1/communities/acme/events?after=1&wait=30"))

            async def both_wait() -> bool:
                return await server.open_streams() == 2

            await wait_until(both_wait)
            stopped_at = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - stopped_at < 5
        await subscriber.wait_for_end()
        assert subscriber.parser.last_event_id == "1"
        assert (await waiting).json() == {"events": [], "after": 1, "more": False}


@pytest.mark.slow
async def test_one_who_does_not_read_does_not_keep_the_service_from_stopping(
    settings: Settings, instant_ledger: InstantLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.serving.STOP_WITHIN_S", 0.5)
    await tell_at_length(instant_ledger, 60)
    async with AsyncExitStack() as outside:
        async with running_server(settings) as server:
            await outside.enter_async_context(server.subscribe(after=0, reading=False))

            async def is_there() -> bool:
                return await server.open_streams() == 1

            await wait_until(is_there)
            stopped_at = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - stopped_at < 5


async def test_while_postgres_is_away_streams_stay_open_and_go_on_by_themselves(
    settings: Settings, own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    settings = msgspec.structs.replace(settings, postgres_dsn=own_postgres.dsn)
    await migrate(BooksAddress(own_postgres.dsn, settings.postgres_schema))
    instant_ledger = InstantLedger(settings)
    async with running_server(settings) as server, server.subscribe(after=0) as subscriber:
        await instant_ledger.thank_many(2)
        await subscriber.wait_for_events(2)
        own_postgres.kill()
        said = len(subscriber.parser.comments)
        await subscriber.wait_until(lambda: len(subscriber.parser.comments) >= said + 5)
        async with server.subscribe(after=0) as newcomer:
            await newcomer.wait_for_end()
            assert newcomer.status == 503
        own_postgres.start()
        await instant_ledger.thank_many(3)
        await subscriber.wait_for_events(5)
        assert subscriber.positions == [1, 2, 3, 4, 5]
        assert not subscriber.ended


async def test_books_that_are_made_anew_lead_to_nothing_wrong(
    server: HttpServer, instant_ledger: InstantLedger
) -> None:
    """Rebuilt books begin behind the readers and catch up. A connected reader gets only new events, and none twice."""
    await instant_ledger.thank_many(5)
    async with server.subscribe(after=0) as subscriber, server.subscribe("kind=policy", after=2) as other:
        await subscriber.wait_for_events(5)
        await other.wait_for_start()
        await instant_ledger.books.execute(f"DROP SCHEMA {instant_ledger.books.schema} CASCADE")
        await migrate(BooksAddress(instant_ledger.books.dsn, instant_ledger.books.schema))
        async with server.subscribe(after=0) as newcomer:
            await newcomer.wait_for_start()
            await instant_ledger.project_from()
            await instant_ledger.thank_many(2)
            await subscriber.wait_for_events(7)
            await newcomer.wait_for_events(7)
        assert subscriber.positions == newcomer.positions == [1, 2, 3, 4, 5, 6, 7]
        assert other.events == []


# Wire format


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 20_000)), max_size=30), st.data())
def test_chunks_hold_every_frame_once_in_order_and_only_one_frame_may_be_larger(
    steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    framed: list[tuple[int, bytes]] = []
    for step, size in steps:
        position = (framed[-1][0] if framed else 0) + step
        framed.append((position, bytes([position % 256]) * size))
    made = to_chunks(framed)
    assert b"".join(chunk.data for chunk in made) == b"".join(one for _, one in framed)
    assert all(len(chunk.data) <= sse.CHUNK_MAX_BYTES or len(chunk.ends) == 1 for chunk in made)
    begin = data.draw(st.integers(0, 160))
    rest = b"".join(chunk.after(begin) for chunk in made)
    assert rest == b"".join(one for position, one in framed if position > begin)


async def test_an_event_that_was_stored_in_lines_is_told_in_one(
    server: HttpServer, instant_ledger: InstantLedger
) -> None:
    await instant_ledger.thank_many(1)
    await instant_ledger.books.execute(
        "SET session_replication_role = replica; UPDATE journal SET event = E'{\\r\\n\"a\":\\n1}'"
    )
    async with server.subscribe(after=0) as subscriber:
        (event,) = await subscriber.wait_for_events(1)
        assert event.envelope == {"a": 1}
        assert "\n" not in event.data


async def test_who_asks_for_json_is_answered_in_json(server: HttpServer, instant_ledger: InstantLedger) -> None:
    await instant_ledger.thank_many(1)
    for accept in ("*/*", "application/json", "text/html"):
        answer = await Caller(server.client).client.get("/v1/communities/acme/events", headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/json"
    for accept in ("text/event-stream", "application/json;q=0.1, Text/Event-Stream;q=0.9"):
        async with server.client.stream("GET", "/v1/communities/acme/events", headers={"Accept": accept}) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
