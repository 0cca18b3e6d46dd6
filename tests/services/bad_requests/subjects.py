"""The aggregates that bad requests refer to."""

from dataclasses import dataclass
from typing import Final

from tests.services.bad_requests.case import THANKED
from tests.services.caller import Caller
from tests.services.lifecycles import (
    ATTEND,
    BOOK,
    CANCEL,
    CLAIM,
    DISPUTE,
    GIVE,
    HOLD,
    JOIN,
    LEAVE,
    LIFECYCLES,
    PAY,
    REJECT,
    THANKS,
    Lifecycle,
    Request,
    address_of,
    by,
    run_lifecycle,
)

FREE: Final = Request("gathering.hold", by("ada", host="ada"), "held")


@dataclass(frozen=True)
class Subjects:
    """Ids of aggregates, each named by its state or its part in the requests. Members have their own ids."""

    claimed: str
    posted: str
    given: str
    offered: str
    asked: str
    made: str
    made_match: str
    opened: str
    rejected: str
    disputed: str
    here: str
    gone: str
    gathering: str
    attended: str
    free: str
    paid: str
    booked: str
    cancelled: str


async def create_subjects(caller: Caller) -> Subjects:
    """Record the aggregates through the API. This uses the idempotency key `used`."""
    well, match = LIFECYCLES["an intro that ends well"], LIFECYCLES["a match that is made and meets"]
    lifecycles: dict[str, Lifecycle] = {
        "claimed": (CLAIM,),
        "posted": (THANKS,),
        "given": (GIVE,),
        "offered": match[:1],
        "asked": well[:1],
        "made": well[:4],
        "made_match": match[:4],
        "opened": (DISPUTE,),
        "rejected": (DISPUTE, REJECT),
        "here": (JOIN,),
        "gone": (JOIN, LEAVE),
        "gathering": (HOLD,),
        "attended": (ATTEND,),
        "paid": (ATTEND, PAY),
        "booked": (BOOK,),
        "cancelled": (BOOK, CANCEL),
    }
    await caller.recorded("/favours", THANKED, key="used")
    views = {name: await run_lifecycle(caller, *lifecycle) for name, lifecycle in lifecycles.items()}
    gathering = await run_lifecycle(caller, FREE)
    free = await caller.recorded("/attendances", by("bob", member="bob", gathering=gathering["id"]))
    addresses = {name: address_of(view, lifecycles[name][0].kind) for name, view in views.items()}
    return Subjects(**addresses, free=free["id"], disputed=views["opened"]["about"])
