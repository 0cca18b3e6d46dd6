"""The audit: everything derived anew from the log, apart from the code that writes the books, and held against them.

It compares the journal's bytes, the snapshots and the commands that they remember, every posting with its running
balance, what every member and every pair has, all aggregates with their deadlines and tags, and the zero sum. It only
reads, and sees the books as of one moment.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
from msgspec import Struct

from ledger.books.fold import FOLIO_LINES
from ledger.books.queries import named
from ledger.books.schema import connected, require_schema
from ledger.domain.catalog.kinds import KINDS, deadline_of
from ledger.domain.kinds.member import Active
from ledger.domain.posting.rules import entry_of
from ledger.domain.standing.effects import acquaintance, is_help, reliability_changes, weighting_time
from ledger.domain.standing.indices import weight
from ledger.domain.values.aggregate_types import State, tag_of
from ledger.domain.values.entries import Leg
from ledger.domain.values.refusals import Bug
from ledger.envelope import AggregateRef, Poison, RecordedEvent, decode_state, encode_state
from ledger.log.event_log import EventLog
from ledger.log.snapshot import REMEMBERED_COMMANDS, CommandMark, parse_snapshot

QUERIES: Final = named("audit")
CURSOR_ROWS: Final = 1_000
AUDIT_TIMEOUT_S: Final = 3_600.0
DIGEST_BYTES: Final = 8
ACCOUNTS: Final = ("main", "stake", "disputed")
TALLIES: Final = ("given", "received", "recent_given", "recent_received", "settled", "kept", "broken", "postings")
SUMS: Final = (*ACCOUNTS, *TALLIES)
PAIR_SUMS: Final = ("low_gave", "high_gave", "low_helped", "high_helped", "contacts", "one_to_ones")
POSTING: Final = (
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
JOURNAL: Final = ("recorded_at", "community", "previous", "name", "event_id")
AGGREGATE: Final = (
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

Member = tuple[str, str]
Pair = tuple[str, str, str]


class Report(Struct):
    """What was compared, and one sentence for everything that differs. No sentence: the books are right."""

    position: int = 0
    events: int = 0
    postings: int = 0
    members: int = 0
    behind: int = 0
    differences: list[str] = []


class Row(Struct):
    """An aggregate as the events make it. The state is kept as bytes: there may be millions.

    `commands` are the digests of the last ones that it has seen, one after the other.
    """

    version: int
    position: int
    began: int
    began_at: datetime
    state: bytes
    commands: bytes


class Audit:
    """The fold of the log up to the checkpoint. Its sums are its own; only the rules are the domain's."""

    def __init__(self) -> None:
        self.report = Report()
        self.members: dict[Member, Counter[str]] = {}
        self.seen: dict[Member, int] = {}  # The first position.
        self.pairs: dict[Pair, Counter[str]] = {}
        self.rows: dict[AggregateRef, Row] = {}

    def differ(self, sentence: str) -> None:
        self.report.differences.append(sentence)

    def take(self, event: RecordedEvent) -> list[tuple[Any, ...]]:
        """Fold one event; answers the postings it must have made."""
        self.report.events += 1
        state = self.evolve(event)
        fact, community = event.envelope.data, event.ref.community
        gathering = getattr(state, "gathering", None)
        postings: list[tuple[Any, ...]] = []
        for number, leg in enumerate(entry_of(fact).legs):
            has = self.member(community, leg.member, event.position)
            has[leg.account] += leg.points
            has["postings"] += 1
            self.tally(event, leg, has)
            postings.append(
                (
                    event.position,
                    number,
                    community,
                    leg.member,
                    leg.account,
                    leg.counterparty,
                    leg.points,
                    leg.given,
                    leg.received,
                    has[leg.account],
                    event.envelope.time,
                    tag_of(fact),
                    str(gathering) if gathering else None,
                )
            )
        for trial in reliability_changes(fact):
            has = self.member(community, trial.member, event.position)
            has["kept"] += trial.kept
            has["broken"] += trial.broken
        if state is not None and (met := acquaintance(fact, state)):
            self.pair(community, met.member, met.other)["one_to_ones" if met.one_to_one else "contacts"] += 1
        self.report.postings += len(postings)
        return postings

    def entered(self, event: RecordedEvent) -> tuple[Any, ...]:
        """What the journal must say of an event that was not taken yet, beside its bytes."""
        before = self.rows.get(event.ref)
        envelope = event.envelope
        previous = before.position if before else 0
        return recorded_at(event), event.ref.community, previous, tag_of(envelope.data), envelope.id

    def tally(self, event: RecordedEvent, leg: Leg, has: Counter[str]) -> None:
        """The gross tallies, which count towards a member's standing and a pair's."""
        fact = event.envelope.data
        weigh_at = weighting_time(fact, event.envelope.time)
        for side, points in (("given", leg.given), ("received", leg.received)):
            if points:
                has[side] += points
                has[f"recent_{side}"] += weight(points, weigh_at)
                has["settled"] += 1 if points > 0 else -1
        if leg.given and leg.counterparty is not None:
            pair = self.pair(event.ref.community, leg.member, leg.counterparty)
            side = "low" if leg.member < leg.counterparty else "high"
            pair[f"{side}_gave"] += leg.given
            if is_help(fact):
                pair[f"{side}_helped"] += 1 if leg.given > 0 else -1

    def member(self, community: str, member: str, position: int) -> Counter[str]:
        key = (community, member)
        self.seen.setdefault(key, position)
        return self.members.setdefault(key, Counter())

    def pair(self, community: str, one: str, other: str) -> Counter[str]:
        return self.pairs.setdefault((community, min(one, other), max(one, other)), Counter())

    def evolve(self, event: RecordedEvent) -> State | None:
        before = self.rows.get(event.ref)
        try:
            state = event.kind.evolve(
                decode_state(event.ref.kind, before.state) if before else None, event.envelope.data
            )
        except Bug as bug:
            self.differ(f"position {event.position}: {bug}")
            return None
        version = before.version + 1 if before else 1
        seen = before.commands if before else b""
        said = parse_snapshot(event)
        if said is not None and said[:2] != (version, state):
            self.differ(f"position {event.position}: its snapshot says {said[:2]}, its history {(version, state)}")
        if said is not None and b"".join(map(digest, said[2])) != seen:
            counts = f"({len(said[2])}) than its history last saw ({len(seen) // DIGEST_BYTES})"
            self.differ(f"position {event.position}: its snapshot remembers other commands {counts}")
        if said is None and before is not None:
            self.differ(f"position {event.position}: it lacks the snapshot that every event after the first carries")
        mark = CommandMark(event.envelope.commandid, event.envelope.fingerprint, event.position)
        seen = (seen + digest(mark))[-REMEMBERED_COMMANDS * DIGEST_BYTES :]
        began, began_at = (before.began, before.began_at) if before else (event.position, recorded_at(event))
        self.rows[event.ref] = Row(version, event.position, began, began_at, encode_state(state), seen)
        return state


def digest(mark: CommandMark) -> bytes:
    """What tells one command from another within this process, in a fraction of its size."""
    return hash(mark).to_bytes(DIGEST_BYTES, "little", signed=True)


class Ordered:
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


async def audit(log: EventLog, dsn: str, schema: str) -> Report:
    """Hold the books against the log, as of the books' checkpoint. Raises: Unavailable, SchemaMissing."""
    async with connected(dsn, schema, "audit", timeout_s=AUDIT_TIMEOUT_S) as connection:
        await require_schema(connection, schema)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await compare(log, connection)


async def compare(log: EventLog, connection: "asyncpg.Connection[Any]") -> Report:
    audit = Audit()
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
    journal = Ordered(rows(connection, "journal"))
    postings = Ordered(rows(connection, "postings"))
    last: str | None = None
    try:
        async for event in events_until(log, report.position):
            last = event.envelope.id
            line = await journal.take((event.position,))
            if line is None or line["event"].encode() != event.body:
                audit.differ(f"position {event.position}: the journal does not hold the log's bytes")
            elif (found := tuple(line)[2:]) != (must := audit.entered(event)):
                audit.differ(f"position {event.position}: in the journal {differing(JOURNAL, found, must)}")
            for expected in audit.take(event):
                found = await postings.take(expected[:2])
                if found is None:
                    audit.differ(f"position {event.position}: posted nothing, must be {expected}")
                elif tuple(found) != expected:
                    differs = differing(POSTING, tuple(found), expected)
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


async def compare_members(audit: Audit, connection: "asyncpg.Connection[Any]") -> None:
    total: Counter[str] = Counter()
    audit.report.members = len(audit.members)
    async for community, member, *found in rows(connection, "balances"):
        key = (community, member)
        has = [int(value) for value in found]
        total[community] += sum(has[: len(ACCOUNTS)])
        sums = audit.members.pop(key, None)
        if sums is None:
            audit.differ(f"{community}/{member}: has a balance and no postings")
            continue
        expected = [*(sums[name] for name in SUMS), audit.seen[key]]
        if has != expected:
            audit.differ(f"{community}/{member}: {differing((*SUMS, 'first'), has, expected)}")
    for community, member in sorted(audit.members):
        audit.differ(f"{community}/{member}: has postings and no balance")
    for community, points in total.items():
        if points:
            audit.differ(f"{community}: all accounts sum to {points}, must be 0")


async def compare_folios(audit: Audit, connection: "asyncpg.Connection[Any]") -> None:
    """The folios of busy members, held against their postings; their lines, once the folios are right."""
    async for community, member, number in rows(connection, "wrong_folios", FOLIO_LINES):
        audit.differ(f"{community}/{member}: folio {number} is not where their postings fill one")
    if audit.report.differences:
        return
    async for community, member, number in rows(connection, "wrong_folio_lines"):
        audit.differ(f"{community}/{member}: the lines of folio {number} are not what their postings make them")


async def compare_pairs(audit: Audit, connection: "asyncpg.Connection[Any]") -> None:
    async for community, low, high, *found in rows(connection, "pairs"):
        sums = audit.pairs.pop((community, low, high), None)
        if sums is None:
            audit.differ(f"{community}/{low} with {high}: must not be there")
            continue
        expected = [sums[name] for name in PAIR_SUMS]
        if found != expected:
            audit.differ(f"{community}/{low} with {high}: {differing(PAIR_SUMS, found, expected)}")
    for community, low, high in sorted(audit.pairs):
        audit.differ(f"{community}/{low} with {high}: is missing")


async def compare_aggregates(audit: Audit, connection: "asyncpg.Connection[Any]") -> None:
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
    async for line in rows(connection, "deadlines"):
        ref = AggregateRef(line["community"], line["kind"], line["id"])
        if (must := deadlines.pop(ref, None)) != line["due_at"]:
            audit.differ(f"{ref.kind} {ref.id} of {ref.community} is due at {line['due_at']}, must be {must}")
    for ref, due_at in deadlines.items():
        audit.differ(f"{ref.kind} {ref.id} of {ref.community} has no deadline, must be due at {due_at}")
    found = {tuple(line) async for line in rows(connection, "tags")}
    for line in sorted(found ^ tags):
        audit.differ(f"{line}: a tag that must {'not ' if line in found else ''}be there")
    shown = {tuple(line) async for line in rows(connection, "topics")}
    for line in sorted(shown ^ topics):
        audit.differ(f"{line}: a topic that must {'not ' if line in shown else ''}be there")
    async for line in rows(connection, "aggregates"):
        compare_aggregate(audit, line)
    for ref in audit.rows:
        audit.differ(f"{ref.kind} {ref.id} of {ref.community} is missing")


def compare_aggregate(audit: Audit, line: Any) -> None:
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
        audit.differ(f"{ref.kind} {ref.id} of {ref.community}: {differing(AGGREGATE, found, expected)}")


def differing(names: Sequence[str], found: Sequence[Any], expected: Sequence[Any]) -> str:
    """The columns that are not what they must be."""
    columns = zip(names, found, expected, strict=True)
    return ", ".join(f"{name} is {is_}, must be {must}" for name, is_, must in columns if is_ != must)


def recorded_at(event: RecordedEvent) -> datetime:
    return datetime.fromtimestamp(event.recorded_at_us / 1_000_000, UTC)


async def events_until(log: EventLog, last: int) -> AsyncIterator[RecordedEvent]:
    if last == 0:
        return
    async with aclosing(log.read_from(1)) as batches:
        async for batch in batches:
            for event in batch:
                yield event
                if event.position == last:
                    return


async def rows(connection: "asyncpg.Connection[Any]", query: str, *arguments: object) -> AsyncIterator[Any]:
    async for row in connection.cursor(QUERIES[query], *arguments, prefetch=CURSOR_ROWS):
        yield row
