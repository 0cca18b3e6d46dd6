"""Carrying out commands: load, decide, append, and again when somebody else was first.

Every command takes this way, whoever sends it. Many at once are loaded by one read and appended as one atomic batch;
each of them still succeeds or fails alone.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from operator import attrgetter
from typing import Annotated, Final, Literal, cast
from uuid import UUID, uuid5

import msgspec
from msgspec import Meta, Struct
from uuid_utils import uuid7

from ledger.domain.catalog.kinds import KINDS, POLICY, AnyEvent
from ledger.domain.kinds.intro.commands import ProposeIntro
from ledger.domain.kinds.publication import POLICY_NOTICE, Publication, policy_in_force, publication_id
from ledger.domain.values.advice import GuardFacts
from ledger.domain.values.aggregate_types import Command, Creation, Lapse, State
from ledger.domain.values.context import Context, EventOf, Finding, Need, PastEvent
from ledger.domain.values.policy import Policy
from ledger.domain.values.refusals import Bug, GuardUnavailable, Refusal, TimeInFuture, TimeTooEarly
from ledger.envelope import TYPES, AggregateRef, Envelope, Recorded, encode
from ledger.log.aggregate import Aggregate, CommandMark, aggregate_of, snapshot_after
from ledger.log.event_log import APPEND_MAX, Append, AppendUncertain, Conflict, EventLog, LogUnavailable
from ledger.log.message import subject_of
from ledger.runtime.telemetry import COMMANDS

KEY_IDS: Final = UUID("a1a6a9f5-93c8-5b5c-8e0e-3a5b8d6f5b0d")
AHEAD_MAX: Final = timedelta(minutes=5)
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
ATTEMPTS_MAX: Final = 5
POLICY_REMEMBERED: Final = POLICY_NOTICE / 2
POLICIES_MAX: Final = 10_000  # Communities, each of a few KiB.
JITTER_MAX_S: Final = 0.02

How = Literal["recorded", "replayed", "unchanged"]
IdempotencyKey = Annotated[str, Meta(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]{1,128}$(?!\n)")]


class KeyMissing(Refusal):
    """A creation needs an Idempotency-Key, or an id of its own."""

    code = "idempotency_key_missing"


class KeyReused(Refusal):
    """The Idempotency-Key was used for another request."""

    code = "idempotency_key_reused"


class VersionMismatch(Refusal):
    """It has changed since you read it: its version is not the one in If-Match."""

    code = "version_mismatch"


class Contended(Refusal):
    """Others change it at the same time, again and again. Try again."""

    code = "contended"


class Submission(Struct, frozen=True, kw_only=True):
    """A command on its way: who asks for what, of which aggregate, and how it is told apart from another."""

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
    """What became of a command. `position` is that of its event; of one that was already so, the last one's."""

    ref: AggregateRef
    state: State
    version: int
    position: int
    how: How


class _Pending(Struct, kw_only=True):
    """A submission and what is known about it: all but `sent` is the same at every attempt."""

    place: int  # Among those that were submitted together.
    submission: Submission
    ref: AggregateRef
    event_id: str
    command_id: str
    fingerprint: str
    now: datetime
    sent: bool = False  # An event of it, by this attempt or an earlier one.


class _Awaits(Exception):
    """What it needs to know is still to be done by a command before it."""


Ahead = Mapping[AggregateRef, int]
"""Aggregates to which something is still to be done, each with the place of the first command that does it."""


Consult = Callable[[str, ProposeIntro, Policy, datetime], Awaitable[GuardFacts | None]]
"""What the books say of an ask: from the community, the ask, the policy and the time; None when they do not answer."""


async def nobody(_community: str, _ask: ProposeIntro, _policy: Policy, _now: datetime) -> None:
    """Consulted where there are no books: the guard has nothing to go by."""


class Executor:
    """Carries out commands against a log. `now` is the ledger's clock; `consult` is asked before an ask is decided."""

    def __init__(
        self,
        log: EventLog,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        consult: Consult = nobody,
    ) -> None:
        self._log = log
        self._now = now
        self._consult = consult
        self._policies: dict[str, tuple[datetime, Publication | None]] = {}

    async def execute(self, submission: Submission) -> Outcome:
        """Carry out one command. A caller that goes away does not stop it halfway.

        Raises: Refusal or LogUnavailable, with nothing recorded; AppendUncertain, with either.
        """
        (result,) = await self.execute_all([submission])
        if isinstance(result, Refusal):
            raise result
        return result

    async def execute_all(self, submissions: Sequence[Submission]) -> list[Outcome | Refusal]:
        """Carry out many, in order where one meets or needs what another does; each succeeds or is refused alone.

        Raises: LogUnavailable or AppendUncertain: some may be recorded, and repeating all of them is harmless.
        """
        results = await asyncio.shield(asyncio.ensure_future(self._execute_all(submissions)))
        for submission, result in zip(submissions, results, strict=True):
            outcome = result.code if isinstance(result, Refusal) else result.how
            COMMANDS.labels(submission.operation, outcome).inc()
        return results

    async def _execute_all(self, submissions: Sequence[Submission]) -> list[Outcome | Refusal]:
        results: dict[int, Outcome | Refusal] = {}
        waiting: list[_Pending] = []
        for place, submission in enumerate(submissions):
            try:
                waiting.append(self._prepare(place, submission))
            except Refusal as refusal:
                results[place] = alone(refusal)
        while waiting:
            # An atomic batch may hold one event an aggregate: the next one waits for the next round.
            turn: dict[AggregateRef, _Pending] = {}
            later: list[_Pending] = []
            for pending in waiting:
                if pending.ref in turn or len(turn) == APPEND_MAX:
                    later.append(pending)
                else:
                    turn[pending.ref] = pending
            ahead = {pending.ref: pending.place for pending in reversed(later)}
            outcomes = await self._retry(list(turn.values()), ahead)
            for pending, outcome in zip(turn.values(), outcomes, strict=True):
                if outcome is None:
                    later.append(pending)
                else:
                    results[pending.place] = outcome
            waiting = sorted(later, key=attrgetter("place"))
        return [results[place] for place in range(len(submissions))]

    def _prepare(self, place: int, submission: Submission) -> _Pending:
        command = submission.command
        now = self._now()
        if command.occurred_at is not None:
            if command.occurred_at > now + AHEAD_MAX:
                raise TimeInFuture(field="occurred_at", latest=now + AHEAD_MAX)
            if command.occurred_at < EARLIEST:
                raise TimeTooEarly(field="occurred_at", earliest=EARLIEST)
        event_id = str(uuid7())
        aggregate_id = submission.id
        if isinstance(command, Creation):
            aggregate_id = command.own_id(submission.community)
            if aggregate_id is None and submission.key is not None:
                aggregate_id = uuid5(KEY_IDS, f"{submission.community}/{submission.key}")
        if aggregate_id is None:
            raise KeyMissing
        fingerprint = fingerprint_of(submission)
        return _Pending(
            place=place,
            submission=submission,
            ref=AggregateRef(submission.community, submission.kind, str(aggregate_id)),
            event_id=event_id,
            command_id=command_id_of(submission, fingerprint, event_id),
            fingerprint=fingerprint,
            now=now,
        )

    async def _retry(
        self, turn: Sequence[_Pending], ahead: Ahead, *, uncertain: bool = False
    ) -> list[Outcome | Refusal | None]:
        """One attempt after the other. Many that meet a conflict part in two, so that it stays with its own."""
        fresh = False
        for _ in range(ATTEMPTS_MAX):
            try:
                results = await self._attempt(turn, ahead, fresh=fresh)
            except Conflict:
                if len(turn) > 1:
                    middle = len(turn) // 2
                    results = await self._retry(turn[:middle], ahead, uncertain=uncertain)
                    if None in results:  # What comes after it may need it.
                        return [*results, *[None] * (len(turn) - middle)]
                    return results + await self._retry(turn[middle:], ahead, uncertain=uncertain)
                fresh = True  # A replica may be as far behind as it was.
                await asyncio.sleep(random.uniform(0, JITTER_MAX_S))  # noqa: S311  Spread, not secrecy.
            except AppendUncertain:
                if uncertain:
                    raise
                uncertain = True  # Once more: if it was recorded, it is met again.
            except LogUnavailable as error:
                if uncertain:  # By an earlier attempt it may be recorded all the same.
                    raise AppendUncertain(str(error)) from error
                raise
            else:
                if uncertain:
                    require_certain(turn, results)
                return results
        if uncertain:
            raise AppendUncertain("others were first, again and again")
        return [Contended(kind=pending.submission.kind, id=pending.ref.id) for pending in turn]

    async def _attempt(self, turn: Sequence[_Pending], ahead: Ahead, *, fresh: bool) -> list[Outcome | Refusal | None]:
        """One read, one decision each, one append. None, for one that needs what others before it are still to do.

        What records nothing is decided once more on a fresh read, for no append would tell that the first was stale;
        but a creation that is refused on nothing stays refused, whatever is there.
        """
        loaded = await self._log.last([pending.ref for pending in turn], fresh=fresh)
        results: list[Outcome | Refusal | None] = []
        appends: list[tuple[int, Outcome, Append]] = []
        ahead = dict(ahead)
        for pending, last in zip(turn, loaded, strict=True):
            try:
                aggregate = aggregate_of(last) if last is not None else None
                result: Outcome | Refusal | None = await self._replay(pending, aggregate)
                if result is None:
                    result, append = await self._decide(pending, aggregate, ahead)
                    if append is not None:
                        appends.append((len(results), result, append))
                        ahead[pending.ref] = pending.place
                        pending.sent = True
                results.append(result)
            except Refusal as refusal:
                results.append(alone(refusal))
            except _Awaits:
                results.append(None)
                ahead[pending.ref] = pending.place
        if appends:
            positions = await self._log.append([append for _, _, append in appends])
            for (index, outcome, _), position in zip(appends, positions, strict=True):
                results[index] = msgspec.structs.replace(outcome, position=position)
        if not fresh:
            doubtful = [
                n
                for n, result in enumerate(results)
                if (isinstance(result, Refusal) or (result is not None and result.how == "unchanged"))
                and not (loaded[n] is None and is_settled_on_nothing(turn[n]))
            ]
            if doubtful:
                again = await self._attempt([turn[n] for n in doubtful], ahead, fresh=True)
                for n, result in zip(doubtful, again, strict=True):
                    results[n] = result
        return results

    async def _replay(self, pending: _Pending, aggregate: Aggregate | None) -> Outcome | None:
        """The answer of the first time, when this command is already recorded. None, when it is not.

        Raises: KeyReused, when the same key came with another request.
        """
        if aggregate is None:
            return None
        mark = await self._mark(pending, aggregate)
        if mark is None:
            return None
        if mark.fingerprint != pending.fingerprint:
            raise KeyReused(kind=pending.ref.kind, id=pending.ref.id)
        then = await self._as_of(mark.position) if mark.position != aggregate.position else aggregate
        ours = then.event_id == pending.event_id  # It was recorded by an attempt that heard no answer.
        return outcome_of(pending.ref, then, "recorded" if ours else "replayed")

    async def _mark(self, pending: _Pending, aggregate: Aggregate) -> CommandMark | None:
        """Where this command is recorded. An event knows the few before it: in a long life they are gone back through.

        Only a command with a key can be that old; the others are told apart by their event, or begin a short life.
        """
        while True:
            marks = aggregate.commands
            mark = next((mark for mark in marks if is_of(pending, mark)), None)
            if mark is not None or pending.submission.key is None or aggregate.version <= len(marks):
                return mark
            if marks[0].position >= aggregate.position:
                return None
            aggregate = await self._as_of(marks[0].position)

    async def _as_of(self, position: int) -> Aggregate:
        """The aggregate as the event at this position left it."""
        message = await self._log.at(position)
        if message is None:
            raise LogUnavailable(f"position {position} is not to be read yet")
        return aggregate_of(message)

    async def _decide(
        self, pending: _Pending, aggregate: Aggregate | None, ahead: Ahead
    ) -> tuple[Outcome, Append | None]:
        """What the command comes to, and what to append: nothing, when it is already so.

        Raises: Refusal; _Awaits.
        """
        submission, command, ref = pending.submission, pending.submission.command, pending.ref
        kind = KINDS[ref.kind]
        before = aggregate.state if aggregate else None
        if submission.if_match is not None:
            version = (
                kind.version_read_by(command.actor, aggregate.state, aggregate.version, pending.now) if aggregate else 0
            )
            if submission.if_match != version:
                raise VersionMismatch(if_match=submission.if_match, version=version)
        needs = kind.needs(command, before, UUID(ref.id))
        for need in needs:
            if ahead.get(AggregateRef(ref.community, need.kind, str(need.id)), pending.place) < pending.place:
                raise _Awaits
        policy = await self._policy(ref.community, pending.now)
        context = Context(
            now=pending.now,
            policy=policy,
            found={need: await self._find(ref.community, need) for need in needs},
            facts=await self._facts(pending, policy) if aggregate is None else None,
        )
        event = kind.decide(command, before, context)
        if event is None:
            if aggregate is None:
                raise Bug(f"{submission.operation} is already so on nothing")
            return outcome_of(ref, aggregate, "unchanged"), None
        state = kind.evolve(before, event)
        append = Append(
            ref=ref,
            subject=subject_of(ref, event),
            body=encode(envelope_of(pending, event, policy)),
            snapshot=snapshot_after(aggregate, state) if aggregate else None,
            expected=aggregate.position if aggregate else 0,
        )
        version = aggregate.version + 1 if aggregate else 1
        return Outcome(ref=ref, state=state, version=version, position=0, how="recorded"), append

    async def _policy(self, community: str, now: datetime) -> Policy:
        """The policy in force. Remembered for less than the notice that a new one needs, so never out of date."""
        remembered = self._policies.get(community)
        if remembered is None or not timedelta(0) <= now - remembered[0] < POLICY_REMEMBERED:
            ref = AggregateRef(community, POLICY.name, str(publication_id(community)))
            (last,) = await self._log.last([ref], fresh=True)
            if len(self._policies) >= POLICIES_MAX:
                self._policies.clear()
            remembered = (now, cast("Publication", aggregate_of(last).state) if last is not None else None)
            self._policies[community] = remembered
        return policy_in_force(remembered[1], now)

    async def _facts(self, pending: _Pending, policy: Policy) -> GuardFacts | None:
        """What the guard weighs. From the books, which may lag: a limit may be passed by who is quicker than they are.

        Raises: GuardUnavailable, when the books do not answer and the community enforces.
        """
        command = pending.submission.command
        if not isinstance(command, ProposeIntro) or command.actor != command.asker or policy.guard == "off":
            return None
        facts = await self._consult(pending.ref.community, command, policy, pending.now)
        if facts is None and policy.guard == "enforce":
            raise GuardUnavailable
        return facts

    async def _find(self, community: str, need: Need) -> Finding:
        """What another aggregate has to say, always on the leader's word: no expectation guards it."""
        ref = AggregateRef(community, need.kind, str(need.id))
        if isinstance(need, EventOf):
            last = await self._log.last_named(ref, need.event)
            return happened(last) if last is not None else None
        (last,) = await self._log.last([ref], fresh=True)
        return aggregate_of(last).state if last is not None else None


def require_certain(turn: Sequence[_Pending], results: Sequence[Outcome | Refusal | None]) -> None:
    """Raises: AppendUncertain, when one is refused now whose event was sent before, and may arrive yet."""
    for pending, result in zip(turn, results, strict=True):
        if pending.sent and isinstance(result, Refusal) and not isinstance(result, KeyReused):
            raise AppendUncertain(f"it is refused now ({result.code}), and may be recorded all the same")


def alone(refusal: Refusal) -> Refusal:
    """Without the frames it came through: they hold what it is kept in, and all of it would wait for the collector."""
    return refusal.with_traceback(None)


def is_settled_on_nothing(pending: _Pending) -> bool:
    """Whether the command is decided without reading anything, when its aggregate is not there yet."""
    command = pending.submission.command
    return isinstance(command, Creation) and not KINDS[pending.ref.kind].needs(command, None, UUID(pending.ref.id))


def happened(recorded: Recorded) -> PastEvent:
    envelope = recorded.envelope
    recorded_at = datetime.fromtimestamp(recorded.recorded_at_us / 1_000_000, UTC)
    return PastEvent(UUID(envelope.id), envelope.data, recorded_at, envelope.time)


def is_of(pending: _Pending, mark: CommandMark) -> bool:
    """Whether the mark is this command's. Older ones bear a step's bare key; the fingerprint tells whose it is."""
    bare = pending.submission.key
    return mark.id == pending.command_id or (mark.id == bare and mark.fingerprint == pending.fingerprint)


def command_id_of(submission: Submission, fingerprint: str, event_id: str) -> str:
    """What a repeat is known by.

    A step's key is its actor's own: were it everybody's, one who is told that it was used would learn that somebody
    else has taken a step. Without a key, the same creation again is the same command, and the same step another one.
    """
    if submission.key is None:
        return fingerprint if is_once(submission) else event_id
    if isinstance(submission.command, Creation):
        return submission.key
    return f"{submission.command.actor}:{submission.key}"


def is_once(submission: Submission) -> bool:
    """Whether the command can only begin its aggregate, and never happen to it again."""
    return isinstance(submission.command, Creation) and not KINDS[submission.kind].recurs


def outcome_of(ref: AggregateRef, aggregate: Aggregate, how: How) -> Outcome:
    return Outcome(ref=ref, state=aggregate.state, version=aggregate.version, position=aggregate.position, how=how)


def envelope_of(pending: _Pending, event: AnyEvent, policy: Policy) -> Envelope:
    submission, command, ref = pending.submission, pending.submission.command, pending.ref
    return Envelope(
        specversion="1.0",
        id=pending.event_id,
        source=f"/communities/{ref.community}",
        type=TYPES[type(event)],
        subject=f"{ref.kind}/{ref.id}",
        time=command.occurred_at or pending.now,
        datacontenttype="application/json",
        actor=command.actor,
        commandid=pending.command_id,
        fingerprint=pending.fingerprint,
        policyversion=policy.version,
        data=event,
        correlationid=submission.correlation_id,
        traceparent=submission.traceparent,
    )


def fingerprint_of(submission: Submission) -> str:
    """The first 128 bits of SHA-256 over operation, community, aggregate and body, in lower-case hex.

    The body is the command as understood: the order of its fields and white space make no difference.
    """
    head = f"{submission.operation}\n{submission.community}\n{submission.id or ''}\n".encode()
    return sha256(head + msgspec.json.encode(submission.command)).hexdigest()[:32]
