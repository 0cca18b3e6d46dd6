"""The state machine of an introduction."""

from ledger.domain.kinds.intro.events import (
    IntroAccepted,
    IntroAsked,
    IntroClosed,
    IntroConsented,
    IntroDeclined,
    IntroEvent,
    IntroExpired,
    IntroMade,
    IntroMet,
    IntroOffered,
    IntroRefused,
    IntroWithdrawn,
)
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
from ledger.domain.values.aggregate_types import become, tag_of
from ledger.domain.values.refusals import Bug


def evolve(state: Intro | None, event: IntroEvent) -> Intro:
    """Return the state after `event`. Raises: Bug, if the history is corrupt (a pair that is not listed)."""
    match state, event:
        case None, IntroAsked():
            return Asked(
                asker=event.asker,
                connector=event.connector,
                target=event.target,
                tags=event.tags,
                gathering=event.gathering,
                visible_until=event.visible_until,
                expects_percent=event.expects_percent,
                invited=event.invited,
                advice=event.advice,
                lapses_at=event.lapses_at,
            )
        case None, IntroOffered():
            return Offered(
                asker=event.asker,
                connector=event.connector,
                target=event.target,
                matchmade=True,
                level=event.level,
                points=event.points,
                tags=event.tags,
                gathering=event.gathering,
                lapses_at=event.lapses_at,
            )
        case Asked(), IntroAccepted():
            return become(Accepted, state, level=event.level, points=event.points, lapses_at=event.lapses_at)
        case Asked(), IntroDeclined():
            return become(Declined, state, tell_now=event.tell_now)
        case Offered(consented=()), IntroConsented():
            return become(Offered, state, consented=(event.member,))
        case Offered(consented=(first,)), IntroConsented() if event.member != first:
            return become(Consented, state)
        case Accepted(), IntroConsented():
            return become(Consented, state)
        case Offered() | Accepted(), IntroRefused():
            return become(Refused, state, tell_now=event.tell_now)
        case Asked() | Offered() | Accepted() | Consented(), IntroWithdrawn():
            return become(Withdrawn, state)
        case Declined() | Refused() | Expired(), IntroWithdrawn() if not state.matchmade:
            return become(Withdrawn, state)
        case Asked() | Offered() | Accepted(), IntroExpired():
            return become(Expired, state)
        case Consented(), IntroMade():
            return become(Made, state, stake=event.stake, made_at=event.made_at, lapses_at=event.lapses_at)
        case Made() as made, IntroMet():
            return become(Met, made)
        case (Made() | Met()) as made, IntroClosed() as closed:
            return become(Closed, made, outcome=closed.outcome, fault=closed.fault, settled=closed.settled)
        case _:
            raise Bug(f"{tag_of(event)} after {state and tag_of(state)}")
