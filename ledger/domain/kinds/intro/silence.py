"""Silence: a decline and no answer look the same to the asker."""

from datetime import datetime
from typing import Literal, assert_never

from ledger.domain.kinds.intro.states import (
    Accepted,
    Asked,
    Closed,
    Consented,
    Declined,
    Expired,
    Intro,
    Made,
    Met,
    Offered,
    Refused,
    Withdrawn,
)
from ledger.domain.values.aggregate_types import tag_of
from ledger.domain.values.ids import MemberId

AskerState = Literal["pending", "not_now"]


def asker_state(state: Intro, now: datetime) -> AskerState | None:
    """What the asker reads in place of the state; None where they read it as it is.

    Until it is made, an ask is `pending`, and from the end that was fixed when it was asked on it is `not_now`,
    whoever was silent or said no; or at once, if they chose to say so. Nobody asked for a match: both read all of it.
    """
    if state.matchmade:
        return None
    match state:
        case Declined(tell_now=True) | Refused(tell_now=True):
            return "not_now"
        case Asked() | Accepted() | Declined() | Refused() | Expired():
            end: datetime | None = state.visible_until or state.lapses_at  # Older events name no visible end.
        case Consented():
            end = state.visible_until
        case Offered() | Made() | Met() | Closed() | Withdrawn():
            return None
        case _:
            assert_never(state)
    return "not_now" if end is not None and now >= end else "pending"


def state_read_by(member: MemberId, state: Intro, now: datetime) -> str:
    """The word for the state, in an answer to this member: the asker's is what they see."""
    seen = asker_state(state, now) if member == state.asker else None
    return seen or tag_of(state)


def version_read_by(member: MemberId, state: Intro, version: int, now: datetime) -> int:
    """The version that this member reads: of what the asker sees, and not of what is hidden from them.

    `pending` is 1, `not_now` 2, and a withdrawn ask 3; from made on it is the real one, which is then the same for all.
    """
    if member != state.asker or state.matchmade:
        return version
    match asker_state(state, now):
        case "pending":
            return 1
        case "not_now":
            return 2
        case _:
            return 3 if isinstance(state, Withdrawn) else version
