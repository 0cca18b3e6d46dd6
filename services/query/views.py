"""How the answers about members and the community look."""

from typing import Final
from uuid import UUID

from msgspec import Struct, structs

from ledger.books.history import BalancePart, Sums, Totals
from ledger.books.people import Match, StandingTallies
from ledger.books.reader import MemberBalance, PairTally, Summary
from ledger.domain.kinds.publication import PolicyVersion
from ledger.domain.standing.indices import Stage, StandingBand, reciprocity_permille
from ledger.domain.values.ids import Instant
from ledger.domain.values.points import Account
from ledger.domain.values.policy import Policy

COUNTERPARTIES_MAX: Final = 500


class AccountsView(Struct, frozen=True, kw_only=True):
    """Points. `net` = `main` + `stake` + `disputed`; `given` and `received` are gross."""

    main: int
    stake: int
    disputed: int
    net: int
    given: int
    received: int


class PartView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one rule, or one counterparty, adds to a balance, by so many postings.

    Without a counterparty, the points went between the member's own accounts. `others` stands for so many more of them.
    """

    rule: str | None = None
    counterparty: str | None = None
    others: int = 0
    postings: int
    main: int
    stake: int
    disputed: int
    net: int
    given: int
    received: int


class ExplanationView(Struct, frozen=True, kw_only=True):
    """The same balance twice, as a sum by rule and as a sum by counterparty, those with the most points first."""

    by_rule: list[PartView]
    by_counterparty: list[PartView]


class StatementLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A posting. `balance_after` is the net after it, in the order in which things happened.

    `event` posted it; `entry` is that event's id, and `link` leads to its explanation. Without a counterparty, the
    points went between two accounts of the member.
    """

    happened_at: Instant
    recorded_at: Instant
    event: str
    account: Account
    counterparty: str | None = None
    points: int
    given: int
    received: int
    balance_after: int
    entry: UUID
    link: str


class StatementView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`opening` is what it came to before the period, `closing` after it. `next` is the next page's cursor, if any."""

    member: str
    other: str | None = None
    opening: AccountsView
    lines: list[StatementLine]
    closing: AccountsView
    next: str | None = None


class BalanceView(Struct, frozen=True, kw_only=True, omit_defaults=True):
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
    explanation: ExplanationView | None = None


class PairView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `member` has given `other`, and received from them, gross, in points, and how far they have come.

    `stage`: `none`, `contact`, `one_to_one`, or `trusted`: a settled favour or introduction both ways. It is of now,
    and left out when a clock is named.
    """

    member: str
    other: str
    given: int
    received: int
    stage: Stage | None = None


class StandingView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Shares are in thousandths. `recent_permille` is the reciprocity index of what halves every 180 days.

    `reliability_permille`: of introductions that they could have been at fault in, those that were not. `limit` is
    how far `net` may go below zero before asking is advised against; see the guard.
    """

    member: str
    band: StandingBand
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
    scheduled: list[PolicyVersion]


class ZeroSum(Struct, frozen=True, kw_only=True):
    """The proof: all accounts of the community, summed. `sum` is 0, always."""

    main: int
    stake: int
    disputed: int
    sum: int
    holds: bool


class SummaryView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Totals of the community. `given` equals `received`: every favour has two sides. The rest: how many, by state.

    States are of now, and left out when a clock is named.
    """

    members: int
    given: int
    received: int
    zero_sum: ZeroSum
    favours: dict[str, int] | None = None
    referrals: dict[str, int] | None = None
    intros: dict[str, int] | None = None
    disputes: dict[str, int] | None = None
    memberships: dict[str, int] | None = None
    gatherings: dict[str, int] | None = None
    attendances: dict[str, int] | None = None
    contacts: dict[str, int] | None = None
    one_to_ones: dict[str, int] | None = None
    policies: dict[str, int] | None = None


def accounts_view(sums: Sums) -> AccountsView:
    return AccountsView(
        main=sums.main,
        stake=sums.stake,
        disputed=sums.disputed,
        net=sums.net,
        given=sums.given,
        received=sums.received,
    )


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


def standing_view(
    standing: StandingTallies, band: StandingBand, recent_permille: int, reliability_permille: int
) -> StandingView:
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


def past_balance_view(member: str, sums: Sums, explanation: ExplanationView | None) -> BalanceView:
    """What a balance was. A reversal may have happened before what it takes back: no tally counts below zero."""
    return BalanceView(
        member=member,
        main=sums.main,
        stake=sums.stake,
        disputed=sums.disputed,
        net=sums.net,
        given=sums.given,
        received=sums.received,
        reciprocity_permille=reciprocity_permille(max(0, sums.given), max(0, sums.received)),
        explanation=explanation,
    )


def explanation_view(by_rule: list[BalancePart], by_counterparty: list[BalancePart]) -> ExplanationView:
    """Both sums; of counterparties, those beyond `COUNTERPARTIES_MAX` as one."""
    by_rule.sort(key=lambda part: part.rule or "")
    by_counterparty.sort(key=lambda part: (-abs(part.sums.net), part.counterparty or ""))
    named, rest = by_counterparty[:COUNTERPARTIES_MAX], by_counterparty[COUNTERPARTIES_MAX:]
    views = [part_view(part) for part in named]
    if rest:
        sums = Sums(*(sum(column) for column in zip(*(structs.astuple(part.sums) for part in rest), strict=True)))
        together = BalancePart(rule=None, counterparty=None, postings=sum(part.postings for part in rest), sums=sums)
        views.append(structs.replace(part_view(together), others=len(rest)))
    return ExplanationView(by_rule=[part_view(part) for part in by_rule], by_counterparty=views)


def part_view(part: BalancePart) -> PartView:
    return PartView(
        rule=part.rule,
        counterparty=part.counterparty,
        postings=part.postings,
        **structs.asdict(accounts_view(part.sums)),
    )


def summary_view(totals: Summary | Totals, **states: dict[str, int]) -> SummaryView:
    total = totals.main + totals.stake + totals.disputed
    return SummaryView(
        members=totals.members,
        given=totals.given,
        received=totals.received,
        zero_sum=ZeroSum(main=totals.main, stake=totals.stake, disputed=totals.disputed, sum=total, holds=total == 0),
        **states,
    )
