"""The audit: it finds no difference in books that match the log, and names every difference in others."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import nats
import pytest
from msgspec.structs import replace

from ledger.audit.comparison import audit, compare
from ledger.audit.report import Report
from ledger.books.connection import SchemaMissing, connect
from ledger.books.reader import Reader
from ledger.commands.executor import Executor
from ledger.commands.submission import Outcome, Submission
from ledger.domain.catalog.kinds import KINDS
from ledger.domain.kinds.favour import FavourForgiven, Posted, RecordFavour, evolve
from ledger.domain.kinds.member import JoinMember, PauseMember, ResumeMember, membership_id
from ledger.domain.values.aggregate_types import State
from ledger.envelope import TYPES, AggregateRef, encode
from ledger.log.event_log import Append
from ledger.log.jetstream import JetStreamLog
from ledger.log.message import subject_of
from ledger.log.snapshot import REMEMBERED_COMMANDS, load_aggregate, snapshot_after
from ledger.runtime.settings import BooksAddress
from ledger.runtime.unavailable import Unavailable
from tests.books.random_histories import RandomHistory
from tests.conftest import fresh_stream
from workers.projector import run_projector

if TYPE_CHECKING:
    from deploy.embedded.nats import EmbeddedNats
    from ledger.log.connection import Connection
    from ledger.runtime.settings import Settings

SEED: Final = 18
LENGTH: Final = 450
SHOWN_WITHIN_S: Final = 30.0
POLL_S: Final = 0.01


class Ledger:
    """A log and its books. A test can record events in the log and change the books by SQL."""

    def __init__(self, log: JetStreamLog, settings: Settings) -> None:
        self.log: Final = log
        self.settings: Final = settings
        self.executor: Final = Executor(log)
        self.lives: Final[dict[AggregateRef, State]] = {}

    async def thank(self, count: int) -> None:
        """Record favours of ada for bob."""
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
        """Run the projector until the books reach the end of the log."""
        settings, end = self.settings, await self.log.end()
        projecting = asyncio.create_task(run_projector(self.log, settings))
        try:
            async with Reader(settings.books, 1) as reader:
                async with asyncio.timeout(SHOWN_WITHIN_S):
                    while await reader.position() < end and not projecting.done():  # noqa: ASYNC110  The condition is in Postgres.
                        await asyncio.sleep(POLL_S)
        finally:
            projecting.cancel()
            with suppress(asyncio.CancelledError):
                await projecting

    async def audit(self) -> Report:
        return await audit(self.log, self.settings.books)

    async def differences(self) -> list[str]:
        return (await self.audit()).differences

    async def differences_after(self, *statements: str) -> list[str]:
        """Return the differences of the books after these statements. They run with all rights and are rolled back."""
        async with connect(self.settings.books, "test") as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                await connection.execute("SET LOCAL session_replication_role = replica")  # Disables the triggers.
                for statement in statements:
                    assert not (await connection.execute(statement)).endswith(" 0"), "nothing was spoiled"
                return (await compare(self.log, connection)).differences
            finally:
                await transaction.rollback()

    async def value(self, query: str) -> Any:
        async with connect(self.settings.books, "test") as connection:
            return await connection.fetchval(query)


@pytest.fixture
async def ledger(connection: Connection, settings: Settings) -> Ledger:
    """Return an empty ledger."""
    return Ledger(JetStreamLog(connection), settings)


@pytest.fixture
async def few(ledger: Ledger) -> Ledger:
    """Return a ledger of a few favours, with its books up to date."""
    await ledger.thank(5)
    await ledger.project()
    return ledger


@pytest.fixture
async def told(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Return a ledger of a random history of all kinds, with its books up to date. Its folios fill up early."""
    for module in ("ledger.books.fold", "ledger.audit.comparison"):
        monkeypatch.setattr(f"{module}.FOLIO_LINES", 16)
    await RandomHistory(SEED, ledger.log).generate(LENGTH)
    await ledger.project()
    return ledger


async def test_books_of_a_random_history_differ_in_nothing(told: Ledger) -> None:
    report = await told.audit()
    assert report.differences == []
    assert report.behind == 0
    assert report.position == report.events == await told.log.end()
    assert report.events >= LENGTH
    assert report.postings == await told.value("SELECT count(*) FROM posting")
    assert report.members == await told.value("SELECT count(*) FROM balance")
    assert await told.value("SELECT count(DISTINCT kind) FROM aggregate") == len(KINDS), "the history is too dull"
    for kind in ("favour", "referral", "intro", "dispute"):
        assert await told.value(f"SELECT count(DISTINCT state) FROM aggregate WHERE kind = '{kind}'") >= 3, kind
    for account in ("main", "stake", "disputed"):
        assert await told.value(f"SELECT count(*) FROM posting WHERE account = '{account}'") > 0
    assert await told.value("SELECT count(*) FROM deadline") > 0
    assert await told.value("SELECT count(DISTINCT side) FROM tag") == 2
    assert await told.value("SELECT count(DISTINCT kind) FROM topic") == 2
    assert await told.value("SELECT max(number) FROM folio") > 2


async def test_empty_books_of_an_empty_log_differ_in_nothing(ledger: Ledger) -> None:
    assert await ledger.audit() == Report()


# Changes of one column of one row

BY_ONE: Final = "{0} + 1"
MORE: Final = "{0} || 'x'"
LATER: Final = "{0} + interval '1 microsecond'"
ANOTHER: Final = "gen_random_uuid()"
AWAY: Final = "{0} + 100000"  # No other row has such a value.
WORTH: Final = r"^\w+/\w+: {0} is -?\d+, must be -?\d+"
BETWEEN: Final = r"^\w+/\w+ with \w+: {0} is -?\d+, must be -?\d+$"
POSTED: Final = r"^position \d+, leg \d: {0} is .+, must be .+$"
STANDS: Final = r"^[\w-]+ \S+ of \w+: {0} is .+, must be .+$"
GONE: Final = r"^[\w-]+ \S+ of \w+ is missing$"
FILLED: Final = r"^\w+/\w+: folio \d+ does not end where the member's postings fill it$"
SET_OUT: Final = r"^\w+/\w+: the lines of folio \d+ do not match the member's postings$"
JOURNALED: Final = r"^position \d+: in the journal, {0} is .+, must be .+$"
DUE: Final = r"^\w+ \S+ of \w+ is due at .+, must be "

# By table and column: the changed value, and the difference that the audit must report.
SPOILED: Final = {
    "checkpoint": {
        "event_id": (ANOTHER, r"^position \d+: the checkpoint names event .+, must be .+$"),
        "position": ("{0} - 1", "^the journal contains position .*, which is not in the log up to the checkpoint$"),
    },
    "journal": {
        "position": (AWAY, r"^the journal contains position 100001, which is not in the log up to the checkpoint$"),
        "recorded_at": (LATER, JOURNALED),
        **dict.fromkeys(("community", "name"), (MORE, JOURNALED)),
        "previous": ("CASE {0} WHEN 0 THEN position - 1 ELSE 0 END", JOURNALED),
        "event_id": (ANOTHER, JOURNALED),
        "event": ("({0}::text || ' ')::json", "^position 1: the journal does not hold the log's bytes$"),
    },
    "posting": {
        "position": (AWAY, r"^the posting \(100\d\d\d, .+ does not follow from the log$"),
        "leg": ("{0} + 100", r"^the posting \(\d+, 10\d, .+ does not follow from the log$"),
        "account": ("CASE {0} WHEN 'main' THEN 'disputed' ELSE 'main' END", POSTED),
        **dict.fromkeys(("community", "member", "counterparty"), (MORE, POSTED)),
        **dict.fromkeys(("points", "given", "received", "balance_after"), ("{0} + 77", POSTED)),
        "happened_at": (LATER, POSTED),
        "rule": (MORE, POSTED),
        "gathering": (ANOTHER, POSTED),
    },
    "balance": {
        **dict.fromkeys(("community", "member"), (MORE, r"^\w+/\w+: has postings and no balance$")),
        **dict.fromkeys(
            (
                *("main", "stake", "disputed", "given", "received", "recent_given", "recent_received"),
                *("settled", "kept", "broken", "postings", "first"),
            ),
            (BY_ONE, WORTH),
        ),
    },
    "pair": {
        **dict.fromkeys(("community", "low", "high"), (MORE, r"^\w+/\w+ with \w+: is missing$")),
        **dict.fromkeys(
            ("low_gave", "high_gave", "low_helped", "high_helped", "contacts", "one_to_ones"), (BY_ONE, BETWEEN)
        ),
    },
    "aggregate": {
        **dict.fromkeys(("community", "kind"), (MORE, GONE)),
        "id": (ANOTHER, r"^[\w-]+ \S+ of \w+ is not in the log$"),
        **dict.fromkeys(("version", "position", "began"), (BY_ONE, STANDS)),
        **dict.fromkeys(("state", "party_1", "party_2", "party_3"), (MORE, STANDS)),
        "began_at": (LATER, STANDS),
        "gathering": (ANOTHER, STANDS),
        "facts": ("({0}::text || ' ')::json", STANDS),
    },
    "deadline": {
        **dict.fromkeys(("community", "kind"), (MORE, r"^\w+ \S+ of \w+ has no deadline, must be due at ")),
        "id": (ANOTHER, f"{DUE}None$"),
        "due_at": (LATER, f"{DUE}2"),
    },
    "tag": {
        **dict.fromkeys(("community", "member", "tag"), (MORE, r"^the tag \(.+\) must not exist$")),
        "side": ("CASE {0} WHEN 'want' THEN 'offer' ELSE 'want' END", r"^the tag \(.+\) is missing$"),
    },
    "topic": {
        **dict.fromkeys(("community", "kind", "tag"), (MORE, r"^the topic \(.+\) must not exist$")),
        "began": (BY_ONE, r"^the topic \(.+\) must not exist$"),
    },
    "folio": {
        **dict.fromkeys(("community", "member"), (MORE, FILLED)),
        **dict.fromkeys(("number", "until"), ("{0} + 1000", FILLED)),
        "after": ("{0} + 1", FILLED),
    },
    "folio_line": {
        **dict.fromkeys(("community", "member", "counterparty"), (MORE, SET_OUT)),
        **dict.fromkeys(
            ("folio", "position", "leg", "main", "stake", "disputed", "given", "received"), ("{0} + 1000", SET_OUT)
        ),
        "happened_at": (LATER, SET_OUT),
    },
}
# A tag that is both wanted and offered cannot change its side: the other row exists already.
ONCE: Final = "(SELECT community, member, tag FROM tag GROUP BY 1, 2, 3 HAVING count(*) = 1)"
SUITABLE: Final = {"previous": "position > 1", "side": f"(community, member, tag) IN {ONCE}"}


@pytest.mark.slow
async def test_every_column_that_is_spoiled_is_named(told: Ledger, subtests: pytest.Subtests) -> None:
    for table, columns in SPOILED.items():
        for column, (instead, named) in columns.items():
            with subtests.test(f"{table}.{column}"):
                one = f"ctid = (SELECT min(ctid) FROM {table} WHERE {SUITABLE.get(column, f'{column} IS NOT NULL')})"
                statement = f"UPDATE {table} SET {column} = {instead.format(column)} WHERE {one}"
                differences = await told.differences_after(statement)
                assert any(re.search(named.format(column), sentence) for sentence in differences), differences
    assert await told.differences() == []


async def test_there_is_no_column_that_is_not_spoiled_here(ledger: Ledger) -> None:
    async with connect(ledger.settings.books, "test") as connection:
        columns = await connection.fetch(
            "SELECT table_name, column_name FROM information_schema.columns c JOIN pg_tables t"
            " ON t.tablename = c.table_name AND t.schemaname = c.table_schema WHERE table_schema = $1",
            ledger.settings.postgres_schema,
        )
    found = {tuple(column) for column in columns} - {("checkpoint", "one")}  # This column can have only one value.
    assert found == {(table, column) for table, columns in SPOILED.items() for column in columns}


# Missing rows and surplus rows

NOBODYS: Final = "00000000-0000-0000-0000-000000000001"
MISSED: Final = {
    "balance": r"^\w+/\w+: has postings and no balance$",
    "pair": r"^\w+/\w+ with \w+: is missing$",
    "aggregate": GONE,
    "deadline": r"^\w+ \S+ of \w+ has no deadline, must be due at ",
    "tag": r"^the tag \(.+\) is missing$",
    "topic": r"^the topic \(.+\) is missing$",
    "folio": FILLED,
    "folio_line": SET_OUT,
    "journal": r"^position \d+: the journal does not hold the log's bytes$",
    "posting": r"^position \d+: the posting \(.+\) is missing$",
}
NOWHERE: Final = "NULL, 1, 0, 0, 1, now(), 'favour.thanked'"
NO_SUCH: Final = f"SELECT 'acme', 'favour', '{NOBODYS}', 1, 1, 1, now(), 'posted', '{{}}'"
STRANGER: Final = "^acme/ada with mallory: must not exist$"
NOT_POSTED: Final = "^the posting .*'mallory'.* does not follow from the log$"
TOO_MANY: Final = (
    (
        f"INSERT INTO balance VALUES ('acme', 'mallory', 5, 0, 0, 5, {'0, ' * 6} 1, 1)",
        "^acme/mallory: has a balance and no postings$",
    ),
    (
        f"INSERT INTO balance VALUES ('acme', 'mallory', {'0, ' * 11} 0)",
        "^acme/mallory: has a balance and no postings$",
    ),
    (
        "INSERT INTO pair VALUES ('acme', 'ada', 'mallory', 1, 0, 0, 0, 0, 0)",
        STRANGER,
    ),
    (
        "INSERT INTO pair VALUES ('acme', 'ada', 'mallory', 0, 0, 0, 0, 0, 0)",
        STRANGER,
    ),
    (
        f"INSERT INTO posting SELECT min(position), 7, 'acme', 'mallory', 'main', {NOWHERE} FROM posting",
        NOT_POSTED,
    ),
    (
        f"INSERT INTO posting SELECT position + 1, 0, 'acme', 'mallory', 'main', {NOWHERE} FROM checkpoint",
        NOT_POSTED,
    ),
    (
        f"INSERT INTO posting SELECT position, leg, 'acme', 'mallory', 'main', {NOWHERE} FROM posting LIMIT 1",
        "mallory",  # One of the two rows is surplus.
    ),
    (
        (
            "INSERT INTO journal SELECT position + 1, now(), 'acme', 0, 'favour.thanked', gen_random_uuid(), '{}'"
            " FROM checkpoint"
        ),
        r"^the journal contains position \d+, which is not in the log up to the checkpoint$",
    ),
    (
        f"INSERT INTO aggregate (community, kind, id, version, position, began, began_at, state, facts) {NO_SUCH}",
        rf"^favour {NOBODYS} of \w+ is not in the log$",
    ),
    (
        f"INSERT INTO deadline VALUES ('acme', 'favour', '{NOBODYS}', now())",
        f"^favour {NOBODYS} of acme is due at .+, must be None$",
    ),
    (
        "INSERT INTO tag VALUES ('acme', 'mallory', 'want', 'law')",
        r"^the tag \('acme', 'mallory', .+ must not exist$",
    ),
    (
        "INSERT INTO topic VALUES ('acme', 'intro', 'mallory', 1)",
        r"^the topic \('acme', 'intro', 'mallory', 1\) must not exist$",
    ),
    ("INSERT INTO folio VALUES ('acme', 'mallory', 1, 0, 1)", FILLED),
    ("INSERT INTO folio_line VALUES ('acme', 'mallory', 1, now(), 1, 0, NULL, 0, 0, 0, 0, 0)", SET_OUT),
)


async def test_every_row_that_is_missing_is_named_and_alone(told: Ledger, subtests: pytest.Subtests) -> None:
    for table, named in MISSED.items():
        with subtests.test(table):
            one = f"ctid = (SELECT ctid FROM {table} ORDER BY ctid LIMIT 1 OFFSET 3)"
            differences = await told.differences_after(f"DELETE FROM {table} WHERE {one}")
            assert [bool(re.search(named, sentence)) for sentence in differences if "all accounts" not in sentence] == [
                True
            ], differences


async def test_every_row_too_many_is_named(told: Ledger, subtests: pytest.Subtests) -> None:
    for statement, named in TOO_MANY:
        with subtests.test(statement):
            differences = await told.differences_after(statement)
            assert any(re.search(named, sentence) for sentence in differences), differences
    assert await told.differences() == []


async def test_a_member_that_was_renamed_is_one_too_many_and_one_too_few(told: Ledger) -> None:
    statement = "UPDATE balance SET member = 'eva' WHERE member = 'Eve' AND community = 'acme'"
    first, second = await told.differences_after(statement)
    assert first == "acme/eva: has a balance and no postings"
    assert second == "acme/Eve: has postings and no balance"


async def test_rows_of_the_right_shape_that_are_not_derived_are_named(told: Ledger) -> None:
    """The audit compares derived rows with the log, and not with the changed state."""
    lapsed = "UPDATE deadline SET due_at = due_at - interval '90 days'"
    assert all(" is due at " in sentence for sentence in await told.differences_after(lapsed))
    count = await told.value("SELECT count(*) FROM deadline")
    assert len(await told.differences_after(lapsed)) == count
    assert len(await told.differences_after("DELETE FROM deadline")) == count


async def test_points_from_nowhere_break_the_zero_sum_of_their_community_alone(told: Ledger) -> None:
    statement = "UPDATE balance SET main = main + 60 WHERE community = 'acme' AND member = 'ada'"
    first, second = await told.differences_after(statement)
    assert re.search(r"^acme/ada: main is -?\d+, must be -?\d+$", first)
    assert second == "acme: all accounts sum to 60, must be 0"


async def test_books_behind_the_log_are_told_and_are_no_difference(few: Ledger) -> None:
    position = await few.log.end()
    await few.thank(3)
    report = await few.audit()
    assert (report.position, report.behind, report.differences) == (position, 3, [])


async def test_books_ahead_of_the_log_are_not_of_this_log(few: Ledger, nats_server: EmbeddedNats) -> None:
    position = await few.log.end()
    await fresh_stream(nats_server, replicas=1)
    assert await few.differences() == [
        f"the books are at position {position}, but the log ends at 0: they are not of this log"
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
        ("version", r"^position 2: the snapshot contains \(7, Forgiven.+, must be \(2, Forgiven"),
        ("state", r"^position 2: the snapshot contains \(2, Posted.+, must be \(2, Forgiven"),
        ("no commands", r"^position 2: the snapshot contains other commands \(0 found, 1 expected\)$"),
        (
            "another command",
            r"^position 2: the snapshot contains other commands \(1 found, 1 expected\)$",
        ),
        ("nothing", "^position 2: the snapshot is missing; every event after the first has one$"),
        ("rubbish", "^poison event at position 2: its aggregate cannot be read"),
    ],
)
async def test_a_snapshot_that_lies_is_found(ledger: Ledger, lie: str, named: str) -> None:
    await ledger.thank(1)
    (ref,) = ledger.lives
    (last,) = await ledger.log.last([ref])
    assert last is not None
    before = load_aggregate(last)
    (mark,), posted = before.commands, before.state
    assert isinstance(posted, Posted)
    event = FavourForgiven(giver=posted.giver, receiver=posted.receiver, points=posted.points)
    forgiven = evolve(posted, event)
    snapshot = {
        "version": snapshot_after(replace(before, version=6), forgiven),
        "state": snapshot_after(before, posted),
        "no commands": snapshot_after(replace(before, commands=()), forgiven),
        "another command": snapshot_after(replace(before, commands=(replace(mark, fingerprint="0" * 64),)), forgiven),
        "nothing": None,
        "rubbish": b"{}",
    }[lie]
    envelope = replace(last.envelope, id=str(uuid4()), type=TYPES[FavourForgiven], data=event, actor=posted.giver)
    await ledger.log.append([Append(ref, subject_of(ref, event), encode(envelope), snapshot, expected=last.position)])
    await ledger.project()
    (sentence,) = await ledger.differences()
    assert re.search(named, sentence)


async def test_of_a_long_life_the_last_commands_are_remembered_and_no_others(ledger: Ledger) -> None:
    step = partial(Submission, community="acme", kind="member", id=membership_id("acme", "ada"))
    submissions = [step(operation="member.join", command=JoinMember(actor="ada", member="ada"))]
    for number in range(REMEMBERED_COMMANDS + 2):
        pause = number % 2 == 0
        command = PauseMember(actor="ada") if pause else ResumeMember(actor="ada")
        submissions.append(step(operation="member.pause" if pause else "member.resume", command=command))
    for outcome in await ledger.executor.execute_all(submissions):
        assert isinstance(outcome, Outcome)
    await ledger.project()
    assert await ledger.differences() == []


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
        await audit(ledger.log, BooksAddress(settings.postgres_dsn, "nothing_here"))
    with pytest.raises(Unavailable):
        await audit(ledger.log, BooksAddress("postgresql://postgres@127.0.0.1:1/postgres", "books"))
