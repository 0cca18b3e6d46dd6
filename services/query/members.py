"""Reads of a member: balance, pairs, standing, coach and matches."""

from typing import Annotated

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from ledger.books.history import History, HistoryKey
from ledger.books.people import People, facts_of
from ledger.books.reader import Reader
from ledger.domain.kinds.intro.reciprocity_guard import is_riding
from ledger.domain.kinds.publication import policy_in_force
from ledger.domain.standing.coach import Coaching, coach
from ledger.domain.standing.indices import recent_permille, reliability_permille, standing_band
from services.http.cursor import cursor_after, member_after_cursor
from services.http.parameters import (
    LIMIT_DEFAULT,
    PREFIX,
    AsOf,
    Community,
    Cursor,
    KnownAt,
    Limit,
    Member,
    MinPosition,
    Now,
    Viewer,
    community_of,
    member_of,
    other_of,
)
from services.http.position_header import PERSONAL_PROBLEMS, require_viewer, with_position
from services.http.problems import InvalidField
from services.query.time_axes import time_axes_of
from services.query.views import (
    BalanceView,
    MatchesView,
    PairsPage,
    PairView,
    StandingView,
    balance_view,
    explanation_view,
    pair_view,
    past_balance_view,
    standing_view,
)

Explain = Annotated[
    bool, QueryParameter(description="Explain the balance as a sum by rule, and as a sum by counterparty.")
]


def member_routes(reader: Reader, now: Now) -> list[HTTPRouteHandler]:
    history, people = History(reader), People(reader)
    return [
        balance_route(reader, history),
        pairs_route(reader),
        pair_route(reader, history),
        standing_route(reader, people, now),
        coach_route(reader, people, now),
        matches_route(reader, people),
    ]


def balance_route(reader: Reader, history: History) -> HTTPRouteHandler:
    @get(
        f"{PREFIX}/members/{{member:str}}/balance",
        operation_id="getBalance",
        tags=["members"],
        responses=PERSONAL_PROBLEMS,
    )
    async def balance(
        community: Community,
        member: Member,
        as_of: AsOf = None,
        known_at: KnownAt = None,
        explain: Explain = False,
        viewer: Viewer = None,
        min_position: MinPosition = 0,
    ) -> Response[BalanceView]:
        """A member's accounts, gross tallies and reciprocity index. A member without entries has zeros."""
        tenant, member_id, axes = community_of(community), member_of(member), time_axes_of(as_of, known_at)
        require_viewer(viewer, member_id)
        await reader.wait_for_position(min_position)
        if axes.are_now and not explain:
            position, found = await reader.balance(tenant, member_id)
            return with_position(balance_view(found), position, viewer=viewer, min_position=min_position)
        key, position = HistoryKey(tenant, member_id), await history.position_known_at(axes.known_at)
        (sums,) = await history.sums(key, position, [axes.end])
        parts = await history.parts(key, position, axes.latest) if explain else None
        view = past_balance_view(member_id, sums, explanation_view(*parts) if parts else None)
        return with_position(view, position, viewer=viewer, min_position=min_position)

    return balance


def pairs_route(reader: Reader) -> HTTPRouteHandler:
    @get(
        f"{PREFIX}/members/{{member:str}}/pairs",
        operation_id="listPairs",
        tags=["members"],
        responses=PERSONAL_PROBLEMS,
    )
    async def pairs(
        community: Community,
        member: Member,
        viewer: Viewer = None,
        min_position: MinPosition = 0,
        limit: Limit = LIMIT_DEFAULT,
        cursor: Cursor = None,
    ) -> Response[PairsPage]:
        """List the members whom the member knows or exchanged points with."""
        tenant, member_id = community_of(community), member_of(member)
        require_viewer(viewer, member_id)
        query = f"pairs {member_id}"
        after = member_after_cursor(cursor, query, tenant)
        await reader.wait_for_position(min_position)
        position, found = await reader.pairs(tenant, member_id, after, limit + 1)
        page = [pair_view(member_id, tally) for tally in found[:limit]]
        more = cursor_after(query, tenant, page[-1].other) if len(found) > limit else None
        return with_position(PairsPage(pairs=page, next=more), position, viewer=viewer, min_position=min_position)

    return pairs


def pair_route(reader: Reader, history: History) -> HTTPRouteHandler:
    @get(
        f"{PREFIX}/members/{{member:str}}/pairs/{{other:str}}",
        operation_id="getPair",
        tags=["members"],
        responses=PERSONAL_PROBLEMS,
    )
    async def pair(
        community: Community,
        member: Member,
        other: Member,
        as_of: AsOf = None,
        known_at: KnownAt = None,
        viewer: Viewer = None,
        min_position: MinPosition = 0,
    ) -> Response[PairView]:
        """What two members have given each other, as the first one reads it."""
        tenant, member_id, other_id = community_of(community), member_of(member), other_of(other)
        axes = time_axes_of(as_of, known_at)
        require_viewer(viewer, member_id, other_id)
        await reader.wait_for_position(min_position)
        if not axes.are_now:
            position = await history.position_known_at(axes.known_at)
            (sums,) = await history.sums(HistoryKey(tenant, member_id, other_id), position, [axes.end])
            view = PairView(member=member_id, other=other_id, given=sums.given, received=sums.received)
            return with_position(view, position, viewer=viewer, min_position=min_position)
        position, tally = await reader.pair(tenant, member_id, other_id)
        return with_position(pair_view(member_id, tally), position, viewer=viewer, min_position=min_position)

    return pair


def standing_route(reader: Reader, people: People, now: Now) -> HTTPRouteHandler:
    @get(
        f"{PREFIX}/members/{{member:str}}/standing",
        operation_id="getStanding",
        tags=["members"],
        responses=PERSONAL_PROBLEMS,
    )
    async def standing(
        community: Community, member: Member, viewer: Viewer = None, min_position: MinPosition = 0
    ) -> Response[StandingView]:
        """A member's standing: reciprocity index, recent standing, reliability, band and credit limit."""
        tenant, member_id, at = community_of(community), member_of(member), now()
        require_viewer(viewer, member_id)
        await reader.wait_for_position(min_position)
        _, published = await people.policy(tenant)
        policy = policy_in_force(published, at)
        position, found = await people.standing(tenant, member_id, at, policy)
        recent = recent_permille(found.recent_given, found.recent_received, at)
        band = standing_band(
            recent_permille=recent,
            settled_items=found.settled,
            since=found.since,
            riding=is_riding(facts_of(found), at, policy),
            now=at,
            policy=policy,
        )
        view = standing_view(found, band, recent, reliability_permille(found.kept, found.broken))
        return with_position(view, position, viewer=viewer, min_position=min_position)

    return standing


def coach_route(reader: Reader, people: People, now: Now) -> HTTPRouteHandler:
    @get(
        f"{PREFIX}/members/{{member:str}}/coach", operation_id="getCoach", tags=["members"], responses=PERSONAL_PROBLEMS
    )
    async def coaching(
        community: Community, member: Member, viewer: Viewer = None, min_position: MinPosition = 0
    ) -> Response[Coaching]:
        """Figures about a member's own asks. Only the member may read them, so `viewer` must be the member."""
        tenant, member_id, at = community_of(community), member_of(member), now()
        if viewer is None:
            raise InvalidField(
                field="viewer", source="query", reason="must be the member: only they may read their coach"
            )
        require_viewer(viewer, member_id)
        await reader.wait_for_position(min_position)
        _, published = await people.policy(tenant)
        position, asks = await people.asks(tenant, member_id)
        view = coach(asks, at, policy_in_force(published, at))
        return with_position(view, position, viewer=viewer, min_position=min_position)

    return coaching


def matches_route(reader: Reader, people: People) -> HTTPRouteHandler:
    @get(
        f"{PREFIX}/members/{{member:str}}/matches",
        operation_id="listMatches",
        tags=["members"],
        responses=PERSONAL_PROBLEMS,
    )
    async def matches(
        community: Community, member: Member, viewer: Viewer = None, min_position: MinPosition = 0
    ) -> Response[MatchesView]:
        """List members who offer what the member wants, nearest first, with a possible connector."""
        tenant, member_id = community_of(community), member_of(member)
        require_viewer(viewer, member_id)
        await reader.wait_for_position(min_position)
        position, found = await people.matches(tenant, member_id)
        return with_position(
            MatchesView(member=member_id, matches=found), position, viewer=viewer, min_position=min_position
        )

    return matches
