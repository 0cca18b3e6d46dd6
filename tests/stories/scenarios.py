"""Scenarios of asks with different fates in equal communities, and the differences that the asker observes."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final, Literal, get_args
from uuid import UUID, uuid5

from msgspec import Struct

from ledger.domain.kinds.intro.silence import AskerState
from services.query.filters import STATES as STATES_OF_EVERY_KIND
from tests.stories.observed_community import (
    ASKER,
    BEGIN,
    HOUR,
    START,
    Guard,
    Observations,
    ObservedCommunity,
)
from tests.stories.story_ledger import StoryLedger

AN_INSTANT: Final = timedelta(microseconds=1)
UNANSWERED: Final = timedelta(days=14)
ACCEPTED: Final = timedelta(days=10)
SCENARIO_IDS: Final = UUID("b0c2c1de-6b0e-5b5f-8d44-0d1a2f6b9c11")
OTHER_ASKER: Final = "otto"
STATES: Final = (*STATES_OF_EVERY_KIND["intro"], *get_args(AskerState))
_communities = itertools.count(1)

Ending = Literal["ignored", "declined", "refused", "left alone", "never made"]


class Fate(Struct, frozen=True):
    """The acts of the others on an ask. `answered` and `then` are shares of the time that they have.

    `clock` is the delay of the lapse by the clock worker. With None, the ask never lapses. With `disclosed`, the member
    who declines discloses it to the asker. The asker may learn of the no in no other way.
    """

    end: Ending
    answered: float = 0.5
    then: float = 0.5
    clock: timedelta | None = timedelta(0)
    disclosed: bool = False


SILENCE: Final = Fate("ignored", clock=None)


class Ask(Struct, frozen=True):
    """An ask. `at` is in hours after the beginning; `respond_by` and `withdrawn` are in hours after the ask."""

    at: int
    connector: str
    target: str
    expects: int | None = None
    respond_by: int | None = None
    withdrawn: int | None = None

    @property
    def time_to_answer(self) -> timedelta:
        """Return the time that the connector has to answer."""
        return UNANSWERED if self.respond_by is None else HOUR * self.respond_by

    @property
    def visible_until(self) -> timedelta:
        return HOUR * self.at + self.time_to_answer + ACCEPTED

    def body(self, own_id: UUID) -> dict[str, Any]:
        """Return the body of the request."""
        respond_by = None if self.respond_by is None else (BEGIN + HOUR * self.at + self.time_to_answer).isoformat()
        return {
            "asker": ASKER,
            "connector": self.connector,
            "target": self.target,
            "id": str(own_id),
            "tags": ["tax"],
            "expects_percent": self.expects,
            "respond_by": respond_by,
        }


class Scenario(Struct, frozen=True):
    """The parts that are equal in all communities.

    At `read_hours` the asker reads everything. At every second of these times, they also ask again.
    """

    guard: Guard
    asks: tuple[Ask, ...]
    thanks: tuple[tuple[int, str], ...] = ()  # The hour, and the giver whom the asker thanks.
    asks_of_others: tuple[tuple[int, str], ...] = ()  # The hour, and the connector.
    read_hours: tuple[int, ...] = ()


# Acts


class Act(Struct, frozen=True):
    """A step of the scenario, in one community or in all. `rank` orders the acts of one time."""

    at: timedelta
    rank: int
    do: Callable[[ObservedCommunity], Awaitable[object]]
    where: int | None = None


def id_of(name: str) -> UUID:
    return uuid5(SCENARIO_IDS, name)


def ask_id(n: int) -> UUID:
    return id_of(f"ask {n}")


def acts_of_others(n: int, ask: Ask, fate: Fate, where: int) -> Iterator[Act]:
    """Yield the acts of the others and of the clock worker on an ask."""
    own_id = ask_id(n)
    asked_at = HOUR * ask.at

    def act(at: timedelta, member: str, verb: str, **body: object) -> Act:
        step = partial(ObservedCommunity.act_as, member=member, path=f"/intros/{own_id}/{verb}", body=body)
        return Act(at, 1, step, where)

    def clock(at: timedelta) -> Iterator[Act]:
        if fate.clock is not None:
            yield Act(at + fate.clock, 1, partial(ObservedCommunity.lapse, intro=own_id), where)

    yield from clock(asked_at + ask.time_to_answer)
    if fate.end == "ignored":
        return
    answered_at = asked_at + ask.time_to_answer * fate.answered
    if fate.end == "declined":
        yield act(answered_at, ask.connector, "decline", tell_now=fate.disclosed)
        return
    yield act(answered_at, ask.connector, "accept", level=3)
    yield from clock(answered_at + ACCEPTED)
    then_at = answered_at + ACCEPTED * fate.then
    if fate.end == "refused":
        yield act(then_at, ask.target, "refuse", tell_now=fate.disclosed)
    if fate.end == "never made":
        yield act(then_at, ask.target, "consent")


def common_acts(scenario: Scenario) -> Iterator[Act]:
    """Yield the acts that are equal in every community."""
    for n, ask in enumerate(scenario.asks):
        body = ask.body(ask_id(n))
        post = partial(ObservedCommunity.post, what=f"ask {n}", path="/intros", body=body, key=f"ask-{n}")
        yield Act(HOUR * ask.at, 2, post)
        if ask.withdrawn is not None:
            yield Act(HOUR * (ask.at + ask.withdrawn), 3, partial(withdraw, n=n))
    for n, (at, giver) in enumerate(scenario.thanks):
        what = f"thanks {n}"
        body = {"giver": giver, "receiver": ASKER, "size": "large", "id": str(id_of(what))}
        yield Act(HOUR * at, 2, partial(ObservedCommunity.post, what=what, path="/favours", body=body))
    for n, (at, connector) in enumerate(scenario.asks_of_others):
        body = {"asker": OTHER_ASKER, "connector": connector, "target": "tom", "id": str(id_of(f"otto {n}"))}
        yield Act(HOUR * at, 2, partial(ObservedCommunity.act_as, member=OTHER_ASKER, path="/intros", body=body))
    end = scenario.asks[0].visible_until
    moments = {end - AN_INSTANT, end, *(HOUR * hour for hour in scenario.read_hours)}
    for turn, moment in enumerate(sorted(moments)):
        asked = [(n, ask) for n, ask in enumerate(scenario.asks) if HOUR * ask.at <= moment]
        yield Act(moment, 4, partial(read_everything, asked=asked))
        if asked and turn % 2 == 0:
            _, last = asked[-1]
            body = Ask(0, last.connector, last.target, 50).body(id_of(f"again {turn}"))
            yield Act(moment, 5, partial(ObservedCommunity.post, what="asking again", path="/intros", body=body))


async def withdraw(community: ObservedCommunity, n: int) -> None:
    """Withdraw an ask with the version that was just read, then withdraw it again."""
    path = f"/intros/{ask_id(n)}"
    seen = await community.get(f"ask {n}, before it is taken back", path)
    await community.post(f"taking ask {n} back", f"{path}/withdraw", if_match=seen.headers.get("etag"))
    taken = await community.post(f"taking ask {n} back again", f"{path}/withdraw")
    if taken.is_success:
        position = int(taken.headers["ledger-position"])
        await community.get(f"ask {n}, after it is taken back", path, min_position=position)


async def read_everything(community: ObservedCommunity, asked: Sequence[tuple[int, Ask]]) -> None:
    """Read everything that the asker may read, and send every command that they may send."""
    for what in ("balance", "pairs", "standing", "coach", "matches"):
        await community.get(what, f"/members/{ASKER}/{what}")
    await community.get("oneself", f"/members/{ASKER}")
    for clock in ("as_of", "known_at"):
        for days in (0, 7, 30):
            time = (BEGIN + days * 24 * HOUR).isoformat()
            path = f"/members/{ASKER}/balance"
            await community.get(f"balance, {clock} day {days}", path, explain="true", **{clock: time})
    for order in ("oldest", "newest"):
        await community.get_all_pages(f"statement, {order} first", f"/members/{ASKER}/statement", order=order, limit=1)
    for n, ask in asked:
        seen = await community.get(f"ask {n}", f"/intros/{ask_id(n)}")
        if seen.is_success:
            position: int = seen.json()["position"]
            await community.get(f"ask {n}, at its own position", f"/intros/{ask_id(n)}", min_position=position)
        for other in (ask.connector, ask.target):
            await community.get(f"{ASKER} and {other}", f"/members/{ASKER}/pairs/{other}")
            await community.get(f"{other}'s balance", f"/members/{other}/balance")
            path = f"/members/{ASKER}/pairs/{other}/statement"
            await community.get_all_pages(f"statement with {other}", path, limit=1)
        await try_everything(community, n, ask)
    await read_all_lists(community, asked)


async def read_all_lists(community: ObservedCommunity, asked: Sequence[tuple[int, Ask]]) -> None:
    """Read every list that could reveal an ask, with every filter that could, and especially with every state."""
    for kind in ("favours", "referrals", "intros", "disputes", "members"):
        await community.get_all_pages(kind, f"/{kind}")
    for state in STATES:
        await community.get_all_pages(f"intros {state}", "/intros", state=state)
    for state, order in itertools.product(("pending", "not_now", "declined", "refused"), ("oldest", "newest")):
        what = f"intros {state}, {order}, one by one"
        await community.get_all_pages(what, "/intros", state=state, order=order, limit=1)
    for order in ("oldest", "newest"):
        await community.get_all_pages(f"intros, {order}, one by one", "/intros", order=order, limit=1)
    for state in ("pending", "not_now", "expired"):
        await community.get_all_pages(f"asks {state}", "/intros", member=ASKER, role="asker", state=state, tag="tax")
    for _, ask in asked:
        for role, other in (("connector", ask.connector), ("target", ask.target)):
            for state in ("pending", "accepted", "refused"):
                what = f"intros {state} with {other}"
                await community.get_all_pages(what, "/intros", member=other, role=role, state=state, limit=1)
        since = (BEGIN + HOUR * ask.at).isoformat()
        await community.get_all_pages("pending since they asked", "/intros", state="pending", since=since, limit=1)


async def try_everything(community: ObservedCommunity, n: int, ask: Ask) -> None:
    """Send every command about an ask that must be refused or replayed, regardless of the acts of the others."""
    own_id, path = str(ask_id(n)), f"/intros/{ask_id(n)}"
    closing = {"outcome": "no_result"}
    await community.attempt("meet", f"{path}/meet")
    for fault in ("none", "asker", "connector"):
        await community.attempt(f"close, fault {fault}", f"{path}/close", {**closing, "fault": fault})
    for verb in ("decline", "consent", "refuse", "make"):
        await community.attempt(verb, f"{path}/{verb}")
    await community.attempt("accept", f"{path}/accept", {"level": 3})
    for version in range(1, 5):
        await community.attempt(f"meet version {version}", f"{path}/meet", if_match=f'"{version}"')
    await community.attempt("take back version 4", f"{path}/withdraw", if_match='"4"')  # The version of a made intro.
    again = ask.body(ask_id(n))
    await community.attempt("the same ask", "/intros", again, key=f"ask-{n}")
    await community.attempt("another ask with its key", "/intros", {**again, "tags": ["law"]}, key=f"ask-{n}")
    await community.attempt("another ask with its id", "/intros", {**again, "tags": ["law"]})
    for entry in ("intro.made", "intro.met", "intro.closed"):
        await community.attempt(f"dispute {entry}", "/disputes", {"about": own_id, "entry": entry, "code": "not_mine"})
    await community.attempt_batch(
        "all at once",
        [
            {"op": "intro.propose", "body": {"actor": ASKER, **again}, "idempotency_key": f"ask-{n}"},
            {"op": "intro.meet", "id": own_id, "body": {"actor": ASKER}},
            {"op": "intro.close", "id": own_id, "body": {"actor": ASKER, **closing}},
        ],
    )


# Observations


async def observe(ledger: StoryLedger, scenario: Scenario, fates: Sequence[Sequence[Fate]]) -> list[Observations]:
    """Run the scenario. Return the observations of the community without answers, then those of each fate."""
    ledger.now = START
    everywhere = [[SILENCE] * len(scenario.asks), *fates]
    communities = [ObservedCommunity(ledger.community(f"here-{next(_communities)}"), ledger) for _ in everywhere]
    await asyncio.gather(*(community.set_up(scenario.guard) for community in communities))
    acts = list(common_acts(scenario))
    for where, fate_of in enumerate(everywhere):
        for n, (ask, fate) in enumerate(zip(scenario.asks, fate_of, strict=False)):
            acts += acts_of_others(n, ask, fate, where)
    acts.sort(key=lambda act: (act.at, act.rank))
    for (at, _), together in itertools.groupby(acts, lambda act: (act.at, act.rank)):
        ledger.now = BEGIN + at
        await ledger.wait_until_projected()  # The guard and every read depend on the books.
        now = list(together)
        await asyncio.gather(*(perform(community, where, now) for where, community in enumerate(communities)))
    return [community.observations for community in communities]


async def perform(community: ObservedCommunity, where: int, acts: Sequence[Act]) -> None:
    for act in acts:
        if act.where in {None, where}:
            await act.do(community)


def differences(silence: Observations, observed: Observations) -> list[str]:
    """Return the observations that differ. If one side has fewer, compare up to its end."""
    found = [
        f"{what}\nwhere nobody answers:\n{expected.decode()}\nhere:\n{answered.decode()}"
        for (what, expected), (_, answered) in zip(silence, observed, strict=False)
        if expected != answered
    ]
    assert found or len(silence) == len(observed)
    return found
