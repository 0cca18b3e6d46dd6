"""Speed of coach, matches, standing and yield in a large community."""

import random
import time
from collections.abc import Iterator
from typing import Final
from uuid import UUID

from bench.ledger import Ledger
from bench.measure import COMMUNITY, PATH, Figures, console, many
from ledger.books.writer import writer_lock
from ledger.commands.executor import Executor
from ledger.commands.submission import Submission
from ledger.domain.catalog.operations import OPERATIONS
from ledger.domain.kinds.attendance import Attend
from ledger.domain.kinds.contact import MakeContact
from ledger.domain.kinds.favour import RecordFavour
from ledger.domain.kinds.gathering import HoldGathering
from ledger.domain.kinds.intro.commands import AcceptIntro, ConsentIntro, DeclineIntro, MakeIntro, ProposeIntro
from ledger.domain.kinds.member import JoinMember, SetOffers, SetWants, membership_id
from ledger.domain.kinds.one_to_one import BookOneToOne, HoldOneToOne
from ledger.domain.kinds.referral import GiveReferral, QualifyReferral, WinReferral
from ledger.domain.values.aggregate_types import Command
from ledger.domain.values.refusals import Refusal
from ledger.log.memory import MemoryLog

MEMBERS: Final = 100_000
EVENTS: Final = 1_000_000
TAGS: Final = 400
GATHERINGS: Final = 500
BATCH: Final = 1_000
OPERATION_OF: Final = {operation.command: name for name, operation in OPERATIONS.items()}

Step = tuple[Command, UUID | None]
"""A command, and the id of its aggregate if it does not create it."""


class Community:
    """A random large community. Some members and tags are far more popular than others."""

    def __init__(self) -> None:
        self.rng = random.Random("people")
        self.count = 0

    def own(self) -> UUID:
        self.count += 1
        return UUID(int=self.count)

    def member(self) -> str:
        return f"m{int(MEMBERS * self.rng.random() ** 2)}"

    def members(self, count: int) -> list[str]:
        found: dict[str, None] = {}
        while len(found) < count:
            found[self.member()] = None
        return list(found)

    def tags(self) -> tuple[str, ...]:
        return tuple({f"tag-{int(TAGS * self.rng.random() ** 2)}" for _ in range(3)})

    def gathering(self) -> UUID | None:
        return UUID(int=2**64 + self.rng.randrange(GATHERINGS)) if self.rng.random() < 0.5 else None

    def beginning(self) -> Iterator[list[Step]]:
        for number in range(GATHERINGS):
            host = self.member()
            yield [(HoldGathering(actor=host, host=host, dues=True, id=UUID(int=2**64 + number)), None)]
        for number in range(MEMBERS):
            name = f"m{number}"
            own = membership_id(COMMUNITY, name)
            yield [
                (JoinMember(actor=name, member=name), None),
                (SetWants(actor=name, tags=self.tags()), own),
                (SetOffers(actor=name, tags=self.tags()), own),
            ]

    def life(self) -> Iterator[list[Step]]:
        """Yield the commands after the beginning, in short sequences."""
        while True:
            a, b, c = self.members(3)
            own, gathering = self.own(), self.gathering()
            match self.rng.random():
                case luck if luck < 0.35:
                    yield [(RecordFavour(actor=b, giver=a, receiver=b, size="medium", id=own), None)]
                case luck if luck < 0.6:
                    yield [(MakeContact(actor=a, member=a, other=b, gathering=gathering), None)]
                case luck if luck < 0.7:
                    yield [
                        (BookOneToOne(actor=a, member=a, other=b, gathering=gathering, id=own), None),
                        (HoldOneToOne(actor=a), own),
                        (HoldOneToOne(actor=b), own),
                    ]
                case luck if luck < 0.8 and gathering is not None:
                    yield [(Attend(actor=a, member=a, gathering=gathering), None)]
                case luck if luck < 0.9:
                    ask = ProposeIntro(actor=a, asker=a, connector=b, target=c, id=own, gathering=gathering)
                    if self.rng.random() < 0.4:
                        yield [(ask, None), (DeclineIntro(actor=b), own)]
                    else:
                        yield [
                            (ask, None),
                            (AcceptIntro(actor=b, level=3), own),
                            (ConsentIntro(actor=c), own),
                            (MakeIntro(actor=b), own),
                        ]
                case _:
                    give = GiveReferral(
                        actor=a, referrer=a, recipient=b, prospect=f"p{self.count}", level=2, gathering=gathering
                    )
                    referral = give.own_id(COMMUNITY)
                    yield [
                        (give, None),
                        (QualifyReferral(actor=b), referral),
                        (WinReferral(actor=b, band="M"), referral),
                    ]


def submission(step: Step) -> Submission:
    command, own = step
    operation = OPERATION_OF[type(command)]
    kind = OPERATIONS[operation].kind.name
    return Submission(community=COMMUNITY, operation=operation, kind=kind, command=command, id=own)


async def fill(ledger: Ledger) -> int:
    """Write the books of a large community with the writer of the projector. Return the number of events."""
    community, log = Community(), MemoryLog()
    executor = Executor(log)
    stories = (story for part in (community.beginning(), community.life()) for story in part)
    async with writer_lock(ledger.settings.books) as writer:
        written = 0
        while written < EVENTS:
            batch = [next(stories) for _ in range(BATCH)]
            for turn in range(max(map(len, batch))):
                results = await executor.execute_all([submission(story[turn]) for story in batch if turn < len(story)])
                assert not any(isinstance(result, Refusal) and result.code == "unknown" for result in results)
            end = await log.end()
            events = [event for position in range(written + 1, end + 1) if (event := await log.at(position))]
            for start in range(0, len(events), 3 * BATCH):
                await writer.apply(events[start : start + 3 * BATCH])
            written = end
    return written


async def people(ledger: Ledger, figures: Figures, seconds: float) -> None:
    """Fill the books of an idle ledger, then measure the reads."""
    started = time.perf_counter()
    events = await fill(ledger)
    console.print(f"  {events:,} events of {MEMBERS:,} members written in {time.perf_counter() - started:,.0f} s")
    rng = random.Random("asking")

    def somebody() -> str:
        return f"m{int(MEMBERS * rng.random() ** 2)}"

    def coach(name: str) -> str:
        return f"{PATH}/members/{name}/coach?viewer={name}"

    for what, path in {
        "coach": lambda: coach(somebody()),
        "matches": lambda: f"{PATH}/members/{somebody()}/matches",
        "matches of the best known": lambda: f"{PATH}/members/m{rng.randrange(20)}/matches",
        "yield": lambda: f"{PATH}/gatherings/{UUID(int=2**64 + rng.randrange(GATHERINGS))}/yield",
        "standing": lambda: f"{PATH}/members/{somebody()}/standing",
    }.items():
        rate, durations = await many(ledger, seconds, 2, lambda wire, _, path=path: wire.get(path()))
        figures.add(f"GET {what}, 2 at once, 1/s", f"{rate:,.0f}", durations)
