"""Random histories: commands of the members of a small cast in two communities."""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta, timezone
from typing import Any, Final, TypeVar, get_args
from uuid import UUID

import msgspec

from ledger.commands.submission import Outcome, Submission
from ledger.domain.catalog.kinds import KINDS
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
from ledger.domain.values.points import DealBand, Level, Size
from ledger.domain.values.policy import Policy
from ledger.domain.values.refusals import Refusal
from ledger.envelope import AggregateRef, RecordedEvent
from ledger.examples import EXAMPLES
from ledger.log.event_log import EventLog
from tests.books.histories import CommandLog, submission, uuid_of

AnyCommand = TypeVar("AnyCommand", Command, Lapse, Command | Lapse)

CAST: Final = ("ada", "bob", "cyd", "dee", "Eve")  # The capital letter of Eve sorts differently by collation.
MODERATOR: Final = "mod"
COMMUNITIES: Final = ("acme", "bolt")
TAGS: Final = ("law", "sales", "tax", "web")
RECENT_MAX: Final = 30  # Only the newest aggregates get further steps, so that many get far.
BATCH_SIZE: Final = 12
YES_WEIGHT: Final = 8  # Weight against each refusing command, so that some lifecycles end well.
REFUSING_COMMANDS: Final = (
    Lapse,
    RefuseFavour,
    ForgiveFavour,
    DisqualifyReferral,
    LoseReferral,
    DeclineIntro,
    WithdrawIntro,
    RefuseIntro,
    UpholdDispute,  # As frequent as rejection.
    RejectDispute,
    LeaveMember,
    CancelOneToOne,
)
KINDS_WITH_STEPS: Final = frozenset(operation.kind.name for operation in OPERATIONS.values() if not operation.creates)
DISPUTABLE_MAX: Final = 20  # Only the newest entries are disputed.
DISPUTE_PATIENCE: Final = 0.7  # The share of steps that a dispute skips: some disputes lapse or are made good.
COLOMBO: Final = timezone(timedelta(hours=5, minutes=30))  # Its hours begin at half past those of UTC.


class RandomHistory:
    """Random commands of a small cast in two communities: most are allowed at their time, some are not."""

    def __init__(self, seed: int, log: EventLog | None = None) -> None:
        self.command_log: Final = CommandLog(log)
        self.last: Final[dict[AggregateRef, Outcome]] = {}  # The last outcome of each aggregate.
        self._random: Final = random.Random(seed)
        self._charging: Final[list[RecordedEvent]] = []  # Events that charged a member.
        self._seen = 0

    async def generate(self, length: int) -> list[RecordedEvent]:
        """Execute commands until the log has at least `length` events. Return all of them."""
        while await self.command_log.log.end() < length:
            hours = self._random.choice([0] * 9 + [1, 20, 24 * 15, 24 * 91])
            self.command_log.now += timedelta(hours=hours, microseconds=self._random.randrange(1_000_000))
            results = await self.command_log.executor.execute_all([self._submission() for _ in range(BATCH_SIZE)])
            for result in results:
                if isinstance(result, Outcome) and result.how != "replayed":
                    self.last[result.ref] = result
            for event in await self.command_log.read_events(self._seen + 1):
                self._seen = event.position
                if transfers_of(event.envelope.data):
                    self._charging.append(event)
        return await self.command_log.read_events()

    def _submission(self) -> Submission:
        refs = [ref for ref in self.last if ref.kind in KINDS_WITH_STEPS]
        if not refs or self._random.random() < 0.25:
            return self._creation()
        members = [ref for ref in refs if ref.kind == "member"]
        ref = self._random.choice(members if members and self._random.random() < 0.05 else refs[-RECENT_MAX:])
        if ref.kind == "dispute" and self._random.random() < DISPUTE_PATIENCE:
            return self._creation()
        steps = list(self._steps_of(ref.kind))
        possible = [step for step in steps if self._is_possible(ref, step)]
        choices = possible if possible and self._random.random() < 0.9 else steps
        weights = [1 if isinstance(step, REFUSING_COMMANDS) else YES_WEIGHT for step in choices]
        (step,) = self._random.choices(choices, weights)
        return submission(self._at_some_time(step), UUID(ref.id), ref.community)

    def _at_some_time(self, command: AnyCommand) -> AnyCommand:
        """Return the command. A fifth of the commands report an earlier time, in another time zone."""
        if isinstance(command, Lapse) or self._random.random() < 0.8:
            return command
        ago = timedelta(minutes=self._random.randrange(60 * 24 * 400))
        return msgspec.structs.replace(command, occurred_at=(self.command_log.now - ago).astimezone(COLOMBO))

    def _creation(self) -> Submission:
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
            (create,) = self._random.choices(list(kinds), list(kinds.values()))
            if (creation := create(community)) is not None:
                return submission(self._at_some_time(creation), community=community)

    def _favour(self, _community: str) -> Creation:
        one, two = self._random.sample(CAST, 2)
        return RecordFavour(
            actor=self._random.choice([one, two]),
            giver=one,
            receiver=two,
            size=self._random.choice(["small", "medium", "large"]),
            id=self._random_id(),
            gathering=self._some_gathering(),
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
            gathering=self._some_gathering(),
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
            id=self._random_id(),
            gathering=self._some_gathering(),
        )

    def _dispute(self, community: str) -> Creation | None:
        """Return a dispute of a recorded entry, mostly by a member that it charged; None if there is no entry."""
        entries = [event for event in self._charging[-DISPUTABLE_MAX:] if event.ref.community == community]
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
        return HoldGathering(actor=host, host=host, dues=self._random.random() < 0.7, id=self._random_id())

    def _attendance(self, community: str) -> Creation | None:
        gatherings = [UUID(ref.id) for ref in self.last if (ref.community, ref.kind) == (community, "gathering")]
        if not gatherings:
            return None
        one, two = self._random.sample(CAST, 2)
        actor = two if self._random.random() < 0.2 else one  # The actor may be the host.
        return Attend(actor=actor, gathering=self._random.choice(gatherings[-3:]), member=one)

    def _contact(self, _community: str) -> Creation:
        one, two = self._random.sample(CAST, 2)
        actor = self._random.choice([one, two])
        return MakeContact(actor=actor, member=one, other=two, gathering=self._some_gathering())

    def _one_to_one(self, _community: str) -> Creation:
        one, two = self._random.sample(CAST, 2)
        return BookOneToOne(actor=one, member=one, other=two, gathering=self._some_gathering(), id=self._random_id())

    def _policy(self, _community: str) -> Creation:
        """Return a policy with other points than the defaults, some of them zero, and the default deadlines."""
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
        starts_at = self.command_log.now + timedelta(days=draw.choice([1, 3, 40]))
        return PublishPolicy(actor=MODERATOR, policy=policy, starts_at=starts_at)

    def _random_id(self) -> UUID:
        return UUID(int=self._random.getrandbits(128))

    def _some_gathering(self) -> UUID | None:
        return self._random.choice([None, uuid_of(7)])

    def _steps_of(self, kind: str) -> Iterator[Command | Lapse]:
        """Yield every step of a kind, by each member and the moderator."""
        fields: dict[str, Any] = {
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
                own = msgspec.structs.fields(operation.command)
                chosen = {field.name: fields[field.name] for field in own if field.name in fields}
                chosen |= {
                    field.name: EXAMPLES[field.name]
                    for field in own
                    if field.required and field.name not in {"actor", *fields}
                }
                yield from (operation.command(actor=actor, **chosen) for actor in (*CAST, MODERATOR))

    def _is_possible(self, ref: AggregateRef, step: Command | Lapse) -> bool:
        kind, state = KINDS[ref.kind], self.last[ref].state
        found = {need: self._state_of(ref.community, need) for need in kind.needs(step, state, UUID(ref.id))}
        try:
            return kind.decide(step, state, Context(now=self.command_log.now, found=found)) is not None
        except Refusal:
            return False

    def _state_of(self, community: str, need: Need) -> State | None:
        last = self.last.get(AggregateRef(community, need.kind, str(need.id)))
        return last.state if last is not None else None
