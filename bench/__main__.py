"""`make bench`: measure the ledger on this machine, with fsync on, and a naive consumer in the same run."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import aclosing
from typing import Any, Final

import asyncpg
import click
import msgspec
import nats
import uvloop
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from bench.feed import feed
from bench.ledger import Ledger, start_ledger
from bench.measure import PATH, Figures, many
from bench.people import people
from bench.reading import reading
from bench.wire import Wire
from deploy.serving import allow_files
from ledger.books.schema import migrate
from ledger.books.writer import writer_lock
from ledger.log.connection import Connection
from ledger.log.jetstream import JetStreamLog
from ledger.log.message import SNAPSHOT_HEADER, parse_message
from ledger.log.stream import STREAM
from ledger.runtime.settings import BooksAddress

MEMBERS: Final = 20_000
BATCH: Final = 1_000
IN_FLIGHT: Final = 2
NAIVE_EVENTS: Final = 2_000
READABLE_RATE: Final = 200
MILLION: Final = 1_000_000
MILLION_STEP: Final = 50_000


def favours(count: int, series: str) -> Iterator[list[dict[str, Any]]]:
    """Yield batches of commands. Seven in ten are thanks; the others are claims, and confirmations in a later batch.

    3 % of the favours name one member as giver and receiver and are refused, as happens in a real history.
    """
    rng = random.Random(series)
    waiting: list[tuple[str, str]] = []
    number = 0
    while number < count:
        batch: list[dict[str, Any]] = []
        confirmable, waiting = waiting, []
        while len(batch) < BATCH and number < count:
            number += 1
            if confirmable and rng.random() < 0.3:
                claim, receiver = confirmable.pop()
                batch.append({"op": "favour.confirm", "id": claim, "body": {"actor": receiver}})
                continue
            giver, receiver = (f"m{n}" for n in rng.sample(range(MEMBERS), 2))
            if rng.random() < 0.03:
                receiver = giver
            body = {"giver": giver, "receiver": receiver, "size": rng.choice(["small", "medium", "large"])}
            if rng.random() < 0.2:
                claim = f"{rng.getrandbits(128):032x}"
                claim = f"{claim[:8]}-{claim[8:12]}-{claim[12:16]}-{claim[16:20]}-{claim[20:]}"
                batch.append({"op": "favour.record", "body": {**body, "actor": giver, "id": claim}})
                if receiver != giver:
                    waiting.append((claim, receiver))
            else:
                key = f"{series}-{number}"
                batch.append({"op": "favour.record", "body": {**body, "actor": receiver}, "idempotency_key": key})
        yield batch


async def send(ledger: Ledger, count: int, series: str) -> int:
    """Send `count` commands through `POST /batch`, and return the highest position."""
    last = 0
    encoded = [msgspec.json.encode(batch) for batch in favours(count, series)]
    batches = iter(encoded)

    async def sender() -> None:
        nonlocal last
        async with Wire(ledger.settings.host, ledger.settings.port) as wire:
            for batch in batches:
                reply = await wire.post(f"{PATH}/batch", batch)
                if reply.status != 200:
                    raise click.ClickException(reply.body.decode())
                last = max(last, reply.position)

    await asyncio.gather(*(sender() for _ in range(IN_FLIGHT)))
    return last


async def until_projected(ledger: Ledger, position: int) -> None:
    """Wait until the books have reached `position`."""
    connection = await asyncpg.connect(
        ledger.settings.postgres_dsn, server_settings={"search_path": ledger.settings.postgres_schema}
    )
    while await connection.fetchval("SELECT position FROM checkpoint") < position:  # noqa: ASYNC110  No event.
        await asyncio.sleep(0.01)
    await connection.close()


async def naive(ledger: Ledger, count: int) -> float:
    """Return the events per second of a consumer with one transaction and one acknowledgement per event."""
    schema = f"naive_{count}"
    await migrate(BooksAddress(ledger.settings.postgres_dsn, schema))
    client = await nats.connect(ledger.settings.nats_url)
    config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.EXPLICIT, max_ack_pending=1_000)
    subscription = await client.jetstream().pull_subscribe("", durable="naive", stream=STREAM, config=config)
    async with writer_lock(BooksAddress(ledger.settings.postgres_dsn, schema)) as writer:
        started = time.perf_counter()
        done = 0
        while done < count:
            for message in await subscription.fetch(100):
                meta = message.metadata
                headers = message.headers or {}
                event = parse_message(
                    meta.sequence.stream,
                    int(meta.timestamp.timestamp() * 1e6),
                    message.subject,
                    message.data,
                    headers.get(SNAPSHOT_HEADER),
                )
                await writer.apply([event])
                await message.ack()
                done += 1
        seconds = time.perf_counter() - started
    await client.close()
    return done / seconds


async def readable(ledger: Ledger, seconds: float) -> list[float]:
    """Return the seconds between the response to a write and the response to a read that shows it, at 200 writes/s."""
    durations: list[float] = []
    number = 0

    async def caller(share: int, callers: int) -> None:
        nonlocal number
        settings = ledger.settings
        async with Wire(settings.host, settings.port) as wire:
            began = time.perf_counter()
            for turn in range(int(seconds * READABLE_RATE / callers)):
                await asyncio.sleep(
                    max(0.0, began + (turn + share / callers) * callers / READABLE_RATE - time.perf_counter())
                )
                number += 1
                body = {"giver": "m1", "receiver": "m2", "size": "small", "actor": "m2"}
                reply = await wire.post(f"{PATH}/favours", body, key=f"readable-{number}")
                written = time.perf_counter()
                await wire.get(f"{PATH}/members/m1/balance?min_position={reply.position}")
                durations.append(time.perf_counter() - written)

    callers = 8
    await asyncio.gather(*(caller(share, callers) for share in range(callers)))
    return durations


async def measure_log(events: int, seconds: float, million: bool) -> None:
    """Measure commands, projection, import, single writes and balances."""
    figures = Figures()
    async with start_ledger() as ledger:
        settings = ledger.settings
        started = time.perf_counter()
        end = await send(ledger, events, "fill")
        figures.add("accepted through POST /batch, events/s", f"{end / (time.perf_counter() - started):,.0f}")

        slow = await naive(ledger, min(NAIVE_EVENTS, end))
        figures.add("naive consumer, events/s", f"{slow:,.0f}")

        projector = ledger.start("work", "projector")
        await until_projected(ledger, 1)
        await asyncio.sleep(0)
        async with Connection(settings.nats_url, "bench") as connection:
            await connection.ready()
            from_position, started = await position_of_books(ledger), time.perf_counter()
            await until_projected(ledger, end)
            fast = (end - from_position) / (time.perf_counter() - started)
            async with aclosing(JetStreamLog(connection).read_from(1)) as batches:
                started = time.perf_counter()
                async for batch in batches:
                    if batch[-1].position >= end:
                        break
                read = end / (time.perf_counter() - started)
        figures.add("projected from a full log, all tables, events/s", f"{fast:,.0f}")
        figures.add("  ratio to the naive consumer", f"{fast / slow:,.1f}")
        figures.add("  only read from the log, events/s", f"{read:,.0f}")

        started = time.perf_counter()
        last = await send(ledger, events, "import")
        await until_projected(ledger, last)
        figures.add("import until readable, events/s", f"{(last - end) / (time.perf_counter() - started):,.0f}")

        body = {"giver": "m1", "receiver": "m2", "size": "small", "actor": "m2"}
        rate, durations = await many(
            ledger, seconds, 16, lambda wire, n: wire.post(f"{PATH}/favours", body, key=f"single-{n}")
        )
        figures.add("single POST /favours, 16 at once, 1/s", f"{rate:,.0f}", durations)
        rate, durations = await many(
            ledger, seconds, 16, lambda wire, n: wire.get(f"{PATH}/members/m{n % MEMBERS}/balance")
        )
        figures.add("GET balance, 16 at once, 1/s", f"{rate:,.0f}", durations)
        figures.add(f"commit to readable at {READABLE_RATE} events/s", "", await readable(ledger, seconds))
        if million:
            await go_on_to_a_million(ledger, figures)
        else:
            add_memory(ledger, figures)
        ledger.stop(projector)
    figures.show()


async def go_on_to_a_million(ledger: Ledger, figures: Figures) -> None:
    """Send batches, each twice, until the log contains a million events. A clock worker runs meanwhile."""
    clock = ledger.start("work", "clock")
    begun = last = await position_of_books(ledger)
    fresh_s = again_s = 0.0
    number = 0
    while last < MILLION:
        number += 1
        started = time.perf_counter()
        last = await send(ledger, MILLION_STEP, f"million-{number}")
        await until_projected(ledger, last)
        fresh_s += time.perf_counter() - started
        started = time.perf_counter()
        await send(ledger, MILLION_STEP, f"million-{number}")
        again_s += time.perf_counter() - started
    figures.add(f"import until readable, up to {last:,} events, events/s", f"{(last - begun) / fresh_s:,.0f}")
    figures.add("  recorded commands sent again, commands/s", f"{(last - begun) / again_s:,.0f}")
    add_memory(ledger, figures)
    ledger.stop(clock)


def add_memory(ledger: Ledger, figures: Figures) -> None:
    """Add the peak memory of every process of the ledger to the table."""
    for process in ledger.processes:
        figures.add(f"peak resident memory of `{process.name}`, MiB", f"{process.peak_mib:,.0f}")


async def measure_alone(measurement: Callable[[Ledger, Figures, float], Awaitable[None]], seconds: float) -> None:
    """Run a measurement on an empty ledger without workers."""
    figures = Figures()
    async with start_ledger() as ledger:
        await measurement(ledger, figures, seconds)
    figures.show()


async def measure_feed(events: int, seconds: float) -> None:
    """Measure the feed of a ledger with `events` events."""
    figures = Figures()
    allow_files()
    async with start_ledger() as ledger:
        projector = ledger.start("work", "projector")
        end = await send(ledger, events, "fill")
        await until_projected(ledger, end)
        await feed(ledger, figures, seconds, end)
        add_memory(ledger, figures)
        ledger.stop(projector)
    figures.show()


async def position_of_books(ledger: Ledger) -> int:
    connection = await asyncpg.connect(
        ledger.settings.postgres_dsn, server_settings={"search_path": ledger.settings.postgres_schema}
    )
    position = await connection.fetchval("SELECT position FROM checkpoint")
    await connection.close()
    return int(position)


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(["log", "reading", "feed", "people"]))
@click.option("--events", default=60_000, show_default=True, help="Events of each bulk measurement.")
@click.option("--seconds", default=8.0, show_default=True, help="Duration of each timed measurement.")
@click.option(
    "--million",
    is_flag=True,
    help="Continue the part `log` to a million events, each sent twice, and measure memory.",
)
def main(parts: tuple[str, ...], events: int, seconds: float, million: bool) -> None:
    """Measure the ledger on this machine. Compare figures of one run only, as ratios.

    log: accepted commands, projection, import, single requests.

    reading: reads of the past of a busy member.

    feed: pages and event streams of the feed.

    people: coach, matches, standing and yield in a large community.

    Without PARTS, the first three are measured.
    """
    measurements: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "log": lambda: measure_log(events, seconds, million),
        "reading": lambda: measure_alone(reading, seconds),
        "feed": lambda: measure_feed(events, seconds),
        "people": lambda: measure_alone(people, seconds),
    }
    for part in parts or ("log", "reading", "feed"):
        uvloop.run(measurements[part]())


if __name__ == "__main__":
    main()
