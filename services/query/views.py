"""Views of members and of the community: the bodies of responses of the query service."""

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
    """Points. `net` = `main` + `stake` + `disputed`. `given` and `received` are the gross tallies."""

    main: int
    stake: int
    disputed: int
    net: int
    given: int
    received: int


class PartView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The share of one rule, or of one counterparty, in a balance, and its number of postings.

    Without a counterparty, the points moved between the member's own accounts. A part with `others` sums up that many
    further counterparties.
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
    """The balance as a sum by rule, and as a sum by counterparty. The largest `net` of a counterparty comes first."""

    by_rule: list[PartView]
    by_counterparty: list[PartView]


class StatementLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A posting. `balance_after` is the net after it, in the order of happening.

    `event` is the event that posted it, `entry` is the id of that event, and `link` the address of its explanation.
    Without a counterparty, the points moved between two accounts of the member.
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
    """`opening` is the balance before the period, `closing` after it. `next` is the cursor of the next page, if any."""

    member: str
    other: str | None = None
    opening: AccountsView
    lines: list[StatementLine]
    closing: AccountsView
    next: str | None = None


class BalanceView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Points. `net` = `main` + `stake` + `disputed`; it is positive if the member has given more than received.

    `given` and `received` are the gross tallies. `reciprocity_permille` is the reciprocity index in thousandths: 500
    for a new or even member, towards 1,000 for a member who gives, towards 0 for one who receives.
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
    """The gross points that `member` has given `other` and received from them, and the stage of their relationship.

    `stage` is `none`, `contact`, `one_to_one` or `trusted` (a settled favour or introduction in both directions). It
    is the current stage, and is omitted with `as_of` or `known_at`.
    """

    member: str
    other: str
    given: int
    received: int
    stage: Stage | None = None


class StandingView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A member's standing. Names in `permille` are in thousandths.

    `recent_permille` is the reciprocity index of amounts that halve every 180 days. `reliability_permille` is the
    share of closed introductions without a fault of the member, among those in which they could be at fault. `limit`
    is the credit limit: how far `net` can go below zero before the reciprocity guard counts it.
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
    """Balances in the order of member ids. `next` is the cursor of the next page; the last page has none."""

    balances: list[BalanceView]
    next: str | None = None


class PairsPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Pairs in the order of the other's id. `next` is the cursor of the next page; the last page has none."""

    pairs: list[PairView]
    next: str | None = None


class MatchesView(Struct, frozen=True, kw_only=True):
    """Members who offer what the member wants: acquaintances, then acquaintances of acquaintances, then others."""

    member: str
    matches: list[Match]


class YieldView(Struct, frozen=True, kw_only=True):
    """The results of a gathering: attendances, leads, won business, and the points given for them."""

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
    """The policy in force, and the scheduled policies."""

    policy: Policy
    scheduled: list[PolicyVersion]


class ZeroSum(Struct, frozen=True, kw_only=True):
    """The sums of all accounts of the community. `holds` states that their `sum` is 0, as it must be."""

    main: int
    stake: int
    disputed: int
    sum: int
    holds: bool


class SummaryView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Totals of the community, and the number of aggregates by kind and state. `given` equals `received`.

    The numbers by state are current, and are omitted with `as_of` or `known_at`.
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
    """Return a past balance. A reversal can lie before its original, so the index takes negative tallies as zero."""
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
    """Return both sums. Counterparties beyond `COUNTERPARTIES_MAX` are one part."""
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
