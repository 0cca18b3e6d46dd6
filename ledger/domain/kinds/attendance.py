"""Attendance: a member was at a gathering, and perhaps paid its dues.

`attended -> paid`.
"""

from typing import Final, assert_never
from uuid import UUID, uuid5

from ledger.domain.kinds.gathering import Held
from ledger.domain.values.aggregate_types import Command, Creation, Event, State, become, tag_of
from ledger.domain.values.context import Context, Need, StateOf
from ledger.domain.values.ids import MemberId
from ledger.domain.values.refusals import Bug, NoDues, NotYours, Unknown

ATTENDANCE_IDS: Final = UUID("a02374c7-fc00-57fc-bf55-4bbfb15b00b9")

# States


class AttendanceState(State, frozen=True, kw_only=True):
    """`host` and `dues` are copies of the gathering's fields."""

    gathering: UUID
    member: MemberId
    host: MemberId
    dues: bool = False


class Attended(AttendanceState, frozen=True, kw_only=True, tag="attended"):
    """The member was at the gathering."""


class Paid(AttendanceState, frozen=True, kw_only=True, tag="paid"):
    """The member was at the gathering and paid the dues."""


Attendance = Attended | Paid

# Events


class AttendanceAttended(Event, frozen=True, kw_only=True, tag="attendance.attended"):
    """The member was at the gathering."""

    gathering: UUID
    member: MemberId
    host: MemberId
    dues: bool = False


class AttendanceDuesPaid(Event, frozen=True, kw_only=True, tag="attendance.dues-paid"):
    """The host states that the member paid the dues."""

    gathering: UUID
    member: MemberId
    host: MemberId


AttendanceEvent = AttendanceAttended | AttendanceDuesPaid

# Commands


class Attend(Creation, frozen=True, kw_only=True):
    """Record an attendance, as the member or the host. There is one per gathering and member."""

    gathering: UUID
    member: MemberId

    def own_id(self, community: str) -> UUID:
        """Return UUIDv5 (RFC 9562) of the community, the gathering and the member, so that nobody attends twice."""
        return uuid5(ATTENDANCE_IDS, f"{community}/{self.gathering}/{self.member}")


class PayDues(Command, frozen=True, kw_only=True):
    """State that the member paid the dues, as the host."""


AttendanceCommand = Attend | PayDues


def evolve(state: Attendance | None, event: AttendanceEvent) -> Attendance:
    """Return the state after `event`. Raises: Bug, if the history is corrupt (a pair that is not listed)."""
    match state, event:
        case None, AttendanceAttended():
            return Attended(gathering=event.gathering, member=event.member, host=event.host, dues=event.dues)
        case Attended(), AttendanceDuesPaid():
            return become(Paid, state)
        case _:
            raise Bug(f"{tag_of(event)} after {state and tag_of(state)}")


def needs(command: AttendanceCommand, state: Attendance | None, _id: UUID) -> tuple[Need, ...]:
    """Return the need for the gathering. A recorded attendance has copies of its host and dues."""
    if isinstance(command, Attend) and state is None:
        return (StateOf("gathering", command.gathering),)
    return ()


def decide(command: AttendanceCommand, state: Attendance | None, context: Context) -> AttendanceEvent | None:
    """Return the event to record, or None if nothing changes. See docs/domain.md#attendance.

    Raises: Refusal, with nothing recorded.
    """
    match command, state:
        case Attend(), _:
            return attend(command, state, context)
        case _, None:
            raise Unknown(kind="attendance")
        case PayDues(), _:
            return pay_dues(command, state)
        case _:
            assert_never(command)


def attend(command: Attend, state: Attendance | None, context: Context) -> AttendanceAttended | None:
    """Return the event, with the gathering's host and dues. See docs/domain.md#attendance-needs-a-gathering."""
    source = state or gathering_of(command, context)
    if command.actor not in (command.member, source.host):
        raise NotYours(role="member or host")
    if state is not None:
        return None  # A repeat is a no-op.
    return AttendanceAttended(gathering=command.gathering, member=command.member, host=source.host, dues=source.dues)


def gathering_of(command: Attend, context: Context) -> Held:
    """Return the gathering that the command names.

    Raises: Unknown, if the gathering does not exist, with nothing recorded; Bug, if the finding is not a gathering.
    """
    match context.found[StateOf("gathering", command.gathering)]:
        case Held() as gathering:
            return gathering
        case None:
            raise Unknown(kind="gathering", id=command.gathering)
        case other:
            raise Bug(f"{other} is no gathering")


def pay_dues(command: PayDues, state: Attendance) -> AttendanceDuesPaid | None:
    if command.actor != state.host:
        raise NotYours(role="host")  # A credit in one's own favour needs the other party.
    if not state.dues:
        raise NoDues(gathering=state.gathering)
    if isinstance(state, Paid):
        return None
    return AttendanceDuesPaid(gathering=state.gathering, member=state.member, host=state.host)
