"""Decisions about a dispute: opening, judging, lapse and remedy."""

from typing import Final, TypedDict, assert_never
from uuid import UUID

from ledger.domain.kinds.dispute.commands import DisputeCommand, LapseDispute, OpenDispute, RejectDispute, UpholdDispute
from ledger.domain.kinds.dispute.events import (
    DisputeEvent,
    DisputeLapsed,
    DisputeOpened,
    DisputeRejected,
    DisputeUpheld,
)
from ledger.domain.kinds.dispute.states import (
    Code,
    Dispute,
    DisputedEntry,
    Lapsed,
    Opened,
    Rejected,
    Remedy,
    Upheld,
)
from ledger.domain.kinds.favour import Forgiven
from ledger.domain.kinds.intro.events import IntroMade
from ledger.domain.kinds.intro.states import Closed, Fault
from ledger.domain.kinds.transfers import Transfers, asker_fault, connector_fault, transfers_of
from ledger.domain.values.aggregate_types import Event, State, tag_of
from ledger.domain.values.context import Context, EventOf, Need, PastEvent, StateOf, require_due
from ledger.domain.values.entries import Transfer
from ledger.domain.values.ids import Instant, MemberId
from ledger.domain.values.policy import Policy
from ledger.domain.values.refusals import AlreadyExists, NotYours, PartyToIt, TooLate, Unknown, WrongState

ROLES: Final = ("giver", "receiver", "referrer", "recipient", "parent_referrer", "asker", "connector", "target")


def needs(command: DisputeCommand, state: Dispute | None, _id: UUID) -> tuple[Need, ...]:
    """Return the needs: the disputed event and its aggregate for an opening, the aggregate for an upholding."""
    match command, state:
        case OpenDispute(), None:
            kind, name = kind_and_name(command.entry)
            return EventOf(kind, command.about, name), StateOf(kind, command.about)
        case UpholdDispute(), Opened():
            kind, _ = kind_and_name(state.entry)
            return (StateOf(kind, state.about),)
        case _:
            return ()


def decide(command: DisputeCommand, state: Dispute | None, context: Context) -> DisputeEvent | None:
    """Return the event to record, or None if nothing changes. See docs/domain.md#dispute.

    Raises: Refusal, with nothing recorded.
    """
    match command, state:
        case OpenDispute(), None:
            return open_dispute(command, context)
        case _, None:
            raise Unknown(kind="dispute")
        case OpenDispute(), _:
            if (command.actor, command.code) != (state.opener, state.code):
                raise AlreadyExists(kind="dispute")
            return None  # A repeat is a no-op.
        case UpholdDispute(), _:
            return uphold(command, state, context)
        case RejectDispute(), _:
            return reject(command, state)
        case LapseDispute(), _:
            return lapse(state, context)
        case _:
            assert_never(command)


def open_dispute(command: OpenDispute, context: Context) -> DisputeOpened:
    """Return the event of an opening, with the disputed transfers and the fault rule.

    See docs/domain.md#disputing-member and docs/domain.md#dispute-window.
    """
    kind, name = kind_and_name(command.entry)
    charge = context.found[EventOf(kind, command.about, name)]
    if not isinstance(charge, PastEvent):
        raise Unknown(kind=kind, id=command.about, entry=command.entry)
    event, transfers = charge.event, transfers_of(charge.event)
    if not can_dispute(command.actor, command.code, event, transfers):
        raise NotYours(role="the one who was charged")
    latest = charge.recorded_at + context.policy.dispute_within
    if context.now > latest:
        raise TooLate(latest=latest)
    if isinstance(context.found[StateOf(kind, command.about)], Forgiven):
        raise WrongState(expected="posted", found=tag_of(Forgiven))
    fault, owed = fault_rule(command.code, event, context.policy)
    return DisputeOpened(
        about=command.about,
        entry=command.entry,
        entry_id=charge.id,
        happened_at=charge.occurred_at,
        opener=command.actor,
        code=command.code,
        parties=parties_of(event),
        transfers=transfers,
        fault=fault,
        owed=owed,
        lapses_at=context.now + context.policy.dispute_open,
    )


def can_dispute(member: MemberId, code: Code, event: Event, transfers: Transfers) -> bool:
    """Return whether the member can dispute the event with this code. See docs/domain.md#disputing-member.

    A payer can. With `asker_ghosted`, only the connector of an ask can, because their name was at risk.
    """
    if code == "asker_ghosted":
        return isinstance(event, IntroMade) and not event.matchmade and member == event.connector
    return any(member == transfer.payer for transfer in transfers)


def fault_rule(code: Code, event: Event, policy: Policy) -> tuple[Fault, Transfers]:
    """Return the member at fault and their transfers; `none` and no transfers if the entry has no fault rule.

    All transfers are from `main`, because only the closing of the intro moves the stake. See
    docs/domain.md#fault-rule-of-a-dispute.
    """
    match event, code:
        case IntroMade(), "asker_ghosted":
            return "asker", asker_fault(event, policy.asker_fault_points)
        case IntroMade(), "no_consent" | "misdescribed":
            return "connector", connector_fault(event, stake_account="main")
        case _:
            return "none", ()


def uphold(command: UpholdDispute, state: Dispute, context: Context) -> DisputeUpheld | None:
    """Return the event that upholds the dispute, with the remedy. See docs/domain.md#judging-a-dispute."""
    require_outsider(command.actor, state)
    match state:
        case Opened():
            kind, _ = kind_and_name(state.entry)
            aggregate = context.found[StateOf(kind, state.about)]
            remedy = remedy_of(state, aggregate)
            by_fault_rule = remedy == "fault"
            return DisputeUpheld(
                **shared_fields(state),
                remedy=remedy,
                fault=state.fault if by_fault_rule else "none",
                owed=state.owed if by_fault_rule else (),
                after_closing=by_fault_rule and isinstance(aggregate, Closed),
            )
        case Upheld():
            return None
        case _:
            raise WrongState(expected="opened", found=tag_of(state))


def remedy_of(state: Opened, aggregate: State | PastEvent | None) -> Remedy:
    """Return the remedy of a dispute. `aggregate` is the current state of the disputed aggregate.

    See docs/domain.md#dispute-remedy.
    """
    match aggregate:
        case Forgiven():
            return "none"
        case Closed(fault="connector") if state.entry == "intro.made":
            return "none"  # The connector paid the points back.
        case Closed(fault="asker") if state.fault != "none":
            return "none"
        case _:
            return "reversal" if state.fault == "none" else "fault"


def reject(command: RejectDispute, state: Dispute) -> DisputeRejected | None:
    require_outsider(command.actor, state)
    match state:
        case Opened():
            return DisputeRejected(**shared_fields(state))
        case Rejected():
            return None
        case _:
            raise WrongState(expected="opened", found=tag_of(state))


def lapse(state: Dispute, context: Context) -> DisputeLapsed | None:
    match state:
        case Opened():
            require_due(state.lapses_at, context)
            return DisputeLapsed(**shared_fields(state))
        case Lapsed():
            return None
        case _:
            raise WrongState(expected="opened", found=tag_of(state))


class SharedFields(TypedDict):
    """The fields of every event of a dispute."""

    about: UUID
    entry: DisputedEntry
    entry_id: UUID
    happened_at: Instant
    opener: MemberId
    parties: tuple[MemberId, ...]
    transfers: tuple[Transfer, ...]


def shared_fields(state: Dispute) -> SharedFields:
    """Return the fields of every event of this dispute."""
    return {
        "about": state.about,
        "entry": state.entry,
        "entry_id": state.entry_id,
        "happened_at": state.happened_at,
        "opener": state.opener,
        "parties": state.parties,
        "transfers": state.transfers,
    }


def require_outsider(actor: MemberId, state: Dispute) -> None:
    """Check that the actor is not a party to the dispute. Raises: PartyToIt, with nothing recorded."""
    if actor in (*state.parties, state.opener):
        raise PartyToIt


def parties_of(event: Event) -> tuple[MemberId, ...]:
    """Return the members whom the event names, sorted, each once."""
    named: set[MemberId | None] = {getattr(event, role, None) for role in ROLES}
    return tuple(sorted(member for member in named if member is not None))


def kind_and_name(entry: DisputedEntry) -> tuple[str, str]:
    """Return the two parts of a tag: `favour` and `thanked` of `favour.thanked`."""
    kind, _, name = entry.partition(".")
    return kind, name
