"""Changes: everything that one batch of events writes to the books, as statements in the order of writing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from msgspec import Struct
from msgspec.structs import astuple

from ledger.books.queries import named
from ledger.books.rows import (
    PARTIES_MAX,
    AccountKey,
    AggregateRow,
    Balance,
    FolioKey,
    PairChange,
    PairKey,
    to_columns,
)
from ledger.domain.catalog.kinds import KINDS, MEMBER, deadline_of
from ledger.domain.kinds.member import Active, Member
from ledger.domain.values.aggregate_types import tag_of
from ledger.envelope import AggregateRef, encode_state

QUERIES: Final = named("changes")
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
AGGREGATE_COLUMNS: Final = (
    "community",
    "kind",
    "id",
    "version",
    "position",
    "state",
    "facts",
    "began",
    "began_at",
    "party_1",
    "party_2",
    "party_3",
    "gathering",
)


class Copy(NamedTuple):
    """Rows to copy into a table, perhaps none. Without `columns`, a row has all columns of the table in their order."""

    table: str
    columns: Sequence[str] | None
    rows: Sequence[tuple[Any, ...]]


class Query(NamedTuple):
    """A query that depends on the rows copied before it, and its arguments."""

    sql: str
    arguments: Sequence[Any] = ()


class Changes(Struct):
    """The rows that a batch adds, and the new state of every balance and aggregate that it touches.

    `first` and `last` are positions. A row of `journal` or `postings` has the columns above.
    """

    first: int
    last: int
    last_event_id: str
    journal: list[tuple[Any, ...]]
    postings: list[tuple[Any, ...]]
    balances: dict[AccountKey, Balance]
    pairs: dict[PairKey, PairChange]
    aggregates: dict[AggregateRef, AggregateRow]
    folios: list[FolioKey]

    def statements(self) -> Iterator[Copy | Query]:
        """Yield the statements that write the changes, in the order in which they must run."""
        yield Copy("journal", JOURNAL_COLUMNS, self.journal)
        yield Copy("posting", POSTING_COLUMNS, self.postings)
        if self.folios:
            yield Query(QUERIES["fill_folios"], to_columns(self.folios))
        if self.balances:
            yield Copy("staged_balance", None, [balance_row(*item) for item in self.balances.items()])
            yield Query(QUERIES["write_balances"], (self.first,))
        if self.pairs:
            yield Copy("staged_pair", None, [(*key, *astuple(pair)) for key, pair in self.pairs.items()])
            yield Query(QUERIES["add_to_pairs"])
        new = {ref: row for ref, row in self.aggregates.items() if row.is_new}
        yield Copy("aggregate", AGGREGATE_COLUMNS, [new_aggregate_row(*item) for item in new.items()])
        if changed := [changed_aggregate_row(ref, row) for ref, row in self.aggregates.items() if not row.is_new]:
            yield Copy("staged_aggregate", None, changed)
            yield Query(QUERIES["update_aggregates"])
        yield Copy("topic", ("community", "kind", "tag", "began"), topic_rows(new))
        yield Copy("deadline", ("community", "kind", "id", "due_at"), deadline_rows(self.aggregates))
        if members := members_of(self.aggregates):
            yield Query(QUERIES["delete_tags"], to_columns((community, member.member) for community, member in members))
            yield Copy("tag", ("community", "member", "side", "tag"), tag_rows(members))


def balance_row(key: AccountKey, balance: Balance) -> tuple[Any, ...]:
    return (
        *key,
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


def changed_aggregate_row(ref: AggregateRef, row: AggregateRow) -> tuple[Any, ...]:
    """Return the key of an aggregate, and the columns that an event changes."""
    facts = encode_state(row.state).decode()
    return ref.community, ref.kind, ref.id, row.version, row.position, tag_of(row.state), facts


def new_aggregate_row(ref: AggregateRef, row: AggregateRow) -> tuple[Any, ...]:
    """Return the whole row of an aggregate that the books do not contain yet."""
    concerned = KINDS[ref.kind].concerned(row.state)
    parties = (*concerned, *[None] * (PARTIES_MAX - len(concerned)))
    return (
        *changed_aggregate_row(ref, row),
        row.began,
        row.began_at,
        *parties,
        getattr(row.state, "gathering", None),
    )


def topic_rows(new: Mapping[AggregateRef, AggregateRow]) -> list[tuple[str, str, str, int]]:
    """Return the tags of new referrals and intros, each tag once."""
    return [
        (ref.community, ref.kind, tag, row.began)
        for ref, row in new.items()
        for tag in set(getattr(row.state, "tags", ()))
    ]


def deadline_rows(aggregates: Mapping[AggregateRef, AggregateRow]) -> list[tuple[Any, ...]]:
    """Return the deadlines of the aggregates that have one."""
    due = ((ref, deadline_of(row.state)) for ref, row in aggregates.items())
    return [(ref.community, ref.kind, ref.id, due_at) for ref, due_at in due if due_at is not None]


def members_of(aggregates: Mapping[AggregateRef, AggregateRow]) -> list[tuple[str, Member]]:
    """Return the aggregates that are members, each with its community."""
    return [(ref.community, cast("Member", row.state)) for ref, row in aggregates.items() if ref.kind == MEMBER.name]


def tag_rows(members: Iterable[tuple[str, Member]]) -> list[tuple[str, str, str, str]]:
    """Return the tags that active members want or offer."""
    rows: list[tuple[str, str, str, str]] = []
    for community, member in members:
        if isinstance(member, Active):
            rows += [(community, member.member, "want", tag) for tag in member.wants]
            rows += [(community, member.member, "offer", tag) for tag in member.offers]
    return rows
