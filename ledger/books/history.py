"""History: sums and statement lines along two time axes, the time of happening and the time of recording.

A position of the log stands for a time of recording. Rows up to a position never change, so the same arguments always
return the same result.
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
    """A place in the order of happening: time, then position, then leg. No posting has position 0."""

    happened_at: datetime
    position: int = 0
    leg: int = 0

    def after(self) -> "Place":
        """Return the next place."""
        return Place(self.happened_at, self.position, self.leg + 1)


FIRST: Final = Place(datetime(1970, 1, 1, tzinfo=UTC))  # The books contain no earlier time, and none from 2100 on.
LAST: Final = Place(datetime(2100, 1, 1, tzinfo=UTC))


def place_by(time: datetime) -> Place:
    """Return the place after everything that had happened by this time, inclusive."""
    return Place(time, POSTGRES_POSITION_MAX)


class Sums(Struct, frozen=True):
    """Accounts and gross tallies in points. A reversal may happen before its entry, so a tally can be negative."""

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
    """Sums over a community, and the number of members with a posting."""

    members: int


class PostingLine(Struct, frozen=True, kw_only=True):
    """A posting as a line of a statement. `rule` is the name of the event that posted it, `event_id` the event's id."""

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
    """The part of a balance from one rule or one counterparty. Neither: points between the member's own accounts."""

    rule: str | None
    counterparty: str | None
    postings: int
    sums: Sums


class HistoryKey(Struct, frozen=True):
    """The owner of a history: a member, or, with `other`, a member with one counterparty."""

    community: str
    member: str
    other: str | None = None


class History:
    """Reads the past from the books. Every method raises the same errors as `Reader`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def position_known_at(self, at: datetime | None) -> int:
        """Return the last position recorded by a time, or the current position of the books without a time.

        A later time never returns a lower position.
        """
        if at is None:
            return await self._reader.position()
        position, (row,) = await self._reader.rows("position_at", at, SKEW_MAX, queries=QUERIES)
        return min(int(row["position"]), position)

    async def sums(self, key: HistoryKey, position: int, places: Sequence[Place]) -> list[Sums]:
        """Return the sums before each of these places, of the postings up to a position."""
        sums = {FIRST: ZERO_SUMS}
        unread = [place for place in dict.fromkeys(places) if place not in sums]
        columns = [[place.happened_at for place in unread], [place.position for place in unread]]
        arguments = (key.community, key.member, position, *columns, [place.leg for place in unread])
        if not unread:
            rows: Any = []
        elif key.other is None:
            rows = await self._fetch("member_sums", *arguments)
        else:
            rows = await self._fetch("pair_sums", *arguments, key.other)
        sums |= {place: Sums(*row) for place, row in zip(unread, rows, strict=True)}
        return [sums[place] for place in places]

    async def totals(self, community: str, position: int, by_time: datetime) -> Totals:
        """Return the totals of the postings up to a position that had happened by a time."""
        (row,) = await self._fetch("community_sums", community, position, by_time)
        return Totals(**dict(row))

    async def lines(
        self, key: HistoryKey, position: int, start: Place, end: Place, order: SortOrder, limit: int
    ) -> list[PostingLine]:
        """Return postings up to a position, from the place `start` on and before the place `end`."""
        arguments = (key.community, key.member, position, *place_columns(start), *place_columns(end), limit)
        if key.other is None:
            rows = await self._reader.fetch(QUERIES_BY_ORDER[order]["member_lines"], *arguments)
        else:
            rows = await self._reader.fetch(QUERIES_BY_ORDER[order]["pair_lines"], *arguments, key.other)
        return [PostingLine(**dict(row)) for row in rows]

    async def last(self, key: HistoryKey, position: int) -> int:
        """Return the position of the member's last posting up to a position, or 0 if there is none."""
        rows = await self._fetch("last_position_of_member", key.community, key.member, position)
        return int(rows[0]["position"]) if rows else 0

    async def parts(
        self, key: HistoryKey, position: int, by_time: datetime
    ) -> tuple[list[BalancePart], list[BalancePart]]:
        """Return the parts of a member's balance by rule, and by counterparty. Each list adds up to the balance."""
        rows = await self._fetch("balance_parts", key.community, key.member, position, by_time)
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
