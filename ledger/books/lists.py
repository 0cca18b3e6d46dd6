"""Lists: aggregates of one kind in the order in which they began, read along the index with the fewest rows."""

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from ledger.books.queries import named, newest_first
from ledger.books.reader import Reader, SortOrder, StoredAggregate
from ledger.books.rows import PARTIES_MAX
from ledger.domain.catalog.kinds import KINDS, MEMBER
from ledger.envelope import decode_state

QUERIES: Final = named("lists")
BEFORE_ALL: Final = 0
AFTER_ALL: Final = 2**63 - 1  # Higher than every position of a log.
LISTING_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
SKEW_MAX: Final = timedelta(minutes=1)  # A new leader's clock may be behind the last one's by this.


class Filters(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Filters of a list. None means no filter. `since` selects the aggregates that began at or after it.

    `role` is one of the kind's parties, and requires a `member`. `within` is another member, in any role.
    """

    member: str | None = None
    role: str | None = None
    state: str | None = None
    since: datetime | None = None
    gathering: UUID | None = None
    tag: str | None = None
    within: str | None = None


QUERIES_BY_ORDER: Final = MappingProxyType(
    {
        "oldest": QUERIES,
        "newest": MappingProxyType({name: newest_first(query, "began") for name, query in QUERIES.items()}),
    }
)


class Lists:
    """Reads lists from the books. Every method raises the same errors as `Reader`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def page(
        self, community: str, kind: str, filters: Filters, *, order: SortOrder, after: int | None, limit: int
    ) -> tuple[int, list[StoredAggregate]]:
        """Return the position of the books, and up to `limit` aggregates that follow the one that began at `after`."""
        low, high = BEFORE_ALL, AFTER_ALL
        if filters.since is not None:
            low = await self._recorded_before(filters.since - SKEW_MAX)
        if after is not None:
            low, high = (max(low, after), high) if order == "oldest" else (low, after)
        query, filter_arguments = access_path(kind, filters)
        since = filters.since or LISTING_EARLIEST
        position, rows = await self._reader.rows(
            query, community, kind, low, high, since, limit, *filter_arguments, queries=QUERIES_BY_ORDER[order]
        )
        return position, [
            StoredAggregate(row["id"], row["version"], row["position"], row["began"], decode_state(kind, row["facts"]))
            for row in rows
        ]

    async def _recorded_before(self, time: datetime) -> int:
        """Return the last position recorded before this time. Everything up to it began too early, by any clock."""
        rows = await self._reader.fetch(QUERIES["recorded_before"], time)
        return int(rows[0]["position"]) if rows else BEFORE_ALL


def access_path(kind: str, filters: Filters) -> tuple[str, tuple[Any, ...]]:
    """Return the name of the query that reads the fewest rows, and its arguments for the filters.

    A gathering has hundreds of aggregates, a member thousands. A tag or a state may match half of all.
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
    """Return for each column of the parties the member to find there, or None."""
    if filters.role is None:
        return (filters.member,) * PARTIES_MAX
    place = KINDS[kind].parties.index(filters.role)
    return tuple(filters.member if place == n else None for n in range(PARTIES_MAX))
