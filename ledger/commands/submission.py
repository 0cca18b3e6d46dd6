"""Submissions: a command with its sender's key, and the identity by which a repeat is recognised."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Final, Literal
from uuid import UUID, uuid5

import msgspec
from msgspec import Meta, Struct

from ledger.commands.refusals import KeyMissing
from ledger.domain.catalog.kinds import KINDS
from ledger.domain.values.aggregate_types import Command, Creation, Lapse, State
from ledger.domain.values.refusals import TimeInFuture, TimeTooEarly
from ledger.envelope import AggregateRef
from ledger.log.snapshot import CommandMark, LoadedAggregate

KEY_IDS: Final = UUID("a1a6a9f5-93c8-5b5c-8e0e-3a5b8d6f5b0d")  # UUID namespace of ids that derive from a key.
OCCURRED_AHEAD_MAX: Final = timedelta(minutes=5)
OCCURRED_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)

Disposition = Literal["recorded", "replayed", "unchanged"]
IdempotencyKey = Annotated[str, Meta(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]{1,128}$(?!\n)")]


class Submission(Struct, frozen=True, kw_only=True):
    """A command with its community, its operation, its aggregate and the sender's idempotency key.

    `id` is None for a creation. `if_match` is the version that the sender decided on.
    """

    community: str
    operation: str
    kind: str
    command: Command | Lapse
    id: UUID | None = None
    key: str | None = None
    if_match: int | None = None
    correlation_id: str | None = None
    traceparent: str | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """The aggregate after a command. `position` is that of the command's event; if unchanged, of the last event."""

    ref: AggregateRef
    state: State
    version: int
    position: int
    how: Disposition


class PendingCommand(Struct, kw_only=True):
    """A submission with its identity. Every attempt uses the same identity; only `sent` changes."""

    place: int  # Among the commands of the same request.
    submission: Submission
    ref: AggregateRef
    event_id: str
    command_id: str
    fingerprint: str
    now: datetime
    sent: bool = False  # An attempt has sent an event of this command to the log.


def prepare(place: int, submission: Submission, now: datetime, new_id: Callable[[], str]) -> PendingCommand:
    """Give the submission its identity: aggregate, event id, command id and fingerprint.

    Raises: KeyMissing, TimeInFuture or TimeTooEarly, with nothing recorded.
    """
    command = submission.command
    if command.occurred_at is not None:
        if command.occurred_at > now + OCCURRED_AHEAD_MAX:
            raise TimeInFuture(field="occurred_at", latest=now + OCCURRED_AHEAD_MAX)
        if command.occurred_at < OCCURRED_EARLIEST:
            raise TimeTooEarly(field="occurred_at", earliest=OCCURRED_EARLIEST)
    event_id = new_id()
    fingerprint = fingerprint_of(submission)
    return PendingCommand(
        place=place,
        submission=submission,
        ref=AggregateRef(submission.community, submission.kind, str(aggregate_id_of(submission))),
        event_id=event_id,
        command_id=command_id_of(submission, fingerprint, event_id),
        fingerprint=fingerprint,
        now=now,
    )


def aggregate_id_of(submission: Submission) -> UUID:
    """Return the id of the aggregate. A step names it, a creation derives it from its content or its key.

    Raises: KeyMissing, for a creation with neither.
    """
    command, aggregate_id = submission.command, submission.id
    if isinstance(command, Creation):
        aggregate_id = command.own_id(submission.community)
        if aggregate_id is None and submission.key is not None:
            aggregate_id = uuid5(KEY_IDS, f"{submission.community}/{submission.key}")
    if aggregate_id is None:
        raise KeyMissing
    return aggregate_id


def is_same_command(pending: PendingCommand, mark: CommandMark) -> bool:
    """Return whether the mark is of this command.

    An older mark of a step contains the key without the actor. Then the fingerprint must be the same, too.
    """
    key = pending.submission.key
    return mark.id == pending.command_id or (mark.id == key and mark.fingerprint == pending.fingerprint)


def command_id_of(submission: Submission, fingerprint: str, event_id: str) -> str:
    """Return the id by which a repeat is recognised.

    The key of a step belongs to its actor. A key shared by all actors would disclose that another member took a step.
    Without a key, a repeated creation is the same command, and a repeated step is a new one.
    """
    if submission.key is None:
        return fingerprint if can_only_begin(submission) else event_id
    if isinstance(submission.command, Creation):
        return submission.key
    return f"{submission.command.actor}:{submission.key}"


def can_only_begin(submission: Submission) -> bool:
    """Return whether the command can only create its aggregate, and never change it later."""
    return isinstance(submission.command, Creation) and not KINDS[submission.kind].recurs


def outcome_of(ref: AggregateRef, aggregate: LoadedAggregate, how: Disposition) -> Outcome:
    return Outcome(ref=ref, state=aggregate.state, version=aggregate.version, position=aggregate.position, how=how)


def fingerprint_of(submission: Submission) -> str:
    """Return the first 128 bits of SHA-256 over operation, community, aggregate and body, in lower-case hex.

    The body is the decoded command: the order of its fields and white space make no difference.
    """
    head = f"{submission.operation}\n{submission.community}\n{submission.id or ''}\n".encode()
    return sha256(head + msgspec.json.encode(submission.command)).hexdigest()[:32]
