"""Histories for the books: told through the executor, or put into the log as they are, or drawn at random."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from ledger.domain.catalog import KINDS, LAPSES, OPERATIONS, AnyEvent
from ledger.domain.context import Context
from ledger.domain.favour import ForgiveFavour, RecordFavour, RefuseFavour
from ledger.domain.intro import DeclineIntro, ProposeIntro, RefuseIntro, WithdrawIntro
from ledger.domain.referral import DisqualifyReferral, GiveReferral, LoseReferral
from ledger.domain.refusals import Refusal
from ledger.domain.values import Command, Creation, Lapse, MemberId, Size
from ledger.envelope import TYPES, AggregateRef, Envelope, Recorded, encode
from ledger.log.event_log import Append, EventLog
from ledger.log.executor import Executor, Outcome, Submission
from ledger.log.memory import MemoryLog
from ledger.log.message import subject_of

NOW: Final = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
ACME: Final = "acme"
OPERATION_OF: Final[dict[type[Command], str]] = {operation.command: name for name, operation in OPERATIONS.items()}
KIND_OF_LAPSE: Final = {lapse: kind for kind, lapse in LAPSES.items()}


def number(n: int) -> UUID:
    """A UUID that is easy to tell from others."""
    return UUID(int=n)


def submission(command: Command | Lapse, of: UUID | None = None, community: str = ACME) -> Submission:
    """The command on its way: a step is `of` an aggregate, a creation names its own."""
    if isinstance(command, Lapse):
        kind = KIND_OF_LAPSE[type(command)]
        return Submission(community=community, operation=f"{kind}.lapse", kind=kind, command=command, id=of)
    operation = OPERATION_OF[type(command)]
    return Submission(
        community=community, operation=operation, kind=OPERATIONS[operation].kind.name, command=command, id=of
    )


class Chronicle:
    """A log, and the executor that writes it. `now` is the ledger's clock, and ours to move."""

    def __init__(self, log: EventLog | None = None) -> None:
        self.log: Final = log or MemoryLog()
        self.now = NOW
        self.executor: Final = Executor(self.log, lambda: self.now)

    async def say(self, command: Command | Lapse, of: UUID | None = None, community: str = ACME) -> Outcome:
        return await self.executor.execute(submission(command, of, community))

    async def thank(
        self, giver: MemberId, receiver: MemberId, *, own: UUID, size: Size = "medium", community: str = ACME
    ) -> Outcome:
        """The receiver thanks the giver: a favour is posted at once."""
        return await self.say(
            RecordFavour(actor=receiver, giver=giver, receiver=receiver, size=size, id=own), community=community
        )

    async def thanks(self, count: int, *, begin: int = 1) -> None:
        """Many favours, all of bob for ada: 120 points each."""
        favours = [
            RecordFavour(actor="ada", giver="bob", receiver="ada", size="medium", id=number(n))
            for n in range(begin, begin + count)
        ]
        await self.executor.execute_all([submission(favour) for favour in favours])

    async def put(self, of: UUID, event: AnyEvent, *, own: UUID | None = None, community: str = ACME) -> int:
        """Record an event that nobody decided on, right or wrong; answers its position."""
        ref = AggregateRef(community, next(name for name, kind in KINDS.items() if type(event) in kind.events), str(of))
        (last,) = await self.log.last([ref])
        envelope = envelope_of(ref, event, own=own or number(2**64 + await self.log.end()))
        append = Append(ref, subject_of(ref, event), encode(envelope), None, last.position if last else 0)
        (position,) = await self.log.append([append])
        return position

    async def events(self, first: int = 1) -> list[Recorded]:
        """Everything from a position on."""
        found = [await self.log.at(position) for position in range(first, await self.log.end() + 1)]
        return [event for event in found if event is not None]


def envelope_of(ref: AggregateRef, event: AnyEvent, *, own: UUID) -> Envelope:
    return Envelope(
        specversion="1.0",
        id=str(own),
        source=f"/communities/{ref.community}",
        type=TYPES[type(event)],
        subject=f"{ref.kind}/{ref.id}",
        time=NOW,
        datacontenttype="application/json",
        actor="ada",
        commandid="by hand",
        fingerprint="none",
        policyversion=1,
        data=event,
    )


def renumbered(events: Sequence[Recorded], first: int) -> list[Recorded]:
    """The same events at other positions."""
    return [msgspec.structs.replace(event, position=first + n) for n, event in enumerate(events)]


# Random histories

CAST: Final = ("ada", "bob", "cyd", "dee", "eve")
COMMUNITIES: Final = ("acme", "bolt")
RECENT: Final = 30  # Aggregates that are still spoken of: few enough for their stories to get somewhere.
ROUND: Final = 12
WILLING: Final = 8  # To one who says no: so that some stories end well.
SAYING_NO: Final = (
    Lapse,
    RefuseFavour,
    ForgiveFavour,
    DisqualifyReferral,
    LoseReferral,
    DeclineIntro,
    WithdrawIntro,
    RefuseIntro,
)


class RandomHistory:
    """What a small cast says in two communities: mostly what somebody may say now, sometimes anything at all."""

    def __init__(self, seed: int, log: EventLog | None = None) -> None:
        self.chronicle: Final = Chronicle(log)
        self.last: Final[dict[AggregateRef, Outcome]] = {}  # What the executor answered last of each aggregate.
        self._random: Final = random.Random(seed)

    async def tell(self, length: int) -> list[Recorded]:
        while await self.chronicle.log.end() < length:
            self.chronicle.now += timedelta(hours=self._random.choice([0] * 9 + [1, 20, 24 * 15, 24 * 91]))
            results = await self.chronicle.executor.execute_all([self._submission() for _ in range(ROUND)])
            for result in results:
                if isinstance(result, Outcome) and result.how != "replayed":
                    self.last[result.ref] = result
        return await self.chronicle.events()

    def _submission(self) -> Submission:
        if not self.last or self._random.random() < 0.2:
            return self._beginning()
        ref = self._random.choice(list(self.last)[-RECENT:])
        steps = list(self._steps(ref.kind))
        possible = [step for step in steps if self._possible(ref, step)]
        said = possible if possible and self._random.random() < 0.9 else steps
        (step,) = self._random.choices(said, [1 if isinstance(step, SAYING_NO) else WILLING for step in said])
        return submission(step, UUID(ref.id), ref.community)

    def _beginning(self) -> Submission:
        draw, community = self._random, self._random.choice(COMMUNITIES)
        one, two, three = draw.sample(CAST, 3)
        own, gathering = UUID(int=draw.getrandbits(128)), draw.choice([None, number(7)])
        won = [
            UUID(ref.id)
            for ref, outcome in self.last.items()
            if (ref.community, ref.kind, type(outcome.state).__name__) == (community, "referral", "Won")
        ]
        offered = draw.random() < 0.4
        beginnings: list[Creation] = [
            RecordFavour(
                actor=draw.choice([one, two]),
                giver=one,
                receiver=two,
                size=draw.choice(["small", "medium", "large"]),
                id=own,
                gathering=gathering,
            ),
            GiveReferral(
                actor=one,
                referrer=one,
                recipient=two,
                prospect=f"prospect-{draw.randrange(9)}",
                level=draw.choice([1, 2, 3, 4, 5]),
                tags=("law", "tax"),
                parent=draw.choice([None, *won]),
            ),
            ProposeIntro(
                actor=two if offered else one,
                asker=one,
                connector=two,
                target=three,
                level=draw.choice([1, 2, 3, 4, 5]) if offered else None,
                id=own,
                gathering=gathering,
            ),
        ]
        return submission(draw.choice(beginnings), community=community)

    def _steps(self, kind: str) -> Iterator[Command | Lapse]:
        """Every step there is, by everybody."""
        words: dict[str, Any] = {
            "level": self._random.choice([1, 2, 3, 4, 5]),
            "band": self._random.choice(["S", "M", "L", "XL"]),
            "reason": self._random.choice(["not_a_fit", "no_consent", "duplicate", "unreachable"]),
            "outcome": self._random.choice(["fruitful", "no_result", "fell_silent"]),
            "fault": self._random.choice(["none", "asker", "connector"]),
            "tell_now": self._random.choice([False, True]),
        }
        yield LAPSES[kind]()
        for operation in OPERATIONS.values():
            if operation.kind.name == kind and not operation.creates:
                said = {word: words[word] for word in operation.command.__struct_fields__ if word in words}
                yield from (operation.command(actor=actor, **said) for actor in CAST)

    def _possible(self, ref: AggregateRef, step: Command | Lapse) -> bool:
        try:
            context = Context(now=self.chronicle.now)
            return KINDS[ref.kind].decide(step, self.last[ref].state, context) is not None
        except Refusal:
            return False
