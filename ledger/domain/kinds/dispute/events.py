"""Events of a dispute."""

from uuid import UUID

from ledger.domain.kinds.dispute.states import Code, DisputedEntry, Remedy
from ledger.domain.kinds.intro.states import Fault
from ledger.domain.values.aggregate_types import Event
from ledger.domain.values.entries import Transfer
from ledger.domain.values.ids import Instant, MemberId


class DisputeEventBase(Event, frozen=True, kw_only=True):
    """`about` is the id of the disputed aggregate, and `entry` the tag of the disputed event.

    `entry_id` is the id of that event, and `happened_at` its time. `transfers` are the transfers of the event, and
    `parties` all members whom it names.
    """

    about: UUID
    entry: DisputedEntry
    entry_id: UUID
    happened_at: Instant
    opener: MemberId
    parties: tuple[MemberId, ...]
    transfers: tuple[Transfer, ...]


class DisputeOpened(DisputeEventBase, frozen=True, kw_only=True, tag="dispute.opened"):
    """A member who was charged disputes an entry. The points are set aside on both sides.

    `owed` are the transfers from the member at `fault`, if the dispute is upheld.
    """

    code: Code
    lapses_at: Instant
    fault: Fault = "none"
    owed: tuple[Transfer, ...] = ()


class DisputeUpheld(DisputeEventBase, frozen=True, kw_only=True, tag="dispute.upheld"):
    """A moderator agrees: the entry is reversed, or it stands and the member at `fault` pays what is `owed`.

    The remedy is `none` if the members settled it already. `after_closing`: the introduction had closed before,
    without a fault.
    """

    remedy: Remedy
    fault: Fault = "none"
    owed: tuple[Transfer, ...] = ()
    after_closing: bool = False


class DisputeRejected(DisputeEventBase, frozen=True, kw_only=True, tag="dispute.rejected"):
    """A moderator does not agree. The entry stands, and the points go back."""


class DisputeLapsed(DisputeEventBase, frozen=True, kw_only=True, tag="dispute.lapsed"):
    """Nobody judged the dispute in time. The entry stands, and the points go back."""


DisputeEvent = DisputeOpened | DisputeUpheld | DisputeRejected | DisputeLapsed
