"""The parser of a tapped connection: wherever the stream of bytes is cut, the same messages come out of it."""

import random
from itertools import pairwise
from typing import Final

from nats.aio.msg import Msg

from ledger.log.connection import TappedClient, TappedParser, never

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
        message(b"HMSG ledger.a 1 $JS.ACK.1 10 10\r\n"),  # What looks like a message within one is none.
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
    """What a tap takes of the stream in these parts."""
    client = TappedClient()
    found: list[Taken] = []

    def take(subject: str, reply: str, body: bytes, headers: bytes) -> None:
        found.append((subject, reply, body, headers))

    client.taps[1] = take
    client._subs[1] = object()  # type: ignore[assignment]  # It is only looked whether there is one.
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
    await never(Msg(_client=TappedClient()))
