"""Histories for the books: told through the executor, or put into the log as they are, or drawn at random."""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, TypeVar, get_args
from uuid import UUID

import msgspec

from ledger.commands.executor import Executor
from ledger.commands.submission import Outcome, Submission
from ledger.domain.catalog.kinds import KINDS, AnyEvent
from ledger.domain.catalog.operations import LAPSES, OPERATIONS
from ledger.domain.kinds.attendance import Attend
from ledger.domain.kinds.contact import MakeContact
from ledger.domain.kinds.dispute.commands import OpenDispute, RejectDispute, UpholdDispute
from ledger.domain.kinds.dispute.states import Code, DisputedEntry
from ledger.domain.kinds.favour import ForgiveFavour, RecordFavour, RefuseFavour
from ledger.domain.kinds.gathering import HoldGathering
from ledger.domain.kinds.intro.commands import DeclineIntro, ProposeIntro, RefuseIntro, WithdrawIntro
from ledger.domain.kinds.intro.events import IntroMade
from ledger.domain.kinds.member import JoinMember, LeaveMember
from ledger.domain.kinds.one_to_one import BookOneToOne, CancelOneToOne
from ledger.domain.kinds.publication import PublishPolicy
from ledger.domain.kinds.referral import DisqualifyReferral, GiveReferral, LoseReferral, Won
from ledger.domain.kinds.transfers import transfers_of
from ledger.domain.values.aggregate_types import Command, Creation, Lapse, State, tag_of
from ledger.domain.values.context import Context, Need
from ledger.domain.values.ids import MemberId
from ledger.domain.values.points import DealBand, Level, Size
from ledger.domain.values.policy import Policy
from ledger.domain.values.refusals import Refusal
from ledger.envelope import TYPES, AggregateRef, Envelope, RecordedEvent, encode
from ledger.log.event_log import Append, EventLog
from ledger.log.memory import MemoryLog
from ledger.log.message import subject_of

NOW: Final = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
ACME: Final = "acme"
OPERATION_OF: Final[dict[type[Command], str]] = {operation.command: name for name, operation in OPERATIONS.items()}
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
KIND_OF_LAPSE: Final = {lapse: kind for kind, lapse in LAPSES.items()}

AnyCommand = TypeVar("AnyCommand", Command, Lapse, Command | Lapse)


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


def microseconds_of(at: datetime) -> int:
    """Return a time as the log records it: whole microseconds since 1970."""
    return (at - EPOCH) // timedelta(microseconds=1)


class TimedLog(MemoryLog):
    """A log in memory that records by a clock of ours."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__()
        self._now = now

    async def append(self, events: Sequence[Append]) -> list[int]:
        positions = await super().append(events)
        recorded_at_us = microseconds_of(self._now())
        for position in positions:
            self._messages[position - 1] = (recorded_at_us, *self._messages[position - 1][1:])
        return positions


class Chronicle:
    """A log, and the executor that writes it. `now` is the ledger's clock, and ours to move."""

    def __init__(self, log: EventLog | None = None) -> None:
        self.now = NOW
        self.log: Final = log or TimedLog(lambda: self.now)
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

    async def put(
        self, of: UUID, event: AnyEvent, *, own: UUID | None = None, community: str = ACME, at: datetime = NOW
    ) -> int:
        """Record an event that nobody decided on, right or wrong; answers its position."""
        ref = AggregateRef(community, next(name for name, kind in KINDS.items() if type(event) in kind.events), str(of))
        (last,) = await self.log.last([ref])
        envelope = envelope_of(ref, event, own=own or number(2**64 + await self.log.end()), at=at)
        append = Append(ref, subject_of(ref, event), encode(envelope), None, last.position if last else 0)
        (position,) = await self.log.append([append])
        return position

    async def events(self, first: int = 1) -> list[RecordedEvent]:
        """Everything from a position on."""
        found = [await self.log.at(position) for position in range(first, await self.log.end() + 1)]
        return [event for event in found if event is not None]


def envelope_of(ref: AggregateRef, event: AnyEvent, *, own: UUID, at: datetime = NOW) -> Envelope:
    return Envelope(
        specversion="1.0",
        id=str(own),
        source=f"/communities/{ref.community}",
        type=TYPES[type(event)],
        subject=f"{ref.kind}/{ref.id}",
        time=at,
        datacontenttype="application/json",
        actor="ada",
        commandid="by hand",
        fingerprint="none",
        policyversion=1,
        data=event,
    )


def renumbered(events: Sequence[RecordedEvent], first: int) -> list[RecordedEvent]:
    """The same events at other positions."""
    return [msgspec.structs.replace(event, position=first + n) for n, event in enumerate(events)]


# Random histories

CAST: Final = ("ada", "bob", "cyd", "dee", "Eve")  # A capital letter: its place among others depends on who sorts.
MODERATOR: Final = "mod"
COMMUNITIES: Final = ("acme", "bolt")
TAGS: Final = ("law", "sales", "tax", "web")
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
    UpholdDispute,  # As often as it is rejected.
    RejectDispute,
    LeaveMember,
    CancelOneToOne,
)
SPOKEN_OF: Final = frozenset(operation.kind.name for operation in OPERATIONS.values() if not operation.creates)
LATELY: Final = 20  # Entries that are still disputed.
PATIENCE: Final = 0.7  # With disputes: some are never judged, and in some it is made good meanwhile.
COLOMBO: Final = timezone(timedelta(hours=5, minutes=30))  # Where an hour does not begin when it does elsewhere.


class RandomHistory:
    """What a small cast says in two communities: mostly what somebody may say now, sometimes anything at all."""

    def __init__(self, seed: int, log: EventLog | None = None) -> None:
        self.chronicle: Final = Chronicle(log)
        self.last: Final[dict[AggregateRef, Outcome]] = {}  # What the executor answered last of each aggregate.
        self._random: Final = random.Random(seed)
        self._charged: Final[list[RecordedEvent]] = []  # Entries that somebody paid for.
        self._seen = 0

    async def tell(self, length: int) -> list[RecordedEvent]:
        while await self.chronicle.log.end() < length:
            hours = self._random.choice([0] * 9 + [1, 20, 24 * 15, 24 * 91])
            self.chronicle.now += timedelta(hours=hours, microseconds=self._random.randrange(1_000_000))
            results = await self.chronicle.executor.execute_all([self._submission() for _ in range(ROUND)])
            for result in results:
                if isinstance(result, Outcome) and result.how != "replayed":
                    self.last[result.ref] = result
            for event in await self.chronicle.events(self._seen + 1):
                self._seen = event.position
                if transfers_of(event.envelope.data):
                    self._charged.append(event)
        return await self.chronicle.events()

    def _submission(self) -> Submission:
        spoken_of = [ref for ref in self.last if ref.kind in SPOKEN_OF]
        if not spoken_of or self._random.random() < 0.25:
            return self._beginning()
        members = [ref for ref in spoken_of if ref.kind == "member"]
        ref = self._random.choice(members if members and self._random.random() < 0.05 else spoken_of[-RECENT:])
        if ref.kind == "dispute" and self._random.random() < PATIENCE:
            return self._beginning()
        steps = list(self._steps(ref.kind))
        possible = [step for step in steps if self._possible(ref, step)]
        said = possible if possible and self._random.random() < 0.9 else steps
        (step,) = self._random.choices(said, [1 if isinstance(step, SAYING_NO) else WILLING for step in said])
        return submission(self._at_some_time(step), UUID(ref.id), ref.community)

    def _at_some_time(self, command: AnyCommand) -> AnyCommand:
        """Most things are said when they happen, some only later, and somewhere else."""
        if isinstance(command, Lapse) or self._random.random() < 0.8:
            return command
        ago = timedelta(minutes=self._random.randrange(60 * 24 * 400))
        return msgspec.structs.replace(command, occurred_at=(self.chronicle.now - ago).astimezone(COLOMBO))

    def _beginning(self) -> Submission:
        community = self._random.choice(COMMUNITIES)
        kinds: dict[Callable[[str], Creation | None], int] = {
            self._favour: 4,
            self._referral: 3,
            self._intro: 6,
            self._dispute: 6,
            self._joining: 1,
            self._gathering: 1,
            self._attendance: 2,
            self._contact: 1,
            self._one_to_one: 1,
            self._policy: 1,
        }
        while True:
            (begin,) = self._random.choices(list(kinds), list(kinds.values()))
            if (beginning := begin(community)) is not None:
                return submission(self._at_some_time(beginning), community=community)

    def _favour(self, _community: str) -> Creation:
        one, two = self._random.sample(CAST, 2)
        return RecordFavour(
            actor=self._random.choice([one, two]),
            giver=one,
            receiver=two,
            size=self._random.choice(["small", "medium", "large"]),
            id=self._own_id(),
            gathering=self._somewhere(),
        )

    def _referral(self, community: str) -> Creation:
        one, two = self._random.sample(CAST, 2)
        won = [
            UUID(ref.id)
            for ref, outcome in self.last.items()
            if ref.community == community and isinstance(outcome.state, Won)
        ]
        return GiveReferral(
            actor=one,
            referrer=one,
            recipient=two,
            prospect=f"prospect-{self._random.randrange(9)}",
            level=self._random.choice([1, 2, 3, 4, 5]),
            tags=("law", "tax"),
            gathering=self._somewhere(),
            parent=self._random.choice([None, *won]),
        )

    def _intro(self, _community: str) -> Creation:
        one, two, three = self._random.sample(CAST, 3)
        offered = self._random.random() < 0.4
        return ProposeIntro(
            actor=two if offered else one,
            asker=one,
            connector=two,
            target=three,
            level=self._random.choice([1, 2, 3, 4, 5]) if offered else None,
            expects_percent=None if offered else self._random.choice([None, 0, 30, 100]),
            tags=("health",),
            id=self._own_id(),
            gathering=self._somewhere(),
        )

    def _dispute(self, community: str) -> Creation | None:
        """Of a real entry, by one who was charged; sometimes by anybody at all."""
        entries = [event for event in self._charged[-LATELY:] if event.ref.community == community]
        if not entries:
            return None
        (entry,) = self._random.choices(entries, [4 if entry.ref.kind == "intro" else 1 for entry in entries])
        event = entry.envelope.data
        payers = [transfer.payer for transfer in transfers_of(event)]
        code: Code = self._random.choice(["not_mine", "duplicate", "no_consent", "misdescribed"])
        actor = self._random.choice(payers if self._random.random() < 0.9 else CAST)
        if isinstance(event, IntroMade) and self._random.random() < 0.4:
            actor, code = event.connector, "asker_ghosted"
        about, tag = UUID(entry.ref.id), msgspec.convert(tag_of(event), DisputedEntry)
        return OpenDispute(actor=actor, about=about, entry=tag, code=code)

    def _joining(self, _community: str) -> Creation:
        one, two = self._random.sample(CAST, 2)
        return JoinMember(actor=one, member=one, sponsor=self._random.choice([None, two]))

    def _gathering(self, _community: str) -> Creation:
        host = self._random.choice(CAST)
        return HoldGathering(actor=host, host=host, dues=self._random.random() < 0.7, id=self._own_id())

    def _attendance(self, community: str) -> Creation | None:
        gatherings = [UUID(ref.id) for ref in self.last if (ref.community, ref.kind) == (community, "gathering")]
        if not gatherings:
            return None
        one, two = self._random.sample(CAST, 2)
        actor = two if self._random.random() < 0.2 else one  # They may be the host.
        return Attend(actor=actor, gathering=self._random.choice(gatherings[-3:]), member=one)

    def _contact(self, _community: str) -> Creation:
        one, two = self._random.sample(CAST, 2)
        return MakeContact(actor=self._random.choice([one, two]), member=one, other=two, gathering=self._somewhere())

    def _one_to_one(self, _community: str) -> Creation:
        one, two = self._random.sample(CAST, 2)
        return BookOneToOne(actor=one, member=one, other=two, gathering=self._somewhere(), id=self._own_id())

    def _policy(self, _community: str) -> Creation:
        """Numbers other than those of docs/domain.md#policy-fields, some of them zero; its deadlines."""
        draw = self._random
        worths, halves = [0, 1, 45, 60, 240], [0, 15, 31, 60, 180]
        policy = Policy(
            size_points={size: draw.choice(worths) for size in get_args(Size)},
            level_points={level: 2 * draw.choice(halves) for level in get_args(Level)},
            band_points={band: draw.choice(worths) for band in get_args(DealBand)},
            parent_points=draw.choice(worths),
            met_points=draw.choice(worths),
            asker_fault_points=draw.choice(worths),
            stake_from_level=draw.choice([1, 2, 3]),
            guard=draw.choice(["off", "advise"]),
        )
        starts_at = self.chronicle.now + timedelta(days=draw.choice([1, 3, 40]))
        return PublishPolicy(actor=MODERATOR, policy=policy, starts_at=starts_at)

    def _own_id(self) -> UUID:
        return UUID(int=self._random.getrandbits(128))

    def _somewhere(self) -> UUID | None:
        return self._random.choice([None, number(7)])

    def _steps(self, kind: str) -> Iterator[Command | Lapse]:
        """Every step there is, by everybody."""
        words: dict[str, Any] = {
            "level": self._random.choice([1, 2, 3, 4, 5]),
            "band": self._random.choice(["S", "M", "L", "XL"]),
            "reason": self._random.choice(["not_a_fit", "no_consent", "duplicate", "unreachable"]),
            "outcome": self._random.choice(["fruitful", "no_result", "fell_silent"]),
            "fault": self._random.choice(["none", "asker", "connector"]),
            "tell_now": self._random.choice([False, True]),
            "tags": tuple(self._random.sample(TAGS, self._random.randrange(4))),
            "asks_in": self._random.choice([None, 0, 3]),
            "welcome": tuple(self._random.sample(CAST, self._random.randrange(3))),
        }
        if kind in LAPSES:
            yield LAPSES[kind]()
        for operation in OPERATIONS.values():
            if operation.kind.name == kind and not operation.creates:
                said = {word: words[word] for word in operation.command.__struct_fields__ if word in words}
                yield from (operation.command(actor=actor, **said) for actor in (*CAST, MODERATOR))

    def _possible(self, ref: AggregateRef, step: Command | Lapse) -> bool:
        kind, state = KINDS[ref.kind], self.last[ref].state
        found = {need: self._found(ref.community, need) for need in kind.needs(step, state, UUID(ref.id))}
        try:
            return kind.decide(step, state, Context(now=self.chronicle.now, found=found)) is not None
        except Refusal:
            return False

    def _found(self, community: str, need: Need) -> State | None:
        last = self.last.get(AggregateRef(community, need.kind, str(need.id)))
        return last.state if last is not None else None
