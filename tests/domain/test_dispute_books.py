"""Disputes and the books: whatever is disputed, every account stays sound."""

from collections import Counter
from typing import Final, get_args

import hypothesis
import pytest
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.domain.catalog.kinds import DISPUTE, EVENTS, INTRO
from ledger.domain.kinds.dispute.events import DisputeUpheld
from ledger.domain.kinds.dispute.states import Code, Opened, Rejected, Upheld
from ledger.domain.kinds.favour import FavourConfirmed, FavourForgiven, FavourThanked
from ledger.domain.kinds.intro import events as intro_events
from ledger.domain.kinds.intro.commands import CloseIntro
from ledger.domain.kinds.intro.events import IntroClosed, IntroMade, IntroMet
from ledger.domain.kinds.intro.states import Fault
from ledger.domain.kinds.referral import ReferralQualified, ReferralWon
from ledger.domain.kinds.transfers import transfers_of
from ledger.domain.values.aggregate_types import Command, Event, Lapse, State
from ledger.domain.values.context import Context
from tests.domain.dispute_examples import (
    ADA,
    BOB,
    CYD,
    DUE,
    GIFT,
    INTRO_MADE,
    LAPSE,
    OPEN,
    OPENED,
    REJECT,
    UPHOLD,
    Books,
    disputing,
    found_about,
)
from tests.domain.favour_examples import FORGIVEN, THANKED
from tests.domain.intro_examples import (
    ACCEPTED,
    ASKED,
    CONSENTED,
    MADE,
    MATCH_MADE,
    MATCH_TO_MADE,
    MET,
    OFFERED,
    Parties,
)
from tests.domain.spec import NOW, Then, fold, given
from tests.domain.strategies import CAST

PAYERS_CODES: Final[tuple[Code, ...]] = ("not_mine", "duplicate", "no_consent", "misdescribed")

points_of = st.integers(0, 2_000)


@st.composite
def charges(draw: st.DrawFn) -> Event:
    """Anything that can be disputed, for any points, between any members."""
    one, two, three, four = draw(st.permutations(CAST))
    points, more = draw(points_of), draw(points_of)
    three_of_them = Parties(asker=one, connector=two, target=three)
    matched = draw(st.booleans())
    fault: Fault = draw(st.sampled_from(get_args(Fault)).filter(lambda fault: not matched or fault != "asker"))
    return draw(
        st.sampled_from(
            [
                FavourThanked(giver=one, receiver=two, size="small", points=points),
                FavourConfirmed(giver=one, receiver=two, points=points),
                ReferralQualified(referrer=one, recipient=two, points=points, lapses_at=NOW),
                ReferralWon(referrer=one, recipient=two, band="S", points=points),
                ReferralWon(
                    referrer=one, recipient=two, band="S", points=points, parent_referrer=four, parent_points=more
                ),
                ReferralWon(
                    referrer=one, recipient=two, band="S", points=points, parent_referrer=one, parent_points=more
                ),
                IntroMade(**three_of_them, points=points, stake=more, lapses_at=NOW, matchmade=matched),
                IntroMet(**three_of_them, points=points),
                IntroClosed(
                    **three_of_them,
                    outcome="no_result",
                    fault=fault,
                    points=points,
                    stake=more,
                    penalty=draw(points_of) if fault == "asker" else 0,
                    matchmade=matched,
                ),
            ]
        )
    )


def staked_before(event: Event) -> list[Event]:
    """What must have happened for a stake to be there."""
    if not isinstance(event, IntroClosed):
        return []
    return [
        IntroMade(
            asker=event.asker,
            connector=event.connector,
            target=event.target,
            points=0,
            stake=event.stake,
            lapses_at=NOW,
        )
    ]


def begun(event: Event, data: st.DataObject) -> Then:
    charged = transfers_of(event)
    hypothesis.assume(charged)
    opener = data.draw(st.sampled_from([transfer.payer for transfer in charged]))
    command = disputing(event, opener, data.draw(st.sampled_from(PAYERS_CODES)))
    return given().when(command, found=found_about(event)).then_recorded("dispute.opened")


@hypothesis.given(event=charges(), data=st.data())
def test_a_dispute_that_comes_to_nothing_leaves_everything_as_it_was(event: Event, data: st.DataObject) -> None:
    dispute = begun(event, data)
    before = Books(*staked_before(event), event)
    for judging, at in ((REJECT, NOW), (LAPSE, DUE)):
        judged = (
            given(dispute.event).when(judging, at=at).then_recorded(f"dispute.{'rejected' if at == NOW else 'lapsed'}")
        )
        assert Books(*staked_before(event), event, dispute.event, judged.event).all == before.all


@hypothesis.given(event=charges(), data=st.data())
def test_while_it_is_open_nobody_is_better_or_worse_off_but_for_what_they_can_use(
    event: Event, data: st.DataObject
) -> None:
    dispute = begun(event, data)
    before, during = (Books(*staked_before(event), event, *more) for more in ((), (dispute.event,)))
    for member in CAST:
        assert sum(during.counts[member, account] for account in ("main", "stake", "disputed")) == sum(
            before.counts[member, account] for account in ("main", "stake")
        )
    assert during.of("stake") == before.of("stake")
    assert {key: n for key, n in during.all.items() if len(key) == 3} == {
        key: n for key, n in before.all.items() if len(key) == 3
    }


@hypothesis.given(event=charges(), data=st.data())
def test_what_is_reversed_leaves_the_books_as_if_it_had_never_been_charged(event: Event, data: st.DataObject) -> None:
    dispute = begun(event, data)
    judged = given(dispute.event).when(UPHOLD, found=found_about(event)).then_recorded("dispute.upheld")
    assert isinstance(judged.event, DisputeUpheld)
    hypothesis.assume(judged.event.remedy == "reversal")
    after = Books(*staked_before(event), event, dispute.event, judged.event)
    at_stake = event.stake if isinstance(event, IntroMade) else 0  # The introduction's own, until it is closed.
    assert after.of("stake") == ({event.connector: at_stake} if isinstance(event, IntroMade) and at_stake else {})
    assert after.of("main") == {member: -points for member, points in after.of("stake").items()}
    assert len(after.all) == len(after.of("stake")) * 2


BLAMED: Final[dict[Code, Fault]] = {"asker_ghosted": "asker", "no_consent": "connector", "misdescribed": "connector"}
CODES_OF_MADE: Final = st.sampled_from(get_args(Code))
ENDS: Final = st.sampled_from(["upheld", "rejected", "lapsed"])


@hypothesis.given(
    matched=st.booleans(),
    points=st.integers(1, 1_000).map(lambda half: 2 * half),
    stake=points_of,
    met=st.booleans(),
    code=CODES_OF_MADE,
    end=ENDS,
    closed_first=st.booleans(),
    says=st.sampled_from(get_args(Fault)),
)
def test_however_an_introduction_is_disputed_and_closed_nothing_stays_at_stake_or_frozen(
    *, matched: bool, points: int, stake: int, met: bool, code: Code, end: str, closed_first: bool, says: Fault
) -> None:
    """Whether it is closed before it is judged or after: it costs the one at fault the same."""
    hypothesis.assume(not matched or (code != "asker_ghosted" and says != "asker"))
    made = replace(MATCH_MADE if matched else MADE, points=points, stake=stake)
    agreed = replace(OFFERED if matched else ACCEPTED, points=points)
    history: list[intro_events.IntroEvent] = [agreed, *MATCH_TO_MADE[1:-1]] if matched else [ASKED, agreed, CONSENTED]
    history.append(made)
    if met:
        history.append(replace(MET, points=0 if matched else 30))
    books = Books(*history)
    opener = BOB if code == "asker_ghosted" else ADA
    closing = CloseIntro(actor={"asker": ADA, "connector": BOB, "none": CYD}[says], outcome="no_result", fault=says)

    def close(dispute: State | None) -> None:
        recorded = given(*history).when(closing, found={INTRO_MADE: dispute}).then_recorded("intro.closed")
        assert isinstance(recorded.event, IntroClosed)
        history.append(recorded.event)
        books.post(recorded.event)

    if closed_first:
        close(None)
    about = found_about(made, fold(INTRO, history))
    dispute = given().when(disputing(made, opener, code), found=about).then_recorded("dispute.opened")
    books.post(dispute.event)
    judging: dict[str, Command | Lapse] = {"upheld": UPHOLD, "rejected": REJECT, "lapsed": LAPSE}
    judged = given(dispute.event).when(judging[end], at=DUE, found=about).then_recorded(f"dispute.{end}")
    books.post(judged.event)
    if not closed_first:
        close(judged.state)
    assert books.of("stake") == books.of("disputed") == {}
    assert books.accounts == by_the_page(matched, points, stake, met, code, end, says, closed_first)


def by_the_page(
    matched: bool, points: int, stake: int, met: bool, code: Code, end: str, says: Fault, closed_first: bool
) -> dict[tuple[str, ...], int]:
    """The final balance of each member, by hand from docs/domain.md#dispute-remedy, with no rule of the project."""
    left = Counter[str]()

    def pays(payer: str, payee: str, amount: int) -> None:
        left[payer] -= amount
        left[payee] += amount

    def costs(fault: Fault, paid: bool) -> None:
        if fault == "asker":
            pays(ADA, CYD, 60)
            pays(ADA, BOB, 60)
        if fault == "connector" and matched:
            for member, share in ((ADA, stake // 2), (CYD, stake - stake // 2)):
                pays(BOB, member, (points // 2 if paid else 0) + share)
        if fault == "connector" and not matched:
            pays(BOB, ADA, points if paid else 0)
            pays(BOB, CYD, stake)

    for payer in (ADA, CYD) if matched else (ADA,):
        pays(payer, BOB, points // 2 if matched else points)
    if met and not matched:
        pays(ADA, CYD, 30)
    at_fault = BLAMED.get(code, "none")
    wrong = end == "upheld" and at_fault == "none"
    if wrong and not (closed_first and says == "connector"):
        for payer in (ADA, CYD) if matched else (ADA,):
            pays(BOB, payer, points // 2 if matched else points)
        costs(says, paid=closed_first)
    elif end == "upheld" and at_fault != "none" and (says == "none" or not closed_first):
        costs(at_fault, paid=True)
    else:
        costs(says, paid=True)
    return {(member, "main"): amount for member, amount in left.items() if amount}


def test_every_event_of_a_dispute_names_what_it_is_about() -> None:
    of_disputes = [event for tag, event in EVENTS.items() if tag.startswith("dispute.")]
    assert len(of_disputes) == 4
    for event in of_disputes:
        assert {"about", "entry", "entry_id", "happened_at", "opener", "parties", "transfers"} <= set(
            event.__struct_fields__
        )
    for state in (Opened, Upheld, Rejected):
        assert {"parties", "transfers", "owed", "fault"} <= set(state.__struct_fields__)


def test_a_dispute_that_was_not_looked_for_is_a_bug_of_the_caller_and_not_a_yes() -> None:
    with pytest.raises(KeyError):
        DISPUTE.decide(OPEN, None, Context(now=NOW))


def test_a_gift_that_was_made_after_all_is_still_only_a_gift() -> None:
    """Forgiven while it was disputed, which only two commands at the same moment can do: no gross tally moves."""
    books = Books(THANKED, OPENED, FORGIVEN)
    upheld = given(OPENED).when(UPHOLD, found=found_about(THANKED, GIFT)).then_recorded("dispute.upheld")
    books.post(upheld.event)
    assert books.all == Books(THANKED, FORGIVEN).all
    assert isinstance(FORGIVEN, FavourForgiven)
