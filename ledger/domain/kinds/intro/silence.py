"""Silence: the state and version that an asker reads, so that a decline looks like no answer."""

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
    """Return the state that the asker reads; None if they read the real one.

    An ask reads `pending` until it is made. From the end that was fixed when it was asked, it reads `not_now`, after a
    silence and after a no alike; with `tell_now` it does at once. Both members of an offered intro read the real state.
    See docs/domain.md#state-that-an-asker-reads.
    """
    if state.matchmade:
        return None
    match state:
        case Declined(tell_now=True) | Refused(tell_now=True):
            return "not_now"
        case Asked() | Accepted() | Declined() | Refused() | Expired():
            end: datetime | None = state.visible_until or state.lapses_at  # Older events have no `visible_until`.
        case Consented():
            end = state.visible_until
        case Offered() | Made() | Met() | Closed() | Withdrawn():
            return None
        case _:
            assert_never(state)
    return "not_now" if end is not None and now >= end else "pending"


def state_read_by(member: MemberId, state: Intro, now: datetime) -> str:
    """Return the name of the state that the member reads at `now`."""
    replacement = asker_state(state, now) if member == state.asker else None
    return replacement or tag_of(state)


def version_read_by(member: MemberId, state: Intro, version: int, now: datetime) -> int:
    """Return the version that the member reads at `now`. For the asker, it depends only on the state that they read.

    `pending` is 1, `not_now` 2, and a withdrawn ask 3. From `made` on, it is the real version, for everybody. See
    docs/domain.md#version-that-an-asker-reads.
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
