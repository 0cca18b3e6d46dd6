"""An acknowledged event is never lost and never applied twice, whichever process is killed and whenever.

The expected balances come from a short fold of the file in plain Python. It uses no code of the ledger.
"""

from __future__ import annotations

import asyncio
import csv
import json
import random
import re
import sys
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pytest

from deploy.embedded.ports import free_port
from ledger.commands.executor import Executor
from ledger.commands.submission import Outcome, Submission
from ledger.domain.kinds.favour import FavourThanked, RecordFavour
from ledger.log.connection import Connection
from ledger.log.event_log import AppendUncertain, LogUnavailable
from ledger.log.jetstream import JetStreamLog
from tests.deploy.conftest import POLL_S, ROOT, CommandLine, Started, answers, at_work, get, until, until_shown
from tests.scale import scale

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ledger.runtime.settings import Settings

POINTS: Final = {"small": 60, "medium": 120, "large": 240}
HISTORY: Final = ROOT.parent / "shared" / "data" / "sx-mathoverflow-a2q.txt"
HISTORY_LINES: Final = scale(gate=5_000, soak=20_000)
LINES: Final = scale(gate=6_000, soak=12_000)
BATCHES: Final = 1_200
MEMBERS: Final = 60
PAUSE_MAX_S: Final = 0.4
OVERDUE_EACH: Final = 40
RECORDS_ON_WITHIN_S: Final = 30.0
ENDS_WELL_WITHIN_S: Final = 120.0
LONG_AGO: Final = datetime(2026, 1, 5, tzinfo=UTC)
VICTIMS: Final = {
    "projector": ("projector",),
    "clock": ("clock",),
    "api": ("serve",),
    "nats": ("nats-server",),
    "postgres": ("postgres",),
}
# The import with small batches. It runs long enough for kills to fall in the middle of many batches.
SLOW_IMPORT_CODE: Final = (
    "from deploy.cli.main import main; from deploy.importer import client; "
    f"client.BATCH_COMMANDS = {LINES // BATCHES}; main()"
)
SLOW_IMPORT: Final = (sys.executable, "-P", "-c", SLOW_IMPORT_CODE)
TAKEOVER_WITHIN_S: Final = 5.0
WRITES: Final = "this projector writes the books"

pytestmark = pytest.mark.slow

Favour = tuple[str, str, int]  # Giver, receiver, points.


class Fold:
    """Balances and pairs that the books must show after these favours, computed without the ledger's code."""

    def __init__(self, favours: Iterable[Favour]) -> None:
        self.main: Counter[str] = Counter()
        self.given: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.recorded = self.refused = 0
        for giver, receiver, points in favours:
            if giver == receiver:
                self.refused += 1
                continue
            self.recorded += 1
            self.main[giver] += points
            self.main[receiver] -= points
            self.given[giver] += points
            self.received[receiver] += points
            self.pairs[giver, receiver] += points

    def balances(self) -> dict[str, tuple[int, int, int]]:
        return {member: (self.main[member], self.given[member], self.received[member]) for member in self.main}

    def pairs_of(self, member: str) -> dict[str, tuple[int, int]]:
        """Return, for each counterparty, the points that the member gave and received."""
        others = {a if b == member else b for a, b in self.pairs if member in (a, b)}
        return {other: (self.pairs[member, other], self.pairs[other, member]) for other in others}


def tell(path: Path, seed: int) -> Fold:
    """Write a file of favours, and return its fold. Some favours have one member on both sides; some are equal."""
    draw = random.Random(seed)
    members = [f"m{number}" for number in range(MEMBERS)]
    rows: list[tuple[str, str, str, str]] = []
    while len(rows) < LINES:
        giver, receiver = draw.choices(members, k=2)
        day = f"2026-01-{draw.randint(1, 28):02}T12:00:00Z"
        rows += [(giver, receiver, draw.choice(list(POINTS)), day)] * draw.choice([1] * 9 + [2, 3])
    rows = rows[:LINES]
    draw.shuffle(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("giver", "receiver", "size", "occurred_at"), *rows])
    assert len(set(rows)) < LINES
    return Fold((giver, receiver, POINTS[size]) for giver, receiver, size, _ in rows)


def counts(said: str) -> tuple[int, int, int]:
    """Return the numbers of recorded, repeated and refused lines."""
    found = re.search(r"([\d,]+) recorded, ([\d,]+) repeated, ([\d,]+) refused\.", said)
    assert found, said
    recorded, repeated, refused = (int(number.replace(",", "")) for number in found.groups())
    return recorded, repeated, refused


def position_of(said: str) -> int:
    """Return the position that the import waited for."""
    found = re.search(r"The books contain every recorded line \(position ([\d,]+)\)", said)
    assert found, said
    return int(found[1].replace(",", ""))


def shown(url: str, position: int) -> dict[str, tuple[int, int, int]]:
    """Return every member's main, given and received, by member."""
    found: dict[str, tuple[int, int, int]] = {}
    parameters: dict[str, Any] = {"min_position": position, "limit": 500}
    while True:
        page = get(f"{url}/balances", **parameters)
        found |= {b["member"]: (b["main"], b["given"], b["received"]) for b in page["balances"]}
        if "next" not in page:
            return found
        parameters["cursor"] = page["next"]


def prove(commands: CommandLine, url: str, position: int, expected: Fold, *, lapsed: int = 0) -> None:
    """Assert that the HTTP API and the audit agree with the fold. Lapsed favours were claims and moved no points."""
    assert shown(url, position) == expected.balances()
    summary = get(f"{url}/summary", min_position=position)
    assert summary["zero_sum"] == {"main": 0, "stake": 0, "disputed": 0, "sum": 0, "holds": True}
    assert summary["given"] == summary["received"] == sum(expected.given.values())
    assert summary["favours"] == {"posted": expected.recorded} | ({"lapsed": lapsed} if lapsed else {})
    verified = commands.run("verify")
    assert verified.returncode == 0, verified.stdout
    assert f"{expected.recorded + 2 * lapsed:,} events" in verified.stdout


def claims(numbers: Iterable[int]) -> list[Submission]:
    """Return claims of ann for favours to bob, each with another id."""
    return [
        Submission(
            community="acme",
            operation="favour.record",
            kind="favour",
            command=RecordFavour(actor="ann", giver="ann", receiver="bob", size="medium", id=UUID(int=number + 1)),
        )
        for number in numbers
    ]


async def claim_long_ago(nats_url: str, numbers: Iterable[int]) -> None:
    """Record claims whose deadline has passed, so that the clock worker must lapse each. Retry while NATS is down."""
    async with Connection(nats_url, "test") as connection, asyncio.timeout(60):
        await connection.ready()
        executor = Executor(JetStreamLog(connection), lambda: LONG_AGO)
        waiting = claims(numbers)
        while waiting:
            try:
                outcomes = await executor.execute_all(waiting)
            except (LogUnavailable, AppendUncertain):
                await asyncio.sleep(POLL_S)
            else:
                assert all(isinstance(outcome, Outcome) for outcome in outcomes)
                waiting = []


async def until_it_records_on(nats_url: str) -> None:
    """Wait until the import records a favour that is not in the log yet. Repeated lines add nothing to the log."""
    try:
        async with Connection(nats_url, "test") as connection, asyncio.timeout(RECORDS_ON_WITHIN_S):
            await connection.ready()
            log = JetStreamLog(connection)
            before: int | None = None
            while True:
                with suppress(LogUnavailable):
                    newest = await log.at(await log.end())
                    position, said = (newest.position, newest.envelope.data) if newest else (0, None)
                    before = position if before is None else before
                    if position > before and isinstance(said, FavourThanked):  # Other appends are claims.
                        return
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise AssertionError("the import records nothing more: it was over too soon to be hit") from None


@pytest.fixture
def running(command_line: CommandLine) -> tuple[Started, str]:
    """Start `up`, and return it with the address of its API."""
    port = free_port()
    command_line.variables["LEDGER_CLOCK_POLL_MS"] = "100"
    started = command_line.start("up", "--port", str(port))
    started.until_said("The ledger runs.")
    return started, f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("seed", [20_270])
def test_nothing_is_lost_and_nothing_applied_twice_whoever_is_killed(
    seed: int, command_line: CommandLine, running: tuple[Started, str]
) -> None:
    up, base = running
    url = f"{base}/v1/communities/acme"
    expected = tell(command_line.folder / "favours.csv", seed)
    assert expected.recorded + expected.refused == LINES
    assert expected.refused > 10
    arguments = ("import", "favours.csv", "--as", "favours", "--community", "acme")

    draw = random.Random(seed)
    first, second = draw.sample(list(VICTIMS), k=len(VICTIMS)), draw.sample(list(VICTIMS), k=len(VICTIMS))
    victims = [*first, *second]
    importing = command_line.start(*arguments, command=SLOW_IMPORT)
    nats_url = up.address("NATS")
    for turn, name in enumerate(victims):
        if importing.popen.poll() is not None:
            importing = command_line.start(*arguments, command=SLOW_IMPORT)
        victim = up.until_part(*VICTIMS[name])
        asyncio.run(claim_long_ago(nats_url, range(turn * OVERDUE_EACH, (turn + 1) * OVERDUE_EACH)))
        if turn < len(first):  # First round: kills while the log grows. Second round: kills in quick succession.
            asyncio.run(until_it_records_on(nats_url))
        time.sleep(draw.uniform(0, PAUSE_MAX_S))  # Not a wait for a condition: it makes the moment of the kill random.
        victim.kill()
        until(lambda victim=victim: not at_work(victim), what=f"the end of {name}")  # type: ignore[misc]
    asyncio.run(until_it_records_on(nats_url))
    importing.popen.kill()  # The last victim. The next import of the file records the missing lines.
    importing.popen.wait()
    assert "Traceback" not in importing.said, importing.said

    until(lambda: answers(f"{base}/readyz"), what="/readyz after the last kill")
    deadline = time.monotonic() + ENDS_WELL_WITHIN_S
    while (last := command_line.run(*arguments)).returncode != 0:
        assert time.monotonic() < deadline, f"the import never ended well, but said:\n{last.stdout}"
    recorded, repeated, refused = counts(last.stdout)
    assert recorded
    assert repeated
    assert (recorded + repeated, refused) == (expected.recorded, expected.refused)
    lapsed = len(victims) * OVERDUE_EACH
    until(lambda: get(f"{url}/summary")["favours"] == {"posted": expected.recorded, "lapsed": lapsed}, what="the end")
    position = position_of(last.stdout)

    prove(command_line, url, position, expected, lapsed=lapsed)
    for member in expected.main:
        balance = get(f"{url}/members/{member}/balance")
        assert (balance["main"], balance["given"], balance["received"]) == expected.balances()[member]
        pairs = get(f"{url}/members/{member}/pairs", limit=500)["pairs"]
        assert {pair["other"]: (pair["given"], pair["received"]) for pair in pairs} == expected.pairs_of(member)

    again = command_line.run(*arguments)
    assert again.returncode == 0
    assert counts(again.stdout) == (0, expected.recorded, expected.refused)
    assert shown(url, position) == expected.balances()
    assert up.end() == 0
    assert "Traceback" not in up.said, up.said


@pytest.mark.skipif(not HISTORY.exists(), reason="the real history is not here")
def test_a_real_history_is_recorded_once_and_its_balances_are_right(
    command_line: CommandLine, running: tuple[Started, str]
) -> None:
    up, base = running
    with HISTORY.open() as file:
        lines = list(islice(file, HISTORY_LINES))
    (command_line.folder / "history.txt").write_text("".join(lines))
    expected = Fold((giver, receiver, POINTS["medium"]) for giver, receiver, _ in (line.split() for line in lines))
    arguments = ["import", "history.txt", "--as", "favours", "--community", "mathoverflow", "--delimiter", " "]
    arguments += ["--columns", "giver,receiver,occurred_at", "--times", "unix", "--set", "size=medium"]
    first, second = command_line.run(*arguments), command_line.run(*arguments)
    assert (first.returncode, second.returncode) == (0, 0), first.stdout + second.stdout
    assert counts(first.stdout) == (expected.recorded, 0, expected.refused)
    assert counts(second.stdout) == (0, expected.recorded, expected.refused)
    for refusal in (command_line.folder / "history.txt.refused.ndjson").read_text().splitlines():
        one = json.loads(refusal)
        giver, receiver, _ = lines[int(one["line"]) - 1].split()
        assert giver == receiver
        assert one["code"] == "self_dealing"
    prove(command_line, f"{base}/v1/communities/mathoverflow", position_of(second.stdout), expected)
    assert up.end() == 0


# Two projectors


def numbers() -> Iterator[Submission]:
    """Yield an endless series of favours, each with another id."""
    for number, (giver, receiver) in enumerate(cycle([("ann", "bob"), ("bob", "cyd"), ("cyd", "ann"), ("ann", "cyd")])):
        command = RecordFavour(actor=receiver, giver=giver, receiver=receiver, size="small", id=UUID(int=number + 1))
        yield Submission(community="acme", operation="favour.record", kind="favour", command=command)


async def test_a_standby_takes_over_and_applies_nothing_twice(beside_servers: CommandLine, settings: Settings) -> None:
    submissions = numbers()
    at_it, waiting = beside_servers.start("work", "projector"), beside_servers.start("work", "projector")
    until(lambda: WRITES in at_it.said + waiting.said, what="the first writer")
    if WRITES in waiting.said:
        at_it, waiting = waiting, at_it
    async with Connection(settings.nats_url, "test") as connection:
        await connection.ready()
        executor = Executor(JetStreamLog(connection))
        for _ in range(4):
            for _ in range(5):
                outcomes = await executor.execute_all(list(islice(submissions, 200)))
                assert all(isinstance(outcome, Outcome) for outcome in outcomes)
            assert WRITES not in waiting.said
            at_it.process.kill()
            waiting.until_said(WRITES, TAKEOVER_WITHIN_S)
            at_it.popen.wait()
            at_it, waiting = waiting, beside_servers.start("work", "projector")
        await until_shown(settings, 4_000)
    done = beside_servers.run("verify")
    assert done.returncode == 0, done.stdout
    assert "4,000 events, 8,000 postings and 3 members up to position 4,000." in done.stdout
    assert at_it.end() == 0
    assert waiting.end() == 0
