"""Examples of responses of the query service."""

from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct, structs

from ledger.books.people import Match
from ledger.domain.catalog.kinds import EVENTS
from ledger.domain.posting.rules import rule_in_words
from ledger.domain.standing.coach import Coaching, RetryableAsk
from ledger.domain.values.aggregate_types import tag_of
from ledger.examples import AGGREGATE, COMMUNITY, EXAMPLES, NOW, envelope_of, example_of
from services.command.batch import Result
from services.docs.command_examples import EXAMPLE_POSITION, command_examples
from services.feed.routes import EventsPage, EventView
from services.query.entries import EntryView, LegView, PastEventView
from services.query.views import (
    AccountsView,
    BalanceView,
    PairView,
    StandingView,
    StatementLine,
    StatementView,
    SummaryView,
    YieldView,
    ZeroSum,
)

ADA: Final = BalanceView(
    member="ada", main=120, stake=0, disputed=0, net=120, given=120, received=0, reciprocity_permille=667
)
THANKED: Final = example_of(EVENTS["favour.thanked"])
ENTRY: Final = UUID("01a214cd-81c5-71d8-ad97-749fd02ed05d")
STATEMENT: Final = StatementView(
    member="ada",
    opening=AccountsView(main=0, stake=0, disputed=0, net=0, given=0, received=0),
    lines=[
        StatementLine(
            happened_at=NOW,
            recorded_at=NOW,
            event="favour.thanked",
            account="main",
            counterparty="bob",
            points=120,
            given=120,
            received=0,
            balance_after=120,
            entry=ENTRY,
            link=f"/v1/communities/{COMMUNITY}/entries/{ENTRY}",
        )
    ],
    closing=AccountsView(main=120, stake=0, disputed=0, net=120, given=120, received=0),
)
EXPLAINED: Final = EntryView(
    entry=ENTRY,
    event="favour.thanked",
    kind="favour",
    id=AGGREGATE,
    position=EXAMPLE_POSITION,
    happened_at=NOW,
    recorded_at=NOW,
    actor="bob",
    policy_version=1,
    rule=rule_in_words(THANKED),
    numbers={"points": 120},
    legs=[
        LegView(
            member="bob", account="main", counterparty="ada", points=-120, given=0, received=120, balance_after=-120
        ),
        LegView(member="ada", account="main", counterparty="bob", points=120, given=120, received=0, balance_after=120),
    ],
    history=[
        PastEventView(
            entry=ENTRY,
            event="favour.thanked",
            position=EXAMPLE_POSITION,
            happened_at=NOW,
            recorded_at=NOW,
            actor="bob",
        )
    ],
    cloudevent=msgspec.to_builtins(structs.replace(envelope_of(THANKED), id=str(ENTRY))),
)
RECORDED: Final = command_examples()["favour.record"].held
QUERY_EXAMPLES: Final[tuple[Struct, ...]] = (
    Result(
        status="recorded",
        kind=RECORDED.kind,
        id=str(RECORDED.id),
        state=tag_of(RECORDED.state),
        version=RECORDED.version,
        position=RECORDED.position,
    ),
    ADA,
    STATEMENT,
    EXPLAINED,
    EventsPage(
        events=[EventView(position=EXAMPLE_POSITION, recorded_at=NOW, event=msgspec.to_builtins(envelope_of(THANKED)))],
        after=EXAMPLE_POSITION,
        more=False,
    ),
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
        again=(RetryableAsk(intro=UUID(AGGREGATE), connector="ada", target="cleo", asked_at=NOW),),
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
