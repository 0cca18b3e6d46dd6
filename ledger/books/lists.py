"""Lists of the aggregates of a kind, in the order in which they began, along the index that reads least."""

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from ledger.books.queries import named, newest_first
from ledger.books.reader import Reader, SortOrder
from ledger.books.rows import PARTIES_MAX
from ledger.domain.catalog.kinds import KINDS, MEMBER
from ledger.domain.values.aggregate_types import State
from ledger.envelope import decode_state

QUERIES: Final = named("listing")
BEFORE_ALL: Final = 0
AFTER_ALL: Final = 2**63 - 1  # No position of a log is as high.
LISTING_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
SKEW_MAX: Final = timedelta(minutes=1)  # How far the clock of a log's new leader may be behind that of the last.


class Filters(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all of a list has in common; None asks for nothing. What began `since` then began at or after it.

    A `role` is one of the kind's parties, and needs a `member`. `within` is a member who is in it too, in any role.
    """

    member: str | None = None
    role: str | None = None
    state: str | None = None
    since: datetime | None = None
    gathering: UUID | None = None
    tag: str | None = None
    within: str | None = None


class ListedAggregate(Struct, frozen=True):
    """One of a list, as the books hold it. `began` and `position` are those of its first and its last event."""

    id: UUID
    version: int
    position: int
    began: int
    state: State


QUERIES_BY_ORDER: Final = MappingProxyType(
    {
        "oldest": QUERIES,
        "newest": MappingProxyType({name: newest_first(query, "began") for name, query in QUERIES.items()}),
    }
)


class Lists:
    """Answers lists. Each comes with the position it shows; what it raises, `Reader` says."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def page(
        self, community: str, kind: str, filters: Filters, *, order: SortOrder, after: int | None, limit: int
    ) -> tuple[int, list[ListedAggregate]]:
        """So many of a kind, in this order, from the one on that comes after the position where another began."""
        low, high = BEFORE_ALL, AFTER_ALL
        if filters.since is not None:
            low = await self._recorded_before(filters.since - SKEW_MAX)
        if after is not None:
            low, high = (max(low, after), high) if order == "oldest" else (low, after)
        query, others = access_path(kind, filters)
        since = filters.since or LISTING_EARLIEST
        shown, rows = await self._reader.rows(
            query, community, kind, low, high, since, limit, *others, queries=QUERIES_BY_ORDER[order]
        )
        return shown, [
            ListedAggregate(row["id"], row["version"], row["position"], row["began"], decode_state(kind, row["facts"]))
            for row in rows
        ]

    async def _recorded_before(self, time: datetime) -> int:
        """What was recorded by then may be left out: it began too early, whoever's clock it was recorded by."""
        rows = await self._reader.fetch(QUERIES["recorded_before"], time)
        return int(rows[0]["position"]) if rows else BEFORE_ALL


def access_path(kind: str, filters: Filters) -> tuple[str, tuple[Any, ...]]:
    """The query that leaves the least to read, and what else must hold of what it finds.

    A gathering has seen some hundreds of things, a member is in some thousands; a tag or a state may be of half of all.
    """
    f = filters
    if f.within is not None and f.member is None:
        f = Filters(member=f.within, state=f.state, gathering=f.gathering, tag=f.tag)
    if kind == MEMBER.name and f.tag is not None:
        return "by_tag", (f.tag, f.state, f.member)
    if f.gathering is not None:
        return "by_gathering", (f.gathering, f.state, f.tag, *role_columns(kind, f), f.within)
    if f.member is not None:
        return "by_member", (*role_columns(kind, f), f.state, f.tag, f.within)
    if f.tag is not None:
        return "by_topic", (f.tag, f.state)
    if f.state is not None:
        return "by_state", (f.state,)
    return "everything", ()


def role_columns(kind: str, filters: Filters) -> tuple[str | None, ...]:
    """The member in each of the parties' columns in which they may be."""
    if filters.role is None:
        return (filters.member,) * PARTIES_MAX
    place = KINDS[kind].parties.index(filters.role)
    return tuple(filters.member if place == n else None for n in range(PARTIES_MAX))
