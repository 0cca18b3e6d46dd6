"""Lifecycles of every kind as requests. Each has the posted command and the state that its actor reads afterwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, cast
from uuid import uuid4

from ledger.domain.catalog.kinds import KINDS
from ledger.domain.catalog.operations import OPERATIONS
from services.app import utc_now
from tests.services.caller import Caller


@dataclass(frozen=True)
class Request:
    """One operation, and the resource that its actor reads afterwards: the state, and the fields that it sets.

    An asker may be forbidden to see the real state of the introduction. Then `true_state` is the real state, and
    `version` is the version that the asker reads instead.
    """

    operation: str
    body: Mapping[str, Any]
    state: str
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    true_state: str = ""
    version: int | None = None

    @property
    def kind(self) -> str:
        return self.operation.partition(".")[0]

    @property
    def actor(self) -> str:
        actor: str = self.body["actor"]
        return actor

    @property
    def viewer_query(self) -> dict[str, str]:
        """The query parameter that asks for the view of the actor. It is empty for a moderator, who is no party."""
        return {} if self.kind == "dispute" else {"viewer": self.actor}

    def path(self, aggregate: str | None = None) -> str:
        """Return the path below the community, to the collection or to a step of an aggregate."""
        verb = self.operation.partition(".")[2]
        collection = f"/{KINDS[self.kind].plural}"
        if aggregate is None or OPERATIONS[self.operation].creates:
            return collection
        return f"{collection}/{aggregate}/{verb}"


Lifecycle = tuple[Request, ...]


# Placeholders for values that differ in each run; each stands for one value within a run


@dataclass(frozen=True, eq=False)
class FreshName:
    """A new id of a member or a prospect. It begins with `word`."""

    word: str


@dataclass(frozen=True, eq=False)
class FutureTime:
    """The present time plus `by`."""

    by: timedelta


@dataclass(frozen=True, eq=False)
class ResultOf:
    """The id of the resource at the end of another lifecycle, which runs first."""

    lifecycle: Lifecycle


Placeholder = FreshName | FutureTime | ResultOf
GATHERING: Final = "0198c0de-0000-7000-8000-000000000001"
FAVOUR: Final = {"giver": "ada", "receiver": "bob", "size": "medium"}
REFERRAL: Final = {"referrer": "ada", "recipient": "bob", "prospect": "prospect-7", "level": 4, "actor": "ada"}
INTRO: Final = {"asker": "ann", "connector": "cas", "target": "tom"}
PROSPECT: Final = FreshName("prospect")
NEWCOMER: Final = FreshName("newcomer")
STRANGER: Final = FreshName("stranger")
TOMORROW: Final = FutureTime(timedelta(days=1))
NEXT_WEEK: Final = FutureTime(timedelta(days=7))


def by(actor: object, **rest: object) -> dict[str, Any]:
    """Return the body of a command by this actor."""
    return {"actor": actor, **rest}


CLAIM: Final = Request("favour.record", FAVOUR | by("ada"), "claimed", {"points": 120})
THANKS: Final = Request("favour.record", FAVOUR | by("bob", gathering=GATHERING), "posted", {"gathering": GATHERING})
CONFIRM: Final = Request("favour.confirm", by("bob"), "posted")

GIVE: Final = Request(
    "referral.give", REFERRAL | {"prospect": PROSPECT, "tags": ["tax", "law"]}, "given", {"points": 240}
)
QUALIFY: Final = Request("referral.qualify", by("bob"), "qualified", {"level": 4})
CONTACT: Final = Request("referral.contact", by("bob"), "contacted", {"prospect": PROSPECT})

ASK: Final = Request(
    "intro.propose",
    INTRO | by("ann", tags=["cardiology"], expects_percent=30),
    "pending",
    {"tags": ["cardiology"], "expects_percent": 30, "lapses_at": None},
    true_state="asked",
)
ACCEPT: Final = Request("intro.accept", by("cas", level=3), "accepted", {"level": 3, "points": 120})
CONSENT: Final = Request("intro.consent", by("tom"), "consented")
MAKE: Final = Request("intro.make", by("cas"), "made", {"stake": 60})
MEET: Final = Request("intro.meet", by("ann"), "met")
DECLINE: Final = Request("intro.decline", by("cas"), "declined")
REFUSE: Final = Request("intro.refuse", by("tom"), "refused")
WITHDRAW: Final = Request("intro.withdraw", by("ann"), "withdrawn", {"level": None}, version=3)
OFFER: Final = Request("intro.propose", INTRO | by("cas", level=5), "offered", {"matchmade": True, "points": 360})
FIRST_CONSENT: Final = Request("intro.consent", by("ann"), "offered", {"consented": ["ann"]})
SECOND_CONSENT: Final = Request("intro.consent", by("tom"), "consented", {"matchmade": True})

DISPUTE: Final = Request(
    "dispute.open",
    by("bob", about=ResultOf((THANKS,)), entry="favour.thanked", code="not_mine"),
    "opened",
    {"opener": "bob", "parties": ["ada", "bob"], "transfers": [{"payer": "bob", "payee": "ada", "points": 120}]},
)
UPHOLD: Final = Request("dispute.uphold", by("mod"), "upheld", {"remedy": "reversal", "lapses_at": None})
REJECT: Final = Request("dispute.reject", by("mod"), "rejected", {"remedy": None})
MISDESCRIBED: Final = Request(
    "dispute.open",
    by("ann", about=ResultOf((ASK, ACCEPT, CONSENT, MAKE)), entry="intro.made", code="misdescribed"),
    "opened",
    {
        "fault": "connector",
        "owed": [
            {"payer": "cas", "payee": "ann", "points": 120},
            {"payer": "cas", "payee": "tom", "points": 60},
        ],
    },
)

JOIN: Final = Request(
    "member.join", by(NEWCOMER, member=NEWCOMER, sponsor="ada"), "active", {"member": NEWCOMER, "sponsor": "ada"}
)
WANTS: Final = Request("member.wants", by(NEWCOMER, tags=["tax", "law"]), "active", {"wants": ["law", "tax"]})
OFFERS: Final = Request("member.offers", by(NEWCOMER, tags=["design"]), "active", {"offers": ["design"]})
CAPS: Final = Request(
    "member.caps", by(NEWCOMER, asks_in=2, welcome=["bob"]), "active", {"asks_in": 2, "welcome": ["bob"]}
)
PAUSE: Final = Request("member.pause", by(NEWCOMER), "paused", {"wants": ["law", "tax"]})
RESUME: Final = Request("member.resume", by(NEWCOMER), "active", {"offers": ["design"]})
LEAVE: Final = Request("member.leave", by(NEWCOMER), "left", {"wants": None, "offers": None, "welcome": None})
REJOIN: Final = Request("member.join", by(NEWCOMER, member=NEWCOMER), "active", {"sponsor": None, "wants": None})

HOLD: Final = Request("gathering.hold", by("ada", host="ada", dues=True), "held", {"host": "ada", "dues": True})
ATTEND: Final = Request(
    "attendance.attend",
    by("bob", gathering=ResultOf((HOLD,)), member="bob"),
    "attended",
    {"member": "bob", "host": "ada"},
)
PAY: Final = Request("attendance.pay", by("ada"), "paid", {"dues": True})

MEET_UP: Final = Request(
    "contact.make",
    by(NEWCOMER, member=NEWCOMER, other=STRANGER, gathering=GATHERING),
    "made",
    {"member": NEWCOMER, "other": STRANGER, "gathering": GATHERING},
)
BOOK: Final = Request("one-to-one.book", by("bob", member="ada", other="bob"), "booked", {"said": None})
SAY_HELD: Final = Request("one-to-one.hold", by("bob"), "booked", {"said": ["bob"]})
HELD: Final = Request("one-to-one.hold", by("ada"), "held", {"said": None, "member": "ada"})
CANCEL: Final = Request("one-to-one.cancel", by("ada"), "cancelled")

PUBLISH: Final = Request("policy.publish", by("mod", policy={"met_points": 45}, starts_at=TOMORROW), "published")
PUBLISH_AGAIN: Final = Request("policy.publish", by("mod", policy={"guard": "off"}, starts_at=NEXT_WEEK), "published")

LIFECYCLES: Final[Mapping[str, Lifecycle]] = {
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
    "an intro that the target refuses": (ASK, ACCEPT, REFUSE),
    "an intro that the asker withdraws": (ASK, ACCEPT, CONSENT, WITHDRAW),
    "an intro that the asker withdraws, not knowing that it was declined": (ASK, DECLINE, WITHDRAW),
    "an intro that the asker withdraws, not knowing that it was refused": (ASK, ACCEPT, REFUSE, WITHDRAW),
    "an intro that the asker withdraws at once": (ASK, WITHDRAW),
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
    "a dispute that is upheld": (DISPUTE, UPHOLD),
    "a dispute that is rejected": (DISPUTE, REJECT),
    "a dispute about an introduction that was misdescribed": (
        MISDESCRIBED,
        replace(UPHOLD, fields={"remedy": "fault", "fault": "connector"}),
    ),
    "a member who comes, goes and comes again": (JOIN, WANTS, OFFERS, CAPS, PAUSE, RESUME, LEAVE, REJOIN),
    "a member who leaves while away": (JOIN, replace(PAUSE, fields={}), LEAVE),
    "a gathering": (HOLD,),
    "an attendance with dues": (ATTEND, PAY),
    "a contact": (MEET_UP,),
    "a one-to-one that both say was held": (BOOK, SAY_HELD, HELD),
    "a one-to-one that is called off": (BOOK, CANCEL),
    "a policy, and another": (PUBLISH, PUBLISH_AGAIN),
}
CLOCK_STATES: Final = frozenset(
    {("favour", "lapsed"), ("referral", "lapsed"), ("intro", "expired"), ("dispute", "lapsed")}
)


async def resolve(caller: Caller, lifecycle: Lifecycle) -> Lifecycle:
    """Return the lifecycle with a value for each placeholder."""
    known: dict[Placeholder, object] = {}
    return tuple([await resolve_request(caller, request, known) for request in lifecycle])


async def resolve_request(caller: Caller, request: Request, known: dict[Placeholder, object]) -> Request:
    body = await resolve_value(caller, request.body, known)
    return replace(request, body=body, fields=await resolve_value(caller, request.fields, known))


async def resolve_value(caller: Caller, value: Any, known: dict[Placeholder, object]) -> Any:
    match value:
        case FreshName() | FutureTime() | ResultOf():
            if value not in known:
                known[value] = await make_value(caller, value)
            return known[value]
        case Mapping():
            facts = cast("Mapping[str, Any]", value)
            return {name: await resolve_value(caller, part, known) for name, part in facts.items()}
        case _:
            return value


async def make_value(caller: Caller, placeholder: Placeholder) -> str:
    match placeholder:
        case FreshName(word):
            return f"{word}-{uuid4().hex}"
        case FutureTime(by_):
            return (utc_now() + by_).isoformat()
        case ResultOf(lifecycle):
            own_id: str = (await run_lifecycle(caller, *lifecycle))["id"]
            return own_id


def address_of(view: Mapping[str, Any], kind: str) -> str:
    """Return the id of a resource in a path: the id of the member for a membership, else its own id."""
    address: str = view["member" if kind == "member" else "id"]
    return address


async def run_lifecycle(caller: Caller, *lifecycle: Request) -> dict[str, Any]:
    """Resolve and send the requests of a lifecycle. Return the resource after the last one."""
    return (await run_requests(caller, await resolve(caller, lifecycle)))[-1]


async def run_requests(caller: Caller, requests: Sequence[Request]) -> list[dict[str, Any]]:
    """Send resolved requests of one aggregate. Return the resource after each of them."""
    views: list[dict[str, Any]] = []
    for request in requests:
        path = request.path(address_of(views[0], request.kind) if views else None)
        views.append(await caller.recorded(path, request.body, key=uuid4().hex))
        assert views[-1]["state"] == request.state
    return views
