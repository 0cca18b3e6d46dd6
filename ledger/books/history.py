"""What had happened by a time, as it was known at another: sums by two clocks, and the lines of statements.

A position of the log stands for what was known: every answer here is of one, and the same for ever.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from ledger.books.lists import SKEW_MAX
from ledger.books.queries import named, newest_first
from ledger.books.reader import Reader, SortOrder
from ledger.domain.values.points import Account

QUERIES: Final = named("history")
QUERIES_BY_ORDER: Final[Mapping[SortOrder, Mapping[str, str]]] = MappingProxyType(
    {
        "oldest": QUERIES,
        "newest": {name: newest_first(query, "happened_at, position, leg") for name, query in QUERIES.items()},
    }
)
POSTGRES_POSITION_MAX: Final = 2**63 - 1


class Place(Struct, frozen=True, order=True):
    """A place in the order in which things happened. No posting stands at position 0."""

    happened_at: datetime
    position: int = 0
    leg: int = 0

    def after(self) -> "Place":
        """The place right after it."""
        return Place(self.happened_at, self.position, self.leg + 1)


FIRST: Final = Place(datetime(1970, 1, 1, tzinfo=UTC))  # The books keep no time before it, and none from 2100 on.
LAST: Final = Place(datetime(2100, 1, 1, tzinfo=UTC))


def place_by(time: datetime) -> Place:
    """The place after all that had happened by a time, that moment included."""
    return Place(time, POSTGRES_POSITION_MAX)


class Sums(Struct, frozen=True):
    """Accounts and gross tallies in points. What a reversal took back may have happened before what it reverses."""

    main: int
    stake: int
    disputed: int
    given: int
    received: int

    @property
    def net(self) -> int:
        return self.main + self.stake + self.disputed


ZERO_SUMS: Final = Sums(0, 0, 0, 0, 0)


class Totals(Sums, frozen=True):
    """The same over a community, and how many members were in an entry."""

    members: int


class PostingLine(Struct, frozen=True, kw_only=True):
    """A posting, as a statement tells it. `rule` is the event that posted it, and `event_id` its id."""

    happened_at: datetime
    position: int
    leg: int
    rule: str
    account: Account
    counterparty: str | None
    points: int
    given: int
    received: int
    recorded_at: datetime
    event_id: UUID

    @property
    def place(self) -> Place:
        return Place(self.happened_at, self.position, self.leg)


class BalancePart(Struct, frozen=True, kw_only=True):
    """What one rule, or one counterparty, adds to a balance; neither: what went between the member's own accounts."""

    rule: str | None
    counterparty: str | None
    postings: int
    sums: Sums


class HistoryKey(Struct, frozen=True):
    """Whose history it is: a member's, or, with `other`, what a member has with another."""

    community: str
    member: str
    other: str | None = None


class History:
    """Answers about the past. What it raises, `Reader` says."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def known(self, at: datetime | None) -> int:
        """The last position that was recorded by a time, never less by a later one. Without a time: the last shown."""
        if at is None:
            return await self._reader.position()
        shown, (row,) = await self._reader.rows("position_at", at, SKEW_MAX, queries=QUERIES)
        return min(int(row["position"]), shown)

    async def sums(self, holder: HistoryKey, known: int, places: Sequence[Place]) -> list[Sums]:
        """What it came to before each of these places, as far as it was known."""
        found = {FIRST: ZERO_SUMS}
        asked = [place for place in dict.fromkeys(places) if place not in found]
        columns = [[place.happened_at for place in asked], [place.position for place in asked]]
        arguments = (holder.community, holder.member, known, *columns, [place.leg for place in asked])
        if not asked:
            rows: Any = []
        elif holder.other is None:
            rows = await self._fetch("member_sums", *arguments)
        else:
            rows = await self._fetch("pair_sums", *arguments, holder.other)
        found |= {place: Sums(*row) for place, row in zip(asked, rows, strict=True)}
        return [found[place] for place in places]

    async def totals(self, community: str, known: int, by_time: datetime) -> Totals:
        (row,) = await self._fetch("community_sums", community, known, by_time)
        return Totals(**dict(row))

    async def lines(
        self, holder: HistoryKey, known: int, start: Place, end: Place, order: SortOrder, limit: int
    ) -> list[PostingLine]:
        """The postings from `start` on and before `end`, as far as they were known."""
        arguments = (holder.community, holder.member, known, *place_columns(start), *place_columns(end), limit)
        if holder.other is None:
            rows = await self._reader.fetch(QUERIES_BY_ORDER[order]["member_lines"], *arguments)
        else:
            rows = await self._reader.fetch(QUERIES_BY_ORDER[order]["pair_lines"], *arguments, holder.other)
        return [PostingLine(**dict(row)) for row in rows]

    async def last(self, holder: HistoryKey, known: int) -> int:
        """The position of the member's last posting that was known; 0, when there was none."""
        rows = await self._fetch("last_position_of_member", holder.community, holder.member, known)
        return int(rows[0]["position"]) if rows else 0

    async def parts(
        self, holder: HistoryKey, known: int, by_time: datetime
    ) -> tuple[list[BalancePart], list[BalancePart]]:
        """What a member's balance consists of: by rule, and by counterparty. Either adds up to the balance."""
        rows = await self._fetch("balance_parts", holder.community, holder.member, known, by_time)
        by_rule, by_counterparty = list[BalancePart](), list[BalancePart]()
        for row in rows:
            part = BalancePart(
                rule=row["rule"],
                counterparty=row["counterparty"],
                postings=row["postings"],
                sums=Sums(row["main"], row["stake"], row["disputed"], row["given"], row["received"]),
            )
            (by_rule if row["by_rule"] else by_counterparty).append(part)
        return by_rule, by_counterparty

    async def _fetch(self, query: str, *arguments: object) -> Any:
        return await self._reader.fetch(QUERIES[query], *arguments)


def place_columns(place: Place) -> tuple[datetime, int, int]:
    return place.happened_at, place.position, place.leg
