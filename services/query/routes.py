"""What can be read of the books. Every answer says in `Ledger-Position` which position of the log it shows."""

from typing import Any, cast

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from ledger.books.reader import BooksBehind, MemberBalance, Reader, Tally
from ledger.books.schema import BooksUnavailable, SchemaMissing
from ledger.domain.catalog import KINDS
from ledger.domain.refusals import Unknown
from ledger.domain.standing import reciprocity_permille
from services.http.conventions import (
    LIMIT_DEFAULT,
    PREFIX,
    AggregateId,
    Community,
    Cursor,
    Limit,
    Member,
    MinPosition,
    community_of,
    etag,
    id_of,
    member_of,
    other_of,
)
from services.http.cursor import after_cursor, cursor_after
from services.http.problems import InvalidField, Unauthorized, documented
from services.http.views import PLURALS, VIEWS, view_of

PROBLEMS = documented(InvalidField, Unauthorized, BooksUnavailable, BooksBehind, SchemaMissing)


class BalanceView(Struct, frozen=True, kw_only=True):
    """Points. `net` = `main` + `stake`, positive: has given more than received. `given` and `received` are gross.

    `reciprocity_permille` is the reciprocity index in thousandths: 500 is new or even, towards 1,000 gives.
    """

    member: str
    main: int
    stake: int
    net: int
    given: int
    received: int
    reciprocity_permille: int


class PairView(Struct, frozen=True, kw_only=True):
    """What `member` has given `other`, and received from them, gross, in points."""

    member: str
    other: str
    given: int
    received: int


class BalancesPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """By member id. `next` is the cursor of the next page, absent on the last."""

    balances: list[BalanceView]
    next: str | None = None


class PairsPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """By the other's id. `next` is the cursor of the next page, absent on the last."""

    pairs: list[PairView]
    next: str | None = None


class ZeroSum(Struct, frozen=True, kw_only=True):
    """The proof: all accounts of the community, summed. `sum` is 0, always."""

    main: int
    stake: int
    sum: int
    holds: bool


class SummaryView(Struct, frozen=True, kw_only=True):
    """Totals of the community. `given` equals `received`: every favour has two sides."""

    members: int
    given: int
    received: int
    zero_sum: ZeroSum
    favours: dict[str, int]
    referrals: dict[str, int]
    intros: dict[str, int]


def query_routes(reader: Reader) -> list[HTTPRouteHandler]:
    return [*member_routes(reader), *community_routes(reader), *(aggregate_route(kind, reader) for kind in KINDS)]


def member_routes(reader: Reader) -> list[HTTPRouteHandler]:
    @get(f"{PREFIX}/members/{{member:str}}/balance", operation_id="getBalance", tags=["members"], responses=PROBLEMS)
    async def balance(community: Community, member: Member, min_position: MinPosition = 0) -> Response[BalanceView]:
        """A member's accounts, gross tallies and reciprocity. One who is in no entry has zeros."""
        tenant, whose = community_of(community), member_of(member)
        await reader.reach(min_position)
        position, found = await reader.balance(tenant, whose)
        return shown(balance_view(found), position)

    @get(f"{PREFIX}/members/{{member:str}}/pairs", operation_id="listPairs", tags=["members"], responses=PROBLEMS)
    async def pairs(
        community: Community,
        member: Member,
        min_position: MinPosition = 0,
        limit: Limit = LIMIT_DEFAULT,
        cursor: Cursor = None,
    ) -> Response[PairsPage]:
        """Everybody the member has exchanged something with."""
        tenant, whose = community_of(community), member_of(member)
        query = f"pairs {whose}"
        after = after_cursor(cursor, query, tenant)
        await reader.reach(min_position)
        position, found = await reader.pairs(tenant, whose, after, limit + 1)
        page = [pair_view(whose, other, tally) for other, tally in found[:limit]]
        more = cursor_after(query, tenant, page[-1].other) if len(found) > limit else None
        return shown(PairsPage(pairs=page, next=more), position)

    @get(
        f"{PREFIX}/members/{{member:str}}/pairs/{{other:str}}",
        operation_id="getPair",
        tags=["members"],
        responses=PROBLEMS,
    )
    async def pair(
        community: Community, member: Member, other: Member, min_position: MinPosition = 0
    ) -> Response[PairView]:
        """What two members have done for each other, as the first one sees it."""
        tenant, whose, others = community_of(community), member_of(member), other_of(other)
        await reader.reach(min_position)
        position, tally = await reader.pair(tenant, whose, others)
        return shown(pair_view(whose, others, tally), position)

    return [balance, pairs, pair]


def community_routes(reader: Reader) -> list[HTTPRouteHandler]:
    @get(f"{PREFIX}/balances", operation_id="listBalances", tags=["community"], responses=PROBLEMS)
    async def balances(
        community: Community, min_position: MinPosition = 0, limit: Limit = LIMIT_DEFAULT, cursor: Cursor = None
    ) -> Response[BalancesPage]:
        """Every member's balance. For services: members see their own."""
        tenant = community_of(community)
        after = after_cursor(cursor, "balances", tenant)
        await reader.reach(min_position)
        position, found = await reader.balances(tenant, after, limit + 1)
        page = [balance_view(balance) for balance in found[:limit]]
        more = cursor_after("balances", tenant, page[-1].member) if len(found) > limit else None
        return shown(BalancesPage(balances=page, next=more), position)

    @get(f"{PREFIX}/summary", operation_id="getSummary", tags=["community"], responses=PROBLEMS)
    async def summary(community: Community, min_position: MinPosition = 0) -> Response[SummaryView]:
        """Totals, the zero-sum proof, and how many of each kind are in each state."""
        tenant = community_of(community)
        await reader.reach(min_position)
        position, found = await reader.summary(tenant)
        total = found.main + found.stake
        states = {PLURALS[kind]: msgspec.json.decode(counts) for kind, counts in found.states.items()}
        view = SummaryView(
            members=found.members,
            given=found.given,
            received=found.received,
            zero_sum=ZeroSum(main=found.main, stake=found.stake, sum=total, holds=total == 0),
            **states,
        )
        return shown(view, position)

    return [balances, summary]


def aggregate_route(kind: str, reader: Reader) -> HTTPRouteHandler:
    """`GET /favours/{id}`, and the same of the other kinds."""

    async def show(community: Community, id: AggregateId, min_position: MinPosition = 0) -> Response[Any]:  # noqa: A002
        tenant, aggregate_id = community_of(community), id_of(id)
        await reader.reach(min_position)
        position, held = await reader.aggregate(kind, tenant, aggregate_id)
        if held is None:
            raise Unknown(kind=kind, id=aggregate_id)
        view = view_of(kind, aggregate_id, held.version, held.position, held.state)
        return shown(view, position, {"ETag": etag(held.version)})

    show.__annotations__["return"] = cast("Any", Response)[VIEWS[kind]]
    return get(
        f"{PREFIX}/{PLURALS[kind]}/{{id:str}}",
        name=f"{kind}.show",
        operation_id=f"get{kind.capitalize()}",
        summary=f"One {kind}, as it stands.",
        tags=[PLURALS[kind]],
        responses=documented(InvalidField, Unauthorized, Unknown, BooksUnavailable, BooksBehind, SchemaMissing),
    )(show)


def balance_view(balance: MemberBalance) -> BalanceView:
    return BalanceView(
        member=balance.member,
        main=balance.main,
        stake=balance.stake,
        net=balance.main + balance.stake,
        given=balance.given,
        received=balance.received,
        reciprocity_permille=reciprocity_permille(balance.given, balance.received),
    )


def pair_view(member: str, other: str, tally: Tally) -> PairView:
    return PairView(member=member, other=other, given=tally.given, received=tally.received)


def shown(view: Any, position: int, headers: dict[str, str] | None = None) -> Response[Any]:
    return Response(view, headers={**(headers or {}), "Ledger-Position": str(position)})
