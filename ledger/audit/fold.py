"""The audit's own fold. It shares no code with the writer of the books; only the rules are the domain's."""

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

DIGEST_BYTES: Final = 8

MemberKey = tuple[str, str]
PairKey = tuple[str, str, str]


class AuditRow(Struct):
    """An aggregate as the events make it. The state is kept as bytes: there may be millions.

    `commands` are the digests of the last ones that it has seen, one after the other.
    """

    version: int
    position: int
    began: int
    began_at: datetime
    state: bytes
    commands: bytes


class AuditFold:
    """The fold of the log up to the checkpoint. Its sums are its own; only the rules are the domain's."""

    def __init__(self) -> None:
        self.report = Report()
        self.members: dict[MemberKey, Counter[str]] = {}
        self.seen: dict[MemberKey, int] = {}  # The first position.
        self.pairs: dict[PairKey, Counter[str]] = {}
        self.rows: dict[AggregateRef, AuditRow] = {}

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
        self.rows[event.ref] = AuditRow(version, event.position, began, began_at, encode_state(state), seen)
        return state


def digest(mark: CommandMark) -> bytes:
    """What tells one command from another within this process, in a fraction of its size."""
    return hash(mark).to_bytes(DIGEST_BYTES, "little", signed=True)


def recorded_at(event: RecordedEvent) -> datetime:
    return datetime.fromtimestamp(event.recorded_at_us / 1_000_000, UTC)
