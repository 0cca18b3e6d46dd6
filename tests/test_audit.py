"""The audit: silent over books that are what the log says, and naming whatever is not."""

from __future__ import annotations

import asyncio
import random
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import nats
import pytest
from msgspec.structs import replace

from ledger.audit import Report, audit, compare
from ledger.books.reader import Reader
from ledger.books.schema import SchemaMissing, connected
from ledger.domain.catalog import KINDS, OPERATIONS
from ledger.domain.context import Context
from ledger.domain.favour import FavourForgiven, Posted, RecordFavour, evolve
from ledger.domain.intro import ProposeIntro
from ledger.domain.referral import GiveReferral
from ledger.domain.refusals import Refusal
from ledger.domain.values import Command, State
from ledger.envelope import TYPES, AggregateRef, encode
from ledger.log.aggregate import aggregate_of, snapshot_after
from ledger.log.event_log import Append
from ledger.log.executor import Executor, Outcome, Submission
from ledger.log.jetstream import JetStreamLog
from ledger.log.message import subject_of
from ledger.runtime.unavailable import Unavailable
from tests.conftest import fresh_stream
from workers.projector import project

if TYPE_CHECKING:
    from deploy.embedded import EmbeddedNats
    from ledger.log.connection import Connection
    from ledger.runtime.settings import Settings

CAST: Final = ("ada", "bob", "cyd", "dee", "eve")
COMMUNITIES: Final = ("acme", "bolt")
SEED: Final = 7
ROUNDS: Final = 20
SHOWN_WITHIN_S: Final = 30.0
POLL_S: Final = 0.01


class Ledger:
    """A log and its books, a hand to write the one with, and another to spoil the other."""

    def __init__(self, log: JetStreamLog, settings: Settings) -> None:
        self.log: Final = log
        self.settings: Final = settings
        self.executor: Final = Executor(log)
        self.lives: Final[dict[AggregateRef, State]] = {}

    async def tell(self, seed: int) -> None:
        """A random history in two communities: mostly what somebody may do now, sometimes what nobody may."""
        draw = random.Random(seed)
        for _ in range(ROUNDS):
            steps = [self._step(draw, ref, state) for ref, state in self.lives.items()]
            beginnings = [self._beginning(draw) for _ in range(6)]
            for outcome in await self.executor.execute_all([*steps, *beginnings]):
                if isinstance(outcome, Outcome):
                    self.lives[outcome.ref] = outcome.state

    def _beginning(self, draw: random.Random) -> Submission:
        one, two, three = draw.sample(CAST, 3)
        own = UUID(int=draw.getrandbits(128))
        command = draw.choice(
            (
                RecordFavour(actor=draw.choice((one, two)), giver=one, receiver=two, size="large", id=own),
                GiveReferral(actor=one, referrer=one, recipient=two, prospect=f"p{draw.randrange(99)}", level=3),
                ProposeIntro(actor=one, asker=one, connector=two, target=three, id=own),
                ProposeIntro(actor=two, asker=one, connector=two, target=three, level=5, id=own),
            )
        )
        name = next(name for name, operation in OPERATIONS.items() if operation.command is type(command))
        return Submission(
            community=draw.choice(COMMUNITIES), operation=name, kind=OPERATIONS[name].kind.name, command=command
        )

    def _step(self, draw: random.Random, ref: AggregateRef, state: State) -> Submission:
        words: dict[str, Any] = {
            "level": draw.choice((3, 5)),
            "band": draw.choice(("S", "XL")),
            "reason": "not_a_fit",
            "outcome": "no_result",
            "fault": draw.choice(("none", "asker", "connector")),
        }
        steps: list[tuple[str, Command]] = []
        for name, operation in OPERATIONS.items():
            if operation.kind.name == ref.kind and not operation.creates:
                said = {word: words[word] for word in operation.command.__struct_fields__ if word in words}
                steps += [(name, operation.command(actor=actor, **said)) for actor in CAST]
        allowed = [step for step in steps if may(step[1], ref, state)]
        name, command = draw.choice(allowed if allowed and draw.random() < 0.8 else steps)
        return Submission(community=ref.community, operation=name, kind=ref.kind, command=command, id=UUID(ref.id))

    async def thank(self, count: int) -> None:
        """Favours of ada for bob."""
        for outcome in await self.executor.execute_all(
            [
                Submission(
                    community="acme",
                    operation="favour.record",
                    kind="favour",
                    command=RecordFavour(actor="bob", giver="ada", receiver="bob", size="small", id=uuid4()),
                )
                for _ in range(count)
            ]
        ):
            assert isinstance(outcome, Outcome)
            self.lives[outcome.ref] = outcome.state

    async def project(self) -> None:
        """Bring the books up to the log's end."""
        settings, end = self.settings, await self.log.end()
        projecting = asyncio.create_task(project(self.log, settings))
        try:
            async with Reader(settings.postgres_dsn, settings.postgres_schema, 1) as reader:
                async with asyncio.timeout(SHOWN_WITHIN_S):
                    while await reader.position() < end and not projecting.done():  # noqa: ASYNC110  Of Postgres.
                        await asyncio.sleep(POLL_S)
        finally:
            projecting.cancel()
            with suppress(asyncio.CancelledError):
                await projecting

    async def audit(self) -> Report:
        return await audit(self.log, self.settings.postgres_dsn, self.settings.postgres_schema)

    async def differences(self) -> list[str]:
        return (await self.audit()).differences

    async def differences_after(self, *statements: str) -> list[str]:
        """What the audit says of books that somebody with every right has spoiled; they are mended afterwards."""
        async with connected(self.settings.postgres_dsn, self.settings.postgres_schema, "test") as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                await connection.execute("SET LOCAL session_replication_role = replica")  # No trigger fires.
                for statement in statements:
                    assert not (await connection.execute(statement)).endswith(" 0"), "nothing was spoiled"
                return (await compare(self.log, connection)).differences
            finally:
                await transaction.rollback()

    async def value(self, query: str) -> Any:
        async with connected(self.settings.postgres_dsn, self.settings.postgres_schema, "test") as connection:
            return await connection.fetchval(query)


def may(command: Command, ref: AggregateRef, state: State) -> bool:
    try:
        return KINDS[ref.kind].decide(command, state, Context(now=datetime.now(UTC))) is not None
    except Refusal:
        return False


@pytest.fixture
async def ledger(connection: Connection, settings: Settings) -> Ledger:
    """An empty ledger."""
    return Ledger(JetStreamLog(connection), settings)


@pytest.fixture
async def few(ledger: Ledger) -> Ledger:
    """A ledger of a few favours, and books that are up to it."""
    await ledger.thank(5)
    await ledger.project()
    return ledger


@pytest.fixture
async def told(ledger: Ledger) -> Ledger:
    """A ledger of a random history, and books that are up to it."""
    await ledger.tell(SEED)
    await ledger.project()
    return ledger


async def test_books_of_a_random_history_differ_in_nothing(told: Ledger) -> None:
    report = await told.audit()
    assert report.differences == []
    assert report.behind == 0
    assert report.position == report.events == await told.log.end()
    assert report.events > 150
    assert report.postings == await told.value("SELECT count(*) FROM posting")
    assert report.members == await told.value("SELECT count(*) FROM balance")
    for kind in ("favour", "referral", "intro"):
        assert await told.value(f"SELECT count(DISTINCT state) FROM {kind}") >= 3, "the history is too dull"
    assert await told.value("SELECT count(*) FROM posting WHERE account = 'stake'") > 0


async def test_empty_books_of_an_empty_log_differ_in_nothing(ledger: Ledger) -> None:
    assert await ledger.audit() == Report()


A_BALANCE: Final = "ctid = (SELECT min(ctid) FROM balance)"
A_PAIR: Final = "ctid = (SELECT min(ctid) FROM pair)"
A_POSTING: Final = "position = (SELECT min(position) FROM posting) AND leg = 0"
A_FAVOUR: Final = "ctid = (SELECT min(ctid) FROM favour)"


SUMS: Final = r"^\w+/\w+: main, stake, given, received are .+, must be"
SPOILED: Final = (
    (
        f"UPDATE balance SET main = main + 60 WHERE {A_BALANCE}",
        SUMS,
    ),
    (f"UPDATE balance SET stake = stake + 1 WHERE {A_BALANCE}", SUMS),
    (f"UPDATE balance SET given = given + 1 WHERE {A_BALANCE}", SUMS),
    (
        f"UPDATE balance SET received = received + 1 WHERE {A_BALANCE}",
        SUMS,
    ),
    ("UPDATE balance SET member = 'eva' WHERE member = 'eve' AND community = 'acme'", r"^acme/eva: main, stake"),
    ("DELETE FROM balance WHERE member = 'eve' AND community = 'acme'", "^acme/eve: has postings and no balance"),
    ("INSERT INTO balance VALUES ('acme', 'mallory', 5, 0, 5, 0)", "^acme/mallory: main, stake, given, received"),
    (f"UPDATE pair SET given = given + 1 WHERE {A_PAIR}", r"^\w+/\w+ with \w+: \(\d+, \d+\), must be \(\d+, \d+\)"),
    (f"DELETE FROM pair WHERE {A_PAIR}", r"^\w+/\w+ with \w+: is missing"),
    (
        "INSERT INTO pair VALUES ('acme', 'ada', 'mallory', 1, 0)",
        r"^acme/ada with mallory: \(1, 0\), must be \(0, 0\)",
    ),
    (f"UPDATE posting SET points = points + 1 WHERE {A_POSTING}", r"^position \d+: posted .+, must be"),
    (f"UPDATE posting SET balance_after = 7 WHERE {A_POSTING}", r"^position \d+: posted .+, must be"),
    (f"UPDATE posting SET member = 'mallory' WHERE {A_POSTING}", r"^position \d+: posted .+'mallory'.+, must be"),
    (f"DELETE FROM posting WHERE {A_POSTING}", r"^position \d+: posted None, must be"),
    (
        "INSERT INTO posting SELECT min(position), 7, 'acme', 'mallory', 'main', NULL, 1, 0, 0, 1 FROM posting",
        "^posted beyond what the log says: .*'mallory'",
    ),
    (
        "INSERT INTO posting SELECT position + 1, 0, 'acme', 'mallory', 'main', NULL, 1, 0, 0, 1 FROM checkpoint",
        "^posted beyond what the log says: .*'mallory'",
    ),
    (
        "UPDATE journal SET event = (event::text || ' ')::json WHERE position = 3",
        "^position 3: the journal does not hold the log's bytes",
    ),
    ("DELETE FROM journal WHERE position = 3", "^position 3: the journal does not hold the log's bytes"),
    (
        "INSERT INTO journal SELECT position + 1, now(), '{}' FROM checkpoint",
        r"^the journal holds a position \d+ that is not of the log",
    ),
    (f"UPDATE favour SET state = 'lapsed' WHERE {A_FAVOUR}", r"^favour \S+ of \w+ is .+, must be"),
    (f"UPDATE favour SET version = 9 WHERE {A_FAVOUR}", r"^favour \S+ of \w+ is .+, must be"),
    (f"UPDATE favour SET position = 1000 WHERE {A_FAVOUR}", r"^favour \S+ of \w+ is .+, must be"),
    (f"UPDATE favour SET facts = '{{}}' WHERE {A_FAVOUR}", r"^favour \S+ of \w+ is .+, must be"),
    (f"DELETE FROM favour WHERE {A_FAVOUR}", r"^favour \S+ of \w+ is missing"),
    ("DELETE FROM intro WHERE ctid = (SELECT min(ctid) FROM intro)", r"^intro \S+ of \w+ is missing"),
    (
        "UPDATE referral SET id = gen_random_uuid() WHERE id = (SELECT min(id::text)::uuid FROM referral)",
        "is not in",
    ),
)


async def test_whatever_is_spoiled_is_named(told: Ledger, subtests: pytest.Subtests) -> None:
    for statement, named in SPOILED:
        with subtests.test(statement):
            differences = await told.differences_after(statement)
            assert any(re.search(named, sentence) for sentence in differences), differences
    assert await told.differences() == []


async def test_points_from_nowhere_break_the_zero_sum_of_their_community_alone(told: Ledger) -> None:
    statement = "UPDATE balance SET main = main + 60 WHERE community = 'acme' AND member = 'ada'"
    first, second = await told.differences_after(statement)
    assert first.startswith("acme/ada: main, stake, given, received are")
    assert second == "acme: all accounts sum to 60, must be 0"


async def test_one_missing_row_is_one_difference(told: Ledger) -> None:
    for table in ("journal", "posting"):
        row = f"(SELECT ctid FROM {table} ORDER BY position LIMIT 1 OFFSET 3)"
        assert len(await told.differences_after(f"DELETE FROM {table} WHERE ctid = {row}")) == 1


async def test_books_behind_the_log_are_told_and_are_no_difference(few: Ledger) -> None:
    position = await few.log.end()
    await few.thank(3)
    report = await few.audit()
    assert (report.position, report.behind, report.differences) == (position, 3, [])


async def test_books_ahead_of_the_log_are_not_of_this_log(few: Ledger, nats_server: EmbeddedNats) -> None:
    position = await few.log.end()
    await fresh_stream(nats_server, replicas=1)
    assert await few.differences() == [
        f"the books stand at {position}, but the log ends at 0: they are not of this log"
    ]


async def test_books_of_another_log_differ_in_every_event(few: Ledger, nats_server: EmbeddedNats) -> None:
    count = await few.log.end()
    await fresh_stream(nats_server, replicas=1)
    await few.thank(count)
    differences = await few.differences()
    assert "position 1: the journal does not hold the log's bytes" in differences
    assert f"position {count}: the journal does not hold the log's bytes" in differences


@pytest.mark.parametrize(
    ("lie", "named"),
    [
        ("version", r"^position 2: its snapshot says \(7, Forgiven.+, its history \(2, Forgiven"),
        ("state", r"^position 2: its snapshot says \(2, Posted.+, its history \(2, Forgiven"),
        ("nothing", "^position 2: it lacks the snapshot that every event after the first carries"),
        ("rubbish", "^poison event at position 2: its aggregate cannot be read"),
    ],
)
async def test_a_snapshot_that_lies_is_found(ledger: Ledger, lie: str, named: str) -> None:
    await ledger.thank(1)
    (ref,) = ledger.lives
    (last,) = await ledger.log.last([ref])
    assert last is not None
    before = aggregate_of(last)
    posted = before.state
    assert isinstance(posted, Posted)
    event = FavourForgiven(giver=posted.giver, receiver=posted.receiver, points=posted.points)
    forgiven = evolve(posted, event)
    snapshot = {
        "version": snapshot_after(replace(before, version=6), forgiven),
        "state": snapshot_after(before, posted),
        "nothing": None,
        "rubbish": b"{}",
    }[lie]
    envelope = replace(last.envelope, id=str(uuid4()), type=TYPES[FavourForgiven], data=event, actor=posted.giver)
    await ledger.log.append([Append(ref, subject_of(ref, event), encode(envelope), snapshot, expected=last.position)])
    await ledger.project()
    (sentence,) = await ledger.differences()
    assert re.search(named, sentence)


async def test_a_log_that_cannot_be_read_any_more_is_named(few: Ledger, nats_server: EmbeddedNats) -> None:
    count = await few.log.end()
    await fresh_stream(nats_server, replicas=1)
    client = await nats.connect(nats_server.url)
    for _ in range(count):
        await client.jetstream().publish("ledger.00.acme.favour.x.thanked", b"not an event")
    await client.close()
    (sentence,) = await few.differences()
    assert sentence.startswith("poison event at position 1: ")


async def test_without_a_schema_or_a_server_nothing_is_compared(ledger: Ledger, settings: Settings) -> None:
    with pytest.raises(SchemaMissing, match="run `referral-ledger migrate`"):
        await audit(ledger.log, settings.postgres_dsn, "nothing_here")
    with pytest.raises(Unavailable):
        await audit(ledger.log, "postgresql://postgres@127.0.0.1:1/postgres", "books")
