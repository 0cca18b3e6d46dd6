"""Events of a dispute."""

from uuid import UUID

from ledger.domain.kinds.dispute.states import (
    Code,
    DisputedEntry,
    Remedy,
)
from ledger.domain.kinds.intro.states import Fault
from ledger.domain.values.aggregate_types import Event
from ledger.domain.values.entries import Transfer
from ledger.domain.values.ids import Instant, MemberId

# Events


class DisputeEventBase(Event, frozen=True, kw_only=True):
    """`entry_id` is the event that charged `opener`, and `happened_at` when what it tells of happened.

    `transfers` are what it charged, `parties` all whom it names.
    """

    about: UUID
    entry: DisputedEntry
    entry_id: UUID
    happened_at: Instant
    opener: MemberId
    parties: tuple[MemberId, ...]
    transfers: tuple[Transfer, ...]


class DisputeOpened(DisputeEventBase, frozen=True, kw_only=True, tag="dispute.opened"):
    """One who was charged says why it should not stand: the points are set aside on both sides.

    `owed` is what it costs the one at `fault`, if it is upheld.
    """

    code: Code
    lapses_at: Instant
    fault: Fault = "none"
    owed: tuple[Transfer, ...] = ()


class DisputeUpheld(DisputeEventBase, frozen=True, kw_only=True, tag="dispute.upheld"):
    """A moderator agrees: the entry is reversed, or it stands and the one at `fault` pays what is `owed`.

    The remedy is `none` when meanwhile it was made good by those who were in it. `after_closing`: the introduction
    was over by then, as if nobody had been at fault.
    """

    remedy: Remedy
    fault: Fault = "none"
    owed: tuple[Transfer, ...] = ()
    after_closing: bool = False


class DisputeRejected(DisputeEventBase, frozen=True, kw_only=True, tag="dispute.rejected"):
    """A moderator does not agree: the entry stands, and the points go back."""


class DisputeLapsed(DisputeEventBase, frozen=True, kw_only=True, tag="dispute.lapsed"):
    """Nobody judged it in time: the entry stands, and the points go back."""


DisputeEvent = DisputeOpened | DisputeUpheld | DisputeRejected | DisputeLapsed
