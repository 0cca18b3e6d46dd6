"""Rows: the types, columns and order of every table that the writer fills."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from msgspec import Struct

from ledger.domain.catalog.kinds import KINDS, MEMBER, deadline_of
from ledger.domain.kinds.member import Active, Member
from ledger.domain.values.aggregate_types import State, tag_of
from ledger.envelope import AggregateRef, decode_state, encode_state

PARTIES_MAX: Final = 3

AccountKey = tuple[str, str]  # community, member
PairKey = tuple[str, str, str]  # community, and two members in the order of their ids
FolioKey = tuple[str, str, int, int]  # community, member, number, and the position of the entry that filled it


class Balance(Struct, gc=False):
    """What a member has: a row of the table, but for its key."""

    main: int = 0
    stake: int = 0
    disputed: int = 0
    given: int = 0
    received: int = 0
    recent_given: int = 0
    recent_received: int = 0
    settled: int = 0
    kept: int = 0
    broken: int = 0
    postings: int = 0
    first: int = 0


class PairChange(Struct, gc=False):
    """What is added to the row of a pair."""

    low_gave: int = 0
    high_gave: int = 0
    low_helped: int = 0
    high_helped: int = 0
    contacts: int = 0
    one_to_ones: int = 0


class AggregateRow(Struct, gc=False):
    """An aggregate as the books hold it, or, if it is new, will hold it."""

    version: int
    state: State
    position: int
    is_new: bool = False
    began: int = 0
    began_at: datetime | None = None


# Rows


def balance_row(holder: AccountKey, balance: Balance) -> tuple[Any, ...]:
    return (
        *holder,
        balance.main,
        balance.stake,
        balance.disputed,
        balance.given,
        balance.received,
        str(balance.recent_given),
        str(balance.recent_received),
        balance.settled,
        balance.kept,
        balance.broken,
        balance.postings,
        balance.first,
    )


def pair_row(key: PairKey, pair: PairChange) -> tuple[Any, ...]:
    return (
        *key,
        pair.low_gave,
        pair.high_gave,
        pair.low_helped,
        pair.high_helped,
        pair.contacts,
        pair.one_to_ones,
    )


def new_aggregate_row(ref: AggregateRef, held: AggregateRow) -> tuple[Any, ...]:
    """A row of an aggregate that the books do not hold yet."""
    concerned = KINDS[ref.kind].concerned(held.state)
    parties = (*concerned, *[None] * (PARTIES_MAX - len(concerned)))
    return (
        *moved_aggregate_row(ref, held),
        held.began,
        held.began_at,
        *parties,
        getattr(held.state, "gathering", None),
    )


def moved_aggregate_row(ref: AggregateRef, held: AggregateRow) -> tuple[Any, ...]:
    """What changes in the row of an aggregate."""
    facts = encode_state(held.state).decode()
    return ref.community, ref.kind, ref.id, held.version, held.position, tag_of(held.state), facts


def deadline_rows(held: Mapping[AggregateRef, AggregateRow]) -> list[tuple[Any, ...]]:
    """When aggregates end by themselves, those that do."""
    due = ((ref, deadline_of(aggregate.state)) for ref, aggregate in held.items())
    return [(ref.community, ref.kind, ref.id, due_at) for ref, due_at in due if due_at is not None]


def members_of(held: Mapping[AggregateRef, AggregateRow]) -> list[tuple[str, Member]]:
    """The members among them, each with their community."""
    return [(ref.community, cast("Member", it.state)) for ref, it in held.items() if ref.kind == MEMBER.name]


def tag_rows(members: Iterable[tuple[str, Member]]) -> list[tuple[str, str, str, str]]:
    """What members, each with their community, look for and have to give: only those who are there."""
    rows: list[tuple[str, str, str, str]] = []
    for community, member in members:
        match member:
            case Active():
                rows += [(community, member.member, "want", tag) for tag in member.wants]
                rows += [(community, member.member, "offer", tag) for tag in member.offers]
            case _:
                pass
    return rows


def topic_rows(held: Mapping[AggregateRef, AggregateRow]) -> list[tuple[str, str, str, int]]:
    """What new referrals and introductions are about."""
    return [
        (ref.community, ref.kind, tag, aggregate.began)
        for ref, aggregate in held.items()
        if aggregate.is_new
        for tag in set(getattr(aggregate.state, "tags", ()))
    ]


def read_aggregate_row(row: Mapping[str, Any]) -> tuple[AggregateRef, AggregateRow]:
    ref = AggregateRef(row["community"], row["kind"], row["id"])
    return ref, AggregateRow(row["version"], decode_state(ref.kind, row["facts"]), row["position"])


def to_columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows turned on their side, for `unnest`: also when there are none."""
    turned = [list(column) for column in zip(*rows, strict=True)]
    return turned or [[] for _ in range(width)]


JOURNAL_COLUMNS: Final = ("position", "recorded_at", "community", "previous", "name", "event_id", "event")
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
MOVED_AGGREGATE_COLUMNS: Final = ("community", "kind", "id", "version", "position", "state", "facts")
NEW_AGGREGATE_COLUMNS: Final = (
    *MOVED_AGGREGATE_COLUMNS,
    "began",
    "began_at",
    "party_1",
    "party_2",
    "party_3",
    "gathering",
)
DEADLINE_COLUMNS: Final = ("community", "kind", "id", "due_at")
TAG_COLUMNS: Final = ("community", "member", "side", "tag")
TOPIC_COLUMNS: Final = ("community", "kind", "tag", "began")
