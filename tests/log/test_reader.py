"""An endless reading of JetStream in order, through failures of the consumer, the connection or the server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, ClassVar

import pytest

from deploy.embedded.nats import EmbeddedNats
from ledger.envelope import Poison
from ledger.log import reader
from ledger.log.connection import Connection
from ledger.log.event_log import LogUnavailable
from ledger.log.jetstream import JetStreamLog
from ledger.log.message import parse_message
from ledger.log.reader import IN_FLIGHT_MAX_MESSAGES, Interrupted
from ledger.log.stream import STREAM, provision, stream_definition
from tests.log.reads import TIMEOUT_S, take
from tests.log.samples import first_append
from tests.polling import wait_until


class Watched(reader._Pull):
    """A consumer that counts its buffered messages and expired requests."""

    all: ClassVar["list[Watched]"]
    buffered_max = 0
    expired = 0

    def __init__(self, connection: Connection, start: int) -> None:
        super().__init__(connection, start)
        self.all.append(self)

    def _on_message(self, subject: str, reply: str, body: bytes, headers: bytes) -> None:
        super()._on_message(subject, reply, body, headers)
        self.buffered_max = max(self.buffered_max, len(self._buffer))

    def _on_status(self, headers: bytes) -> None:
        self.expired += headers.startswith(b"NATS/1.0 408")
        super()._on_status(headers)


def watch(monkeypatch: pytest.MonkeyPatch, kind: type[Watched] = Watched) -> list[Watched]:
    """Return a list to which every new consumer adds itself."""
    made: list[Watched] = []
    monkeypatch.setattr(kind, "all", made, raising=False)
    monkeypatch.setattr(reader, "_Pull", kind)
    return made


@pytest.fixture
def log(nats_connection: Connection) -> JetStreamLog:
    return JetStreamLog(nats_connection)


async def record(log: JetStreamLog, count: int) -> None:
    for start in range(0, count, 1_000):
        await log.append([first_append() for _ in range(min(1_000, count - start))])


async def positions(events: AsyncIterator[list[Any]], count: int) -> list[int]:
    return [event.position for event in await take(events, count)]


async def consumers(connection: Connection) -> list[str]:
    answer = await connection.api(f"CONSUMER.NAMES.{STREAM}")
    names: list[str] = answer["consumers"] or []
    return names


# Failures during a reading


async def test_a_server_that_is_killed_mid_read_costs_no_event_and_repeats_none(own_nats: EmbeddedNats) -> None:
    async with Connection(own_nats.url, "test") as connection:
        await connection.ready()
        await provision(connection, 1)
        log = JetStreamLog(connection)
        await record(log, 4_000)
        async with aclosing(log.read_from(1, batch_max=100)) as events:
            read = await positions(events, 500)
            own_nats.kill()
            own_nats.start()
            read += await positions(events, 4_000 - len(read))
            subscriptions = len(connection.client._subs)

            async def recorded() -> bool:
                try:
                    await record(log, 10)
                except LogUnavailable:
                    return False
                return True

            await wait_until(recorded)
            read += await positions(events, 10)
            assert subscriptions == len(connection.client._subs)
    assert read == list(range(1, 4_011))


async def test_a_reader_that_starts_again_leaves_nothing_behind(
    own_nats: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "SILENCE_MAX_S", 1.2)
    async with Connection(own_nats.url, "test") as connection:
        await connection.ready()
        await provision(connection, 1)
        log = JetStreamLog(connection)
        await record(log, 1)
        made = watch(monkeypatch)
        async with aclosing(log.read_from(1)) as events:
            assert await positions(events, 1) == [1]
            subscriptions = len(connection.client._subs)
            waiting = asyncio.ensure_future(positions(events, 1))
            own_nats.kill()

            async def given_up() -> bool:
                return len(made) > 1

            await wait_until(given_up)
            own_nats.start()

            async def back() -> bool:
                return connection.client.is_connected and made[-1]._requested > 0

            await wait_until(back)
            await record(log, 1)
            assert await waiting == [2]
            assert len(connection.client._subs) == subscriptions
        assert len(connection.client._subs) < subscriptions


async def test_a_reader_may_begin_before_its_server(idle_nats: EmbeddedNats) -> None:
    async with (
        Connection(idle_nats.url, "test") as connection,
        aclosing(JetStreamLog(connection).read_from(1)) as events,
    ):
        waiting = asyncio.ensure_future(positions(events, 1))
        idle_nats.start()
        await connection.ready()
        await provision(connection, 1)
        await record(JetStreamLog(connection), 1)
        assert await waiting == [1]


async def test_a_reader_whose_consumer_is_deleted_makes_another(
    log: JetStreamLog, nats_connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = watch(monkeypatch)
    await record(log, 10)
    async with aclosing(log.read_from(1)) as events:
        assert await positions(events, 10) == list(range(1, 11))
        (name,) = await consumers(nats_connection)
        assert (await nats_connection.api(f"CONSUMER.DELETE.{STREAM}.{name}"))["success"]
        await record(log, 10)
        assert await positions(events, 10) == list(range(11, 21))
    assert len(made) == 2


async def test_a_reader_survives_a_stream_that_is_not_there_yet(log: JetStreamLog, nats_connection: Connection) -> None:
    await nats_connection.api(f"STREAM.DELETE.{STREAM}")
    async with aclosing(log.read_from(1)) as events:
        waiting = asyncio.ensure_future(positions(events, 1))
        await provision(nats_connection, 1)
        await record(log, 1)
        assert await waiting == [1]


async def test_a_reader_that_stops_takes_its_consumer_along(log: JetStreamLog, nats_connection: Connection) -> None:
    await record(log, 1)
    async with aclosing(log.read_from(1)) as events:
        assert await positions(events, 1) == [1]
        assert len(await consumers(nats_connection)) == 1

    async def gone() -> bool:
        return not await consumers(nats_connection)

    await wait_until(gone)


async def test_a_reader_that_waits_longer_than_its_pulls_live_still_hears_what_comes(
    log: JetStreamLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "PULL_EXPIRES_S", 2 * reader.HEARTBEAT_S)  # The server accepts no shorter time.
    made = watch(monkeypatch)
    await record(log, 3)
    async with aclosing(log.read_from(1)) as events:
        assert await positions(events, 3) == [1, 2, 3]
        waiting = asyncio.ensure_future(positions(events, 1))

        async def all_expired() -> bool:
            return made[0].expired >= IN_FLIGHT_MAX_MESSAGES // reader.PULL_MESSAGES

        await wait_until(all_expired)
        await record(log, 1)
        assert await waiting == [4]
        assert made[0]._requested + len(made[0]._buffer) <= IN_FLIGHT_MAX_MESSAGES
        await record(log, 3_000)
        assert await positions(events, 3_000) == list(range(5, 3_005))
    assert len(made) == 1


async def test_a_server_that_falls_silent_is_asked_anew(log: JetStreamLog, monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(Watched):
        def _on_message(self, subject: str, reply: str, body: bytes, headers: bytes) -> None:
            if len(self.all) > 1:
                super()._on_message(subject, reply, body, headers)

    monkeypatch.setattr(reader, "SILENCE_MAX_S", 0.3)
    made = watch(monkeypatch, Deaf)
    await record(log, 3)
    async with aclosing(log.read_from(1)) as events:
        assert await positions(events, 3) == [1, 2, 3]
    assert len(made) >= 2


# Results of a reading


async def test_a_reader_never_holds_more_than_its_limit_however_slow_it_is_read(
    log: JetStreamLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 3_000
    monkeypatch.setattr(reader, "IN_FLIGHT_MAX_MESSAGES", limit)
    made = watch(monkeypatch)
    await record(log, 5_000)
    async with aclosing(log.read_from(1, batch_max=10)) as events:
        read = await positions(events, 10)

        async def full() -> bool:
            return made[0]._requested == 0

        await wait_until(full)  # Every requested message has arrived, and no other.
        assert limit - reader.PULL_MESSAGES < len(made[0]._buffer) <= limit
        while len(read) < 5_000:
            read += await positions(events, 1)
            assert made[0]._requested + len(made[0]._buffer) <= limit
    assert read == list(range(1, 5_001))
    assert made[0].buffered_max <= limit
    assert len(made) == 1


@pytest.mark.parametrize("lost", [1, 7, 20])
async def test_a_message_that_was_lost_on_the_way_is_read_again(
    log: JetStreamLog, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    class Lossy(Watched):
        received = 0

        def _on_message(self, subject: str, reply: str, body: bytes, headers: bytes) -> None:
            self.received += bool(reply)
            if not (len(self.all) == 1 and reply and self.received == lost):
                super()._on_message(subject, reply, body, headers)

    made = watch(monkeypatch, Lossy)
    await record(log, 20)
    async with aclosing(log.read_from(1)) as events:
        read: list[int] = []
        if lost == 20:  # The loss of the last message becomes visible with the next one.
            read = await positions(events, 19)
            await record(log, 1)
        while len(read) < 20 + (lost == 20):
            read += await positions(events, 1)
    assert read == list(range(1, len(read) + 1))
    assert len(made) == 2


async def test_a_message_that_the_stream_no_longer_holds_is_a_gap_and_not_passed_over(
    log: JetStreamLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Skipping(Watched):
        """The server skips one message, as it does after a deletion."""

        def _on_message(self, subject: str, reply: str, body: bytes, headers: bytes) -> None:
            if len(self.all) == 1 and reply:
                tokens = reply.split(".")
                if int(tokens[5]) > 4:
                    tokens[5] = str(int(tokens[5]) + 1)
                reply = ".".join(tokens)
            super()._on_message(subject, reply, body, headers)

    made = watch(monkeypatch, Skipping)
    await record(log, 10)
    async with aclosing(log.read_from(1)) as events:
        assert await positions(events, 10) == list(range(1, 11))
    assert len(made) == 2


@pytest.mark.parametrize("lost", [1, 4, 10])
async def test_an_event_that_the_log_has_lost_stops_the_reader_after_everything_before_it(
    log: JetStreamLog, nats_connection: Connection, lost: int
) -> None:
    await nats_connection.api(f"STREAM.DELETE.{STREAM}")
    assert "error" not in await nats_connection.api(
        f"STREAM.CREATE.{STREAM}", stream_definition(1) | {"deny_delete": False, "deny_purge": False}
    )
    await record(log, 11)
    assert (await nats_connection.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": lost}))["success"]
    read: list[int] = []
    async with aclosing(log.read_from(1)) as events:
        with pytest.raises(Poison, match="the log has lost it") as raised:  # noqa: PT012 - The list keeps the events before it.
            while len(read) < lost:
                read += await positions(events, 1)
    assert raised.value.position == lost
    assert read == list(range(1, lost))


async def test_an_event_is_read_the_same_through_a_domain_and_an_account(
    log: JetStreamLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(Watched):
        def _on_message(self, subject: str, reply: str, body: bytes, headers: bytes) -> None:
            if reply:
                jetstream, ack, *rest = reply.split(".")
                reply = ".".join([jetstream, ack, "hub", "ACCOUNT", *rest, "random"])
            super()._on_message(subject, reply, body, headers)

    made = watch(monkeypatch, Elsewhere)
    await record(log, 5)
    async with aclosing(log.read_from(1)) as events:
        read = await take(events, 5)
    assert read == [await log.at(position) for position in range(1, 6)]
    assert len(made) == 1


async def test_a_failure_that_nobody_foresaw_is_raised_and_no_event_passed_over(
    log: JetStreamLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def misunderstood(position: int, *message: Any) -> Any:
        if position == 3:
            raise MemoryError
        return parse_message(position, *message)

    monkeypatch.setattr(reader, "parse_message", misunderstood)
    await record(log, 5)
    read: list[int] = []
    async with aclosing(log.read_from(1)) as events, asyncio.timeout(TIMEOUT_S):
        with pytest.raises(MemoryError):  # noqa: PT012 - The list keeps the events before it.
            while len(read) < 3:
                read += [event.position for event in await anext(events)]
    assert read == [1, 2]


async def test_a_batch_waits_for_more_until_it_is_full(log: JetStreamLog) -> None:
    await record(log, 1)
    async with aclosing(log.read_from(1, batch_max=3, linger_ms=60_000)) as events, asyncio.timeout(TIMEOUT_S):
        waiting = asyncio.ensure_future(anext(events))
        await record(log, 1)
        await record(log, 1)
        assert [event.position for event in await waiting] == [1, 2, 3]


async def test_a_batch_that_waits_for_more_is_given_when_its_time_is_up(log: JetStreamLog) -> None:
    await record(log, 1)
    async with aclosing(log.read_from(1, batch_max=3, linger_ms=1)) as events, asyncio.timeout(TIMEOUT_S):
        assert [event.position for event in await anext(events)] == [1]
    async with aclosing(log.read_from(1, batch_max=3, linger_ms=0)) as events, asyncio.timeout(TIMEOUT_S):
        assert [event.position for event in await anext(events)] == [1]


async def test_a_consumer_that_was_not_opened_asks_for_nothing(nats_connection: Connection) -> None:
    pull = reader._Pull(nats_connection, 1)
    with pytest.raises(Interrupted):
        await pull._request_pulls()
    await pull.close()
