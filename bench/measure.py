"""Parts that every benchmark uses: the community, a rate of requests, and the table of figures."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.ledger import Ledger
from bench.wire import Wire

COMMUNITY: Final = "bench"
PATH: Final = f"/v1/communities/{COMMUNITY}"

console = Console(highlight=False)


class Figures:
    """A table of figures. `seconds` are durations, of which the table shows p50 and p99."""

    def __init__(self) -> None:
        self._table = Table("what", "figure", "p50 ms", "p99 ms", title="The ledger on this machine, fsync on")
        self._table.columns[1].justify = self._table.columns[2].justify = self._table.columns[3].justify = "right"

    def add(self, what: str, figure: str, seconds: list[float] | None = None) -> None:
        p50, p99 = ("", "")
        if seconds:
            cuts = statistics.quantiles(seconds, n=100)
            p50, p99 = f"{cuts[49] * 1e3:.1f}", f"{cuts[98] * 1e3:.1f}"
        self._table.add_row(what, figure, p50, p99)
        console.print(f"  {what}: {figure} {f'(p50 {p50} ms, p99 {p99} ms)' if seconds else ''}")

    def show(self) -> None:
        console.print(self._table)


async def many(ledger: Ledger, seconds: float, at_once: int, request: Callable[[Wire, int], Awaitable[Any]]) -> Any:
    """Send requests for `seconds`, `at_once` at a time. Return requests per second and all durations in seconds."""
    durations: list[float] = []
    number = 0
    until = time.perf_counter() + seconds

    async def caller() -> None:
        nonlocal number
        async with Wire(ledger.settings.host, ledger.settings.port) as wire:
            while (started := time.perf_counter()) < until:
                number += 1
                await request(wire, number)
                durations.append(time.perf_counter() - started)

    await asyncio.gather(*(caller() for _ in range(at_once)))
    return len(durations) / seconds, durations
