"""Rows: the types of the rows that the writer reads and changes."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from ledger.domain.values.aggregate_types import State
from ledger.envelope import AggregateRef, decode_state

PARTIES_MAX: Final = 3  # Columns of the members whom an aggregate concerns.

AccountKey = tuple[str, str]  # Community and member.
PairKey = tuple[str, str, str]  # Community, and two members in the order of their ids.
FolioKey = tuple[str, str, int, int]  # Community, member, number, and the position of the entry that fills it.


class Balance(Struct, gc=False):
    """The row of a member in the table `balance`, without its key. `schema.sql` describes the columns."""

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
    """The numbers that a batch adds to a row of `pair`, in the order of the columns."""

    low_gave: int = 0
    high_gave: int = 0
    low_helped: int = 0
    high_helped: int = 0
    contacts: int = 0
    one_to_ones: int = 0


class AggregateRow(Struct, gc=False):
    """An aggregate: its version, state and last position. The other fields are set for a new aggregate only."""

    version: int
    state: State
    position: int
    is_new: bool = False
    began: int = 0
    began_at: datetime | None = None


def read_aggregate_row(row: Mapping[str, Any]) -> tuple[AggregateRef, AggregateRow]:
    ref = AggregateRef(row["community"], row["kind"], row["id"])
    return ref, AggregateRow(row["version"], decode_state(ref.kind, row["facts"]), row["position"])


def to_columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Return the columns of at least one row, as arguments of a query that reads them by `unnest`."""
    return [list(column) for column in zip(*rows, strict=True)]
