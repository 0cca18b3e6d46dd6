"""Speed of reads of the past: a member with 100,000 entries, beside the lower bound of a read."""

import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import httpx
from msgspec import structs

from bench.ledger import Ledger
from bench.measure import COMMUNITY, PATH, Figures, console, many
from bench.wire import Wire
from deploy.demo import until_ready
from deploy.embedded.ports import free_port
from ledger.books.writer import writer_lock
from ledger.commands.executor import Executor
from ledger.commands.submission import Submission
from ledger.domain.kinds.favour import RecordFavour
from ledger.domain.values.refusals import Refusal
from ledger.log.memory import MemoryLog

BUSY: Final = "busy"
ENTRIES: Final = 100_000
FRIENDS: Final = 2_000
BATCH: Final = 1_000
YEARS: Final = timedelta(days=3 * 365)
AT_ONCE: Final = 2


def times(rng: random.Random, now: datetime) -> Callable[[], datetime]:
    """Return a source of random times in the last three years. It makes recording order differ from happening order."""
    return lambda: now - rng.random() * YEARS


async def fill(ledger: Ledger, now: datetime) -> None:
    """Write the books of one busy member with the writer of the projector."""
    rng = random.Random("reading")
    some_time = times(rng, now)
    log = MemoryLog()
    executor = Executor(log)
    async with writer_lock(ledger.settings.books) as writer:
        for start in range(0, ENTRIES, BATCH):
            commands = [
                RecordFavour(
                    actor=f"m{friend}",
                    giver=BUSY,
                    receiver=f"m{friend}",
                    size="medium",
                    id=UUID(int=start + number),
                    occurred_at=some_time(),
                )
                for number, friend in enumerate(rng.choices(range(FRIENDS), k=BATCH))
            ]
            results = await executor.execute_all(
                [
                    Submission(community=COMMUNITY, operation="favour.record", kind="favour", command=command)
                    for command in commands
                ]
            )
            assert not any(isinstance(result, Refusal) for result in results)
            events = [event for at in range(start + 1, start + BATCH + 1) if (event := await log.at(at))]
            await writer.apply(events)


async def reading(ledger: Ledger, figures: Figures, seconds: float) -> None:
    """Fill the books of an idle ledger, then measure the reads."""
    now = datetime.now(UTC)
    started = time.perf_counter()
    await fill(ledger, now)
    console.print(f"  {ENTRIES:,} entries of one member written in {time.perf_counter() - started:,.0f} s")
    rng = random.Random("asking")
    some_time = times(rng, now)

    def at() -> str:
        return some_time().strftime("%Y-%m-%dT%H:%M:%SZ")

    member = f"{PATH}/members/{BUSY}"
    paths: dict[str, Callable[[], str]] = {
        "one trivial query": lambda: f"{PATH}/bare",
        "balance": lambda: f"{member}/balance",
        "balance as of": lambda: f"{member}/balance?as_of={at()}",
        "balance as of, known at": lambda: f"{member}/balance?as_of={at()}&known_at={now:%Y-%m-%dT%H:%M:%SZ}",
        "pair as of": lambda: f"{member}/pairs/m{rng.randrange(FRIENDS)}?as_of={at()}",
        "statement page of 100": lambda: f"{member}/statement?from={at()}",
        "statement page of 100, newest first, as of": lambda: f"{member}/statement?order=newest&as_of={at()}",
        "balance explained": lambda: f"{member}/balance?explain=true",
        "summary as of": lambda: f"{PATH}/summary?as_of={at()}",
    }
    async with bare_service(ledger) as bare:
        for what, path in paths.items():
            rate, durations = await many(bare, seconds, AT_ONCE, lambda wire, _, path=path: get_ok(wire, path()))
            figures.add(f"GET {what}, {AT_ONCE} at once, 1/s", f"{rate:,.0f}", durations)


async def get_ok(wire: Wire, path: str) -> None:
    reply = await wire.get(path)
    assert reply.status == 200, reply.body


@asynccontextmanager
async def bare_service(ledger: Ledger) -> AsyncGenerator[Ledger, None]:
    """Run a query service on the same books, with the trivial route beside the others."""
    bare = Ledger(structs.replace(ledger.settings, port=free_port()), [])
    process = bare.start(module="bench.bare")
    try:
        async with httpx.AsyncClient(base_url=f"http://{bare.settings.host}:{bare.settings.port}") as client:
            await until_ready(client)
        yield bare
    finally:
        process.stop()
