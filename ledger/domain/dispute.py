"""Dispute: one who was charged says that an entry should not stand.

`opened -> upheld | rejected | lapsed`. Its states are in `disputed`, where those can see them whose entry it is.
"""

from typing import Final, TypedDict, assert_never
from uuid import UUID

from ledger.domain.context import Context, EventOf, Happened, Need, StateOf, only_if_due
from ledger.domain.disputed import (
    Code,
    Dispute,
    DisputedEntry,
    Lapsed,
    Opened,
    Rejected,
    Remedy,
    Upheld,
    dispute_id,
)
from ledger.domain.entry import Transfer
from ledger.domain.favour import Forgiven
from ledger.domain.intro import Closed, Fault, IntroMade
from ledger.domain.policy import Policy
from ledger.domain.refusals import AlreadyExists, Bug, NotYours, PartyToIt, TooLate, Unknown, WrongState
from ledger.domain.transfers import Transfers, asker_fault, connector_fault, transfers_of
from ledger.domain.values import Command, Creation, Event, Instant, Lapse, MemberId, State, become, tag_of

ROLES: Final = ("giver", "receiver", "referrer", "recipient", "parent_referrer", "asker", "connector", "target")

# Events


class DisputeEventBase(Event, frozen=True, kw_only=True):
    """`entry_id` is the event that charged `opener`, and `happened_at` when what it tells of happened.

    `transfers` are what it charged, `parties` all whom it names.
    """

    about: UUID
    entry: DisputedEntry
    entry_id: UUID
    happened_at: Instant
    opener: MemberId
    parties: tuple[MemberId, ...]
    transfers: tuple[Transfer, ...]


class DisputeOpened(DisputeEventBase, frozen=True, kw_only=True, tag="dispute.opened"):
    """One who was charged says why it should not stand: the points are set aside on both sides.

    `owed` is what it costs the one at `fault`, if it is upheld.
    """

    code: Code
    lapses_at: Instant
    fault: Fault = "none"
    owed: tuple[Transfer, ...] = ()


class DisputeUpheld(DisputeEventBase, frozen=True, kw_only=True, tag="dispute.upheld"):
    """A moderator agrees: the entry is reversed, or it stands and the one at `fault` pays what is `owed`.

    The remedy is `none` when meanwhile it was made good by those who were in it. `after_closing`: the introduction
    was over by then, as if nobody had been at fault.
    """

    remedy: Remedy
    fault: Fault = "none"
    owed: tuple[Transfer, ...] = ()
    after_closing: bool = False


class DisputeRejected(DisputeEventBase, frozen=True, kw_only=True, tag="dispute.rejected"):
    """A moderator does not agree: the entry stands, and the points go back."""


class DisputeLapsed(DisputeEventBase, frozen=True, kw_only=True, tag="dispute.lapsed"):
    """Nobody judged it in time: the entry stands, and the points go back."""


DisputeEvent = DisputeOpened | DisputeUpheld | DisputeRejected | DisputeLapsed

# Commands


class OpenDispute(Creation, frozen=True, kw_only=True):
    """One who was charged by the `entry` of `about` says that it should not stand, and why.

    Of an introduction that was made, the connector may say that the asker has ghosted the target.
    """

    about: UUID
    entry: DisputedEntry
    code: Code

    def own_id(self, community: str) -> UUID:
        return dispute_id(self.about, self.entry)


class UpholdDispute(Command, frozen=True, kw_only=True):
    """A moderator, who is party to none of it, agrees."""


class RejectDispute(Command, frozen=True, kw_only=True):
    """A moderator, who is party to none of it, does not agree."""


class LapseDispute(Lapse, frozen=True, kw_only=True):
    """Nobody judged it in time."""


DisputeCommand = OpenDispute | UpholdDispute | RejectDispute | LapseDispute


def evolve(state: Dispute | None, event: DisputeEvent) -> Dispute:
    """The state machine, whole: a pair that is not listed is corrupt history."""
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
    if not isinstance(disputed, Happened):
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
    only_an_outsider(command.actor, state)
    match state:
        case Opened():
            kind, _ = kind_and_name(state.entry)
            disputed = context.found[StateOf(kind, state.about)]
            remedy = remedy_of(state, disputed)
            at_fault = remedy == "fault"
            return DisputeUpheld(
                **same_facts(state),
                remedy=remedy,
                fault=state.fault if at_fault else "none",
                owed=state.owed if at_fault else (),
                after_closing=at_fault and isinstance(disputed, Closed),
            )
        case Upheld():
            return None
        case _:
            raise WrongState(expected="opened", found=tag_of(state))


def remedy_of(state: Opened, disputed: State | Happened | None) -> Remedy:
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
    only_an_outsider(command.actor, state)
    match state:
        case Opened():
            return DisputeRejected(**same_facts(state))
        case Rejected():
            return None
        case _:
            raise WrongState(expected="opened", found=tag_of(state))


def lapse(state: Dispute, context: Context) -> DisputeLapsed | None:
    match state:
        case Opened():
            only_if_due(state.lapses_at, context)
            return DisputeLapsed(**same_facts(state))
        case Lapsed():
            return None
        case _:
            raise WrongState(expected="opened", found=tag_of(state))


class SameFacts(TypedDict):
    """What every event of a dispute carries."""

    about: UUID
    entry: DisputedEntry
    entry_id: UUID
    happened_at: Instant
    opener: MemberId
    parties: tuple[MemberId, ...]
    transfers: tuple[Transfer, ...]


def same_facts(state: Dispute) -> SameFacts:
    return {
        "about": state.about,
        "entry": state.entry,
        "entry_id": state.entry_id,
        "happened_at": state.happened_at,
        "opener": state.opener,
        "parties": state.parties,
        "transfers": state.transfers,
    }


def only_an_outsider(actor: MemberId, state: Dispute) -> None:
    if actor in (*state.parties, state.opener):
        raise PartyToIt


def parties_of(event: Event) -> tuple[MemberId, ...]:
    """Every member the event names, once, sorted."""
    named: set[MemberId | None] = {getattr(event, role, None) for role in ROLES}
    return tuple(sorted(member for member in named if member is not None))


def kind_and_name(entry: DisputedEntry) -> tuple[str, str]:
    kind, _, name = entry.partition(".")
    return kind, name
