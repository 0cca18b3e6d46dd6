"""The stream of events: in order, without loss or repetition, for ever, and nobody waits for one who does not read."""

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
from tests.books.telling import number, submission
from tests.services.caller import Caller, refused, until
from tests.services.listening import Listener, Server, served
from tests.services.written import Written

KEY: Final = "a key that all who call have"
SECRET_KEY: Final = "a key that shows what is secret"
LARGE: Final = tuple(f"{n:0>3}-{'x' * 36}" for n in range(16))  # 640 bytes of one event.


@pytest.fixture
def written(settings: Settings) -> Written:
    return Written(settings)


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[Server]:
    async with served(settings) as server:
        yield server


# Order, and where it begins


async def test_a_stream_tells_what_was_recorded_and_then_what_is_recorded(server: Server, written: Written) -> None:
    await written.thanks(3)
    async with server.listener(after=0) as listener:
        await listener.count(3)
        await written.thanks(4)
        messages = await listener.count(7)
        assert listener.positions == [1, 2, 3, 4, 5, 6, 7]
        assert [message.data for message in messages] == await written.stored(range(1, 8))
        assert {message.event for message in messages} == {"favour.thanked"}
        assert (listener.status, listener.headers["content-type"]) == (200, "text/event-stream")
        assert listener.headers["ledger-position"] == "3"
        assert listener.headers["cache-control"] == "no-store"
        assert listener.source.retry_ms == sse.RETRY_MS


async def test_without_a_place_to_begin_it_begins_at_the_end_and_says_where_that_is(
    server: Server, written: Written
) -> None:
    await written.thanks(3)
    async with server.listener() as listener:
        await listener.opened()
        assert (listener.source.last_event_id, listener.messages) == ("3", [])
        await written.thanks(1)
        await listener.count(1)
        assert listener.positions == [4]


async def test_the_last_event_id_wins_over_after(server: Server, written: Written) -> None:
    await written.thanks(5)
    async with server.listener(after=0, last_event_id=3) as listener:
        await listener.count(2)
        assert listener.positions == [4, 5]


@pytest.mark.parametrize("given_id", ["", "-1", "1.5", "abc", "٣", "9" * 17, "9" * 400, "0" * 17 + "9" * 23])
async def test_a_last_event_id_that_no_stream_has_sent_is_refused(server: Server, given_id: str) -> None:
    headers = {b"Accept": b"text/event-stream", b"Last-Event-ID": given_id.encode()}
    answer = await server.client.get("/v1/communities/acme/events", headers=headers)
    refused(answer, 400, "invalid_field", field="Last-Event-ID", source="header")


@given(st.integers(0, 2**53 - 1))
def test_whatever_a_stream_has_sent_is_a_place_to_go_on(position: int) -> None:
    assert position_of(str(position), 0) == position


async def test_a_stream_that_is_cut_again_and_again_loses_nothing_and_repeats_nothing(
    server: Server, written: Written
) -> None:
    """While it is being written, the client comes back each time with the last id that it has."""
    rng = random.Random("cuts")
    total = 600

    async def write() -> None:
        while written.end < total:
            await written.thanks(min(rng.choice([1, 1, 7, 60]), total - written.end))

    writing = asyncio.create_task(write())
    heard: list[int] = []
    last: str = "0"
    while len(heard) < total:
        async with server.listener(last_event_id=last) as listener:
            await listener.count(min(rng.choice([1, 3, 40, 200]), total - len(heard)))
            await listener.hang_up()
        heard += listener.positions
        last = listener.source.last_event_id
        assert int(last) >= (heard[-1] if heard else 0)
    await writing
    assert heard == list(range(1, total + 1))


async def test_every_listener_hears_the_same_in_the_same_order_while_it_is_written(
    server: Server, written: Written
) -> None:
    """Some are there before, some come in the middle, some far behind; the hub and the journal lead to the same."""
    async with AsyncExitStack() as stack:
        early = [await stack.enter_async_context(server.listener(after=0)) for _ in range(5)]
        for listener in early:
            await listener.opened()
        late: list[Listener] = []
        for _ in range(20):
            await written.thanks(37)
            late.append(await stack.enter_async_context(server.listener(after=written.end // 2)))
        for listener in (*early, *late):
            await listener.heard(740)
            first = listener.positions[0]
            assert listener.positions == list(range(first, 741))
        assert {listener.positions[0] for listener in early} == {1}


# Filters


async def test_communities_do_not_leak_into_each_other(server: Server, written: Written) -> None:
    async with server.listener(after=0) as acme, server.listener(after=0, community="bolt") as bolt:
        await acme.opened()
        await bolt.opened()
        for community in ("acme", "bolt", "acme", "cern", "bolt"):
            await written.thanks(1, community)
        await acme.count(2)
        await bolt.count(2)
        assert (acme.positions, bolt.positions) == ([1, 3], [2, 5])
        assert {message.envelope["source"] for message in bolt.messages} == {"/communities/bolt"}


async def test_a_stream_tells_what_is_asked_for(server: Server, written: Written) -> None:
    async with (
        server.listener("kind=contact&event=member.joined", after=0) as some,
        server.listener("kind=favour", after=0) as favours,
    ):
        await some.opened()
        await favours.opened()
        await written.thanks(2)
        await written.say(MakeContact(actor="ada", member="ada", other="bob"))
        await written.say(JoinMember(actor="ada", member="ada"))
        await written.thanks(1)
        await some.count(2)
        await favours.count(3)
        assert [message.event for message in some.messages] == ["contact.made", "member.joined"]
        assert favours.positions == [1, 2, 5]


async def test_one_who_hears_little_has_a_place_near_the_end_to_come_back_to(
    server: Server, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    async with server.listener("kind=policy", after=0) as listener:
        await listener.opened()
        await written.thanks(50)
        await listener.hears(lambda: listener.source.last_event_id == "50")
        assert listener.messages == []


async def test_a_long_way_without_a_match_is_told_of_on_the_way(
    server: Server, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.books.feed.Feed.page.__defaults__", (10,))
    await written.thanks(95)
    async with server.listener("kind=policy", after=0) as listener:
        await listener.hears(lambda: len(listener.source.comments) >= 10)
        assert listener.source.comments[:4] == [" position 0", " position 10", " position 20", " position 30"]


# Heartbeats


async def test_a_stream_without_events_says_that_it_lives(
    server: Server, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stream.HEARTBEAT_S == 15
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    await written.thanks(2)
    async with server.listener() as listener:
        await listener.hears(lambda: len(listener.source.comments) >= 5)
        assert set(listener.source.comments) == {" position 2"}
        assert listener.messages == []


# What is confidential


@pytest.fixture
async def guarded(settings: Settings) -> AsyncIterator[Server]:
    keys = msgspec.structs.replace(settings, api_key=KEY, confidential_key=SECRET_KEY)
    async with served(keys) as server:
        yield server


async def tell_of_two_asks(written: Written) -> None:
    """One is declined, one is made: 1 to 6."""
    for n in (1, 2):
        await written.say(ProposeIntro(actor="ann", asker="ann", connector="cas", target=f"t{n}", id=number(n)))
    await written.say(DeclineIntro(actor="cas"), of=1)
    await written.say(AcceptIntro(actor="cas", level=2), ConsentIntro(actor="t2"), MakeIntro(actor="cas"), of=2)


async def test_what_an_asker_must_not_know_only_a_confidential_key_is_told(guarded: Server, written: Written) -> None:
    async with (
        guarded.listener(after=0, key=KEY) as anybody,
        guarded.listener("kind=intro", after=0, key=KEY) as of_intros,
        guarded.listener(after=0, key=SECRET_KEY) as trusted,
    ):
        for listener in (anybody, of_intros, trusted):
            await listener.opened()
        await tell_of_two_asks(written)
        for listener in (anybody, of_intros):
            await listener.count(3)
            assert [message.event for message in listener.messages] == ["intro.asked", "intro.asked", "intro.made"]
        await trusted.count(6)
        assert {message.event for message in trusted.messages} & CONFIDENTIAL == {
            "intro.declined",
            "intro.accepted",
            "intro.consented",
        }


async def test_nobody_listens_without_a_key(guarded: Server) -> None:
    async with guarded.listener(after=0) as listener:
        await listener.end()
        assert (listener.status, msgspec.json.decode(listener.body)["code"]) == (401, "unauthorized")


# Those who do not read


async def tell_at_length(written: Written, rounds: int) -> None:
    """A lot of bytes: each round is 100 events of more than 1 KiB, after 100 who join."""
    members = [f"m{n}" for n in range(100)]
    await written.say(*(JoinMember(actor=member, member=member) for member in members))
    for turn in range(rounds):
        tags = tuple(f"{turn:0>3}-{tag}"[:40] for tag in LARGE)
        said = [submission(SetWants(actor=name, tags=tags), membership_id("acme", name)) for name in members]
        await written.chronicle.executor.execute_all(said)
        await written.write()


async def test_one_who_does_not_read_is_left_and_nobody_waits_for_them(
    server: Server, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "SEND_WITHIN_S", 0.3)
    monkeypatch.setattr(hub, "QUEUE_MAX_BYTES", 32 * 1024)
    process = psutil.Process()
    async with server.listener(after=0) as other, AsyncExitStack() as stack:
        deaf = [await stack.enter_async_context(server.listener(after=0, deaf=True)) for _ in range(20)]

        async def all_there() -> bool:
            return await server.streams() == 21

        await until(all_there)
        files = process.num_fds()
        with capture_logs() as said:
            await tell_at_length(written, 60)
            await other.count(6_100)

            async def one_is_left() -> bool:
                return await server.streams() == 1

            await until(one_is_left)

        async def hung_up() -> bool:  # The server's ends of their connections; theirs are still open.
            return process.num_fds() <= files - 20

        await until(hung_up)
        assert [line["event"] for line in said].count("a client of the feed did not read and was disconnected") == 20
        assert other.positions == list(range(1, 6_101))
        for listener in deaf[:3]:
            listener.listen()
            await listener.end()
            assert 0 < len(listener.messages) < 6_100
            heard = listener.positions
            async with server.listener(last_event_id=listener.source.last_event_id) as again:
                await again.count(6_100 - len(heard))
                assert heard + again.positions == list(range(1, 6_101))


# Too many


async def test_more_than_may_wait_are_told_to_come_again(settings: Settings, written: Written) -> None:
    async with (
        served(msgspec.structs.replace(settings, streams_max=2)) as server,
        server.listener() as one,
        server.listener() as two,
    ):
        await one.opened()
        await two.opened()
        async with server.listener() as three:
            await three.end()
            assert (three.status, three.headers["retry-after"]) == (503, "1")
            assert msgspec.json.decode(three.body)["code"] == "too_many_streams"
        answer = await server.client.get("/v1/communities/acme/events?wait=1")
        refused(answer, 503, "too_many_streams", retryable=True)
        assert (await server.client.get("/v1/communities/acme/events")).status_code == 200
        await one.hang_up()

        async def one_is_left() -> bool:
            return await server.streams() == 1

        await until(one_is_left)
        async with server.listener() as three:
            await three.opened()
            assert three.status == 200


# The end, and outages


async def test_streams_and_waiting_requests_end_at_once_when_the_service_stops(
    settings: Settings, written: Written
) -> None:
    await written.thanks(1)
    async with AsyncExitStack() as outside:
        async with served(settings) as server:
            listener = await outside.enter_async_context(server.listener(after=0))
            await listener.count(1)
            client = await outside.enter_async_context(httpx.AsyncClient(base_url=server.client.base_url, timeout=60))
            waiting = asyncio.create_task(client.get("/v1/communities/acme/events?after=1&wait=30"))

            async def both_wait() -> bool:
                return await server.streams() == 2

            await until(both_wait)
            stopped_at = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - stopped_at < 5
        await listener.end()
        assert listener.source.last_event_id == "1"
        assert (await waiting).json() == {"events": [], "after": 1, "more": False}


async def test_one_who_does_not_read_does_not_keep_the_service_from_stopping(
    settings: Settings, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.serving.STOP_WITHIN_S", 0.5)
    await tell_at_length(written, 60)
    async with AsyncExitStack() as outside:
        async with served(settings) as server:
            await outside.enter_async_context(server.listener(after=0, deaf=True))

            async def is_there() -> bool:
                return await server.streams() == 1

            await until(is_there)
            stopped_at = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - stopped_at < 5


async def test_while_postgres_is_away_streams_stay_open_and_go_on_by_themselves(
    settings: Settings, own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    settings = msgspec.structs.replace(settings, postgres_dsn=own_postgres.dsn)
    await migrate(BooksAddress(own_postgres.dsn, settings.postgres_schema))
    written = Written(settings)
    async with served(settings) as server, server.listener(after=0) as listener:
        await written.thanks(2)
        await listener.count(2)
        own_postgres.kill()
        said = len(listener.source.comments)
        await listener.hears(lambda: len(listener.source.comments) >= said + 5)
        async with server.listener(after=0) as newcomer:
            await newcomer.end()
            assert newcomer.status == 503
        own_postgres.start()
        await written.thanks(3)
        await listener.count(5)
        assert listener.positions == [1, 2, 3, 4, 5]
        assert not listener.ended


async def test_books_that_are_made_anew_lead_to_nothing_wrong(server: Server, written: Written) -> None:
    """They are further back, then they catch up: who was here hears what is new, and nothing of it twice."""
    await written.thanks(5)
    async with server.listener(after=0) as listener, server.listener("kind=policy", after=2) as other:
        await listener.count(5)
        await other.opened()
        await written.books.execute(f"DROP SCHEMA {written.books.schema} CASCADE")
        await migrate(BooksAddress(written.books.dsn, written.books.schema))
        async with server.listener(after=0) as newcomer:
            await newcomer.opened()
            await written.rewrite()
            await written.thanks(2)
            await listener.count(7)
            await newcomer.count(7)
        assert listener.positions == newcomer.positions == [1, 2, 3, 4, 5, 6, 7]
        assert other.messages == []


# On the wire


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


async def test_an_event_that_was_stored_in_lines_is_told_in_one(server: Server, written: Written) -> None:
    await written.thanks(1)
    await written.books.execute(
        "SET session_replication_role = replica; UPDATE journal SET event = E'{\\r\\n\"a\":\\n1}'"
    )
    async with server.listener(after=0) as listener:
        (message,) = await listener.count(1)
        assert message.envelope == {"a": 1}
        assert "\n" not in message.data


async def test_who_asks_for_json_is_answered_in_json(server: Server, written: Written) -> None:
    await written.thanks(1)
    for accept in ("*/*", "application/json", "text/html"):
        answer = await Caller(server.client).client.get("/v1/communities/acme/events", headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/json"
    for accept in ("text/event-stream", "application/json;q=0.1, Text/Event-Stream;q=0.9"):
        async with server.client.stream("GET", "/v1/communities/acme/events", headers={"Accept": accept}) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
