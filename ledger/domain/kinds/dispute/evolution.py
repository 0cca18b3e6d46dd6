"""The state machine of a dispute."""

from ledger.domain.kinds.dispute.events import (
    DisputeEvent,
    DisputeLapsed,
    DisputeOpened,
    DisputeRejected,
    DisputeUpheld,
)
from ledger.domain.kinds.dispute.states import Dispute, Lapsed, Opened, Rejected, Upheld
from ledger.domain.values.aggregate_types import become, tag_of
from ledger.domain.values.refusals import Bug


def evolve(state: Dispute | None, event: DisputeEvent) -> Dispute:
    """Return the state after `event`. Raises: Bug, if the history is corrupt (a pair that is not listed)."""
    match state, event:
        case None, DisputeOpened():
            return Opened(
                about=event.about,
                entry=event.entry,
                entry_id=event.entry_id,
                happened_at=event.happened_at,
                opener=event.opener,
                code=event.code,
                parties=event.parties,
                transfers=event.transfers,
                fault=event.fault,
                owed=event.owed,
                lapses_at=event.lapses_at,
            )
        case Opened(), DisputeUpheld():
            return become(Upheld, state, remedy=event.remedy)
        case Opened(), DisputeRejected():
            return become(Rejected, state)
        case Opened(), DisputeLapsed():
            return become(Lapsed, state)
        case _:
            raise Bug(f"{tag_of(event)} after {state and tag_of(state)}")
