"""Commands of a dispute."""

from uuid import UUID

from ledger.domain.kinds.dispute.states import Code, DisputedEntry, dispute_id
from ledger.domain.values.aggregate_types import Command, Creation, Lapse


class OpenDispute(Creation, frozen=True, kw_only=True):
    """Dispute an entry, as a member whom it charged.

    `about` is the id of the aggregate, and `entry` the event of it. With `asker_ghosted`, the connector of an ask
    disputes `intro.made`.
    """

    about: UUID
    entry: DisputedEntry
    code: Code

    def own_id(self, community: str) -> UUID:
        return dispute_id(self.about, self.entry)


class UpholdDispute(Command, frozen=True, kw_only=True):
    """Uphold a dispute, as a moderator who is not a party to it."""


class RejectDispute(Command, frozen=True, kw_only=True):
    """Reject a dispute, as a moderator who is not a party to it."""


class LapseDispute(Lapse, frozen=True, kw_only=True):
    """End a dispute that nobody judged in time."""


DisputeCommand = OpenDispute | UpholdDispute | RejectDispute | LapseDispute
