"""Decisions: turns one command and its aggregate into the event to append."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, cast
from uuid import UUID

from ledger.commands.consultation import Consult
from ledger.commands.refusals import VersionMismatch
from ledger.commands.submission import Outcome, PendingCommand, outcome_of
from ledger.domain.catalog.kinds import KINDS, POLICY, AnyEvent
from ledger.domain.kinds.intro.commands import ProposeIntro
from ledger.domain.kinds.publication import POLICY_NOTICE, Publication, policy_in_force, publication_id
from ledger.domain.values.advice import GuardFacts
from ledger.domain.values.aggregate_types import Creation
from ledger.domain.values.context import Context, EventOf, Finding, Need, PastEvent
from ledger.domain.values.policy import Policy
from ledger.domain.values.refusals import Bug, GuardUnavailable
from ledger.envelope import TYPES, AggregateRef, Envelope, RecordedEvent, encode
from ledger.log.event_log import Append, EventLog
from ledger.log.message import subject_of
from ledger.log.snapshot import LoadedAggregate, load_aggregate, snapshot_after

POLICY_CACHED_FOR: Final = POLICY_NOTICE / 2
POLICIES_MAX: Final = 10_000  # Communities, each of a few KiB.

Unfinished = Mapping[AggregateRef, int]
"""The aggregates of the unfinished commands of a request, each with the place of its first such command."""


class NeedsUnfinished(Exception):
    """The decision needs an aggregate that an earlier command of the request has yet to change."""


class Decider:
    """Decides commands. It reads from the log what a decision needs, and consults the books about asks."""

    def __init__(self, log: EventLog, consult: Consult) -> None:
        self._log = log
        self._consult = consult
        self._policies: dict[str, tuple[datetime, Publication | None]] = {}

    async def decide(
        self, pending: PendingCommand, aggregate: LoadedAggregate | None, unfinished: Unfinished
    ) -> tuple[Outcome, Append | None]:
        """Return the outcome and the event to append; None if the command changes nothing.

        Raises: Refusal or NeedsUnfinished, with nothing recorded.
        """
        submission, command, ref = pending.submission, pending.submission.command, pending.ref
        kind = KINDS[ref.kind]
        before = aggregate.state if aggregate else None
        require_version(pending, aggregate)
        needs = kind.needs(command, before, UUID(ref.id))
        for need in needs:
            if unfinished.get(AggregateRef(ref.community, need.kind, str(need.id)), pending.place) < pending.place:
                raise NeedsUnfinished
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
                raise Bug(f"{submission.operation} changes nothing, and there is no aggregate")
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
        """Return the policy in force. Its cache is shorter than the notice of a new policy, so it is never stale."""
        cached = self._policies.get(community)
        if cached is None or not timedelta(0) <= now - cached[0] < POLICY_CACHED_FOR:
            ref = AggregateRef(community, POLICY.name, str(publication_id(community)))
            (last,) = await self._log.last([ref], fresh=True)
            if len(self._policies) >= POLICIES_MAX:
                self._policies.clear()
            cached = (now, cast("Publication", load_aggregate(last).state) if last is not None else None)
            self._policies[community] = cached
        return policy_in_force(cached[1], now)

    async def _facts(self, pending: PendingCommand, policy: Policy) -> GuardFacts | None:
        """Return the facts for the reciprocity guard. The books may lag, so a quick asker may exceed a limit.

        Raises: GuardUnavailable, if the books do not respond and the community enforces the guard.
        """
        command = pending.submission.command
        if not isinstance(command, ProposeIntro) or command.actor != command.asker or policy.guard == "off":
            return None
        facts = await self._consult(pending.ref.community, command, policy, pending.now)
        if facts is None and policy.guard == "enforce":
            raise GuardUnavailable
        return facts

    async def _find(self, community: str, need: Need) -> Finding:
        """Read another aggregate from the leader: no expected sequence protects this read."""
        ref = AggregateRef(community, need.kind, str(need.id))
        if isinstance(need, EventOf):
            last = await self._log.last_named(ref, need.event)
            return to_past_event(last) if last is not None else None
        (last,) = await self._log.last([ref], fresh=True)
        return load_aggregate(last).state if last is not None else None


def require_version(pending: PendingCommand, aggregate: LoadedAggregate | None) -> None:
    """Raises: VersionMismatch, if the actor decided on another version than the one that they can read now."""
    expected = pending.submission.if_match
    if expected is None:
        return
    version = 0
    if aggregate is not None:
        read = KINDS[pending.ref.kind].version_read_by
        version = read(pending.submission.command.actor, aggregate.state, aggregate.version, pending.now)
    if expected != version:
        raise VersionMismatch(if_match=expected, version=version)


def needs_no_reads(pending: PendingCommand) -> bool:
    """Return whether the decision reads nothing as long as the aggregate does not exist."""
    command = pending.submission.command
    return isinstance(command, Creation) and not KINDS[pending.ref.kind].needs(command, None, UUID(pending.ref.id))


def to_past_event(recorded: RecordedEvent) -> PastEvent:
    envelope = recorded.envelope
    recorded_at = datetime.fromtimestamp(recorded.recorded_at_us / 1_000_000, UTC)
    return PastEvent(UUID(envelope.id), envelope.data, recorded_at, envelope.time)


def envelope_of(pending: PendingCommand, event: AnyEvent, policy: Policy) -> Envelope:
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
