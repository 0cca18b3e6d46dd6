"""The fold of the audit. It shares the domain rules with the writer of the books, and no other code."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from ledger.audit.report import Report
from ledger.domain.posting.rules import entry_of
from ledger.domain.standing.effects import acquaintance, is_help, reliability_changes, weighting_time
from ledger.domain.standing.indices import weight
from ledger.domain.values.aggregate_types import State, tag_of
from ledger.domain.values.entries import Leg
from ledger.domain.values.refusals import Bug
from ledger.envelope import AggregateRef, RecordedEvent, decode_state, encode_state
from ledger.log.snapshot import REMEMBERED_COMMANDS, CommandMark, parse_snapshot

DIGEST_BYTES: Final = 8  # Of a command mark.

MemberKey = tuple[str, str]
PairKey = tuple[str, str, str]


class AuditRow(Struct):
    """An aggregate according to its events. The state is encoded, because there may be millions of aggregates.

    `commands` are the concatenated digests of its last commands.
    """

    version: int
    position: int
    began: int
    began_at: datetime
    state: bytes
    commands: bytes


class AuditFold:
    """The sums and aggregates that follow from the log up to the checkpoint, and the report."""

    def __init__(self) -> None:
        self.report = Report()
        self.members: dict[MemberKey, Counter[str]] = {}
        self.first_positions: dict[MemberKey, int] = {}
        self.pairs: dict[PairKey, Counter[str]] = {}
        self.rows: dict[AggregateRef, AuditRow] = {}

    def report_difference(self, sentence: str) -> None:
        self.report.differences.append(sentence)

    def apply(self, event: RecordedEvent) -> list[tuple[Any, ...]]:
        """Fold one event, and return the postings that it must have in the books."""
        self.report.events += 1
        state = self.evolve(event)
        fact, community = event.envelope.data, event.ref.community
        gathering = getattr(state, "gathering", None)
        postings: list[tuple[Any, ...]] = []
        for number, leg in enumerate(entry_of(fact).legs):
            sums = self.member(community, leg.member, event.position)
            sums[leg.account] += leg.points
            sums["postings"] += 1
            self.tally(event, leg, sums)
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
                    sums[leg.account],
                    event.envelope.time,
                    tag_of(fact),
                    str(gathering) if gathering else None,
                )
            )
        for change in reliability_changes(fact):
            sums = self.member(community, change.member, event.position)
            sums["kept"] += change.kept
            sums["broken"] += change.broken
        if state is not None and (met := acquaintance(fact, state)):
            self.pair(community, met.member, met.other)["one_to_ones" if met.one_to_one else "contacts"] += 1
        self.report.postings += len(postings)
        return postings

    def journal_row(self, event: RecordedEvent) -> tuple[Any, ...]:
        """Return the columns that the journal must have beside the bytes of an event that is not applied yet."""
        before = self.rows.get(event.ref)
        envelope = event.envelope
        previous = before.position if before else 0
        return recorded_at(event), event.ref.community, previous, tag_of(envelope.data), envelope.id

    def tally(self, event: RecordedEvent, leg: Leg, sums: Counter[str]) -> None:
        """Add a leg to the gross tallies of its member and its pair."""
        fact = event.envelope.data
        weigh_at = weighting_time(fact, event.envelope.time)
        for side, points in (("given", leg.given), ("received", leg.received)):
            if points:
                sums[side] += points
                sums[f"recent_{side}"] += weight(points, weigh_at)
                sums["settled"] += 1 if points > 0 else -1
        if leg.given and leg.counterparty is not None:
            pair = self.pair(event.ref.community, leg.member, leg.counterparty)
            side = "low" if leg.member < leg.counterparty else "high"
            pair[f"{side}_gave"] += leg.given
            if is_help(fact):
                pair[f"{side}_helped"] += 1 if leg.given > 0 else -1

    def member(self, community: str, member: str, position: int) -> Counter[str]:
        """Return the sums of a member. The first event of a member creates them."""
        key = (community, member)
        self.first_positions.setdefault(key, position)
        return self.members.setdefault(key, Counter())

    def pair(self, community: str, one: str, other: str) -> Counter[str]:
        return self.pairs.setdefault((community, min(one, other), max(one, other)), Counter())

    def evolve(self, event: RecordedEvent) -> State | None:
        """Update the event's aggregate, check its snapshot, and return the new state, or None after a difference."""
        before = self.rows.get(event.ref)
        try:
            state = event.kind.evolve(
                decode_state(event.ref.kind, before.state) if before else None, event.envelope.data
            )
        except Bug as bug:
            self.report_difference(f"position {event.position}: {bug}")
            return None
        version = before.version + 1 if before else 1
        commands = before.commands if before else b""
        self.check_snapshot(event, version, state, commands)
        mark = CommandMark(event.envelope.commandid, event.envelope.fingerprint, event.position)
        commands = (commands + digest(mark))[-REMEMBERED_COMMANDS * DIGEST_BYTES :]
        began, began_at = (before.began, before.began_at) if before else (event.position, recorded_at(event))
        self.rows[event.ref] = AuditRow(version, event.position, began, began_at, encode_state(state), commands)
        return state

    def check_snapshot(self, event: RecordedEvent, version: int, state: State, commands: bytes) -> None:
        """Compare the snapshot of an event with the history of its aggregate."""
        snapshot = parse_snapshot(event)
        if snapshot is None:
            if version > 1:
                self.report_difference(
                    f"position {event.position}: the snapshot is missing; every event after the first has one"
                )
            return
        found_version, found_state, marks = snapshot
        if (found_version, found_state) != (version, state):
            found = f"the snapshot contains {(found_version, found_state)}"
            self.report_difference(f"position {event.position}: {found}, must be {(version, state)}")
        if b"".join(map(digest, marks)) != commands:
            counts = f"{len(marks)} found, {len(commands) // DIGEST_BYTES} expected"
            self.report_difference(f"position {event.position}: the snapshot contains other commands ({counts})")


def digest(mark: CommandMark) -> bytes:
    """Return a short digest of a command mark. It is only valid within this process."""
    return hash(mark).to_bytes(DIGEST_BYTES, "little", signed=True)


def recorded_at(event: RecordedEvent) -> datetime:
    return datetime.fromtimestamp(event.recorded_at_us / 1_000_000, UTC)
