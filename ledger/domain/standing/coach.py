"""Coach: what a member may learn from their own asks, and nobody else's: yeses are more common than they expect."""

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
    """One of the member's asks, as it stands."""

    id: UUID
    asked_at: datetime
    state: Intro


class RetryableAsk(Struct, frozen=True, kw_only=True):
    """An ask that may be tried again now: it came to nothing then, and enough time has passed."""

    intro: UUID
    connector: MemberId
    target: MemberId
    asked_at: Instant


class Coaching(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`asks` is how many were looked at, `answered` how many of them have come to an end that the asker can see,
    `yes` how many of those were made.

    `actual_permille` is `yes / answered`, and `expected_permille` the mean of what the member said they expected of
    the same asks, where they said so. `days_to_yes` is the median from ask to introduction, whole days begun: of a
    no nothing is told, for its time is nobody's business.
    """

    asks: int
    answered: int
    yes: int
    actual_permille: Permille | None = None
    expected_permille: Permille | None = None
    days_to_yes: int | None = None
    again: tuple[RetryableAsk, ...] = ()


def coach(asks: Sequence[Ask], now: datetime, policy: Policy) -> Coaching:
    """What the asks of one member tell them. Nothing in it tells a decline, a refusal and a silence apart.

    Source of the idea: askers expect about half as many yeses as they get (Flynn and Lake, J. Personality and Social
    Psychology 95, 2008).
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
    """Whole days begun from ask to introduction; None, when there was none, or it is not known."""
    match ask.state:
        case Made(made_at=made_at) | Met(made_at=made_at) | Closed(made_at=made_at) if made_at is not None:
            return -((ask.asked_at - made_at) // DAY)
        case _:
            return None


def retryable_asks(asks: Sequence[Ask], no: Sequence[Ask], now: datetime, policy: Policy) -> tuple[RetryableAsk, ...]:
    """Of each connector and target the last ask, if it came to nothing and the pause is over. Newest first."""
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
    """`part / whole`, rounded half up; None of nothing."""
    return (2 * part + whole) // (2 * whole) if whole else None
