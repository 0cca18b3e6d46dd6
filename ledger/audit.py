"""The audit: everything derived anew from the log, apart from the code that writes the books, and held against them.

It compares the journal's bytes, the snapshots, every posting with its running balance, balances, pairs, the states of
all aggregates, and the zero sum. It only reads, and sees the books as of one moment.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import asyncpg
from msgspec import Struct

from ledger.books.queries import named
from ledger.books.schema import connected, require_schema
from ledger.domain.catalog import KINDS
from ledger.domain.posting import entry_of
from ledger.domain.refusals import Bug
from ledger.domain.values import tag_of
from ledger.envelope import AggregateRef, Poison, Recorded, decode_state, encode_state
from ledger.log.aggregate import snapshot_of
from ledger.log.event_log import EventLog

QUERIES: Final = named("audit")
CURSOR_ROWS: Final = 1_000
AUDIT_TIMEOUT_S: Final = 3_600.0
PLURALS: Final = {"favour": "favours", "referral": "referrals", "intro": "intros"}


class Report(Struct):
    """What was compared, and one sentence for everything that differs. No sentence: the books are right."""

    position: int = 0
    events: int = 0
    postings: int = 0
    members: int = 0
    behind: int = 0
    differences: list[str] = []


class Row(Struct):
    """An aggregate as the events make it. The state is kept as bytes: there may be millions."""

    version: int
    position: int
    state: bytes


class Audit:
    """The fold of the log up to the checkpoint. Its sums are its own; only the rules are the domain's."""

    def __init__(self) -> None:
        self.report = Report()
        self.accounts: Counter[tuple[str, str, str]] = Counter()  # community, member, account
        self.tallies: Counter[tuple[str, str, str]] = Counter()  # community, member, "given" or "received"
        self.pairs: Counter[tuple[str, str, str, str]] = Counter()  # community, member, other, "given" or "received"
        self.rows: dict[AggregateRef, Row] = {}

    def differ(self, sentence: str) -> None:
        self.report.differences.append(sentence)

    def take(self, event: Recorded) -> list[tuple[Any, ...]]:
        """Fold one event; answers the postings it must have made."""
        self.report.events += 1
        self.evolve(event)
        community = event.ref.community
        postings: list[tuple[Any, ...]] = []
        for number, leg in enumerate(entry_of(event.envelope.data).legs):
            account = (community, leg.member, leg.account)
            self.accounts[account] += leg.points
            self.tallies[community, leg.member, "given"] += leg.given
            self.tallies[community, leg.member, "received"] += leg.received
            if leg.counterparty is not None and (leg.given or leg.received):
                self.pairs[community, leg.member, leg.counterparty, "given"] += leg.given
                self.pairs[community, leg.member, leg.counterparty, "received"] += leg.received
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
                    self.accounts[account],
                )
            )
        self.report.postings += len(postings)
        return postings

    def evolve(self, event: Recorded) -> None:
        before = self.rows.get(event.ref)
        try:
            state = event.kind.evolve(
                decode_state(event.ref.kind, before.state) if before else None, event.envelope.data
            )
        except Bug as bug:
            self.differ(f"position {event.position}: {bug}")
            return
        version = before.version + 1 if before else 1
        said = snapshot_of(event)
        if said is not None and said != (version, state):
            self.differ(f"position {event.position}: its snapshot says {said}, its history {(version, state)}")
        if said is None and before is not None:
            self.differ(f"position {event.position}: it lacks the snapshot that every event after the first carries")
        self.rows[event.ref] = Row(version, event.position, encode_state(state))

    def members(self) -> set[tuple[str, str]]:
        return {(community, member) for community, member, _ in self.accounts}


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
    try:
        async for event in events_until(log, report.position):
            line = await journal.take((event.position,))
            if line is None or line["event"].encode() != event.body:
                audit.differ(f"position {event.position}: the journal does not hold the log's bytes")
            for expected in audit.take(event):
                found = await postings.take(expected[:2])
                if found is None or tuple(found) != expected:
                    audit.differ(f"position {event.position}: posted {found and tuple(found)}, must be {expected}")
    except Poison as poison:
        audit.differ(str(poison))
        return report
    async for line in journal.left():
        audit.differ(f"the journal holds a position {line['position']} that is not of the log up to the checkpoint")
    async for found in postings.left():
        audit.differ(f"posted beyond what the log says: {tuple(found)}")
    await compare_sums(audit, connection)
    await compare_aggregates(audit, connection)
    return report


async def compare_sums(audit: Audit, connection: "asyncpg.Connection[Any]") -> None:
    total: Counter[str] = Counter()
    members = audit.members()
    audit.report.members = len(members)
    async for community, member, main, stake, given, received in rows(connection, "balances"):
        total[community] += main + stake
        expected = (
            audit.accounts[community, member, "main"],
            audit.accounts[community, member, "stake"],
            audit.tallies[community, member, "given"],
            audit.tallies[community, member, "received"],
        )
        if (main, stake, given, received) != expected:
            audit.differ(
                f"{community}/{member}: main, stake, given, received are {(main, stake, given, received)}, "
                f"must be {expected}"
            )
        members.discard((community, member))
    for community, member in sorted(members):
        audit.differ(f"{community}/{member}: has postings and no balance")
    for community, points in total.items():
        if points:
            audit.differ(f"{community}: all accounts sum to {points}, must be 0")
    pairs = {(community, member, other) for community, member, other, _ in audit.pairs}
    async for community, member, other, given, received in rows(connection, "pairs"):
        expected_pair = (
            audit.pairs[community, member, other, "given"],
            audit.pairs[community, member, other, "received"],
        )
        if (given, received) != expected_pair:
            audit.differ(f"{community}/{member} with {other}: {(given, received)}, must be {expected_pair}")
        pairs.discard((community, member, other))
    for community, member, other in sorted(pairs):
        audit.differ(f"{community}/{member} with {other}: is missing")


async def compare_aggregates(audit: Audit, connection: "asyncpg.Connection[Any]") -> None:
    for kind in KINDS:
        async for line in rows(connection, PLURALS[kind]):
            ref = AggregateRef(line["community"], kind, line["id"])
            row = audit.rows.pop(ref, None)
            if row is None:
                audit.differ(f"{kind} {ref.id} of {ref.community} is not in the log")
                continue
            state = decode_state(kind, row.state)
            expected = (row.version, row.position, tag_of(state), row.state.decode())
            found = (line["version"], line["position"], line["state"], line["facts"])
            if found != expected:
                audit.differ(f"{kind} {ref.id} of {ref.community} is {found}, must be {expected}")
    for ref in audit.rows:
        audit.differ(f"{ref.kind} {ref.id} of {ref.community} is missing")


async def events_until(log: EventLog, last: int) -> AsyncIterator[Recorded]:
    if last == 0:
        return
    async with aclosing(log.read_from(1)) as batches:
        async for batch in batches:
            for event in batch:
                yield event
                if event.position == last:
                    return


async def rows(connection: "asyncpg.Connection[Any]", query: str) -> AsyncIterator[Any]:
    async for row in connection.cursor(QUERIES[query], prefetch=CURSOR_ROWS):
        yield row
