"""Random commands, by any actor, in any order. A state machine searches for a history that breaks the books."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, get_args
from uuid import UUID

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ledger.domain.catalog.kinds import DISPUTE, KINDS, AnyEvent, Kind, deadline_of
from ledger.domain.catalog.operations import LAPSES, OPERATIONS, Operation
from ledger.domain.kinds.dispute.commands import OpenDispute, RejectDispute, UpholdDispute
from ledger.domain.kinds.dispute.states import Code, DisputedEntry, dispute_id
from ledger.domain.kinds.favour import RecordFavour, RefuseFavour
from ledger.domain.kinds.intro.commands import (
    AcceptIntro,
    ConsentIntro,
    DeclineIntro,
    ProposeIntro,
    RefuseIntro,
    WithdrawIntro,
)
from ledger.domain.kinds.intro.states import Fault, Outcome
from ledger.domain.kinds.referral import (
    Disqualification,
    DisqualifyReferral,
    GiveReferral,
    LoseReferral,
    QualifyReferral,
    WinReferral,
)
from ledger.domain.values.aggregate_types import Command, Creation, Event, Lapse, State, tag_of
from ledger.domain.values.context import Context, EventOf, Finding, Need, PastEvent
from ledger.domain.values.points import DealBand, Level, Size
from ledger.domain.values.refusals import Refusal
from tests.domain.spec import KIND_OF_COMMAND, NOW, days, fold, posted_legs
from tests.domain.strategies import CAST, PROSPECTS, members, structs_of, values_of
from tests.oracle.aggregates import Aggregate, stated_facts
from tests.oracle.aggregates import Event as OracleEvent
from tests.oracle.expected_books import ExpectedBooks
from tests.oracle.legs import ACCOUNTS, total_of
from tests.oracle.postings import charge_of
from tests.scale import scale

SILENT: Final = {"declined", "refused", "expired", "lapsed", "withdrawn", "disqualified", "lost"}
Totals = Counter[tuple[str, str]]  # By member and account or gross tally.


def without_zeros(totals: Totals) -> dict[tuple[str, str], int]:
    return {key: points for key, points in totals.items() if points}


@dataclass
class Life:
    """One aggregate: its state, its stored events, and the members who have acted on it."""

    kind: Kind
    id: UUID
    state: State | None = None
    happened: dict[str, PastEvent] = field(default_factory=dict[str, PastEvent])  # By name: the last event.
    stored: list[bytes] = field(default_factory=list[bytes])
    voices: set[str] = field(default_factory=set[str])

    @property
    def stage(self) -> str:
        return tag_of(self.state) if self.state else "nothing"

    def retold(self) -> State | None:
        return fold(self.kind, (msgspec.json.decode(event, type=AnyEvent) for event in self.stored))


Key = tuple[str, UUID]  # Kind and id.
Words = dict[str, Any]
# All fields that a step may need. Each command takes the fields that it has.
WORDS: Final = st.fixed_dictionaries(
    {
        "level": values_of(Level),
        "band": values_of(DealBand),
        "reason": values_of(Disqualification),
        "outcome": values_of(Outcome),
        "fault": values_of(Fault),
        "tell_now": st.booleans(),
    }
)
TOLD: Final = {"favour", "referral", "intro", "dispute"}  # The kinds whose steps need no other fields.
SAYING_NO: Final = (
    RefuseFavour,
    DisqualifyReferral,
    LoseReferral,
    DeclineIntro,
    WithdrawIntro,
    RefuseIntro,
)
MODERATOR: Final = "zoe"
LIVES_MAX: Final = 12
casts = st.permutations(CAST)


def few(community: "Community") -> bool:
    """Return whether the aggregates are few enough for their lifecycles to progress."""
    return sum(kind != "dispute" for kind, _ in community.known) < LIVES_MAX


class Community(RuleBasedStateMachine):
    """Four members and a moving time. The product's posting rules and the oracle each keep the books."""

    lives: Bundle[Key] = Bundle("lives")

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.known: dict[Key, Life] = {}
        self.log: list[bytes] = []
        self.totals = Totals()
        self.expected = ExpectedBooks()
        self.expected_totals = Totals()

    @initialize(target=lives, cast=casts, words=WORDS, size=values_of(Size))
    def a_past(self, cast: list[str], words: Words, size: Size) -> MultipleResults[Key]:
        """Begin with histories that random steps rarely reach.

        They contain a won referral, a second referral with it as parent, and introductions that are ready to be made.
        They also contain unanswered favours, referrals and introductions.
        """
        one, two, three, four = cast
        level = words["level"]
        won = self.begin(
            GiveReferral(actor=one, referrer=one, recipient=two, prospect=PROSPECTS[0], level=level),
            QualifyReferral(actor=two),
            WinReferral(actor=two, band=words["band"]),
        )
        matched = self.begin(
            ProposeIntro(actor=two, asker=one, connector=two, target=three, level=level),
            ConsentIntro(actor=three),
            ConsentIntro(actor=one),
        )
        asked = self.begin(
            ProposeIntro(actor=three, asker=three, connector=one, target=two),
            AcceptIntro(actor=one, level=level),
            ConsentIntro(actor=two),
        )
        (_, parent), *_ = won
        qualified = self.begin(
            GiveReferral(actor=two, referrer=two, recipient=three, prospect=PROSPECTS[1], level=level, parent=parent),
            QualifyReferral(actor=three),
        )
        unanswered = [
            *self.begin(RecordFavour(actor=three, giver=three, receiver=one, size=size)),
            *self.begin(GiveReferral(actor=four, referrer=four, recipient=one, prospect=PROSPECTS[0], level=level)),
            *self.begin(ProposeIntro(actor=one, asker=one, connector=four, target=three)),
            *self.begin(ProposeIntro(actor=three, asker=four, connector=three, target=two, level=level)),
        ]
        return multiple(*won, *matched, *asked, *qualified, *unanswered)

    # Rules of the machine

    @precondition(few)
    @rule(target=lives, cast=casts, size=values_of(Size), claimed=st.booleans())
    def favour(self, cast: list[str], size: Size, claimed: bool) -> MultipleResults[Key]:
        giver, receiver, *_ = cast
        actor = giver if claimed else receiver
        return multiple(*self.begin(RecordFavour(actor=actor, giver=giver, receiver=receiver, size=size)))

    @precondition(few)
    @rule(target=lives, cast=casts, prospect=st.sampled_from(PROSPECTS), words=WORDS, data=st.data())
    def referral(self, cast: list[str], prospect: str, words: Words, data: st.DataObject) -> MultipleResults[Key]:
        referrer, recipient, *_ = cast
        won = [own for (_, own), life in self.known.items() if life.stage == "won"]
        command = GiveReferral(
            actor=referrer,
            referrer=referrer,
            recipient=recipient,
            prospect=prospect,
            level=words["level"],
            parent=data.draw(st.sampled_from([*won, None])),
        )
        return multiple(*self.begin(command))

    @precondition(few)
    @rule(target=lives, cast=casts, words=WORDS, offered=st.booleans())
    def intro(self, cast: list[str], words: Words, offered: bool) -> MultipleResults[Key]:
        asker, connector, target, *_ = cast
        command = ProposeIntro(
            actor=connector if offered else asker,
            asker=asker,
            connector=connector,
            target=target,
            level=words["level"] if offered else None,
        )
        return multiple(*self.begin(command))

    @precondition(lambda self: self.disputable())
    @rule(target=lives, code=values_of(Code), data=st.data())
    def dispute(self, code: Code, data: st.DataObject) -> MultipleResults[Key]:
        """Open a dispute of a disputable entry. The actor may do so, if any member may for this reason."""
        own, entry = data.draw(st.sampled_from(self.disputable()))
        wishes = [OpenDispute(actor=actor, about=own, entry=entry, code=code) for actor in CAST]
        begun = Life(DISPUTE, dispute_id(own, entry))
        allowed = [wish for wish in wishes if self.decided(begun, wish)]
        return multiple(*self.begin(data.draw(st.sampled_from(allowed or wishes))))

    @precondition(lambda self: self.open_disputes())
    @rule(upheld=st.booleans(), data=st.data())
    def judge(self, upheld: bool, data: st.DataObject) -> None:
        """Judge an open dispute. The actor is a moderator without a part in any aggregate."""
        judging = UpholdDispute(actor=MODERATOR) if upheld else RejectDispute(actor=MODERATOR)
        self.submit(data.draw(st.sampled_from(self.open_disputes())), judging)

    @precondition(few)
    @rule(
        target=lives,
        operation=st.sampled_from([op for op in OPERATIONS.values() if op.creates]),
        data=st.data(),
    )
    def anything_new(self, operation: Operation, data: st.DataObject) -> MultipleResults[Key]:
        """Begin an aggregate with random fields, by any member. Most of these commands are refused."""
        command = data.draw(structs_of(operation.command, actor=members))
        assert isinstance(command, Creation)
        return multiple(*self.begin(command))

    @rule(key=lives, words=WORDS, count=st.integers(1, 5), willing=st.booleans(), data=st.data())
    def a_story_goes_on(self, key: Key, words: Words, count: int, willing: bool, data: st.DataObject) -> None:
        """Take steps that are possible now. With `willing`, leave out SAYING_NO, so that some lifecycles succeed."""
        for _ in range(count):
            steps = [step for _, step in self.possible(key, words) if not (willing and isinstance(step, SAYING_NO))]
            if not steps:
                break
            self.submit(self.known[key], data.draw(st.sampled_from(steps)))

    @rule(words=WORDS, data=st.data())
    def the_unheard_of(self, words: Words, data: st.DataObject) -> None:
        """Take a possible step to an event type that has not occurred yet, if there is one."""
        heard_of = self.heard_of()
        steps = {
            tag: (life, step)
            for key, life in self.known.items()
            for tag, step in self.possible(key, words)
            if tag not in heard_of
        }
        if steps:
            self.submit(*steps[data.draw(st.sampled_from(sorted(steps)))])

    @rule(key=lives, data=st.data())
    def any_step(self, key: Key, data: st.DataObject) -> None:
        """Send any command of the kind, by any member, right or wrong."""
        of_this_kind = [op.command for op in OPERATIONS.values() if op.kind is self.known[key].kind]
        command = data.draw(st.sampled_from(of_this_kind).flatmap(lambda wish: structs_of(wish, actor=members)))
        self.submit(self.known[key], command)

    @rule(key=lives)
    def silence(self, key: Key) -> None:
        """Send a lapse. Mostly it is sent before the deadline."""
        if key[0] in LAPSES:
            self.submit(self.known[key], LAPSES[key[0]]())

    @rule(data=st.data())
    def silence_until_it_is_due(self, data: st.DataObject) -> None:
        """Move the time to the earliest deadline of a kind, and send the lapse."""
        ends = [(due, life) for life in self.known.values() if life.state and (due := deadline_of(life.state))]
        soonest = {life.kind.name: (due, life) for due, life in sorted(ends, key=lambda end: end[0], reverse=True)}
        if soonest:
            due, life = soonest[data.draw(st.sampled_from(sorted(soonest)))]
            self.now = max(self.now, due)
            self.submit(life, LAPSES[life.kind.name]())

    @rule(count=st.sampled_from([1, 10, 14, 90]))
    def time_passes(self, count: int) -> None:
        self.now += days(count)

    @rule(batch_max=st.integers(1, 7))
    def replay(self, batch_max: int) -> None:
        """Check that a rebuild in batches of any size leads to the same books."""
        totals = Totals()
        for start in range(0, len(self.log), batch_max):
            batch = [msgspec.json.decode(event, type=AnyEvent) for event in self.log[start : start + batch_max]]
            totals.update(total_of(leg for event in batch for leg in posted_legs(event)))
        assert totals == self.totals

    def disputable(self) -> list[tuple[UUID, DisputedEntry]]:
        """Return the disputable entries of past events without a dispute."""
        return [
            (life.id, entry)
            for life in self.known.values()
            for entry in get_args(DisputedEntry)
            if entry in (f"{life.kind.name}.{name}" for name in life.happened)
            and ("dispute", dispute_id(life.id, entry)) not in self.known
        ]

    def open_disputes(self) -> list[Life]:
        return [life for life in self.known.values() if life.stage == "opened"]

    # Steps of the rules

    def begin(self, command: Creation, *steps: Command) -> list[Key]:
        """Begin an aggregate and take these steps. Return its key, or nothing if no new aggregate began."""
        kind = KIND_OF_COMMAND[type(command)]
        key = kind.name, command.own_id("acme") or UUID(int=len(self.known))
        life = self.known.get(key, Life(kind, key[1]))
        for said in (command, *steps):
            self.submit(life, said)
        if key in self.known or life.state is None:
            return []
        self.known[key] = life
        return [key]

    def steps(self, key: Key, words: Words) -> Iterable[Command]:
        for operation in OPERATIONS.values():
            if operation.kind is self.known[key].kind and key[0] in TOLD and not operation.creates:
                said = {word: words[word] for word in operation.command.__struct_fields__ if word in words}
                for actor in CAST:
                    yield operation.command(actor=actor, **said)

    def possible(self, key: Key, words: Words) -> list[tuple[str, Command]]:
        """Return the steps that some member may take now, each with the tag of its event."""
        decisions = [(self.decided(self.known[key], step), step) for step in self.steps(key, words)]
        return [(tag_of(event), step) for event, step in decisions if event is not None]

    def heard_of(self) -> set[str]:
        return {f"{life.kind.name}.{name}" for life in self.known.values() for name in life.happened}

    def decided(self, life: Life, command: Command | Lapse) -> Event | None:
        """Return the event of the command. It is None for a repeat and for a refusal."""
        needs = life.kind.needs(command, life.state, life.id)
        context = Context(now=self.now, found={need: self.find(need) for need in needs})
        try:
            event: Event | None = life.kind.decide(command, life.state, context)
        except Refusal:
            return None
        return event

    def find(self, need: Need) -> Finding:
        other = self.known.get((need.kind, need.id))
        if other is None:
            return None
        return other.happened.get(need.event) if isinstance(need, EventOf) else other.state

    def submit(self, life: Life, command: Command | Lapse) -> None:
        event = self.decided(life, command)
        if event is not None:
            self.record(life, command.actor, event)
            assert self.decided(life, command) is None, "A repeat recorded something new."
        assert life.retold() == life.state

    def record(self, life: Life, actor: str, event: Event) -> None:
        tag = tag_of(event)
        life.state = life.kind.evolve(life.state, event)
        life.stored.append(msgspec.json.encode(event))
        life.voices.add(actor)
        happened = PastEvent(UUID(int=len(self.log)), event, self.now, self.now)
        life.happened[tag.partition(".")[2]] = happened
        legs = posted_legs(event)
        expected = self.expected.apply(
            OracleEvent(
                position=len(self.log) + 1,
                name=tag,
                happened_at=self.now,
                community="acme",
                kind=life.kind.name,
                id=str(life.id),
                facts=stated_facts(msgspec.to_builtins(event)),
            )
        )
        assert Counter(legs) == Counter(expected)
        entry = total_of(legs)
        if life.kind is not DISPUTE:
            self.agreed(life, actor, tag, entry)
        self.log.append(life.stored[-1])
        self.totals.update(entry)
        self.expected_totals.update(total_of(expected))
        if life.kind is not DISPUTE and tag.partition(".")[2] in SILENT:
            assert not legs

    def agreed(self, life: Life, actor: str, tag: str, entry: Totals) -> None:
        """Check that only consenting members pay: the actor, or, for `intro.made`, any member who has acted."""
        debited = {member for (member, account), points in entry.items() if account == "main" and points < 0}
        assert debited <= (life.voices if tag == "intro.made" else {actor})
        for member in CAST:
            assert entry[member, "given"] >= 0
            assert entry[member, "received"] >= 0

    # Invariants

    @invariant()
    def all_accounts_sum_to_zero(self) -> None:
        assert sum(points for (_, account), points in self.totals.items() if account in ACCOUNTS) == 0

    @invariant()
    def the_books_are_those_of_the_oracle(self) -> None:
        assert without_zeros(self.totals) == without_zeros(self.expected_totals)

    @invariant()
    def only_the_points_of_open_disputes_are_frozen(self) -> None:
        frozen = Counter[str]()
        for dispute in self.of_the_oracle("dispute", "opened"):
            for payer, payee, points in charge_of(dispute, self.expected.finder("acme")).payments:
                frozen[payer] -= points
                frozen[payee] += points
        assert {member: self.totals[member, "disputed"] for member in CAST} == {m: frozen[m] for m in CAST}

    @invariant()
    def only_the_stakes_of_open_introductions_are_at_stake(self) -> None:
        staked = Counter[str]()
        for intro in self.of_the_oracle("intro", "made", "met"):
            staked[intro.facts["connector"]] += intro.stake
        assert {member: self.totals[member, "stake"] for member in CAST} == {m: staked[m] for m in CAST}

    def of_the_oracle(self, kind: str, *states: str) -> list[Aggregate]:
        """Return the aggregates of a kind that the oracle has in one of these states."""
        return [found for key, found in self.expected.aggregates.items() if key[1] == kind and found.state in states]


Community.TestCase.settings = settings(max_examples=scale(gate=20, soak=300), stateful_step_count=40, deadline=None)
TestTheBooksOfACommunity = Community.TestCase


def test_the_rules_reach_every_event_of_whatever_they_tell() -> None:
    runs: list[Community] = []

    class Remembered(Community):
        def __init__(self) -> None:
            super().__init__()
            runs.append(self)

    always_the_same = settings(Community.TestCase.settings, derandomize=True, max_examples=40)
    run_state_machine_as_test(Remembered, settings=always_the_same)
    events = {tag_of(event) for kind in KINDS.values() if kind.name in TOLD for event in kind.events}
    assert events - set().union(*(run.heard_of() for run in runs)) == set()
