"""Any commands, by anybody, in any order: a random machine looks for the story that breaks the books."""

from collections import Counter
from collections.abc import Iterable, Mapping
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

from ledger.domain.catalog.kinds import DISPUTE, INTRO, KINDS, AnyEvent, Kind, deadline_of
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
from ledger.domain.posting.rules import entry_of
from ledger.domain.values.aggregate_types import Command, Creation, Event, Lapse, State, tag_of
from ledger.domain.values.context import Context, EventOf, Finding, Need, PastEvent
from ledger.domain.values.entries import EMPTY_ENTRY
from ledger.domain.values.points import DealBand, Level, Size
from ledger.domain.values.refusals import Refusal
from tests.domain.arbitrary import CAST, PROSPECTS, arbitrary, arbitrary_field, members
from tests.domain.spec import KIND_OF_COMMAND, NOW, days, fold
from tests.scale import scale

Account = tuple[str, str]  # A member, and `main`, `stake`, `disputed`, `given` or `received`.
Books = Counter[Account]

# What the page says, written by hand: no number of an event and no posting rule is used here.

SIZES: Final[Mapping[Size, int]] = {"small": 60, "medium": 120, "large": 240}
LEVELS: Final[Mapping[Level, int]] = {1: 30, 2: 60, 3: 120, 4: 240, 5: 360}
BANDS: Final[Mapping[DealBand, int]] = {"S": 60, "M": 120, "L": 240, "XL": 480}
NUMBERS: Final = {"points", "stake", "penalty", "parent_points", "transfers", "owed"}
SILENT: Final = {"declined", "refused", "expired", "lapsed", "withdrawn", "disqualified", "lost"}


def pays(payer: str, payee: str, points: int, account: str = "main") -> Books:
    legs = {(payer, account): -points, (payer, "received"): points}
    return Books({**legs, (payee, "main"): points, (payee, "given"): points})


def moves(member: str, source: str, target: str, points: int) -> Books:
    return Books({(member, source): -points, (member, target): points})


def total(*parts: Books) -> Books:
    """The sum; unlike `+`, it keeps what is negative."""
    books = Books()
    for part in parts:
        books.update(part)
    return books


def at_risk(about: Mapping[str, Any]) -> int:
    return LEVELS[about["level"]] // 2 if about["level"] >= 3 else 0


def page(event: str, about: Mapping[str, Any]) -> Books:
    """What the page says that an event posts, from all that is known about its aggregate."""
    match event:
        case "favour.thanked" | "favour.confirmed":
            return pays(about["receiver"], about["giver"], SIZES[about["size"]])
        case "favour.forgiven":
            points = SIZES[about["size"]]
            return Books({(about["giver"], "main"): -points, (about["receiver"], "main"): points})
        case "referral.qualified":
            return pays(about["recipient"], about["referrer"], LEVELS[about["level"]])
        case "referral.won":
            owed, first = pays(about["recipient"], about["referrer"], BANDS[about["band"]]), about["first"]
            shared = first not in {None, about["recipient"]}
            return total(owed, pays(about["recipient"], first, 60)) if shared else owed
        case _ if event.startswith("intro."):
            return page_of_intros(event, about["asker"], about["connector"], about["target"], about)
        case _ if event.startswith("dispute."):
            return page_of_disputes(event, about["charged"], about)
        case _:
            return Books()


def page_of_intros(event: str, asker: str, connector: str, target: str, about: Mapping[str, Any]) -> Books:
    matched = about["began"] == "intro.offered"
    match event, about.get("fault"):
        case "intro.made", _:
            points = LEVELS[about["level"]]
            half = total(pays(asker, connector, points // 2), pays(target, connector, points // 2))
            paid = half if matched else pays(asker, connector, points)
            return total(paid, moves(connector, "main", "stake", at_risk(about)))
        case "intro.met", _:
            return Books() if matched else pays(asker, target, 30)
        case "intro.closed", _ if about.get("settled"):
            return moves(connector, "stake", "main", at_risk(about))
        case "intro.closed", "none":
            return moves(connector, "stake", "main", at_risk(about))
        case "intro.closed", "asker":
            owned_up = total(pays(asker, target, 60), pays(asker, connector, 60))
            return total(owned_up, moves(connector, "stake", "main", at_risk(about)))
        case "intro.closed", "connector":
            payers, let_down = ([asker, target],) * 2 if matched else ([asker], [target])
            repaid = [pays(connector, m, LEVELS[about["level"]] // len(payers)) for m in payers]
            repaid = [] if about.get("reversed") else repaid
            staked = [pays(connector, m, at_risk(about) // len(let_down), "stake") for m in let_down]
            return total(*repaid, *staked)
        case _:
            return Books()


def page_of_disputes(event: str, charged: Books, about: Mapping[str, Any]) -> Books:
    """`charged` is what the page says that the disputed entry moved between members, the stake apart."""
    aside = total(*(moves(m, "main", "disputed", n) for (m, account), n in charged.items() if account == "main"))
    back = Books({account: -points for account, points in aside.items()})
    match event, about.get("remedy"):
        case "dispute.opened", _:
            return aside
        case "dispute.upheld", "reversal":
            gone = {(m, "disputed" if account == "main" else account): -n for (m, account), n in charged.items()}
            return Books(gone)
        case "dispute.upheld", "fault":
            return total(back, page_of_faults(about["disputed"]["code"], about["disputed"]))
        case _:
            return back


def page_of_faults(code: str, about: Mapping[str, Any]) -> Books:
    """What the fault costs that the introduction was disputed for, all of it from `main`."""
    asker, connector, target = about["asker"], about["connector"], about["target"]
    if code == "asker_ghosted":
        return total(pays(asker, target, 60), pays(asker, connector, 60))
    payers, let_down = ([asker, target],) * 2 if about["began"] == "intro.offered" else ([asker], [target])
    repaid = [pays(connector, m, LEVELS[about["level"]] // len(payers)) for m in payers]
    return total(*repaid, *(pays(connector, m, at_risk(about) // len(let_down)) for m in let_down))


def charged_by(entry: str, about: Mapping[str, Any]) -> Books:
    """What the page says that the entry moved between members: as if from `main`, and no stake on its way."""
    books = Books()
    for (member, account), points in page(entry, about).items():
        books[member, "main" if account == "stake" else account] += points
    return books


# What the project says


def posted(event: Event) -> Books:
    books = Books()
    for leg in entry_of(event).legs:
        books[leg.member, leg.account] += leg.points
        books[leg.member, "given"] += leg.given
        books[leg.member, "received"] += leg.received
    return books


def without_zeros(books: Books) -> dict[Account, int]:
    return {account: points for account, points in books.items() if points}


@dataclass
class Life:
    """One aggregate: what is stored of it, what the page needs to know about it, and who has spoken in it."""

    kind: Kind
    id: UUID
    state: State | None = None
    happened: dict[str, PastEvent] = field(default_factory=dict[str, PastEvent])  # The last event of each name.
    stored: list[bytes] = field(default_factory=list[bytes])
    about: dict[str, Any] = field(default_factory=dict[str, Any])
    voices: set[str] = field(default_factory=set[str])

    @property
    def stage(self) -> str:
        return tag_of(self.state) if self.state else "nothing"

    def retold(self) -> State | None:
        return fold(self.kind, (msgspec.json.decode(event, type=AnyEvent) for event in self.stored))


Key = tuple[str, UUID]  # Kind and id.
Words = dict[str, Any]
# Everything a step may say; each command takes the words it knows.
WORDS: Final = st.fixed_dictionaries(
    {
        "level": arbitrary_field(Level),
        "band": arbitrary_field(DealBand),
        "reason": arbitrary_field(Disqualification),
        "outcome": arbitrary_field(Outcome),
        "fault": arbitrary_field(Fault),
        "tell_now": st.booleans(),
    }
)
TOLD: Final = {"favour", "referral", "intro", "dispute"}  # The kinds whose steps need no other words.
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
    """Few enough aggregates for their stories to get somewhere."""
    return sum(kind != "dispute" for kind, _ in community.known) < LIVES_MAX


class Community(RuleBasedStateMachine):
    """A small cast, a moving clock, and books kept twice: by the posting rules, and by the page."""

    lives: Bundle[Key] = Bundle("lives")

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.known: dict[Key, Life] = {}
        self.log: list[bytes] = []
        self.books = Books()
        self.by_the_page = Books()

    @initialize(target=lives, cast=casts, words=WORDS, size=arbitrary_field(Size))
    def a_past(self, cast: list[str], words: Words, size: Size) -> MultipleResults[Key]:
        """A referral that was won and one that grew out of it, introductions that only have to be made, and
        some of each that nobody has answered.
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

    # What may happen

    @precondition(few)
    @rule(target=lives, cast=casts, size=arbitrary_field(Size), claimed=st.booleans())
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
    @rule(target=lives, code=arbitrary_field(Code), data=st.data())
    def dispute(self, code: Code, data: st.DataObject) -> MultipleResults[Key]:
        """Somebody disputes what has happened: one who may, if any may for this reason."""
        own, entry = data.draw(st.sampled_from(self.disputable()))
        wishes = [OpenDispute(actor=actor, about=own, entry=entry, code=code) for actor in CAST]
        begun = Life(DISPUTE, dispute_id(own, entry))
        allowed = [wish for wish in wishes if self.decided(begun, wish)]
        return multiple(*self.begin(data.draw(st.sampled_from(allowed or wishes))))

    @precondition(lambda self: self.open_disputes())
    @rule(upheld=st.booleans(), data=st.data())
    def judge(self, upheld: bool, data: st.DataObject) -> None:
        """By somebody who is in nothing."""
        judging = UpholdDispute(actor=MODERATOR) if upheld else RejectDispute(actor=MODERATOR)
        self.submit(data.draw(st.sampled_from(self.open_disputes())), judging)

    @precondition(few)
    @rule(
        target=lives,
        operation=st.sampled_from([op for op in OPERATIONS.values() if op.creates]),
        data=st.data(),
    )
    def anything_new(self, operation: Operation, data: st.DataObject) -> MultipleResults[Key]:
        """Anybody says that anything began, mostly wrongly."""
        command = data.draw(arbitrary(operation.command, actor=members))
        assert isinstance(command, Creation)
        return multiple(*self.begin(command))

    @rule(key=lives, words=WORDS, count=st.integers(1, 5), willing=st.booleans(), data=st.data())
    def a_story_goes_on(self, key: Key, words: Words, count: int, willing: bool, data: st.DataObject) -> None:
        """Steps that somebody may take now; the willing never say no, so that some stories end well."""
        for _ in range(count):
            steps = [step for _, step in self.possible(key, words) if not (willing and isinstance(step, SAYING_NO))]
            if not steps:
                break
            self.submit(self.known[key], data.draw(st.sampled_from(steps)))

    @rule(words=WORDS, data=st.data())
    def the_unheard_of(self, words: Words, data: st.DataObject) -> None:
        """A step that comes to an event which has not happened yet, if somebody can take one."""
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
        """Anybody asks for anything, right or wrong."""
        of_this_kind = [op.command for op in OPERATIONS.values() if op.kind is self.known[key].kind]
        command = data.draw(st.sampled_from(of_this_kind).flatmap(lambda wish: arbitrary(wish, actor=members)))
        self.submit(self.known[key], command)

    @rule(key=lives)
    def silence(self, key: Key) -> None:
        """Nobody has said anything: mostly not for long enough."""
        if key[0] in LAPSES:
            self.submit(self.known[key], LAPSES[key[0]]())

    @rule(data=st.data())
    def silence_until_it_is_due(self, data: st.DataObject) -> None:
        """Nobody says anything until that of a kind which is due the soonest ends by itself."""
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
        """From zero, in batches of any size, the books are the same."""
        books = Books()
        for start in range(0, len(self.log), batch_max):
            batch = self.log[start : start + batch_max]
            books.update(total(*(posted(msgspec.json.decode(event, type=AnyEvent)) for event in batch)))
        assert books == self.books

    def disputable(self) -> list[tuple[UUID, DisputedEntry]]:
        """What has happened, can be disputed and is not yet."""
        return [
            (life.id, entry)
            for life in self.known.values()
            for entry in get_args(DisputedEntry)
            if entry in (f"{life.kind.name}.{name}" for name in life.happened)
            and ("dispute", dispute_id(life.id, entry)) not in self.known
        ]

    def open_disputes(self) -> list[Life]:
        return [life for life in self.known.values() if life.stage == "opened"]

    # What it comes to

    def begin(self, command: Creation, *steps: Command) -> list[Key]:
        """The key of what began, and then took these steps; none, if nothing began."""
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
        """The steps that somebody may take now, and the event that each comes to."""
        decisions = [(self.decided(self.known[key], step), step) for step in self.steps(key, words)]
        return [(tag_of(event), step) for event, step in decisions if event is not None]

    def heard_of(self) -> set[str]:
        return {f"{life.kind.name}.{name}" for life in self.known.values() for name in life.happened}

    def decided(self, life: Life, command: Command | Lapse) -> Event | None:
        """What the command comes to; a refusal, like a repeat, comes to nothing."""
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
        self.learn(life, tag, event)
        entry = posted(event)
        assert without_zeros(entry) == without_zeros(page(tag, life.about))
        if life.kind is not DISPUTE:
            self.agreed(life, actor, tag, entry)
        self.log.append(life.stored[-1])
        self.books.update(entry)
        self.by_the_page.update(page(tag, life.about))
        if life.kind is not DISPUTE and tag.partition(".")[2] in SILENT:
            assert entry_of(event) == EMPTY_ENTRY

    def learn(self, life: Life, tag: str, event: Event) -> None:
        """Keep who and what, as the page would; of numbers, none."""
        facts: dict[str, Any] = msgspec.to_builtins(event)
        life.about.setdefault("began", tag)
        life.about |= {name: fact for name, fact in facts.items() if name not in NUMBERS}
        if tag == "referral.given":
            parent = facts.get("parent")
            life.about["first"] = self.known["referral", UUID(parent)].about["referrer"] if parent else None
        if tag == "dispute.opened":
            self.learn_of_dispute(life, facts)
        if tag == "dispute.upheld" and facts["entry"] == "intro.made" and facts["remedy"] == "reversal":
            self.known["intro", UUID(facts["about"])].about["reversed"] = True

    def learn_of_dispute(self, life: Life, facts: Mapping[str, Any]) -> None:
        """What was charged, from the page; of a stake, only what went to others."""
        kind, entry = facts["entry"].partition(".")[0], facts["entry"]
        disputed = self.known[kind, UUID(facts["about"])].about
        life.about["charged"] = charged_by(entry, disputed)
        life.about["disputed"] = {**disputed, "code": facts["code"]}

    def agreed(self, life: Life, actor: str, tag: str, entry: Books) -> None:
        """Nobody pays without having said so: now, or, when an introduction is made, before."""
        debited = {member for (member, account), points in entry.items() if account == "main" and points < 0}
        assert debited <= (life.voices if tag == "intro.made" else {actor})
        for member in CAST:
            assert entry[member, "given"] >= 0
            assert entry[member, "received"] >= 0

    # What always holds

    @invariant()
    def all_accounts_sum_to_zero(self) -> None:
        accounts = {"main", "stake", "disputed"}
        assert sum(points for (_, account), points in self.books.items() if account in accounts) == 0

    @invariant()
    def the_books_are_those_of_the_page(self) -> None:
        assert without_zeros(self.books) == without_zeros(self.by_the_page)

    @invariant()
    def nothing_is_frozen_but_what_nobody_has_judged(self) -> None:
        expected = Counter[str]()
        for life in self.known.values():
            if life.stage == "opened":
                expected.update({m: n for (m, account), n in life.about["charged"].items() if account == "main"})
        assert {member: self.books[member, "disputed"] for member in CAST} == {m: expected[m] for m in CAST}

    @invariant()
    def at_stake_is_what_open_introductions_put_at_risk(self) -> None:
        expected = Counter[str]()
        for life in self.known.values():
            if life.kind is INTRO and life.stage in {"made", "met"}:
                expected[life.about["connector"]] += at_risk(life.about)
        assert {member: self.books[member, "stake"] for member in CAST} == {m: expected[m] for m in CAST}


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
