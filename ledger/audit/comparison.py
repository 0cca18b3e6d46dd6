"""The comparison of the books with the audit's fold, as of one moment.

It compares the journal's bytes, the snapshots and the commands that they remember, every posting with its running
balance, the balances and pairs, all aggregates with their deadlines, tags and topics, and the zero sum. It only reads.
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
    """Rows in the order of their first columns, taken by these. A missing row leaves the others in their places."""

    def __init__(self, rows: AsyncIterator[Any]) -> None:
        self._rows = rows
        self._next: Any = None
        self._passed: list[Any] = []

    async def take(self, key: tuple[int, ...]) -> Any:
        """The row of this key, or None. Keys rise from call to call."""
        while True:
            self._next = self._next or await anext(self._rows, None)
            found = self._next and tuple(self._next)[: len(key)]
            if not found or found > key:
                return None
            row, self._next = self._next, None
            if found == key:
                return row
            self._passed.append(row)

    async def left(self) -> AsyncIterator[Any]:
        """The rows that nobody took."""
        for row in self._passed:
            yield row
        if self._next is not None:
            yield self._next
        async for row in self._rows:
            yield row


async def audit(log: EventLog, books: BooksAddress) -> Report:
    """Hold the books against the log, as of the books' checkpoint. Raises: Unavailable, SchemaMissing."""
    async with connect(books, "audit", timeout_s=AUDIT_TIMEOUT_S) as connection:
        await require_schema(connection, books.schema)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await compare(log, connection)


async def compare(log: EventLog, connection: "asyncpg.Connection[Any]") -> Report:
    audit = AuditFold()
    report = audit.report
    checkpoint = await connection.fetchrow(QUERIES["checkpoint"])
    if checkpoint is None:
        raise Bug("the books have no checkpoint")
    report.position = checkpoint["position"]
    end = await log.end()
    report.behind = end - report.position
    if report.behind < 0:
        audit.differ(f"the books stand at {report.position}, but the log ends at {end}: they are not of this log")
        return report
    journal = OrderedRows(read_rows(connection, "journal"))
    postings = OrderedRows(read_rows(connection, "postings"))
    last: str | None = None
    try:
        async for event in events_until(log, report.position):
            last = event.envelope.id
            line = await journal.take((event.position,))
            if line is None or line["event"].encode() != event.body:
                audit.differ(f"position {event.position}: the journal does not hold the log's bytes")
            elif (found := tuple(line)[2:]) != (must := audit.entered(event)):
                audit.differ(
                    f"position {event.position}: in the journal {describe_differences(JOURNAL_COLUMNS, found, must)}"
                )
            for expected in audit.take(event):
                found = await postings.take(expected[:2])
                if found is None:
                    audit.differ(f"position {event.position}: posted nothing, must be {expected}")
                elif tuple(found) != expected:
                    differs = describe_differences(POSTING_COLUMNS, tuple(found), expected)
                    audit.differ(f"position {event.position}: posted as leg {expected[1]}: {differs}")
    except Poison as poison:
        audit.differ(str(poison))
        return report
    if checkpoint["event_id"] != last:
        audit.differ(f"position {report.position}: the checkpoint says event {checkpoint['event_id']}, must be {last}")
    async for line in journal.left():
        audit.differ(f"the journal holds a position {line['position']} that is not of the log up to the checkpoint")
    async for found in postings.left():
        audit.differ(f"posted beyond what the log says: {tuple(found)}")
    await compare_members(audit, connection)
    if not report.differences:  # Folios are held against postings, which must be right themselves.
        await compare_folios(audit, connection)
    await compare_pairs(audit, connection)
    await compare_aggregates(audit, connection)
    return report


async def compare_members(audit: AuditFold, connection: "asyncpg.Connection[Any]") -> None:
    total: Counter[str] = Counter()
    audit.report.members = len(audit.members)
    async for community, member, *found in read_rows(connection, "balances"):
        key = (community, member)
        has = [int(value) for value in found]
        total[community] += sum(has[: len(ACCOUNTS)])
        sums = audit.members.pop(key, None)
        if sums is None:
            audit.differ(f"{community}/{member}: has a balance and no postings")
            continue
        expected = [*(sums[name] for name in SUMS), audit.seen[key]]
        if has != expected:
            audit.differ(f"{community}/{member}: {describe_differences((*SUMS, 'first'), has, expected)}")
    for community, member in sorted(audit.members):
        audit.differ(f"{community}/{member}: has postings and no balance")
    for community, points in total.items():
        if points:
            audit.differ(f"{community}: all accounts sum to {points}, must be 0")


async def compare_folios(audit: AuditFold, connection: "asyncpg.Connection[Any]") -> None:
    """The folios of busy members, held against their postings; their lines, once the folios are right."""
    async for community, member, number in read_rows(connection, "wrong_folios", FOLIO_LINES):
        audit.differ(f"{community}/{member}: folio {number} is not where their postings fill one")
    if audit.report.differences:
        return
    async for community, member, number in read_rows(connection, "wrong_folio_lines"):
        audit.differ(f"{community}/{member}: the lines of folio {number} are not what their postings make them")


async def compare_pairs(audit: AuditFold, connection: "asyncpg.Connection[Any]") -> None:
    async for community, low, high, *found in read_rows(connection, "pairs"):
        sums = audit.pairs.pop((community, low, high), None)
        if sums is None:
            audit.differ(f"{community}/{low} with {high}: must not be there")
            continue
        expected = [sums[name] for name in PAIR_SUMS]
        if found != expected:
            audit.differ(f"{community}/{low} with {high}: {describe_differences(PAIR_SUMS, found, expected)}")
    for community, low, high in sorted(audit.pairs):
        audit.differ(f"{community}/{low} with {high}: is missing")


async def compare_aggregates(audit: AuditFold, connection: "asyncpg.Connection[Any]") -> None:
    """The aggregates, and what follows from their states: deadlines, tags and topics."""
    deadlines: dict[AggregateRef, Any] = {}
    tags: set[tuple[str, ...]] = set()
    topics: set[tuple[Any, ...]] = set()
    for ref, row in audit.rows.items():
        state = decode_state(ref.kind, row.state)
        if (due_at := deadline_of(state)) is not None:
            deadlines[ref] = due_at
        if isinstance(state, Active):
            sides = {"want": state.wants, "offer": state.offers}
            tags |= {(ref.community, state.member, side, tag) for side in sides for tag in sides[side]}
        topics |= {(ref.community, ref.kind, tag, row.began) for tag in getattr(state, "tags", ())}
    async for line in read_rows(connection, "deadlines"):
        ref = AggregateRef(line["community"], line["kind"], line["id"])
        if (must := deadlines.pop(ref, None)) != line["due_at"]:
            audit.differ(f"{ref.kind} {ref.id} of {ref.community} is due at {line['due_at']}, must be {must}")
    for ref, due_at in deadlines.items():
        audit.differ(f"{ref.kind} {ref.id} of {ref.community} has no deadline, must be due at {due_at}")
    found = {tuple(line) async for line in read_rows(connection, "tags")}
    for line in sorted(found ^ tags):
        audit.differ(f"{line}: a tag that must {'not ' if line in found else ''}be there")
    shown = {tuple(line) async for line in read_rows(connection, "topics")}
    for line in sorted(shown ^ topics):
        audit.differ(f"{line}: a topic that must {'not ' if line in shown else ''}be there")
    async for line in read_rows(connection, "aggregates"):
        compare_aggregate(audit, line)
    for ref in audit.rows:
        audit.differ(f"{ref.kind} {ref.id} of {ref.community} is missing")


def compare_aggregate(audit: AuditFold, line: Any) -> None:
    ref = AggregateRef(line["community"], line["kind"], line["id"])
    row = audit.rows.pop(ref, None)
    if row is None:
        audit.differ(f"{ref.kind} {ref.id} of {ref.community} is not in the log")
        return
    state = decode_state(ref.kind, row.state)
    parties = [*KINDS[ref.kind].concerned(state), None, None, None][:3]
    gathering = getattr(state, "gathering", None)
    expected = (
        row.version,
        row.position,
        row.began,
        row.began_at,
        tag_of(state),
        *parties,
        str(gathering) if gathering else None,
        row.state.decode(),
    )
    found = tuple(line)[3:]
    if found != expected:
        audit.differ(
            f"{ref.kind} {ref.id} of {ref.community}: {describe_differences(AGGREGATE_COLUMNS, found, expected)}"
        )


def describe_differences(names: Sequence[str], found: Sequence[Any], expected: Sequence[Any]) -> str:
    """The columns that are not what they must be."""
    columns = zip(names, found, expected, strict=True)
    return ", ".join(f"{name} is {is_}, must be {must}" for name, is_, must in columns if is_ != must)


async def events_until(log: EventLog, last: int) -> AsyncIterator[RecordedEvent]:
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
