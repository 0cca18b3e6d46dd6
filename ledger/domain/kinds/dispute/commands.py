"""Commands of a dispute."""

from uuid import UUID

from ledger.domain.kinds.dispute.states import (
    Code,
    DisputedEntry,
    dispute_id,
)
from ledger.domain.values.aggregate_types import Command, Creation, Lapse

# Commands


class OpenDispute(Creation, frozen=True, kw_only=True):
    """One who was charged by the `entry` of `about` says that it should not stand, and why.

    Of an introduction that was made, the connector may say that the asker has ghosted the target.
    """

    about: UUID
    entry: DisputedEntry
    code: Code

    def own_id(self, community: str) -> UUID:
        return dispute_id(self.about, self.entry)


class UpholdDispute(Command, frozen=True, kw_only=True):
    """A moderator, who is party to none of it, agrees."""


class RejectDispute(Command, frozen=True, kw_only=True):
    """A moderator, who is party to none of it, does not agree."""


class LapseDispute(Lapse, frozen=True, kw_only=True):
    """Nobody judged it in time."""


DisputeCommand = OpenDispute | UpholdDispute | RejectDispute | LapseDispute
