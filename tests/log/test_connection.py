"""The connection reconnects after any error of the server. Its parser finds the same messages for any cut of bytes."""

import asyncio
import os
import random
import signal
from contextlib import aclosing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
from nats.aio.msg import Msg

from deploy.embedded.nats import EmbeddedNats
from ledger.log.connection import Connection, TappedClient, TappedParser, unreachable_callback
from ledger.log.event_log import LogUnavailable
from ledger.log.jetstream import JetStreamLog
from ledger.log.stream import provision
from tests.log.reads import take
from tests.log.samples import favour_ref, first_append
from tests.polling import wait_until

HEADERS: Final = b"NATS/1.0\r\nLedger-Snapshot: {}\r\n\r\n"
STATUS: Final = b"NATS/1.0 100 Idle Heartbeat\r\n\r\n"
Taken = tuple[str, str, bytes, bytes]


def message(body: bytes, sid: int = 1, headers: bytes = HEADERS) -> bytes:
    sizes = f"{len(headers)} {len(headers) + len(body)}"
    return f"HMSG ledger.a {sid} $JS.ACK.1 {sizes}\r\n".encode() + headers + body + b"\r\n"


def bare(body: bytes) -> bytes:
    return f"MSG ledger.a 1 $JS.ACK.1 {len(body)}\r\n".encode() + body + b"\r\n"


STREAM: Final = b"".join(
    (
        message(b"one"),
        message(b"HMSG ledger.a 1 $JS.ACK.1 10 10\r\n"),  # The parser must not read the body as a message.
        b"+OK\r\n",
        message(b""),
        f"HMSG ledger.a 1 {len(STATUS)} {len(STATUS)}\r\n".encode() + STATUS + b"\r\n",
        bare(b"without headers"),
        message(b"of nobody", sid=7),
        message(b"x" * 5_000),
        message(b"last"),
    )
)
TAKEN: Final[list[Taken]] = [
    ("ledger.a", "$JS.ACK.1", b"one", HEADERS),
    ("ledger.a", "$JS.ACK.1", b"HMSG ledger.a 1 $JS.ACK.1 10 10\r\n", HEADERS),
    ("ledger.a", "$JS.ACK.1", b"", HEADERS),
    ("ledger.a", "", b"", STATUS),
    ("ledger.a", "$JS.ACK.1", b"without headers", b""),
    ("ledger.a", "$JS.ACK.1", b"x" * 5_000, HEADERS),
    ("ledger.a", "$JS.ACK.1", b"last", HEADERS),
]


async def taken(parts: list[bytes]) -> list[Taken]:
    """Return the messages that a tap receives of these parts of the stream."""
    client = TappedClient()
    found: list[Taken] = []

    def take(subject: str, reply: str, body: bytes, headers: bytes) -> None:
        found.append((subject, reply, body, headers))

    client.taps[1] = take
    client._subs[1] = object()  # type: ignore[assignment]  # The client only checks that a subscription exists.
    parser = TappedParser(client)
    for part in parts:
        await parser.parse(part)
    assert not parser.buf
    return found


async def test_a_stream_that_comes_in_one_piece_is_taken_whole() -> None:
    assert await taken([STREAM]) == TAKEN


async def test_a_stream_that_is_cut_anywhere_is_taken_as_if_it_were_not() -> None:
    for cut in range(1, len(STREAM)):
        assert await taken([STREAM[:cut], STREAM[cut:]]) == TAKEN, cut


async def test_a_stream_that_is_cut_many_times_is_taken_as_if_it_were_not() -> None:
    rng = random.Random("cuts")
    for _ in range(200):
        cuts = sorted({0, len(STREAM), *(rng.randrange(len(STREAM)) for _ in range(rng.randrange(40)))})
        assert await taken([STREAM[a:b] for a, b in pairwise(cuts)]) == TAKEN, cuts


async def test_a_take_that_fails_is_reported_and_the_next_message_is_taken() -> None:
    client = TappedClient()
    reported: list[Exception] = []
    found: list[bytes] = []

    async def report(error: Exception) -> None:
        reported.append(error)

    def take(_subject: str, _reply: str, body: bytes, _headers: bytes) -> None:
        if body == b"bad":
            raise ValueError("bad")
        found.append(body)

    client._error_cb = report
    client.taps[1] = take
    await TappedParser(client).parse(message(b"bad") + message(b"good"))
    assert [str(error) for error in reported] == ["bad"]
    assert found == [b"good"]


async def test_nobody_is_called_with_a_tapped_message() -> None:
    await unreachable_callback(Msg(_client=TappedClient()))


# Servers that refuse every login


async def test_a_connection_that_the_server_ended_for_good_is_made_anew_and_what_was_read_goes_on(
    own_nats: EmbeddedNats, tmp_path: Path
) -> None:
    config = tmp_path / "nats" / "nats.conf"
    open_to_all = config.read_text()

    def reload(text: str) -> None:
        assert own_nats.pid is not None
        config.write_text(text)
        os.kill(own_nats.pid, signal.SIGHUP)

    async with Connection(own_nats.url, "test") as connection:
        await connection.ready()
        await provision(connection, 1)
        log = JetStreamLog(connection)
        await log.append([first_append()])
        async with aclosing(log.read_from(1)) as events:
            assert [event.position for event in await take(events, 1)] == [1]
            waiting = asyncio.ensure_future(take(events, 1))
            closed = connection.client
            reload(open_to_all + "authorization { user: somebody, password: else }\n")

            async def ended() -> bool:
                return closed.is_closed

            await wait_until(ended)
            with pytest.raises(LogUnavailable):
                await log.end()
            reload(open_to_all)

            async def recorded() -> bool:
                with suppress(LogUnavailable):
                    return await log.append([first_append()]) == [2]
                return False

            await wait_until(recorded)
            assert [event.position for event in await waiting] == [2]
        assert connection.client is not closed
    assert connection.client.is_closed


async def test_a_connection_that_was_left_stays_closed(nats_server: EmbeddedNats) -> None:
    async with Connection(nats_server.url, "test") as connection:
        await connection.ready()
    left = connection.client
    with pytest.raises(LogUnavailable):
        connection.require()
    with pytest.raises(LogUnavailable):
        await connection.ready()
    assert connection.client is left


async def test_a_connection_may_be_left_while_it_is_made_anew(own_nats: EmbeddedNats) -> None:
    async with Connection(own_nats.url, "test") as connection:
        await connection.ready()
        own_nats.kill()
        await connection.client.close()
        with pytest.raises(LogUnavailable):
            connection.require()
    with pytest.raises(LogUnavailable):
        await connection.ready()


async def test_no_log_line_contains_the_password_of_the_server(
    own_nats: EmbeddedNats, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ""

    async def await_line(text: str) -> None:
        async def logged() -> bool:
            nonlocal lines
            lines += capsys.readouterr().out
            return text in lines

        await wait_until(logged)

    async with Connection(own_nats.url.replace("//", "//user:secret@"), "test") as connection:
        await connection.ready()
        own_nats.kill()
        await await_line("nats disconnected")
        await connection.client.close()
        with pytest.raises(LogUnavailable):
            connection.require()
        await await_line("nats closed the connection")
        own_nats.start()
        await await_line("nats reconnected")
    assert lines.count("nats://***@127.0.0.1") >= 3
    assert "secret" not in lines


async def test_a_read_of_many_that_is_cut_off_leaves_no_subscription_behind(own_nats: EmbeddedNats) -> None:
    async with Connection(own_nats.url, "test") as connection:
        await connection.ready()
        await provision(connection, 1)
        log = JetStreamLog(connection)
        await log.last([favour_ref(), favour_ref()])
        subscriptions = len(connection.client._subs)
        reading = [asyncio.ensure_future(log.last([favour_ref(), favour_ref()])) for _ in range(20)]
        await asyncio.sleep(0)
        own_nats.kill()
        results = await asyncio.gather(*reading, return_exceptions=True)
        assert {type(result) for result in results} <= {LogUnavailable, list}
        assert len(connection.client._subs) == subscriptions
