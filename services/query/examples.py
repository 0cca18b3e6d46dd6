"""Examples of what the books answer, where one field by itself would tell no story."""

from typing import Final
from uuid import UUID

from msgspec import Struct

from ledger.books.insight import Match
from ledger.domain.coach import Again, Coaching
from ledger.examples import AGGREGATE, EXAMPLES, NOW
from services.query.views import BalanceView, PairView, StandingView, SummaryView, YieldView, ZeroSum

ADA: Final = BalanceView(
    member="ada", main=120, stake=0, disputed=0, net=120, given=120, received=0, reciprocity_permille=667
)
BOOKS: Final[tuple[Struct, ...]] = (
    ADA,
    PairView(member="ada", other="bob", given=120, received=0, stage="contact"),
    StandingView(
        member="ada",
        band="new",
        reciprocity_permille=667,
        recent_permille=667,
        reliability_permille=500,
        net=120,
        limit=240,
        settled=1,
        since=NOW,
    ),
    Match(member="cleo", nearness="through", tags=["cardiology"], connector="ada"),
    Coaching(
        asks=4,
        answered=3,
        yes=2,
        actual_permille=667,
        expected_permille=300,
        days_to_yes=3,
        again=(Again(intro=UUID(AGGREGATE), connector="ada", target="cleo", asked_at=NOW),),
    ),
    YieldView(
        gathering=EXAMPLES["gathering"],
        attended=12,
        paid=9,
        contacts=7,
        one_to_ones=3,
        intros_made=2,
        referrals_qualified=2,
        referrals_won=1,
        points=660,
    ),
    SummaryView(
        members=2,
        given=120,
        received=120,
        zero_sum=ZeroSum(main=0, stake=0, disputed=0, sum=0, holds=True),
        favours={"posted": 1},
        referrals={},
        intros={},
        disputes={},
        memberships={"active": 2},
        gatherings={"held": 1},
        attendances={},
        contacts={"made": 1},
        one_to_ones={},
        policies={},
    ),
)
