"""How the answers about members and the community look."""

from uuid import UUID

from msgspec import Struct

from ledger.books.insight import Match, Standing
from ledger.books.reader import MemberBalance, PairTally
from ledger.domain.policy import Policy
from ledger.domain.publication import Version
from ledger.domain.standing import Band, Stage, reciprocity_permille
from ledger.domain.values import Instant


class BalanceView(Struct, frozen=True, kw_only=True):
    """Points. `net` = `main` + `stake` + `disputed`, positive: has given more than received; `given`, `received` gross.

    `reciprocity_permille` is the reciprocity index in thousandths: 500 is new or even, towards 1,000 gives.
    """

    member: str
    main: int
    stake: int
    disputed: int
    net: int
    given: int
    received: int
    reciprocity_permille: int


class PairView(Struct, frozen=True, kw_only=True):
    """What `member` has given `other`, and received from them, gross, in points, and how far they have come.

    `stage`: `none`, `contact`, `one_to_one`, or `trusted`: a settled favour or introduction both ways.
    """

    member: str
    other: str
    given: int
    received: int
    stage: Stage


class StandingView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Shares are in thousandths. `recent_permille` is the reciprocity index of what halves every 180 days.

    `reliability_permille`: of introductions that they could have been at fault in, those that were not. `limit` is
    how far `net` may go below zero before asking is advised against; see the guard.
    """

    member: str
    band: Band
    reciprocity_permille: int
    recent_permille: int
    reliability_permille: int
    net: int
    limit: int
    settled: int
    since: Instant | None = None


class BalancesPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """By member id. `next` is the cursor of the next page, absent on the last."""

    balances: list[BalanceView]
    next: str | None = None


class PairsPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """By the other's id. `next` is the cursor of the next page, absent on the last."""

    pairs: list[PairView]
    next: str | None = None


class MatchesView(Struct, frozen=True, kw_only=True):
    """Who offers what the member wants: those they know, then those whom somebody they know knows, then others."""

    member: str
    matches: list[Match]


class YieldView(Struct, frozen=True, kw_only=True):
    """What came of a gathering: leads, won business, and the points that were given for it."""

    gathering: UUID
    attended: int
    paid: int
    contacts: int
    one_to_ones: int
    intros_made: int
    referrals_qualified: int
    referrals_won: int
    points: int


class PolicyInForce(Struct, frozen=True, kw_only=True):
    """The policy that decisions are made by now, and those that are to start."""

    policy: Policy
    scheduled: list[Version]


class ZeroSum(Struct, frozen=True, kw_only=True):
    """The proof: all accounts of the community, summed. `sum` is 0, always."""

    main: int
    stake: int
    disputed: int
    sum: int
    holds: bool


class SummaryView(Struct, frozen=True, kw_only=True):
    """Totals of the community. `given` equals `received`: every favour has two sides. The rest: how many, by state."""

    members: int
    given: int
    received: int
    zero_sum: ZeroSum
    favours: dict[str, int]
    referrals: dict[str, int]
    intros: dict[str, int]
    disputes: dict[str, int]
    memberships: dict[str, int]
    gatherings: dict[str, int]
    attendances: dict[str, int]
    contacts: dict[str, int]
    one_to_ones: dict[str, int]
    policies: dict[str, int]


def balance_view(balance: MemberBalance) -> BalanceView:
    return BalanceView(
        member=balance.member,
        main=balance.main,
        stake=balance.stake,
        disputed=balance.disputed,
        net=balance.main + balance.stake + balance.disputed,
        given=balance.given,
        received=balance.received,
        reciprocity_permille=reciprocity_permille(balance.given, balance.received),
    )


def pair_view(member: str, tally: PairTally) -> PairView:
    return PairView(member=member, other=tally.other, given=tally.given, received=tally.received, stage=tally.stage)


def standing_view(standing: Standing, band: Band, recent_permille: int, reliability_permille: int) -> StandingView:
    return StandingView(
        member=standing.member,
        band=band,
        reciprocity_permille=reciprocity_permille(standing.given, standing.received),
        recent_permille=recent_permille,
        reliability_permille=reliability_permille,
        net=standing.net,
        limit=standing.limit,
        settled=standing.settled,
        since=standing.since,
    )
