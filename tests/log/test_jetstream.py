"""JetStream when it is unreachable, silent or refusing: the errors, and the events that may be recorded."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import nats.errors
import pytest
from nats.aio.msg import Msg

from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.ports import free_port
from ledger.commands.executor import Executor
from ledger.log import connection, jetstream
from ledger.log.connection import Connection
from ledger.log.event_log import APPEND_MAX, Append, AppendUncertain, LogUnavailable
from ledger.log.jetstream import DIRECT_GET, JetStreamLog
from ledger.log.stream import STREAM, provision, stream_definition
from tests.envelopes import NOW
from tests.log.samples import claim, favour_ref, first_append
from tests.polling import wait_until

Ask = Callable[[JetStreamLog], Coroutine[Any, Any, object]]

READS: Final[dict[str, Ask]] = {
    "one last": lambda log: log.last([favour_ref()]),
    "many lasts": lambda log: log.last([favour_ref(), favour_ref()]),
    "at": lambda log: log.at(1),
    "end": lambda log: log.end(),
}
APPENDS: Final[dict[str, Ask]] = {
    "one append": lambda log: log.append([first_append()]),
    "many appends": lambda log: log.append([first_append() for _ in range(APPEND_MAX)]),
}
every_ask = pytest.mark.parametrize("ask", [*READS.values(), *APPENDS.values()], ids=[*READS, *APPENDS])
every_append = pytest.mark.parametrize("ask", APPENDS.values(), ids=APPENDS)


@pytest.fixture
async def streamless(nats_connection: Connection) -> Connection:
    """Return a connection to a server without a stream. The test answers the requests."""
    await nats_connection.api(f"STREAM.DELETE.{STREAM}")
    return nats_connection


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jetstream, "REQUEST_TIMEOUT_S", 0.05)
    monkeypatch.setattr(connection, "REQUEST_TIMEOUT_S", 0.05)


async def answer(connection: Connection, subject: str, status: str = "") -> list[Msg]:
    """Answer each request on the subject with `status`, or with nothing. Return the requests."""
    asked: list[Msg] = []

    async def reply(message: Msg) -> None:
        asked.append(message)
        if status and message.reply:
            await connection.client.publish(message.reply, headers={"Status": status})

    await connection.client.subscribe(subject, cb=reply)
    return asked


# Unreachable servers


@every_ask
async def test_a_stream_that_is_not_there_is_a_log_that_is_away(streamless: Connection, ask: Ask) -> None:
    with pytest.raises(LogUnavailable):
        await ask(JetStreamLog(streamless))


@every_ask
async def test_a_server_that_is_not_there_is_a_log_that_is_away(ask: Ask) -> None:
    async with Connection(f"nats://127.0.0.1:{free_port()}", "test") as connection:
        with pytest.raises(LogUnavailable, match="no connection"):
            await ask(JetStreamLog(connection))


async def test_a_connection_stands_once_it_is_entered() -> None:
    with pytest.raises(LogUnavailable, match="not entered"):
        await Connection("nats://127.0.0.1:4222", "test").ready()


async def test_a_connection_that_was_never_entered_can_be_left() -> None:
    await Connection("nats://127.0.0.1:4222", "test").__aexit__()


async def test_a_connection_that_was_closed_is_left_like_any_other(nats_server: EmbeddedNats) -> None:
    async with Connection(nats_server.url, "test") as connection:
        await connection.ready()
        await connection.client.close()
    assert connection.client.is_closed


async def test_a_connection_comes_back_by_itself_and_queues_nothing_meanwhile(own_nats: EmbeddedNats) -> None:
    async with Connection(own_nats.url, "test") as connection:
        await connection.ready()
        await provision(connection, 1)
        log = JetStreamLog(connection)
        await log.append([first_append()])
        own_nats.kill()

        async def away() -> bool:
            return not connection.client.is_connected

        await wait_until(away)
        with pytest.raises(LogUnavailable):
            await log.append([first_append()])
        own_nats.start()

        async def back() -> bool:
            return connection.client.is_connected

        await wait_until(back)
        assert await log.end() == 1
        assert await log.append([first_append()]) == [2]


async def test_only_errors_that_are_not_of_the_network_are_told_about(
    nats_connection: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    await nats_connection._on_error(nats.errors.TimeoutError())
    await nats_connection._on_error(ConnectionResetError())
    assert "nats error" not in capsys.readouterr().out
    await nats_connection._on_error(ZeroDivisionError("seven"))
    assert "seven" in capsys.readouterr().out


# Silent servers


@pytest.mark.parametrize("ask", list(READS.values())[:3], ids=list(READS)[:3])
async def test_a_read_that_nobody_answers_ends(streamless: Connection, impatient: None, ask: Ask) -> None:
    asked = await answer(streamless, DIRECT_GET)
    with pytest.raises(LogUnavailable):
        await ask(JetStreamLog(streamless))
    assert len(asked) == 1


@every_append
async def test_an_append_that_nobody_answers_is_uncertain(streamless: Connection, impatient: None, ask: Ask) -> None:
    await answer(streamless, "ledger.>")
    with pytest.raises(AppendUncertain):
        await ask(JetStreamLog(streamless))


async def test_a_command_that_a_stalled_server_takes_in_the_end_is_recorded_once(
    own_nats: EmbeddedNats, impatient: None
) -> None:
    async with Connection(own_nats.url, "test") as connection:
        await connection.ready()
        await provision(connection, 1)
        log = JetStreamLog(connection)
        executor = Executor(Stalling(log, own_nats), lambda: NOW)
        with pytest.raises(AppendUncertain):
            await executor.execute(claim(key="k-1"))
        assert own_nats.pid is not None
        os.kill(own_nats.pid, signal.SIGCONT)

        async def recorded() -> bool:
            try:
                return await log.end() == 1
            except LogUnavailable:
                return False

        await wait_until(recorded)
        assert (await Executor(log, lambda: NOW).execute(claim(key="k-1"))).how == "replayed"


class Stalling(JetStreamLog):
    """A log whose server stops right before an append. The server does not close the connection."""

    def __init__(self, log: JetStreamLog, server: EmbeddedNats) -> None:
        super().__init__(log._connection)
        self._server = server

    async def append(self, events: Sequence[Append]) -> list[int]:
        assert self._server.pid is not None
        os.kill(self._server.pid, signal.SIGSTOP)
        return await super().append(events)


# Refusals


@pytest.mark.parametrize("status", ["408", "503"])
@pytest.mark.parametrize("ask", list(READS.values())[:3], ids=list(READS)[:3])
async def test_a_read_that_is_answered_with_a_failure_finds_nothing_out(
    streamless: Connection, ask: Ask, status: str
) -> None:
    await answer(streamless, DIRECT_GET, status)
    with pytest.raises(LogUnavailable):
        await ask(JetStreamLog(streamless))


async def test_a_read_of_too_much_is_halved_until_it_is_one_aggregate_each(streamless: Connection) -> None:
    asked = await answer(streamless, DIRECT_GET, "413")
    with pytest.raises(LogUnavailable, match="413"):
        await JetStreamLog(streamless).last([favour_ref() for _ in range(8)])
    sizes = [len(msgspec.json.decode(message.data)["multi_last"]) for message in asked]
    assert sizes == [8, 4, 2, 1]


@every_append
async def test_a_full_stream_records_nothing(nats_connection: Connection, ask: Ask) -> None:
    full = await nats_connection.api(f"STREAM.UPDATE.{STREAM}", stream_definition(1) | {"max_msgs": 2})
    assert "error" not in full
    log = JetStreamLog(nats_connection)
    await log.append([first_append(), first_append()])
    with pytest.raises(LogUnavailable, match="maximum"):
        await ask(log)
    assert await log.end() == 2


async def test_an_event_that_is_too_large_is_not_recorded(nats_connection: Connection) -> None:
    log = JetStreamLog(nats_connection)
    large = msgspec.structs.replace(first_append(), body=b" " * (nats_connection.client.max_payload + 1))
    with pytest.raises(LogUnavailable):
        await log.append([large])
    with pytest.raises(LogUnavailable):
        await log.append([first_append(), large, first_append()])
    assert await log.end() == 0
    assert await log.append([first_append()]) == [1]


async def test_a_request_that_is_cancelled_as_its_answer_comes_ends_cancelled(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Python 3.11, `asyncio.wait_for` can return the answer and lose the cancellation."""

    async def answered(*_: object, **__: object) -> Msg:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return Msg(connection.client)

    monkeypatch.setattr(connection.client, "request", answered)
    task = asyncio.create_task(connection.request("anything", b""))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
