"""Examples of an introduction that is asked for, and of one that is offered."""

from typing import Final, TypedDict

from msgspec.structs import replace

from ledger.domain.catalog.kinds import INTRO
from ledger.domain.kinds.intro.commands import (
    AcceptIntro,
    CloseIntro,
    ConsentIntro,
    DeclineIntro,
    LapseIntro,
    MakeIntro,
    MeetIntro,
    ProposeIntro,
    RefuseIntro,
    WithdrawIntro,
)
from ledger.domain.kinds.intro.events import (
    IntroAccepted,
    IntroAsked,
    IntroClosed,
    IntroConsented,
    IntroDeclined,
    IntroExpired,
    IntroMade,
    IntroMet,
    IntroOffered,
    IntroRefused,
    IntroWithdrawn,
)
from ledger.domain.kinds.intro.reciprocity_guard import UNAVAILABLE
from tests.domain.spec import NOW, TransitionTable, days

ASKER: Final = "ada"
CONNECTOR: Final = "bob"
TARGET: Final = "cyd"
STRANGER: Final = "zoe"

ANSWER_DUE: Final = NOW + days(14)
CONSENT_DUE: Final = NOW + days(10)
CLOSE_DUE: Final = NOW + days(90)
VISIBLE_UNTIL: Final = ANSWER_DUE + days(10)  # To the asker, all silence ends then.


class Parties(TypedDict):
    asker: str
    connector: str
    target: str


PARTIES: Final = Parties(asker=ASKER, connector=CONNECTOR, target=TARGET)

DECLINED = IntroDeclined(**PARTIES)
WITHDRAWN = IntroWithdrawn(**PARTIES)
CONSENTED = IntroConsented(**PARTIES, member=TARGET)
REFUSED = IntroRefused(**PARTIES, member=TARGET)
EXPIRED = IntroExpired(**PARTIES)

ASKED = IntroAsked(**PARTIES, lapses_at=ANSWER_DUE, visible_until=VISIBLE_UNTIL, advice=UNAVAILABLE)
ACCEPTED = IntroAccepted(**PARTIES, level=3, points=120, lapses_at=CONSENT_DUE)
MADE = IntroMade(**PARTIES, points=120, stake=60, lapses_at=CLOSE_DUE, made_at=NOW)
MET = IntroMet(**PARTIES, points=30)
CLOSED = IntroClosed(**PARTIES, outcome="fruitful", fault="none", points=120, stake=60)

OFFERED = IntroOffered(**PARTIES, level=3, points=120, lapses_at=ANSWER_DUE)
ASKER_CONSENTED = IntroConsented(**PARTIES, member=ASKER)
MATCH_MADE = replace(MADE, matchmade=True)
MATCH_MET = IntroMet(**PARTIES, points=0)
MATCH_CLOSED = replace(CLOSED, matchmade=True)

ASK = ProposeIntro(actor=ASKER, **PARTIES)
OFFER = ProposeIntro(actor=CONNECTOR, **PARTIES, level=3)
ACCEPT = AcceptIntro(actor=CONNECTOR, level=3)
DECLINE = DeclineIntro(actor=CONNECTOR)
CONSENT = ConsentIntro(actor=TARGET)
REFUSE = RefuseIntro(actor=TARGET)
WITHDRAW = WithdrawIntro(actor=ASKER)
TAKE_BACK = WithdrawIntro(actor=CONNECTOR)  # An offer.
MAKE = MakeIntro(actor=CONNECTOR)
MEET = MeetIntro(actor=ASKER)
CLOSE = CloseIntro(actor=TARGET, outcome="fruitful")
LAPSE = LapseIntro()

TO_CONSENTED = (ASKED, ACCEPTED, CONSENTED)
TO_MADE = (*TO_CONSENTED, MADE)
TO_MET = (*TO_MADE, MET)
MATCH_TO_CONSENTED = (OFFERED, ASKER_CONSENTED, CONSENTED)
MATCH_TO_MADE = (*MATCH_TO_CONSENTED, MATCH_MADE)
MATCH_TO_MET = (*MATCH_TO_MADE, MATCH_MET)

POSSIBLE_WHEN: Final = {
    "accept": "asked",
    "decline": "asked",
    "withdraw": "pending or not_now",
    "consent": "offered or accepted",
    "refuse": "offered or accepted",
    "make": "consented",
    "meet": "made",
    "close": "made or met",
    "lapse": "asked, offered, accepted, made or met",
}
ASKED_LIFE = TransitionTable(
    kind=INTRO,
    after={
        "nothing": (),
        "asked": (ASKED,),
        "accepted": (ASKED, ACCEPTED),
        "consented": TO_CONSENTED,
        "made": TO_MADE,
        "met": TO_MET,
        "closed": (*TO_MET, CLOSED),
        "declined": (ASKED, DECLINED),
        "refused": (ASKED, ACCEPTED, REFUSED),
        "withdrawn": (ASKED, WITHDRAWN),
        "expired": (ASKED, EXPIRED),
    },
    asked_to={
        "propose": ASK,
        "accept": ACCEPT,
        "decline": DECLINE,
        "withdraw": WITHDRAW,
        "consent": CONSENT,
        "refuse": REFUSE,
        "make": MAKE,
        "meet": MEET,
        "close": CLOSE,
        "lapse": LAPSE,
    },
    possible_when=POSSIBLE_WHEN,
    table="""
               propose  accept    decline   withdraw   consent    refuse   make     meet      close    lapse
    nothing    asked    unknown   unknown   unknown    unknown    unknown  unknown  unknown   unknown  unknown
    asked      exists   accepted  declined  withdrawn  !          !        !        !not_now  !        expired
    accepted   exists   -         !         withdrawn  consented  refused  !        !not_now  !        expired
    consented  exists   !         !         withdrawn  -          !        made     !not_now  !        !
    made       exists   !         !         !          !          !        -        met       closed   closed
    met        exists   !         !         !          !          !        !        -         closed   closed
    closed     exists   !         !         !          !          !        !        !         -        -
    declined   exists   !         -         withdrawn  !          !        !        !not_now  !        !
    refused    exists   !         !         withdrawn  !          -        !        !not_now  !        !
    withdrawn  exists   !         !         -          !          !        !        !         !        !
    expired    exists   !         !         withdrawn  !          !        !        !not_now  !        -
    """,
)
OFFERED_LIFE = TransitionTable(
    kind=INTRO,
    after={
        "nothing": (),
        "offered": (OFFERED,),
        "halfway": (OFFERED, ASKER_CONSENTED),
        "consented": MATCH_TO_CONSENTED,
        "made": MATCH_TO_MADE,
        "met": MATCH_TO_MET,
        "closed": (*MATCH_TO_MET, MATCH_CLOSED),
        "refused": (OFFERED, REFUSED),
        "withdrawn": (OFFERED, WITHDRAWN),
        "expired": (OFFERED, EXPIRED),
    },
    asked_to={**ASKED_LIFE.asked_to, "propose": OFFER, "withdraw": TAKE_BACK},
    possible_when={**POSSIBLE_WHEN, "withdraw": "offered or consented"},
    table="""
               propose  accept   decline  withdraw   consent    refuse   make     meet     close    lapse
    nothing    offered  unknown  unknown  unknown    unknown    unknown  unknown  unknown  unknown  unknown
    offered    exists   !        !        withdrawn  consented  refused  !        !        !        expired
    halfway    exists   !        !        withdrawn  consented  refused  !        !        !        expired
    consented  exists   !        !        withdrawn  -          !        made     !        !        !
    made       exists   !        !        !          !          !        -        met      closed   closed
    met        exists   !        !        !          !          !        !        -        closed   closed
    closed     exists   !        !        !          !          !        !        !        -        -
    refused    exists   !        !        !          !          -        !        !        !        !
    withdrawn  exists   !        !        -          !          !        !        !        !        !
    expired    exists   !        !        !          !          !        !        !        !        -
    """,
)
