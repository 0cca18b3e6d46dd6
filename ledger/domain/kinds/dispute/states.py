"""States of a dispute, and its id."""

from typing import Literal
from uuid import UUID, uuid5

from ledger.domain.kinds.intro.states import Fault
from ledger.domain.values.aggregate_types import State
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
    """`about` is the id of the disputed aggregate, and `entry` the tag of the disputed event.

    `entry_id` is the id of that event, and `happened_at` its time. `transfers` are the transfers of the event, and
    `parties` all members whom it names. `owed` are the transfers from the member at `fault`, if the dispute is upheld.
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
    """The points are set aside. A moderator has until `lapses_at` to judge the dispute."""

    lapses_at: Instant


class Upheld(DisputeState, frozen=True, kw_only=True, tag="upheld"):
    """A moderator agreed with the opener. `remedy` is the consequence."""

    remedy: Remedy


class Rejected(DisputeState, frozen=True, kw_only=True, tag="rejected"):
    """A moderator did not agree. The entry stands."""


class Lapsed(DisputeState, frozen=True, kw_only=True, tag="lapsed"):
    """Nobody judged the dispute in time. The entry stands."""


Dispute = Opened | Upheld | Rejected | Lapsed


def dispute_id(about: UUID, entry: DisputedEntry) -> UUID:
    """Return UUIDv5 (RFC 9562) of the aggregate and the tag of the entry, so that it is disputed at most once."""
    return uuid5(about, entry)
