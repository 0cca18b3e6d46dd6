"""Reads of a community as a whole: balances, totals, the policy and the yield of a gathering."""

from typing import Final

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from ledger.books.history import History
from ledger.books.people import People
from ledger.books.reader import Reader
from ledger.domain.catalog.kinds import KINDS
from ledger.domain.kinds.publication import policy_in_force
from services.http.cursor import cursor_after, member_after_cursor
from services.http.parameters import (
    LIMIT_DEFAULT,
    PREFIX,
    AggregateId,
    AsOf,
    Community,
    Cursor,
    KnownAt,
    Limit,
    MinPosition,
    Now,
    community_of,
    id_of,
)
from services.http.position_header import PROBLEMS, with_position
from services.query.time_axes import time_axes_of
from services.query.views import (
    BalancesPage,
    PolicyInForce,
    SummaryView,
    YieldView,
    balance_view,
    summary_view,
)

NOT_NOW: Final = ("declined", "refused", "expired")


def community_routes(reader: Reader, now: Now) -> list[HTTPRouteHandler]:
    people, history = People(reader), History(reader)

    @get(f"{PREFIX}/balances", operation_id="listBalances", tags=["community"], responses=PROBLEMS)
    async def balances(
        community: Community, min_position: MinPosition = 0, limit: Limit = LIMIT_DEFAULT, cursor: Cursor = None
    ) -> Response[BalancesPage]:
        """List the balances of all members. For services: a member reads their own balance only."""
        tenant = community_of(community)
        after = member_after_cursor(cursor, "balances", tenant)
        await reader.wait_for_position(min_position)
        position, found = await reader.balances(tenant, after, limit + 1)
        page = [balance_view(balance) for balance in found[:limit]]
        more = cursor_after("balances", tenant, page[-1].member) if len(found) > limit else None
        return with_position(BalancesPage(balances=page, next=more), position)

    @get(f"{PREFIX}/summary", operation_id="getSummary", tags=["community"], responses=PROBLEMS)
    async def summary(
        community: Community, as_of: AsOf = None, known_at: KnownAt = None, min_position: MinPosition = 0
    ) -> Response[SummaryView]:
        """Totals, the zero-sum proof, and the number of aggregates of each kind in each state."""
        tenant, axes = community_of(community), time_axes_of(as_of, known_at)
        await reader.wait_for_position(min_position)
        if not axes.are_now:
            position = await history.position_known_at(axes.known_at)
            return with_position(summary_view(await history.totals(tenant, position, axes.latest)), position)
        position, found = await reader.summary(tenant)
        states = {f"{kind.replace('-', '_')}s": found.states.get(kind, {}) for kind in KINDS}
        states |= {"memberships": states.pop("members"), "policies": states.pop("policys")}
        states["intros"] = without_count_of_declines(states["intros"])
        return with_position(summary_view(found, **states), position)

    @get(f"{PREFIX}/policy", operation_id="getPolicyInForce", tags=["community"], responses=PROBLEMS)
    async def policy(community: Community, min_position: MinPosition = 0) -> Response[PolicyInForce]:
        """The policy in force, and the scheduled policies."""
        tenant, at = community_of(community), now()
        await reader.wait_for_position(min_position)
        position, published = await people.policy(tenant)
        versions = published.versions if published is not None else ()
        scheduled = [version for version in versions if version.starts_at > at]
        return with_position(PolicyInForce(policy=policy_in_force(published, at), scheduled=scheduled), position)

    @get(f"{PREFIX}/gatherings/{{id:str}}/yield", operation_id="getYield", tags=["gatherings"], responses=PROBLEMS)
    async def gathering_yield(
        community: Community,
        id: AggregateId,  # noqa: A002  The name in the route.
        min_position: MinPosition = 0,
    ) -> Response[YieldView]:
        """What a gathering led to. For a gathering that no record names, all numbers are 0."""
        tenant, gathering = community_of(community), id_of(id)
        await reader.wait_for_position(min_position)
        position, found = await people.gathering_yield(tenant, gathering)
        return with_position(YieldView(gathering=gathering, **msgspec.structs.asdict(found)), position)

    return [balances, summary, policy, gathering_yield]


def without_count_of_declines(intros: dict[str, int]) -> dict[str, int]:
    """Count declined, refused and expired intros together as `not_now`, so that no count of declines exists."""
    counted = {state: count for state, count in intros.items() if state not in NOT_NOW}
    not_now = sum(intros.get(state, 0) for state in NOT_NOW)
    return counted | ({"not_now": not_now} if not_now else {})
