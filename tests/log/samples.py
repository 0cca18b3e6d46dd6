"""Events, appends and submissions of a few members, for tests of the log."""

from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec

from ledger.commands.submission import Submission
from ledger.domain.catalog.kinds import AnyEvent
from ledger.domain.catalog.operations import OPERATIONS
from ledger.domain.kinds.favour import FavourClaimed, FavourConfirmed, FavourForgiven
from ledger.envelope import AggregateRef, Envelope, RecordedEvent, decode, encode
from ledger.log.event_log import Append
from ledger.log.message import subject_of
from ledger.log.snapshot import load_aggregate, snapshot_after
from tests.envelopes import NOW, make_envelope

COMMUNITY: Final = "acme"

GROWN: Final = ".grown"
# By event type: the stored bytes. A type with fields added later has a second sample, named `.grown`.
GOLDEN: Final[dict[str, bytes]] = {
    f"referral-ledger.{path.stem}": path.read_bytes().removesuffix(b"\n")
    for path in sorted((Path(__file__).parent / "golden").glob("*.json"))
}
OUTGROWN: Final = frozenset(name.removesuffix(GROWN) for name in GOLDEN if name.endswith(GROWN))
CLAIMED: Final = FavourClaimed(
    giver="ada", receiver="bob", size="medium", points=120, lapses_at=NOW + timedelta(days=14)
)
CONFIRMED: Final = FavourConfirmed(giver="ada", receiver="bob", points=120)
FORGIVEN: Final = FavourForgiven(giver="ada", receiver="bob", points=120)


def favour_ref(community: str = COMMUNITY) -> AggregateRef:
    """Return the reference of a new favour."""
    return AggregateRef(community, "favour", str(uuid4()))


def first_append(ref: AggregateRef | None = None, event: AnyEvent = CLAIMED, *, key: str | None = None) -> Append:
    """Return the append of the first event of an aggregate. `key` is the id of its command."""
    ref = ref or favour_ref()
    return Append(ref, subject_of(ref, event), encode(make_envelope(ref, event, command_id=key)), None, 0)


def next_append(last: RecordedEvent, event: AnyEvent, *, key: str | None = None) -> Append:
    """Return the append of the event after `last` in its aggregate."""
    before = load_aggregate(last)
    snapshot = snapshot_after(before, last.kind.evolve(before.state, event))
    body = encode(make_envelope(last.ref, event, command_id=key))
    return Append(last.ref, subject_of(last.ref, event), body, snapshot, last.position)


def with_fields(append: Append, **fields: Any) -> Append:
    """Return the same append with other fields in its envelope."""
    body = msgspec.json.decode(append.body) | fields
    return msgspec.structs.replace(append, body=msgspec.json.encode(body))


def golden_envelope(sample: str) -> Envelope:
    return decode(GOLDEN[sample])


def submission_of(operation: str, *, community: str = COMMUNITY, **fields: Any) -> Submission:
    """Return a submission. `id`, `key` and `if_match` belong to it; `command_id` and the rest belong to the command."""
    known = OPERATIONS[operation]
    command_id = fields.pop("command_id", None)
    own = {name: fields.pop(name) for name in ("id", "key", "if_match") if name in fields}
    if command_id is not None:
        fields["id"] = command_id
    return Submission(
        community=community, operation=operation, kind=known.kind.name, command=known.command(**fields), **own
    )


def claim(*, id: UUID | None = None, community: str = COMMUNITY, **fields: Any) -> Submission:  # noqa: A002 - the command has this name.
    """Return the submission in which Ada claims a favour for Bob."""
    whole: dict[str, Any] = {"actor": "ada", "giver": "ada", "receiver": "bob", "size": "medium", **fields}
    return submission_of("favour.record", community=community, command_id=id, **whole)


def confirm(favour: UUID | str, **fields: Any) -> Submission:
    """Return the submission in which Bob confirms a favour."""
    return submission_of("favour.confirm", id=UUID(str(favour)), **{"actor": "bob", **fields})
