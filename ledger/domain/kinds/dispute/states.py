"""States of a dispute, and how other kinds ask for them."""

from typing import Literal
from uuid import UUID, uuid5

from ledger.domain.kinds.intro.states import Fault
from ledger.domain.values.aggregate_types import State
from ledger.domain.values.context import Context, StateOf
from ledger.domain.values.entries import Transfer
from ledger.domain.values.ids import Instant, MemberId

DisputedEntry = Literal[
    "favour.thanked",
    "favour.confirmed",
    "referral.qualified",
    "referral.won",
    "intro.made",
    "intro.met",
    "intro.closed",
]
Code = Literal["not_mine", "duplicate", "no_consent", "misdescribed", "asker_ghosted"]
Remedy = Literal["reversal", "fault", "none"]


class DisputeState(State, frozen=True, kw_only=True):
    """`about` is the aggregate, `entry` the event of it that charged `opener`, `parties` all whom that event names.

    `transfers` are the disputed points, and `owed` is what it costs the one at `fault`, if it is upheld.
    """

    about: UUID
    entry: DisputedEntry
    entry_id: UUID
    happened_at: Instant
    opener: MemberId
    code: Code
    parties: tuple[MemberId, ...]
    transfers: tuple[Transfer, ...]
    fault: Fault = "none"
    owed: tuple[Transfer, ...] = ()


class Opened(DisputeState, frozen=True, kw_only=True, tag="opened"):
    """The points are set aside; a moderator has until `lapses_at` to say whether they stand."""

    lapses_at: Instant


class Upheld(DisputeState, frozen=True, kw_only=True, tag="upheld"):
    """A moderator agrees with the one who was charged, and this was done about it."""

    remedy: Remedy


class Rejected(DisputeState, frozen=True, kw_only=True, tag="rejected"):
    """A moderator does not agree: the entry stands."""


class Lapsed(DisputeState, frozen=True, kw_only=True, tag="lapsed"):
    """Nobody judged it: the entry stands."""


Dispute = Opened | Upheld | Rejected | Lapsed


def dispute_id(about: UUID, entry: DisputedEntry) -> UUID:
    """RFC 9562 version 5 of the aggregate and the entry's tag: an entry is disputed at most once."""
    return uuid5(about, entry)


def dispute_need(about: UUID, entry: DisputedEntry) -> StateOf:
    """The need to know how far the dispute of this entry has come."""
    return StateOf("dispute", dispute_id(about, entry))


def open_dispute_in(context: Context) -> Opened | None:
    """The dispute nobody has judged yet, among what the decision asked to see."""
    return next((found for found in context.found.values() if isinstance(found, Opened)), None)


def upheld_dispute_in(context: Context) -> Upheld | None:
    """The dispute that was upheld, among what the decision asked to see."""
    return next((found for found in context.found.values() if isinstance(found, Upheld)), None)
