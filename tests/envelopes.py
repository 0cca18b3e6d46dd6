"""Envelopes of events that no command recorded."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

from ledger.domain.catalog.kinds import AnyEvent
from ledger.envelope import TYPES, AggregateRef, Envelope

NOW: Final = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def make_envelope(
    ref: AggregateRef,
    event: AnyEvent,
    *,
    event_id: UUID | None = None,
    command_id: str | None = None,
    at: datetime = NOW,
) -> Envelope:
    """Return the envelope of an event that Ada recorded. The ids are random by default."""
    return Envelope(
        specversion="1.0",
        id=str(event_id or uuid4()),
        source=f"/communities/{ref.community}",
        type=TYPES[type(event)],
        subject=f"{ref.kind}/{ref.id}",
        time=at,
        datacontenttype="application/json",
        actor="ada",
        commandid=command_id or str(uuid4()),
        fingerprint="0" * 32,
        policyversion=1,
        data=event,
    )
