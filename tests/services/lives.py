"""The lives of favours, referrals and intros, told as requests: what is posted, and the state it leads to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from services.http.views import PLURALS
from tests.services.caller import Caller


@dataclass(frozen=True)
class Request:
    """One operation, the state after it, and fields of the resource that it decides on."""

    operation: str
    body: Mapping[str, Any]
    state: str
    shows: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def kind(self) -> str:
        return self.operation.partition(".")[0]

    def path(self, aggregate: str | None = None) -> str:
        """Its route, below the community's."""
        verb = self.operation.partition(".")[2]
        collection = f"/{PLURALS[self.kind]}"
        return collection if aggregate is None else f"{collection}/{aggregate}/{verb}"


Life = tuple[Request, ...]

GATHERING: Final = "0198c0de-0000-7000-8000-000000000001"
FAVOUR: Final = {"giver": "ada", "receiver": "bob", "size": "medium"}
REFERRAL: Final = {"referrer": "ada", "recipient": "bob", "prospect": "prospect-7", "level": 4, "actor": "ada"}
INTRO: Final = {"asker": "ann", "connector": "cas", "target": "tom"}


def by(actor: str, **rest: object) -> dict[str, Any]:
    return {"actor": actor, **rest}


CLAIM: Final = Request("favour.record", FAVOUR | by("ada"), "claimed", {"points": 120})
THANKS: Final = Request("favour.record", FAVOUR | by("bob", gathering=GATHERING), "posted", {"gathering": GATHERING})
CONFIRM: Final = Request("favour.confirm", by("bob"), "posted")

GIVE: Final = Request("referral.give", REFERRAL | {"tags": ["tax", "law"]}, "given", {"points": 240})
QUALIFY: Final = Request("referral.qualify", by("bob"), "qualified", {"level": 4})
CONTACT: Final = Request("referral.contact", by("bob"), "contacted", {"prospect": "prospect-7"})

ASK: Final = Request("intro.propose", INTRO | by("ann", tags=["cardiology"]), "asked", {"tags": ["cardiology"]})
ACCEPT: Final = Request("intro.accept", by("cas", level=3), "accepted", {"level": 3, "points": 120})
CONSENT: Final = Request("intro.consent", by("tom"), "consented")
MAKE: Final = Request("intro.make", by("cas"), "made", {"stake": 60})
MEET: Final = Request("intro.meet", by("ann"), "met")
OFFER: Final = Request("intro.propose", INTRO | by("cas", level=5), "offered", {"matchmade": True, "points": 360})
FIRST_CONSENT: Final = Request("intro.consent", by("ann"), "offered", {"consented": ["ann"]})
SECOND_CONSENT: Final = Request("intro.consent", by("tom"), "consented", {"matchmade": True})

LIVES: Final[Mapping[str, Life]] = {
    "a favour that is thanked for and forgiven": (THANKS, Request("favour.forgive", by("ada"), "forgiven")),
    "a favour that is claimed and confirmed": (CLAIM, CONFIRM),
    "a favour that is claimed and refused": (CLAIM, Request("favour.refuse", by("bob"), "refused")),
    "a referral that is won": (
        GIVE,
        QUALIFY,
        CONTACT,
        Request("referral.win", by("bob", band="XL"), "won", {"band": "XL"}),
    ),
    "a referral that is won at once": (GIVE, QUALIFY, Request("referral.win", by("bob", band="S"), "won")),
    "a referral that is lost": (GIVE, QUALIFY, CONTACT, Request("referral.lose", by("bob"), "lost")),
    "a referral that is none": (
        GIVE,
        Request("referral.disqualify", by("bob", reason="duplicate"), "disqualified", {"reason": "duplicate"}),
    ),
    "an intro that ends well": (
        ASK,
        ACCEPT,
        CONSENT,
        MAKE,
        MEET,
        Request("intro.close", by("ann", outcome="fruitful"), "closed", {"outcome": "fruitful", "fault": "none"}),
    ),
    "an intro whose asker was at fault": (
        ASK,
        ACCEPT,
        CONSENT,
        MAKE,
        Request("intro.close", by("ann", outcome="fell_silent", fault="asker"), "closed", {"fault": "asker"}),
    ),
    "an intro whose connector was at fault": (
        ASK,
        ACCEPT,
        CONSENT,
        MAKE,
        MEET,
        Request("intro.close", by("cas", outcome="no_result", fault="connector"), "closed", {"fault": "connector"}),
    ),
    "an intro that the connector declines": (
        ASK,
        Request("intro.decline", by("cas", tell_now=True), "declined", {"tell_now": True}),
    ),
    "an intro that the target refuses": (ASK, ACCEPT, Request("intro.refuse", by("tom"), "refused")),
    "an intro that the asker withdraws": (ASK, ACCEPT, CONSENT, Request("intro.withdraw", by("ann"), "withdrawn")),
    "a match that is made and meets": (
        OFFER,
        FIRST_CONSENT,
        SECOND_CONSENT,
        Request("intro.make", by("cas"), "made", {"stake": 180}),
        Request("intro.meet", by("tom"), "met"),
        Request("intro.close", by("tom", outcome="no_result"), "closed"),
    ),
    "a match that one of the two refuses": (
        OFFER,
        FIRST_CONSENT,
        Request("intro.refuse", by("tom", tell_now=True), "refused", {"tell_now": True}),
    ),
    "a match that the connector withdraws": (OFFER, Request("intro.withdraw", by("cas"), "withdrawn")),
}
LEFT_TO_THE_CLOCK: Final = frozenset({("favour", "lapsed"), ("referral", "lapsed"), ("intro", "expired")})


def told_apart(life: Life) -> Life:
    """The same life, about another prospect than any before: of referrals there is one for each."""
    if "prospect" not in life[0].body:
        return life
    prospect = f"prospect-{uuid4().hex}"
    return tuple(
        Request(
            request.operation,
            {**request.body, "prospect": prospect} if number == 0 else request.body,
            request.state,
            {**request.shows, "prospect": prospect},
        )
        for number, request in enumerate(life)
    )


async def lived(caller: Caller, *life: Request) -> dict[str, Any]:
    """Goes through a life; answers the resource after its last request."""
    view: dict[str, Any] = {}
    for request in told_apart(life):
        path = request.path(view["id"]) if view else request.path()
        view = await caller.recorded(path, request.body, key=uuid4().hex)
        assert view["state"] == request.state
    return view
