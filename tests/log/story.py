"""What the specs of the log are told with: events, appends and submissions of a few members, and waiting for things."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec

from ledger.commands.submission import Submission
from ledger.domain.catalog.kinds import KIND_OF_EVENT, AnyEvent
from ledger.domain.catalog.operations import OPERATIONS
from ledger.domain.kinds.favour import FavourClaimed, FavourConfirmed, FavourForgiven
from ledger.envelope import TYPES, AggregateRef, Envelope, RecordedEvent, decode, encode
from ledger.log.event_log import Append, EventLog
from ledger.log.message import subject_of
from ledger.log.snapshot import load_aggregate, snapshot_after

NOW: Final = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
WAIT_MAX_S: Final = 20.0
POLL_S: Final = 0.01
COMMUNITY: Final = "acme"

GROWN: Final = ".grown"
GOLDEN: Final[dict[str, bytes]] = {  # By event type, and again for one that has grown since: as stored, to the byte.
    f"referral-ledger.{path.stem}": path.read_bytes().removesuffix(b"\n")
    for path in sorted((Path(__file__).parent / "golden").glob("*.json"))
}
OUTGROWN: Final = frozenset(name.removesuffix(GROWN) for name in GOLDEN if name.endswith(GROWN))
CLAIMED: Final = FavourClaimed(
    giver="ada", receiver="bob", size="medium", points=120, lapses_at=NOW + timedelta(days=14)
)
CONFIRMED: Final = FavourConfirmed(giver="ada", receiver="bob", points=120)
FORGIVEN: Final = FavourForgiven(giver="ada", receiver="bob", points=120)


def a_favour(community: str = COMMUNITY) -> AggregateRef:
    return AggregateRef(community, "favour", str(uuid4()))


def envelope_of(ref: AggregateRef, event: AnyEvent, *, key: str | None = None) -> Envelope:
    return Envelope(
        specversion="1.0",
        id=str(uuid4()),
        source=f"/communities/{ref.community}",
        type=TYPES[type(event)],
        subject=f"{KIND_OF_EVENT[type(event)].name}/{ref.id}",
        time=NOW,
        datacontenttype="application/json",
        actor="ada",
        commandid=key or str(uuid4()),
        fingerprint="0" * 32,
        policyversion=1,
        data=event,
    )


def first(ref: AggregateRef | None = None, event: AnyEvent = CLAIMED, *, key: str | None = None) -> Append:
    """The event that begins an aggregate."""
    ref = ref or a_favour()
    return Append(ref, subject_of(ref, event), encode(envelope_of(ref, event, key=key)), None, 0)


def following(last: RecordedEvent, event: AnyEvent, *, key: str | None = None) -> Append:
    """The next event of the aggregate whose last one this is."""
    before = load_aggregate(last)
    snapshot = snapshot_after(before, last.kind.evolve(before.state, event))
    body = encode(envelope_of(last.ref, event, key=key))
    return Append(last.ref, subject_of(last.ref, event), body, snapshot, last.position)


def altered(append: Append, **fields: Any) -> Append:
    """The same, with other fields in its envelope."""
    body = msgspec.json.decode(append.body) | fields
    return msgspec.structs.replace(append, body=msgspec.json.encode(body))


def golden(sample: str) -> Envelope:
    return decode(GOLDEN[sample])


def asks(operation: str, *, community: str = COMMUNITY, **fields: Any) -> Submission:
    """A submission; `id`, `key` and `if_match` are its own, every other field is the command's."""
    known = OPERATIONS[operation]
    command_id = fields.pop("command_id", None)
    own = {name: fields.pop(name) for name in ("id", "key", "if_match") if name in fields}
    if command_id is not None:
        fields["id"] = command_id
    return Submission(
        community=community, operation=operation, kind=known.kind.name, command=known.command(**fields), **own
    )


def claims(*, id: UUID | None = None, community: str = COMMUNITY, **fields: Any) -> Submission:  # noqa: A002 - As the command calls it.
    """Ada says that she did Bob a favour."""
    whole: dict[str, Any] = {"actor": "ada", "giver": "ada", "receiver": "bob", "size": "medium", **fields}
    return asks("favour.record", community=community, command_id=id, **whole)


def confirms(favour: UUID | str, **fields: Any) -> Submission:
    return asks("favour.confirm", id=UUID(str(favour)), **{"actor": "bob", **fields})


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    deadline = asyncio.get_running_loop().time() + WAIT_MAX_S
    while not await holds():
        assert asyncio.get_running_loop().time() < deadline, "it never came to hold"
        await asyncio.sleep(POLL_S)


async def settled(log: EventLog, refs: Sequence[AggregateRef], position: int) -> list[RecordedEvent | None]:
    """The last event of each, once a read that may be stale has caught up with `position`."""
    found: list[RecordedEvent | None] = []

    async def caught_up() -> bool:
        nonlocal found
        found = await log.last(refs)
        return max((last.position for last in found if last is not None), default=0) >= position

    await until(caught_up)
    return found


async def last_of(log: EventLog, ref: AggregateRef, position: int) -> RecordedEvent:
    (last,) = await settled(log, [ref], position)
    assert last is not None
    return last


async def take(reading: AsyncIterator[list[RecordedEvent]], count: int) -> list[RecordedEvent]:
    """The next events, at least `count`; the reading goes on."""
    taken: list[RecordedEvent] = []
    async with asyncio.timeout(WAIT_MAX_S):
        while len(taken) < count:
            taken += await anext(reading)
    return taken


async def read(log: EventLog, position: int, count: int, *, batch_max: int = 1_000) -> list[RecordedEvent]:
    """At least `count` events from `position` on; the reading ends."""
    async with aclosing(log.read_from(position, batch_max=batch_max)) as events:
        return await take(events, count)
