"""Examples of disputes and of the entries that they are about."""

from collections import Counter
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

from msgspec.structs import replace

from ledger.domain.catalog.kinds import FAVOUR, INTRO
from ledger.domain.kinds.dispute.commands import LapseDispute, OpenDispute, RejectDispute, UpholdDispute
from ledger.domain.kinds.dispute.decision import parties_of
from ledger.domain.kinds.dispute.events import DisputeOpened
from ledger.domain.kinds.dispute.lookup import dispute_need
from ledger.domain.kinds.dispute.states import Code, DisputedEntry
from ledger.domain.kinds.intro.states import Fault
from ledger.domain.kinds.referral import ReferralQualified, ReferralWon
from ledger.domain.kinds.transfers import transfers_of
from ledger.domain.posting.rules import entry_of
from ledger.domain.values.aggregate_types import Event, State, tag_of
from ledger.domain.values.context import EventOf, Finding, Need, PastEvent, StateOf
from ledger.domain.values.ids import MemberId
from tests.domain.favour_examples import CONFIRMED, FORGIVEN, THANKED
from tests.domain.intro_examples import CLOSED, MADE, MATCH_CLOSED, MATCH_MADE, MATCH_TO_MADE, MET, TO_MADE
from tests.domain.spec import NOW, days, fold
from tests.domain.strategies import CAST

ADA, BOB, CYD, DEE = CAST
MODERATOR: Final = "zoe"
ABOUT: Final = UUID("0190f000-0000-7000-8000-000000000001")  # The favour, referral or introduction.
ENTRY_ID: Final = UUID("0190f000-0000-7000-8000-0000000000e1")  # The disputed event.
HAPPENED: Final = NOW - days(70)  # Long before it was recorded.
RECORDED: Final = NOW - days(1)
DUE: Final = NOW + days(30)


def found_about(event: Event, state: State | None = None, recorded_at: datetime = RECORDED) -> dict[Need, Finding]:
    """Return what the decision about a dispute of this event needs of other aggregates."""
    kind, name = tag_of(event).split(".")
    return {
        EventOf(kind, ABOUT, name): PastEvent(ENTRY_ID, event, recorded_at, HAPPENED),
        StateOf(kind, ABOUT): state,
    }


def entry_tag(event: Event) -> DisputedEntry:
    return cast("DisputedEntry", tag_of(event))


def disputing(event: Event, actor: MemberId, code: Code = "not_mine") -> OpenDispute:
    return OpenDispute(actor=actor, about=ABOUT, entry=entry_tag(event), code=code)


def opened(event: Event, opener: MemberId, code: Code = "not_mine") -> DisputeOpened:
    """Return the event that opens a dispute of an entry that is nobody's fault."""
    return DisputeOpened(
        about=ABOUT,
        entry=entry_tag(event),
        entry_id=ENTRY_ID,
        happened_at=HAPPENED,
        opener=opener,
        code=code,
        parties=parties_of(event),
        transfers=transfers_of(event),
        lapses_at=DUE,
    )


def same(dispute: DisputeOpened) -> dict[str, Any]:
    names = ("about", "entry", "entry_id", "happened_at", "opener", "parties", "transfers")
    return {name: getattr(dispute, name) for name in names}


OPEN = disputing(THANKED, BOB)
UPHOLD = UpholdDispute(actor=MODERATOR)
REJECT = RejectDispute(actor=MODERATOR)
LAPSE = LapseDispute()

OPENED = opened(THANKED, BOB)

QUALIFIED = ReferralQualified(referrer=ADA, recipient=BOB, points=120, lapses_at=NOW)
WON = ReferralWon(referrer=ADA, recipient=BOB, band="L", points=240)
GROWN = replace(WON, parent_referrer=CYD, parent_points=60)
GROWN_OF_OWN = replace(WON, parent_referrer=ADA, parent_points=60)
CONNECTORS_FAULT = replace(CLOSED, fault="connector")
ASKERS_FAULT = replace(CLOSED, fault="asker", penalty=60)
MATCHMAKERS_FAULT = replace(MATCH_CLOSED, fault="connector")

Paid = tuple[str, str, int]  # Payer, payee, points.
CHARGES: Final[list[tuple[Event, list[Paid]]]] = [
    (THANKED, [(BOB, ADA, 120)]),
    (CONFIRMED, [(BOB, ADA, 120)]),
    (QUALIFIED, [(BOB, ADA, 120)]),
    (WON, [(BOB, ADA, 240)]),
    (GROWN, [(BOB, ADA, 240), (BOB, CYD, 60)]),
    (GROWN_OF_OWN, [(BOB, ADA, 240), (BOB, ADA, 60)]),
    (MADE, [(ADA, BOB, 120)]),
    (MATCH_MADE, [(ADA, BOB, 60), (CYD, BOB, 60)]),
    (MET, [(ADA, CYD, 30)]),
    (ASKERS_FAULT, [(ADA, CYD, 60), (ADA, BOB, 60)]),
    (CONNECTORS_FAULT, [(BOB, ADA, 120), (BOB, CYD, 60)]),
    (MATCHMAKERS_FAULT, [(BOB, ADA, 60), (BOB, CYD, 60), (BOB, ADA, 30), (BOB, CYD, 30)]),
]

GIFT: Final = fold(FAVOUR, [THANKED, FORGIVEN])


def closed_state(matched: bool, fault: Fault, *, settled: bool = False) -> State | None:
    closing = replace(MATCH_CLOSED if matched else CLOSED, fault=fault, settled=settled)
    return fold(INTRO, [*(MATCH_TO_MADE if matched else TO_MADE), closing])


INTRO_MADE: Final = dispute_need(ABOUT, "intro.made")


class Books:
    """Accounts, gross tallies, and what each pair has given each other, after some events; without zeros."""

    def __init__(self, *events: Event) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        for event in events:
            self.post(event)

    def post(self, event: Event) -> None:
        for leg in entry_of(event).legs:
            self.counts[leg.member, leg.account] += leg.points
            self.counts[leg.member, "given to", leg.counterparty or ""] += leg.given
            self.counts[leg.member, "received from", leg.counterparty or ""] += leg.received
        assert all(points >= 0 for (_, account, *_), points in self.counts.items() if account == "stake")
        assert sum(points for key, points in self.counts.items() if len(key) == 2) == 0

    @property
    def all(self) -> dict[tuple[str, ...], int]:
        return {key: points for key, points in self.counts.items() if points}

    @property
    def accounts(self) -> dict[tuple[str, ...], int]:
        return {key: points for key, points in self.all.items() if len(key) == 2}

    def of(self, account: str) -> dict[str, int]:
        return {key[0]: points for key, points in self.accounts.items() if key[1] == account}
