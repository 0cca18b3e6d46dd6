"""Examples of a favour, and the table of its transitions."""

from typing import Final

from ledger.domain.catalog.kinds import FAVOUR
from ledger.domain.kinds.favour import (
    ConfirmFavour,
    FavourClaimed,
    FavourConfirmed,
    FavourForgiven,
    FavourLapsed,
    FavourRefused,
    FavourThanked,
    ForgiveFavour,
    LapseFavour,
    RecordFavour,
    RefuseFavour,
)
from tests.domain.spec import NOW, TransitionTable, days

GIVER: Final = "ada"
RECEIVER: Final = "bob"

DUE: Final = NOW + days(14)

THANKED = FavourThanked(giver=GIVER, receiver=RECEIVER, size="medium", points=120)
CLAIMED = FavourClaimed(giver=GIVER, receiver=RECEIVER, size="medium", points=120, lapses_at=DUE)
CONFIRMED = FavourConfirmed(giver=GIVER, receiver=RECEIVER, points=120)
REFUSED = FavourRefused(giver=GIVER, receiver=RECEIVER)
LAPSED = FavourLapsed(giver=GIVER, receiver=RECEIVER)
FORGIVEN = FavourForgiven(giver=GIVER, receiver=RECEIVER, points=120)

THANK = RecordFavour(actor=RECEIVER, giver=GIVER, receiver=RECEIVER, size="medium")
CLAIM = RecordFavour(actor=GIVER, giver=GIVER, receiver=RECEIVER, size="medium")
CONFIRM = ConfirmFavour(actor=RECEIVER)
REFUSE = RefuseFavour(actor=RECEIVER)
FORGIVE = ForgiveFavour(actor=GIVER)
LAPSE = LapseFavour()

LIFE = TransitionTable(
    kind=FAVOUR,
    after={
        "nothing": (),
        "thanked": (THANKED,),
        "claimed": (CLAIMED,),
        "confirmed": (CLAIMED, CONFIRMED),
        "refused": (CLAIMED, REFUSED),
        "lapsed": (CLAIMED, LAPSED),
        "forgiven": (THANKED, FORGIVEN),
    },
    asked_to={
        "thank": THANK,
        "claim": CLAIM,
        "confirm": CONFIRM,
        "refuse": REFUSE,
        "forgive": FORGIVE,
        "lapse": LAPSE,
    },
    possible_when={"confirm": "claimed", "refuse": "claimed", "forgive": "posted", "lapse": "claimed"},
    table="""
                thank    claim    confirm    refuse   forgive   lapse
    nothing     thanked  claimed  unknown    unknown  unknown   unknown
    thanked     exists   exists   -          !        forgiven  !
    claimed     exists   exists   confirmed  refused  !         lapsed
    confirmed   exists   exists   -          !        forgiven  !
    refused     exists   exists   !          -        !         !
    lapsed      exists   exists   !          !        !         -
    forgiven    exists   exists   !          !        -         !
    """,
)
