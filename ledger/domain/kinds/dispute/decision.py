"""Decisions about a dispute: who may open and judge one, and what follows."""

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
    """The disputed event and what has become of its aggregate: first to open it, and again to uphold it."""
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
    """The event that the command amounts to, or None when it is already so.

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
            return None  # Already so: a repeated command is harmless.
        case UpholdDispute(), _:
            return uphold(command, state, context)
        case RejectDispute(), _:
            return reject(command, state)
        case LapseDispute(), _:
            return lapse(state, context)
        case _:
            assert_never(command)


def open_dispute(command: OpenDispute, context: Context) -> DisputeOpened:
    kind, name = kind_and_name(command.entry)
    disputed = context.found[EventOf(kind, command.about, name)]
    if not isinstance(disputed, PastEvent):
        raise Unknown(kind=kind, id=command.about, entry=command.entry)
    event, transfers = disputed.event, transfers_of(disputed.event)
    if not was_charged(command.actor, command.code, event, transfers):
        raise NotYours(role="the one who was charged")
    latest = disputed.recorded_at + context.policy.dispute_within
    if context.now > latest:
        raise TooLate(latest=latest)
    if isinstance(context.found[StateOf(kind, command.about)], Forgiven):
        raise WrongState(expected="posted", found=tag_of(Forgiven))
    fault, owed = fault_rule(command.code, event, context.policy)
    return DisputeOpened(
        about=command.about,
        entry=command.entry,
        entry_id=disputed.id,
        happened_at=disputed.occurred_at,
        opener=command.actor,
        code=command.code,
        parties=parties_of(event),
        transfers=transfers,
        fault=fault,
        owed=owed,
        lapses_at=context.now + context.policy.dispute_open,
    )


def was_charged(member: MemberId, code: Code, event: Event, transfers: Transfers) -> bool:
    """One who pays; or, when an asker who asked has ghosted the target, the connector, whose name was at stake."""
    if code == "asker_ghosted":
        return isinstance(event, IntroMade) and not event.matchmade and member == event.connector
    return any(member == transfer.payer for transfer in transfers)


def fault_rule(code: Code, event: Event, policy: Policy) -> tuple[Fault, Transfers]:
    """Whose fault an introduction was, and what that costs them; most other entries are nobody's fault, but wrong.

    All is paid from `main`: the stake is moved by the introduction alone, when it is closed.
    """
    match event, code:
        case IntroMade(), "asker_ghosted":
            return "asker", asker_fault(event, policy.asker_fault_points)
        case IntroMade(), "no_consent" | "misdescribed":
            return "connector", connector_fault(event, stake_account="main")
        case _:
            return "none", ()


def uphold(command: UpholdDispute, state: Dispute, context: Context) -> DisputeUpheld | None:
    require_outsider(command.actor, state)
    match state:
        case Opened():
            kind, _ = kind_and_name(state.entry)
            disputed = context.found[StateOf(kind, state.about)]
            remedy = remedy_of(state, disputed)
            at_fault = remedy == "fault"
            return DisputeUpheld(
                **shared_fields(state),
                remedy=remedy,
                fault=state.fault if at_fault else "none",
                owed=state.owed if at_fault else (),
                after_closing=at_fault and isinstance(disputed, Closed),
            )
        case Upheld():
            return None
        case _:
            raise WrongState(expected="opened", found=tag_of(state))


def remedy_of(state: Opened, disputed: State | PastEvent | None) -> Remedy:
    """Nothing, if those who were in it have made it good; else the fault rule, or that the entry is reversed."""
    match disputed:
        case Forgiven():
            return "none"
        case Closed(fault="connector") if state.entry == "intro.made":
            return "none"  # What was paid has been given back.
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
    """What every event of a dispute carries."""

    about: UUID
    entry: DisputedEntry
    entry_id: UUID
    happened_at: Instant
    opener: MemberId
    parties: tuple[MemberId, ...]
    transfers: tuple[Transfer, ...]


def shared_fields(state: Dispute) -> SharedFields:
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
    if actor in (*state.parties, state.opener):
        raise PartyToIt


def parties_of(event: Event) -> tuple[MemberId, ...]:
    """Every member the event names, once, sorted."""
    named: set[MemberId | None] = {getattr(event, role, None) for role in ROLES}
    return tuple(sorted(member for member in named if member is not None))


def kind_and_name(entry: DisputedEntry) -> tuple[str, str]:
    kind, _, name = entry.partition(".")
    return kind, name
