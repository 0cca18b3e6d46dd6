"""How soon an event is heard by many who listen, and how fast pages of the feed are answered."""

import asyncio
import re
import time
from typing import Final, cast

from bench.ledger import Ledger
from bench.measure import PATH, Figures, many
from bench.wire import Wire

LISTENERS: Final = 500
RATE: Final = 20  # Events a second, so that what is measured is the delay and not a queue.
PAGE_EVENTS: Final = 100
HEARD: Final = re.compile(rb"^id: (\d+)\nevent: ", re.MULTILINE)
OPENED_WITHIN_S: Final = 60
HEARD_WITHIN_S: Final = 30


class Ear(asyncio.Protocol):
    """Listens to the stream, and notes when it heard of which position: little work, since there are many of them."""

    def __init__(self, request: bytes, heard: dict[int, list[float]]) -> None:
        self.opened = asyncio.Event()
        self._request = request
        self._heard = heard
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self.opened.set()
        whole, end, self._rest = (self._rest + data).rpartition(b"\n\n")
        for position in HEARD.findall(whole + end):
            self._heard.setdefault(int(position), []).append(now)


async def delays(ledger: Ledger, seconds: float) -> list[float]:
    """From each acknowledged POST to each listener who heard of it, in seconds."""
    settings = ledger.settings
    heard: dict[int, list[float]] = {}
    request = f"GET {PATH}/events HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    ears: list[Ear] = []
    for _ in range(LISTENERS):
        _, ear = await loop.create_connection(lambda: Ear(request, heard), settings.host, settings.port)
        ears.append(ear)
    async with asyncio.timeout(OPENED_WITHIN_S):
        for ear in ears:
            await ear.opened.wait()
    acknowledged: dict[int, float] = {}
    async with Wire(settings.host, settings.port) as wire:
        began = time.perf_counter()
        for number in range(int(seconds * RATE)):
            await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
            body = {"giver": "m1", "receiver": "m2", "size": "small", "actor": "m2"}
            reply = await wire.post(f"{PATH}/favours", body, key=f"heard-{number}")
            acknowledged[reply.position] = time.perf_counter()
    async with asyncio.timeout(HEARD_WITHIN_S):
        while any(len(heard.get(position, ())) < LISTENERS for position in acknowledged):  # noqa: ASYNC110  Each notes.
            await asyncio.sleep(0.01)
    for ear in ears:
        ear.transport.abort()
    return [at - acked for position, acked in acknowledged.items() for at in heard[position]]


async def feed(ledger: Ledger, figures: Figures, seconds: float, end: int) -> None:
    """Of a ledger whose books show `end` events."""
    for at_once in (1, 16):
        rate, durations = await many(
            ledger,
            seconds,
            at_once,
            lambda wire, n: wire.get(f"{PATH}/events?limit={PAGE_EVENTS}&after={n * 7_919 % (end - PAGE_EVENTS)}"),
        )
        figures.add(f"GET events, {PAGE_EVENTS} a page, {at_once} at once, 1/s", f"{rate:,.0f}", durations)
    rate, durations = await many(
        ledger, seconds, 16, lambda wire, n: wire.get(f"{PATH}/events?kind=policy&after={n * 7_919 % end}")
    )
    figures.add("GET events of a kind that there are none of, 16 at once, 1/s", f"{rate:,.0f}", durations)
    figures.add(
        f"commit to heard by {LISTENERS} listeners at {RATE} events/s", "", sorted(await delays(ledger, seconds))
    )
