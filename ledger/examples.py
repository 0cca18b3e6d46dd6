"""Examples: an event of any type with a readable value in every field, and its envelope.

The documents are generated from these, so no example is written by hand, and none gets out of date.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NoReturn
from uuid import UUID

from ledger.domain.catalog.kinds import KIND_OF_EVENT
from ledger.domain.values.advice import Advice
from ledger.domain.values.aggregate_types import Event, tag_of
from ledger.domain.values.entries import Transfer
from ledger.domain.values.ids import CLOCK
from ledger.domain.values.policy import DEFAULT_POLICY
from ledger.envelope import TYPES, Envelope

COMMUNITY: Final = "acme"
MODERATOR: Final = "mod"
LAPSE_SUFFIXES: Final = (".lapsed", ".expired")
AGGREGATE: Final = "0197b0a4-2f6e-7000-8000-000000000001"
NOW: Final = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


class FieldExamples(dict[str, Any]):
    """Values by field name. Raises: KeyError, with the file to change, for a field without a value."""

    def __missing__(self, field: str) -> NoReturn:
        raise KeyError(f"no example of the field {field}: add one to EXAMPLES in ledger/examples.py")


EXAMPLES: Final[Mapping[str, Any]] = FieldExamples(
    {
        "about": UUID("0197b0a4-2f6e-7000-8000-000000000004"),
        "advice": Advice(verdict="ok"),
        "after_closing": False,
        "asker": "dan",
        "asks_in": 2,
        "band": "M",
        "code": "no_consent",
        "connector": "ada",
        "dues": True,
        "entry": "intro.made",
        "entry_id": UUID("0197b0a4-2f6e-7000-8000-00000000000b"),
        "expects_percent": 30,
        "fault": "none",
        "gathering": UUID("0197b0a4-2f6e-7000-8000-000000000003"),
        "giver": "ada",
        "happened_at": NOW,
        "held_at": NOW,
        "host": "ada",
        "invited": False,
        "joined_at": NOW,
        "lapses_at": datetime(2026, 3, 15, 9, 0, tzinfo=UTC),
        "level": 3,
        "made_at": NOW,
        "matchmade": False,
        "member": "cleo",
        "opener": "dan",
        "other": "dan",
        "outcome": "fruitful",
        "owed": (),
        "parent": UUID("0197b0a4-2f6e-7000-8000-000000000002"),
        "parent_points": 60,
        "parent_referrer": "bob",
        "parties": ("ada", "cleo", "dan"),
        "penalty": 0,
        "points": 120,
        "policy": DEFAULT_POLICY,
        "prospect": "acme-corp",
        "reason": "not_a_fit",
        "receiver": "bob",
        "recipient": "ada",
        "referrer": "cleo",
        "remedy": "reversal",
        "said_by": "cleo",
        "settled": False,
        "size": "medium",
        "sponsor": "ada",
        "stake": 60,
        "starts_at": datetime(2026, 4, 1, 0, 0, tzinfo=UTC),
        "tags": ("hiring",),
        "target": "cleo",
        "tell_now": False,
        "transfers": (Transfer("dan", "ada", 120),),
        "visible_until": datetime(2026, 3, 25, 9, 0, tzinfo=UTC),
        "welcome": ("dan",),
    }
)
"""Values by field name. A field name has the same meaning in every event."""


def example_of(event: type[Event], **changes: Any) -> Any:
    """Return an event with a readable value in every field. `changes` replace values by field name."""
    return event(**{**{field: EXAMPLES[field] for field in event.__struct_fields__}, **changes})


def actor_of(event: Any) -> str:
    """Return an actor of the event: the clock for a lapse, one of the parties, or a moderator if it has no party."""
    if tag_of(event).endswith(LAPSE_SUFFIXES):
        return CLOCK
    parties = (getattr(event, party, None) for party in reversed(KIND_OF_EVENT[type(event)].parties))
    return next(filter(None, parties), MODERATOR)


def envelope_of(event: Any) -> Envelope:
    """Return an envelope with the event."""
    return Envelope(
        specversion="1.0",
        id="0197b0a4-2f6e-7000-8000-00000000000a",
        source=f"/communities/{COMMUNITY}",
        type=TYPES[type(event)],
        subject=f"{KIND_OF_EVENT[type(event)].name}/{AGGREGATE}",
        time=NOW,
        datacontenttype="application/json",
        actor=actor_of(event),
        commandid="a-key-of-the-caller",
        fingerprint="2f6ad9c70f2b4f5e8a1f3f0c7b9d1e24",
        policyversion=1,
        data=event,
    )
