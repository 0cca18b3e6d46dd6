"""The comparison of the books with the fold of the audit, at one moment. It only reads.

It compares the bytes in the journal, the snapshots with their commands, every posting with its running balance,
balances and pairs, aggregates with their deadlines, tags and topics, folios, and the zero sum.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final

import asyncpg

from ledger.audit.fold import AuditFold
from ledger.audit.report import Report
from ledger.books.connection import connect
from ledger.books.fold import FOLIO_LINES
from ledger.books.queries import named
from ledger.books.schema import require_schema
from ledger.domain.catalog.kinds import KINDS, deadline_of
from ledger.domain.kinds.member import Active
from ledger.domain.values.aggregate_types import tag_of
from ledger.domain.values.refusals import Bug
from ledger.envelope import AggregateRef, Poison, RecordedEvent, decode_state
from ledger.log.event_log import EventLog
from ledger.runtime.settings import BooksAddress

QUERIES: Final = named("audit")
CURSOR_ROWS: Final = 1_000
AUDIT_TIMEOUT_S: Final = 3_600.0
ACCOUNTS: Final = ("main", "stake", "disputed")
TALLIES: Final = ("given", "received", "recent_given", "recent_received", "settled", "kept", "broken", "postings")
SUMS: Final = (*ACCOUNTS, *TALLIES)
PAIR_SUMS: Final = ("low_gave", "high_gave", "low_helped", "high_helped", "contacts", "one_to_ones")
POSTING_COLUMNS: Final = (
    "position",
    "leg",
    "community",
    "member",
    "account",
    "counterparty",
    "points",
    "given",
    "received",
    "balance_after",
    "happened_at",
    "rule",
    "gathering",
)
JOURNAL_COLUMNS: Final = ("recorded_at", "community", "previous", "name", "event_id")
AGGREGATE_COLUMNS: Final = (
    "version",
    "position",
    "began",
    "began_at",
    "state",
    "party_1",
    "party_2",
    "party_3",
    "gathering",
    "facts",
)


class OrderedRows:
    """Rows in the order of their key, which is their first columns. A missing row does not shift the others."""

    def __init__(self, rows: AsyncIterator[Any]) -> None:
        self._rows = rows
        self._next: Any = None
        self._skipped: list[Any] = []

    async def take(self, key: tuple[int, ...]) -> Any:
        """Return the row with this key, or None. Keys must rise from call to call."""
        while True:
            self._next = self._next or await anext(self._rows, None)
            next_key = self._next and tuple(self._next)[: len(key)]
            if not next_key or next_key > key:
                return None
            row, self._next = self._next, None
            if next_key == key:
                return row
            self._skipped.append(row)

    async def rest(self) -> AsyncIterator[Any]:
        """Yield the rows that were not taken."""
        for row in self._skipped:
            yield row
        if self._next is not None:
            yield self._next
        async for row in self._rows:
            yield row


async def audit(log: EventLog, books: BooksAddress) -> Report:
    """Compare the books with the log up to the checkpoint of the books.

    Raises: Unavailable, SchemaMissing.
    """
    async with connect(books, "audit", timeout_s=AUDIT_TIMEOUT_S) as connection:
        await require_schema(connection, books.schema)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await compare(log, connection)


async def compare(log: EventLog, connection: "asyncpg.Connection[Any]") -> Report:
    """Compare within a transaction of the caller, which must be repeatable read."""
    fold = AuditFold()
    report = fold.report
    checkpoint = await connection.fetchrow(QUERIES["checkpoint"])
    if checkpoint is None:
        raise Bug("the books have no checkpoint")
    report.position = checkpoint["position"]
    end = await log.end()
    report.behind = end - report.position
    if report.behind < 0:
        fold.report_difference(
            f"the books are at position {report.position}, but the log ends at {end}: they are not of this log"
        )
        return report
    try:
        last_event_id = await compare_events(log, fold, connection)
    except Poison as poison:
        fold.report_difference(str(poison))
        return report
    if checkpoint["event_id"] != last_event_id:
        fold.report_difference(
            f"position {report.position}: the checkpoint names event {checkpoint['event_id']}, must be {last_event_id}"
        )
    await compare_members(fold, connection)
    if not report.differences:  # Folios are compared with the postings in the books, which must be right first.
        await compare_folios(fold, connection)
    await compare_pairs(fold, connection)
    await compare_aggregates(fold, connection)
    return report


async def compare_events(log: EventLog, fold: AuditFold, connection: "asyncpg.Connection[Any]") -> str | None:
    """Fold the log, compare the journal and the postings with it, and return the id of the last event.

    Raises: Poison.
    """
    journal = OrderedRows(read_rows(connection, "journal"))
    postings = OrderedRows(read_rows(connection, "postings"))
    last_event_id: str | None = None
    async for event in events_until(log, fold.report.position):
        last_event_id = event.envelope.id
        place = f"position {event.position}"
        row = await journal.take((event.position,))
        if row is None or row["event"].encode() != event.body:
            fold.report_difference(f"{place}: the journal does not hold the log's bytes")
        elif (found := tuple(row)[2:]) != (expected := fold.journal_row(event)):
            differences = describe_differences(JOURNAL_COLUMNS, found, expected)
            fold.report_difference(f"{place}: in the journal, {differences}")
        for posting in fold.apply(event):
            row = await postings.take(posting[:2])
            if row is None:
                fold.report_difference(f"{place}: the posting {posting} is missing")
            elif tuple(row) != posting:
                differences = describe_differences(POSTING_COLUMNS, tuple(row), posting)
                fold.report_difference(f"{place}, leg {posting[1]}: {differences}")
    async for row in journal.rest():
        fold.report_difference(
            f"the journal contains position {row['position']}, which is not in the log up to the checkpoint"
        )
    async for row in postings.rest():
        fold.report_difference(f"the posting {tuple(row)} does not follow from the log")
    return last_event_id


async def compare_members(fold: AuditFold, connection: "asyncpg.Connection[Any]") -> None:
    """Compare the balances, and check that the accounts of each community sum to zero."""
    totals: Counter[str] = Counter()
    fold.report.members = len(fold.members)
    async for community, member, *values in read_rows(connection, "balances"):
        key = (community, member)
        found = [int(value) for value in values]
        totals[community] += sum(found[: len(ACCOUNTS)])
        sums = fold.members.pop(key, None)
        if sums is None:
            fold.report_difference(f"{community}/{member}: has a balance and no postings")
            continue
        expected = [*(sums[name] for name in SUMS), fold.first_positions[key]]
        if found != expected:
            fold.report_difference(f"{community}/{member}: {describe_differences((*SUMS, 'first'), found, expected)}")
    for community, member in sorted(fold.members):
        fold.report_difference(f"{community}/{member}: has postings and no balance")
    for community, points in totals.items():
        if points:
            fold.report_difference(f"{community}: all accounts sum to {points}, must be 0")


async def compare_folios(fold: AuditFold, connection: "asyncpg.Connection[Any]") -> None:
    """Compare the folios of busy members with their postings. If all folios are right, compare their lines too."""
    async for community, member, number in read_rows(connection, "wrong_folios", FOLIO_LINES):
        fold.report_difference(f"{community}/{member}: folio {number} does not end where the member's postings fill it")
    if fold.report.differences:
        return
    async for community, member, number in read_rows(connection, "wrong_folio_lines"):
        fold.report_difference(f"{community}/{member}: the lines of folio {number} do not match the member's postings")


async def compare_pairs(fold: AuditFold, connection: "asyncpg.Connection[Any]") -> None:
    """Compare the pairs."""
    async for community, low, high, *found in read_rows(connection, "pairs"):
        sums = fold.pairs.pop((community, low, high), None)
        if sums is None:
            fold.report_difference(f"{community}/{low} with {high}: must not exist")
            continue
        expected = [sums[name] for name in PAIR_SUMS]
        if found != expected:
            fold.report_difference(f"{community}/{low} with {high}: {describe_differences(PAIR_SUMS, found, expected)}")
    for community, low, high in sorted(fold.pairs):
        fold.report_difference(f"{community}/{low} with {high}: is missing")


async def compare_aggregates(fold: AuditFold, connection: "asyncpg.Connection[Any]") -> None:
    """Compare the aggregates, and the deadlines, tags and topics that follow from their states."""
    deadlines: dict[AggregateRef, Any] = {}
    tags: set[tuple[str, ...]] = set()
    topics: set[tuple[Any, ...]] = set()
    for ref, row in fold.rows.items():
        state = decode_state(ref.kind, row.state)
        if (due_at := deadline_of(state)) is not None:
            deadlines[ref] = due_at
        if isinstance(state, Active):
            sides = {"want": state.wants, "offer": state.offers}
            tags |= {(ref.community, state.member, side, tag) for side in sides for tag in sides[side]}
        topics |= {(ref.community, ref.kind, tag, row.began) for tag in getattr(state, "tags", ())}
    async for row in read_rows(connection, "deadlines"):
        ref = AggregateRef(row["community"], row["kind"], row["id"])
        if (expected := deadlines.pop(ref, None)) != row["due_at"]:
            fold.report_difference(
                f"{ref.kind} {ref.id} of {ref.community} is due at {row['due_at']}, must be {expected}"
            )
    for ref, due_at in deadlines.items():
        fold.report_difference(f"{ref.kind} {ref.id} of {ref.community} has no deadline, must be due at {due_at}")
    found_tags = {tuple(row) async for row in read_rows(connection, "tags")}
    for tag in sorted(found_tags ^ tags):
        fold.report_difference(f"the tag {tag} {'must not exist' if tag in found_tags else 'is missing'}")
    found_topics = {tuple(row) async for row in read_rows(connection, "topics")}
    for topic in sorted(found_topics ^ topics):
        fold.report_difference(f"the topic {topic} {'must not exist' if topic in found_topics else 'is missing'}")
    async for row in read_rows(connection, "aggregates"):
        compare_aggregate(fold, row)
    for ref in fold.rows:
        fold.report_difference(f"{ref.kind} {ref.id} of {ref.community} is missing")


def compare_aggregate(fold: AuditFold, row: Any) -> None:
    """Compare one row of the books, and remove it from the fold. The fold keeps the aggregates that are missing."""
    ref = AggregateRef(row["community"], row["kind"], row["id"])
    aggregate = fold.rows.pop(ref, None)
    if aggregate is None:
        fold.report_difference(f"{ref.kind} {ref.id} of {ref.community} is not in the log")
        return
    state = decode_state(ref.kind, aggregate.state)
    parties = [*KINDS[ref.kind].concerned(state), None, None, None][:3]
    gathering = getattr(state, "gathering", None)
    expected = (
        aggregate.version,
        aggregate.position,
        aggregate.began,
        aggregate.began_at,
        tag_of(state),
        *parties,
        str(gathering) if gathering else None,
        aggregate.state.decode(),
    )
    found = tuple(row)[3:]
    if found != expected:
        fold.report_difference(
            f"{ref.kind} {ref.id} of {ref.community}: {describe_differences(AGGREGATE_COLUMNS, found, expected)}"
        )


def describe_differences(names: Sequence[str], found: Sequence[Any], expected: Sequence[Any]) -> str:
    """Return the columns that differ, each with the value found and the value expected."""
    columns = zip(names, found, expected, strict=True)
    return ", ".join(f"{name} is {value}, must be {right}" for name, value, right in columns if value != right)


async def events_until(log: EventLog, last: int) -> AsyncIterator[RecordedEvent]:
    """Yield the events from the first to position `last`.

    Raises: Poison.
    """
    if last == 0:
        return
    async with aclosing(log.read_from(1)) as batches:
        async for batch in batches:
            for event in batch:
                yield event
                if event.position == last:
                    return


async def read_rows(connection: "asyncpg.Connection[Any]", query: str, *arguments: object) -> AsyncIterator[Any]:
    async for row in connection.cursor(QUERIES[query], *arguments, prefetch=CURSOR_ROWS):
        yield row
