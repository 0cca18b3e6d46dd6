"""Speed of the feed: the delay until many subscribers receive an event, and the rate of pages."""

import asyncio
import re
import time
from typing import Final, cast

from bench.ledger import Ledger
from bench.measure import PATH, Figures, many
from bench.wire import Wire

SUBSCRIBERS: Final = 500
RATE: Final = 20  # Events per second: few, so that the delay contains no queue.
PAGE_EVENTS: Final = 100
EVENT_ID: Final = re.compile(rb"^id: (\d+)\nevent: ", re.MULTILINE)
OPENED_WITHIN_S: Final = 60
RECEIVED_WITHIN_S: Final = 30


class Subscriber(asyncio.Protocol):
    """An SSE client that notes when it received each position. It does little work, because many of them run."""

    def __init__(self, request: bytes, received: dict[int, list[float]]) -> None:
        self.opened = asyncio.Event()
        self._request = request
        self._received = received
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self.opened.set()
        whole, end, self._rest = (self._rest + data).rpartition(b"\n\n")
        for position in EVENT_ID.findall(whole + end):
            self._received.setdefault(int(position), []).append(now)


async def delays(ledger: Ledger, seconds: float) -> list[float]:
    """Return the seconds from the response to each POST until each subscriber received its event."""
    settings = ledger.settings
    received: dict[int, list[float]] = {}
    request = f"GET {PATH}/events HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    subscribers: list[Subscriber] = []
    for _ in range(SUBSCRIBERS):
        _, subscriber = await loop.create_connection(
            lambda: Subscriber(request, received), settings.host, settings.port
        )
        subscribers.append(subscriber)
    async with asyncio.timeout(OPENED_WITHIN_S):
        for subscriber in subscribers:
            await subscriber.opened.wait()
    acknowledged: dict[int, float] = {}
    async with Wire(settings.host, settings.port) as wire:
        began = time.perf_counter()
        for number in range(int(seconds * RATE)):
            await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
            body = {"giver": "m1", "receiver": "m2", "size": "small", "actor": "m2"}
            reply = await wire.post(f"{PATH}/favours", body, key=f"received-{number}")
            acknowledged[reply.position] = time.perf_counter()
    async with asyncio.timeout(RECEIVED_WITHIN_S):
        while any(len(received.get(position, ())) < SUBSCRIBERS for position in acknowledged):  # noqa: ASYNC110  No event.
            await asyncio.sleep(0.01)
    for subscriber in subscribers:
        subscriber.transport.abort()
    return [at - acked for position, acked in acknowledged.items() for at in received[position]]


async def feed(ledger: Ledger, figures: Figures, seconds: float, end: int) -> None:
    """Measure the feed of a ledger whose books contain `end` events."""
    for at_once in (1, 16):
        rate, durations = await many(
            ledger,
            seconds,
            at_once,
            lambda wire, n: wire.get(f"{PATH}/events?limit={PAGE_EVENTS}&after={n * 7_919 % (end - PAGE_EVENTS)}"),
        )
        figures.add(f"GET events, {PAGE_EVENTS} per page, {at_once} at once, 1/s", f"{rate:,.0f}", durations)
    rate, durations = await many(
        ledger, seconds, 16, lambda wire, n: wire.get(f"{PATH}/events?kind=policy&after={n * 7_919 % end}")
    )
    figures.add("GET events of a kind without events, 16 at once, 1/s", f"{rate:,.0f}", durations)
    figures.add(
        f"commit to receipt by {SUBSCRIBERS} subscribers at {RATE} events/s", "", sorted(await delays(ledger, seconds))
    )
