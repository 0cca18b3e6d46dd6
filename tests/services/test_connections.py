"""Connections of long responses: a deadline that moves on, and the disconnection of one client alone."""

import asyncio
import socket
from contextlib import ExitStack

import pytest

from services.feed.event_stream import StreamSlots
from services.feed.resettable_timer import ResettableTimer
from services.http.problems import TooManyStreams
from services.http.sockets import address_of, hang_up, port_and_peer


async def test_a_deadline_that_is_moved_on_does_not_pass_and_passes_once_it_is_not() -> None:
    passed = asyncio.Event()
    timer = ResettableTimer(passed.set)
    loop = asyncio.get_running_loop()
    until = loop.time() + 0.3
    while loop.time() < until:
        timer.reset(0.2)
        await asyncio.sleep(0)
    assert not passed.is_set()
    moved_at = loop.time()
    timer.reset(0.2)
    async with asyncio.timeout(5):
        await passed.wait()
    assert loop.time() - moved_at >= 0.19


async def test_a_deadline_that_is_lifted_does_not_pass_and_may_be_set_again() -> None:
    passed: list[int] = []
    timer = ResettableTimer(lambda: passed.append(1))
    timer.reset(0.01)
    timer.stop()
    await asyncio.sleep(0.05)
    assert passed == []
    timer.reset(0.01)
    await asyncio.sleep(0.05)
    assert passed == [1]
    timer.reset(0.01)
    timer.close()
    timer.close()
    await asyncio.sleep(0.05)
    assert passed == [1]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_one_client_is_hung_up_on_and_the_others_are_not(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as stack:
        listening, elsewhere = [stack.enter_context(socket.create_server((host, 0), family=family)) for _ in range(2)]
        pairs: list[tuple[socket.socket, socket.socket]] = []
        for server in (listening, listening, elsewhere):
            client = stack.enter_context(socket.create_connection(server.getsockname()[:2]))
            pairs.append((client, stack.enter_context(server.accept()[0])))
        (one, _), (two, its_end), (three, other_end) = pairs
        port = listening.getsockname()[1]
        assert hang_up(port, address_of(*one.getsockname()[:2])) == 1
        one.settimeout(5)
        assert one.recv(1) == b""
        for client, end in ((two, its_end), (three, other_end)):
            end.sendall(b"x")
            assert client.recv(1) == b"x"
        assert hang_up(port, ("192.0.2.1", 1)) == 0
        assert hang_up(port) >= 1
        two.settimeout(5)
        assert two.recv(1) == b""
        other_end.sendall(b"y")
        assert three.recv(1) == b"y"


def test_hanging_up_leaves_no_file_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        before = server.fileno()
        for _ in range(50):
            hang_up(server.getsockname()[1])
        with socket.socket() as next_one:
            assert next_one.fileno() <= before + 10


def test_the_server_may_say_ports_as_text_and_as_numbers() -> None:
    for client, server in ((("127.0.0.1", "4711"), ("127.0.0.1", "80")), (("127.0.0.1", 4711), ("127.0.0.1", 80))):
        assert port_and_peer({"client": client, "server": server}) == (80, ("127.0.0.1", 4711))


def test_a_place_is_given_back_however_the_wait_ends() -> None:
    slots = StreamSlots(1, asyncio.Event())
    with pytest.raises(ZeroDivisionError), slots.slot():
        raise ZeroDivisionError
    with slots.slot(), pytest.raises(TooManyStreams):
        slots.acquire()
    with slots.slot():
        pass
