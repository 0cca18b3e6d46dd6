"""A long random history of everything at once, valid and invalid, over HTTP. The test checks the books at its end."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest

from ledger.audit.comparison import audit
from ledger.commands.submission import Outcome, Submission
from ledger.domain.catalog.kinds import EVENTS, KINDS
from ledger.domain.catalog.operations import OPERATIONS
from ledger.domain.kinds.member import MemberState
from ledger.domain.kinds.publication import PublishPolicy
from ledger.domain.kinds.transfers import transfers_of
from ledger.domain.values.aggregate_types import Command, Creation, Lapse, tag_of
from ledger.domain.values.context import Context
from ledger.domain.values.refusals import Refusal
from ledger.envelope import AggregateRef, RecordedEvent
from ledger.log.snapshot import load_aggregate
from ledger.runtime.settings import Settings
from tests.books.books_database import Books
from tests.books.histories import submission
from tests.books.random_histories import (
    COMMUNITIES,
    DISPUTE_PATIENCE,
    KINDS_WITH_STEPS,
    MODERATOR,
    REFUSING_COMMANDS,
    YES_WEIGHT,
    RandomHistory,
)
from tests.databases import Databases
from tests.envelopes import NOW
from tests.scale import SOAK, scale
from tests.stories.story_ledger import MODERATOR_KEY, StoryLedger, running_ledger
from workers.clock import Clock

SEED: Final = 5
COMMANDS: Final = scale(gate=5_000, soak=20_000)
BATCH_MAX: Final = 900
ONE_BY_ONE_MAX: Final = scale(gate=500, soak=2_000)  # Events. All of them in batches of one take too long.
IN_VAIN: Final = {
    "already_exists",
    "idempotency_key_missing",
    "invalid_field",
    "no_dues",
    "nobody_asked",
    "not_yours",
    "party_to_it",
    "time_in_future",
    "time_too_early",
    "too_late",
    "under_dispute",
    "unknown",
    "wrong_state",
}
SELDOM_IN_VAIN: Final = {"asked_before", "inbound_asks", "open_asks", "reciprocity_limit"}
"""Refusals that the short history of the gate may lack."""

Tables = dict[str, list[str]]
OPEN_MAX: Final = 40  # Few, so that each of them gets several steps.
PARTIES_MAX: Final = 8
LOOKED_AT: Final = 4
TRIED: Final = 20
MISTAKES: Final = 0.15
AGAIN_MAX: Final = 200  # Recent commands that may be sent again.


class Rumour(RandomHistory):
    """A random history, sent over HTTP in batches. Some of the commands are invalid or repeated."""

    def __init__(self, seed: int, ledger: StoryLedger) -> None:
        super().__init__(seed, ledger.log)
        self.ledger: Final = ledger
        self.said: Final[Counter[str]] = Counter()
        self.answered: Final[Counter[str]] = Counter()
        self.events: Final[list[RecordedEvent]] = []
        self._lately: Final[list[dict[str, Any]]] = []
        self._spoken_of: Final = {community: deque[AggregateRef](maxlen=OPEN_MAX) for community in COMMUNITIES}
        self._members: Final = {community: list[AggregateRef]() for community in COMMUNITIES}

    async def spread(self, commands: int) -> None:
        """Send this many commands. After each batch, wait for the projector and run the clock worker."""
        clock = Clock(self.command_log.executor, self.ledger.reader, lambda: self.command_log.now)
        while (left := commands - self.said.total()) > 0:
            await self._batch(min(self._random.randint(1, BATCH_MAX), left))
            hours = self._random.choice([0] * 6 + [1, 20, 24 * 15, 24 * 40])
            self.command_log.now += timedelta(hours=hours, microseconds=self._random.randrange(1_000_000))
            self.ledger.now = self.command_log.now
            await self.ledger.wait_until_projected()
            while await clock.send_lapses():
                pass
            await self._learn()
        await self.ledger.wait_until_projected()

    async def _batch(self, length: int) -> None:
        """Send a batch in one community. The body of each command names the actor; the URL names the community."""
        community = self._random.choice(COMMUNITIES)
        items = [self._item(community) for _ in range(length)]
        answer = await self.ledger.client.post(
            self.ledger.community(community).path("/batch"),
            content=msgspec.json.encode(items),
            headers={"Authorization": f"Bearer {MODERATOR_KEY}", "Content-Type": "application/json"},
        )
        assert answer.status_code == 200, answer.text
        results = answer.json()
        self.said.update(item["op"] for item in items)
        self.answered.update(result.get("problem", {}).get("code", result["status"]) for result in results)
        assert len(results) == len(items)

    def _item(self, community: str) -> dict[str, Any]:
        draw = self._random.random()
        if draw < 0.04 and self._lately:
            return self._random.choice(self._lately)  # It is new in the other community.
        item = self._written(self._step(community) or self._begun(community))
        if draw > 0.98:
            return self._spoiled(item)
        self._lately.append(item)
        del self._lately[:-AGAIN_MAX]
        return item

    def _begun(self, community: str) -> Submission:
        while (said := self._creation()).community != community:
            pass
        if said.id is None and isinstance(said.command, Creation):
            own = said.command.own_id(community)
            self._imagine(AggregateRef(community, said.kind, str(own)), said.command)
        return said

    def _step(self, community: str) -> Submission | None:
        """Return a command on a recent aggregate. Return None if there is none, or, at random, to begin another."""
        refs = self._members[community] if self._random.random() < 0.04 else self._spoken_of[community]
        if not refs or self._random.random() < 0.25:
            return None
        for ref in self._random.sample(refs, min(LOOKED_AT, len(refs))):
            if ref.kind == "dispute" and self._random.random() < DISPUTE_PATIENCE:
                continue
            concerned = {MODERATOR, *msgspec.structs.astuple(self.last[ref].state)[:PARTIES_MAX]}
            steps = [
                step for step in self._steps_of(ref.kind) if not isinstance(step, Lapse) and step.actor in concerned
            ]
            weights = [1 if isinstance(step, REFUSING_COMMANDS) else YES_WEIGHT for step in steps]
            tried = self._random.choices(steps, weights, k=TRIED)
            step = next((step for step in tried if self._is_possible(ref, step)), None)
            if step is not None or self._random.random() < MISTAKES:
                break
        else:
            return None
        step = step or tried[0]
        self._imagine(ref, step)
        return submission(self._at_some_time(step), UUID(ref.id), community)

    def _imagine(self, ref: AggregateRef, command: Command) -> None:
        """Predict the result, so that later commands of the batch can follow it. The log corrects the prediction."""
        kind, last = KINDS[ref.kind], self.last.get(ref)
        state = last.state if last is not None else None
        found = {need: self._state_of(ref.community, need) for need in kind.needs(command, state, UUID(ref.id))}
        try:
            event = kind.decide(command, state, Context(now=self.command_log.now, found=found))
        except Refusal:
            return
        if event is not None:
            self._is_now(Outcome(ref=ref, state=kind.evolve(state, event), version=0, position=0, how="recorded"))

    def _is_now(self, outcome: Outcome) -> None:
        ref = outcome.ref
        if ref not in self.last and ref.kind in KINDS_WITH_STEPS:
            (self._members if ref.kind == "member" else self._spoken_of)[ref.community].append(ref)
        self.last[ref] = outcome

    def _written(self, said: Submission) -> dict[str, Any]:
        """Return the command as a caller writes it."""
        item: dict[str, Any] = {"op": said.operation, "body": said.command}
        if self._random.random() < 0.5:
            item["idempotency_key"] = f"key-{self._random.getrandbits(64):x}"
        if not isinstance(said.command, Creation):
            state = self.last[AggregateRef(said.community, said.kind, str(said.id))].state
            item["id"] = state.member if isinstance(state, MemberState) else str(said.id)
        return item

    def _spoiled(self, item: dict[str, Any]) -> dict[str, Any]:
        body = msgspec.to_builtins(item["body"])
        return self._random.choice(
            [
                {**item, "op": "favour.steal"},
                {**item, "id": "nobody and nothing"},
                {"op": item["op"], "body": {name: fact for name, fact in body.items() if name != "id"}},
                {**item, "body": {**body, "actor": "not a member!"}},
                {**item, "body": {**body, "points": 1_000_000}},
                {**item, "body": {**body, "actor": "clock"}},
                {**item, "body": {**body, "occurred_at": (self.command_log.now + timedelta(days=1)).isoformat()}},
                {**item, "body": {**body, "occurred_at": "1969-12-31T23:59:59Z"}},
                {**item, "body": [body]},
            ]
        )

    def _policy(self, community: str) -> Creation:
        """Return a policy whose guard weighs asks and sometimes refuses them."""
        publication = super()._policy(community)
        assert isinstance(publication, PublishPolicy)
        draw = self._random
        policy = msgspec.structs.replace(
            publication.policy,
            guard=draw.choice(["off", "advise", "enforce", "enforce"]),
            open_asks_max=draw.choice([1, 2, 1_000]),
            inbound_asks_max=draw.choice([2, 1_000, 1_000]),
            ask_again=timedelta(days=draw.choice([1, 30])),
            riding_received_min=1,
            riding_net_permille=draw.choice([0, 700]),
            riding_ratio_permille=draw.choice([200, 1_000]),
        )
        return msgspec.structs.replace(publication, policy=policy)

    async def _learn(self) -> None:
        """Read the events recorded since the last call, whoever recorded them, including the clock worker."""
        end = await self.command_log.log.end()
        if end == self._seen:
            return
        async with aclosing(self.command_log.log.read_from(self._seen + 1)) as batches:
            async for batch in batches:
                for event in batch:
                    self._hear(event)
                if self._seen >= end:
                    return

    def _hear(self, event: RecordedEvent) -> None:
        self.events.append(event)
        self._seen = event.position
        now = load_aggregate(event)
        self._is_now(
            Outcome(ref=event.ref, state=now.state, version=now.version, position=now.position, how="recorded")
        )
        if transfers_of(event.envelope.data):
            self._charging.append(event)


@pytest.fixture
async def ledger(settings: Settings) -> AsyncIterator[StoryLedger]:
    """Yield a ledger without a clock worker. The history runs it at set times, so that it is the same in every run."""
    async with running_ledger(settings, NOW, clock=False) as ledger:
        yield ledger


async def written(databases: Databases, events: list[RecordedEvent], batch_max: int) -> Tables:
    """Return the rows of empty books after these events."""
    async with databases.empty_books() as books:
        await books.write(events, batch_max)
        return await books.all_rows()


@pytest.mark.slow
async def test_the_books_of_a_long_random_history_are_what_the_log_says_in_any_batch_size(
    ledger: StoryLedger, settings: Settings, databases: Databases
) -> None:
    rumour = Rumour(SEED, ledger)
    await rumour.spread(COMMANDS)
    assert rumour.said.total() == COMMANDS
    assert_it_was_no_dull_history(rumour)

    report = await audit(ledger.log, settings.books)
    assert (report.differences, report.behind) == ([], 0)
    assert report.events == len(rumour.events)
    for community in COMMUNITIES:
        summary = (await ledger.community(community).get("/summary")).json()
        assert summary["zero_sum"]["holds"]
        assert summary["given"] == summary["received"]

    projected = await Books(settings.books).all_rows()
    beginning = rumour.events[:ONE_BY_ONE_MAX]
    thousand, seven, beginning_by_one, beginning_at_once = await asyncio.gather(
        written(databases, rumour.events, 1_000),
        written(databases, rumour.events, 7),
        written(databases, beginning, 1),
        written(databases, beginning, 1_000),
    )
    assert thousand == projected
    assert seven == projected
    assert beginning_by_one == beginning_at_once


def assert_it_was_no_dull_history(rumour: Rumour) -> None:
    """Assert that every event occurred and that every operation was sent, many of them in vain."""
    happened = {tag_of(event.envelope.data) for event in rumour.events}
    assert happened == set(EVENTS)
    assert set(OPERATIONS) <= rumour.said.keys()
    assert {"recorded", "replayed", "unchanged", *IN_VAIN} <= rumour.answered.keys()
    if SOAK:
        assert rumour.answered.keys() >= SELDOM_IN_VAIN
