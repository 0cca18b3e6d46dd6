"""People: standing, guard facts, suggestions, asks and matches of members, and the yield of a gathering."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, cast
from uuid import UUID

from msgspec import Struct

from ledger.books.queries import named
from ledger.books.reader import Reader
from ledger.domain.kinds.intro.commands import ProposeIntro
from ledger.domain.kinds.member import MemberState, Paused, membership_id
from ledger.domain.kinds.publication import Publication, publication_id
from ledger.domain.standing.coach import Ask
from ledger.domain.standing.indices import credit_limit
from ledger.domain.values.advice import SUGGESTIONS_MAX, GuardFacts, Suggestion
from ledger.domain.values.policy import Policy
from ledger.envelope import decode_state

QUERIES: Final = named("people")
RECENT_MAX: Final = 500  # Rows of a long history that count: the newest ones.
COACHED_ASKS_MAX: Final = 200
ACQUAINTANCES_MAX: Final = 100
ACQUAINTANCES_OF_EACH_MAX: Final = 40
OTHERS_PER_TAG_MAX: Final = 50
MATCHES_MAX: Final = 20

Nearness = Literal["known", "through", "other"]
NEARNESS: Final[tuple[Nearness, ...]] = ("known", "through", "other")


class StandingTallies(Struct, frozen=True, kw_only=True):
    """The tallies from which the domain computes a member's standing: points, counts and times.

    `since` is the time of joining or of the first event that changed the balance, whichever is earlier.
    """

    member: str
    net: int
    limit: int
    given: int
    received: int
    recent_given: int
    recent_received: int
    settled: int
    kept: int
    broken: int
    received_items: int
    attended: int
    dues_paid: int
    since: datetime | None
    paused: bool


class GatheringYield(Struct, frozen=True, kw_only=True):
    """The results of a gathering, counted, and the points given for them."""

    attended: int
    paid: int
    contacts: int
    one_to_ones: int
    intros_made: int
    referrals_qualified: int
    referrals_won: int
    points: int


class Match(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A member who offers what another member wants. `connector` is a member whom both know."""

    member: str
    nearness: Nearness
    tags: list[str]
    connector: str | None = None


class People:
    """Reads data about members from the books. Every method raises the same errors as `Reader`.

    A position that a method returns is the one that the rows show.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def policy(self, community: str) -> tuple[int, Publication | None]:
        """Return the published policies, or None if there are none."""
        position, aggregate = await self._reader.aggregate("policy", community, publication_id(community))
        return position, cast("Publication", aggregate.state) if aggregate is not None else None

    async def standing(self, community: str, member: str, now: datetime, policy: Policy) -> tuple[int, StandingTallies]:
        """Return the tallies of a member's standing. `received_items` and `attended` count back from `now`."""
        position, (row,) = await self._rows(
            "standing",
            community,
            member,
            membership_id(community, member),
            policy.credit_per_counterparty,
            now - policy.riding_within,
            RECENT_MAX,
        )
        membership: MemberState | None = decode_state("member", row["membership"]) if row["membership"] else None
        sponsored = membership is not None and membership.sponsor is not None
        first_times: list[datetime] = [row["first_at"]] if row["first_at"] else []
        if membership is not None:
            first_times.append(membership.joined_at)
        return position, StandingTallies(
            member=member,
            net=row["net"],
            limit=credit_limit(sponsored=sponsored, earned=row["earned"], policy=policy),
            given=row["given"],
            received=row["received"],
            recent_given=int(row["recent_given"]),
            recent_received=int(row["recent_received"]),
            settled=row["settled"],
            kept=row["kept"],
            broken=row["broken"],
            received_items=row["received_items"],
            attended=row["attended"],
            dues_paid=row["dues_paid"],
            since=min(first_times, default=None),
            paused=isinstance(membership, Paused),
        )

    async def facts(self, community: str, ask: ProposeIntro, policy: Policy, now: datetime) -> GuardFacts:
        """Return the guard facts of an ask. The books may lag behind the log, and miss the newest asks."""
        _, standing = await self.standing(community, ask.asker, now, policy)
        (row,) = await self._reader.fetch(
            QUERIES["ask"],
            community,
            ask.asker,
            ask.connector,
            ask.target,
            membership_id(community, ask.connector),
            now,
            now - policy.inbound_within,
            RECENT_MAX,
        )
        connector: MemberState | None = decode_state("member", row["connector"]) if row["connector"] else None
        return facts_of(
            standing,
            open_asks=row["open_asks"],
            inbound_asks=row["inbound_asks"],
            inbound_max=connector.asks_in if connector else None,
            invited=connector is not None and ask.asker in connector.welcome,
            last_same_ask_at=row["last_same_ask_at"],
            ways=await self.ways(community, ask.asker),
        )

    async def ways(self, community: str, member: str) -> tuple[Suggestion, ...]:
        """Return up to three concrete ways to give now."""
        rows = await self._reader.fetch(QUERIES["suggestions"], community, member, SUGGESTIONS_MAX)
        suggestions = [
            Suggestion(way=row["way"], id=UUID(row["id"]) if row["id"] else None, member=row["member"], tag=row["tag"])
            for row in rows
        ]
        return tuple([*suggestions, Suggestion(way="make_contact")][:SUGGESTIONS_MAX])

    async def asks(self, community: str, member: str) -> tuple[int, list[Ask]]:
        """Return the member's own asks, the newest first."""
        position, rows = await self._rows("asks", community, member, COACHED_ASKS_MAX)
        return position, [Ask(UUID(row["id"]), row["began_at"], decode_state("intro", row["facts"])) for row in rows]

    async def gathering_yield(self, community: str, gathering: UUID) -> tuple[int, GatheringYield]:
        """Return the results of a gathering."""
        position, (row,) = await self._rows("yield", community, gathering)
        return position, GatheringYield(**{name: row[name] for name in GatheringYield.__struct_fields__})

    async def matches(self, community: str, member: str) -> tuple[int, list[Match]]:
        """Return members whose offers share tags with the member's wants, the nearest first."""
        position, rows = await self._rows(
            "matches",
            community,
            member,
            ACQUAINTANCES_MAX,
            OTHERS_PER_TAG_MAX,
            MATCHES_MAX,
            ACQUAINTANCES_OF_EACH_MAX,
        )
        return position, [
            Match(
                member=row["member"],
                nearness=NEARNESS[int(row["distance"]) - 1],
                tags=row["tags"],
                connector=row["connector"] if row["distance"] == 2 else None,
            )
            for row in rows
        ]

    async def _rows(self, query: str, *arguments: object) -> tuple[int, Sequence[Any]]:
        return await self._reader.rows(query, *arguments, queries=QUERIES)


def facts_of(standing: StandingTallies, **ask_facts: Any) -> GuardFacts:
    """Return the guard facts from the asker's tallies and the facts about the ask."""
    return GuardFacts(
        member=standing.member,
        net=standing.net,
        limit=standing.limit,
        given=standing.given,
        received=standing.received,
        received_items=standing.received_items,
        attended=standing.attended,
        dues_paid=standing.dues_paid,
        since=standing.since,
        paused=standing.paused,
        **ask_facts,
    )
