"""Coach: figures about a member's own asks, for that member alone. See docs/domain.md#coach.

They show the member that yeses are more common than they expect.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta, Struct

from ledger.domain.kinds.intro.silence import asker_state
from ledger.domain.kinds.intro.states import Closed, Intro, Made, Met, Withdrawn
from ledger.domain.values.ids import Instant, MemberId
from ledger.domain.values.policy import Policy

Permille = Annotated[int, Meta(ge=0, le=1_000, description="Thousandths.")]
DAY: Final = timedelta(days=1)


class Ask(Struct, frozen=True):
    """An ask of the member, with its current state."""

    id: UUID
    asked_at: datetime
    state: Intro


class RetryableAsk(Struct, frozen=True, kw_only=True):
    """An ask that can be repeated now: it ended without an introduction, and enough time has passed."""

    intro: UUID
    connector: MemberId
    target: MemberId
    asked_at: Instant


class Coaching(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The figures of the coach about the asks of one member.

    `asks` counts the asks considered, `answered` those of them that ended for the asker, and `yes` those of them that
    were made. `actual_permille` is `yes / answered`. `expected_permille` is the mean of `expects_percent` of the same
    asks, where it was stated. `days_to_yes` is the median time from ask to introduction, in whole days begun. The time
    of a no is private, so there is no figure of it.
    """

    asks: int
    answered: int
    yes: int
    actual_permille: Permille | None = None
    expected_permille: Permille | None = None
    days_to_yes: int | None = None
    again: tuple[RetryableAsk, ...] = ()


def coach(asks: Sequence[Ask], now: datetime, policy: Policy) -> Coaching:
    """Return the figures about the asks of one member. They do not distinguish a decline, a refusal and a silence.

    Shares are in thousandths, rounded half up; None if there is nothing to divide by. Source of the idea: askers expect
    about half as many yeses as they get (Flynn and Lake, J. Personality and Social Psychology 95, 2008).
    """
    yes = [ask for ask in asks if isinstance(ask.state, Made | Met | Closed)]
    no = [ask for ask in asks if asker_state(ask.state, now) == "not_now"]
    answered = yes + no
    expected = [ask.state.expects_percent for ask in answered if ask.state.expects_percent is not None]
    waits = [wait for ask in asks if (wait := days_to_yes(ask)) is not None]
    return Coaching(
        asks=len(asks),
        answered=len(answered),
        yes=len(yes),
        actual_permille=rounded_share(1_000 * len(yes), len(answered)),
        expected_permille=rounded_share(10 * sum(expected), len(expected)),
        days_to_yes=int(median(waits) + 0.5) if waits else None,
        again=retryable_asks(asks, no, now, policy),
    )


def days_to_yes(ask: Ask) -> int | None:
    """Return the whole days begun from ask to introduction; None if there is none, or its time is not known."""
    match ask.state:
        case Made(made_at=made_at) | Met(made_at=made_at) | Closed(made_at=made_at) if made_at is not None:
            return -((ask.asked_at - made_at) // DAY)
        case _:
            return None


def retryable_asks(asks: Sequence[Ask], no: Sequence[Ask], now: datetime, policy: Policy) -> tuple[RetryableAsk, ...]:
    """Return the last ask of each connector and target that can be repeated now, newest first.

    See docs/domain.md#asks-to-repeat.
    """
    last: dict[tuple[MemberId, MemberId], Ask] = {}
    for ask in sorted(asks, key=lambda ask: ask.asked_at):
        last[ask.state.connector, ask.state.target] = ask
    ended = {ask.id for ask in no} | {ask.id for ask in asks if isinstance(ask.state, Withdrawn)}
    return tuple(
        RetryableAsk(intro=ask.id, connector=ask.state.connector, target=ask.state.target, asked_at=ask.asked_at)
        for ask in sorted(last.values(), key=lambda ask: ask.asked_at, reverse=True)
        if ask.id in ended and ask.asked_at + policy.ask_again <= now
    )


def rounded_share(part: int, whole: int) -> int | None:
    """Return `part / whole`, rounded half up; None if `whole` is 0."""
    return (2 * part + whole) // (2 * whole) if whole else None
