"""Lookup of disputes, for the decisions of other kinds."""

from uuid import UUID

from ledger.domain.kinds.dispute.states import DisputedEntry, Opened, Upheld, dispute_id
from ledger.domain.values.context import Context, StateOf


def dispute_need(about: UUID, entry: DisputedEntry) -> StateOf:
    """Return the need for the dispute of an entry. `about` is the id of the aggregate."""
    return StateOf("dispute", dispute_id(about, entry))


def open_dispute_in(context: Context) -> Opened | None:
    """Return the open dispute among the findings of a decision, or None."""
    return next((found for found in context.found.values() if isinstance(found, Opened)), None)


def upheld_dispute_in(context: Context) -> Upheld | None:
    """Return the upheld dispute among the findings of a decision, or None."""
    return next((found for found in context.found.values() if isinstance(found, Upheld)), None)
