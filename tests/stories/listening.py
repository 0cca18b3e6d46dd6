"""Equal communities in which the same asks meet different fates, and what their asker hears of it."""

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Literal, get_args
from uuid import UUID, uuid5

import httpx
from msgspec import Struct

from ledger.commands.executor import Executor
from ledger.commands.submission import Submission
from ledger.domain.kinds.intro.commands import LapseIntro
from ledger.domain.kinds.intro.silence import AskerState
from ledger.domain.kinds.member import membership_id
from services.query.filters import STATES as STATES_OF_EVERY_KIND
from tests.services.caller import Caller
from tests.services.cursors import read_cursor
from tests.services.etags import etag_of
from tests.stories.served import MODERATOR_KEY, Served

ONCE: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
BEGAN: Final = ONCE + HOUR  # The policy needs notice.
AN_INSTANT: Final = timedelta(microseconds=1)
UNANSWERED: Final = timedelta(days=14)
ACCEPTED: Final = timedelta(days=10)
SILENCE_IDS: Final = UUID("b0c2c1de-6b0e-5b5f-8d44-0d1a2f6b9c11")
ASKER: Final = "ann"
OTHER_ASKER: Final = "otto"
CONNECTORS: Final = ("cas", "cleo")
TARGETS: Final = ("tom", "tess")
POSITION: Final = re.compile(rb'"position":(\d+)')
NEXT: Final = re.compile(rb'"next":"([^"]+)"')
ENTRY: Final = re.compile(rb'"entry":"([0-9a-f-]{36})","link":"[^"]*/entries/([0-9a-f-]{36})"')
PAGES_MAX: Final = 20  # More than a list of theirs has.
STATES: Final = (*STATES_OF_EVERY_KIND["intro"], *get_args(AskerState))
_communities = itertools.count(1)

End = Literal["ignored", "declined", "refused", "left alone", "never made"]
Heard = list[tuple[str, bytes]]
"""What the asker did and when, and the answer: status, headers and body."""


class Fate(Struct, frozen=True):
    """What the others do with an ask: after these shares of the time they have. `clock`: how late it is, None never.

    `told` is said by who says no: the one way in which the asker may learn of it.
    """

    end: End
    answered: float = 0.5
    then: float = 0.5
    clock: timedelta | None = timedelta(0)
    told: bool = False


SILENCE: Final = Fate("ignored", clock=None)


class Wish(Struct, frozen=True):
    """An ask, in hours from the beginning. `respond_by` and `withdrawn` are hours after it."""

    at: int
    connector: str
    target: str
    expects: int | None = None
    respond_by: int | None = None
    withdrawn: int | None = None

    @property
    def answers(self) -> timedelta:
        """How long the connector has."""
        return UNANSWERED if self.respond_by is None else HOUR * self.respond_by

    @property
    def visible_until(self) -> timedelta:
        return HOUR * self.at + self.answers + ACCEPTED

    def asked(self, own: UUID) -> dict[str, Any]:
        """What is posted to ask."""
        respond_by = None if self.respond_by is None else (BEGAN + HOUR * self.at + self.answers).isoformat()
        return {
            "asker": ASKER,
            "connector": self.connector,
            "target": self.target,
            "id": str(own),
            "tags": ["tax"],
            "expects_percent": self.expects,
            "respond_by": respond_by,
        }


class History(Struct, frozen=True):
    """What is the same everywhere. At each of `looks` the asker looks at everything, and at every other asks again."""

    guard: Literal["off", "advise", "enforce"]
    wishes: tuple[Wish, ...]
    thanks: tuple[tuple[int, str], ...] = ()  # When, and whom the asker thanks.
    asked_by_others: tuple[tuple[int, str], ...] = ()  # When, and whom.
    looks: tuple[int, ...] = ()


@dataclass
class Community:
    """One of the equal ones, and what its asker heard, in order."""

    caller: Caller
    ledger: Served
    heard: Heard = field(default_factory=Heard)
    own: dict[int, str] = field(default_factory=dict[int, str])
    entries: dict[bytes, int] = field(default_factory=dict[bytes, int])
    """Positions of what the asker said, and of what they are asked themselves, and which of it they are."""

    async def begin(self, history: History) -> None:
        """Ann knows Cas, who knows Tom; she looks for tax advice, and is easily thought to ride."""
        policy = {
            "guard": history.guard,
            "open_asks_max": 4,
            "inbound_asks_max": 3,
            "ask_again": "P5D",
            "newcomer": "P1D",
            "riding_received_min": 1,
        }
        starts_at = (self.ledger.now + HOUR / 2).isoformat()
        said: list[tuple[str, dict[str, Any], str | None]] = [
            ("policy.publish", {"actor": "ida", "policy": policy, "starts_at": starts_at}, None),
            *(("member.join", {"actor": it, "member": it}, None) for it in (ASKER, *CONNECTORS, *TARGETS)),
            ("member.wants", {"actor": ASKER, "tags": ["tax"]}, ASKER),
            *(("member.offers", {"actor": it, "tags": ["tax", "law"]}, it) for it in (CONNECTORS[1], *TARGETS)),
            ("contact.make", {"actor": ASKER, "member": ASKER, "other": CONNECTORS[0]}, None),
            ("contact.make", {"actor": "tom", "member": "tom", "other": CONNECTORS[0]}, None),
        ]
        items = [{"op": op, "body": body, "id": own} for op, body, own in said]
        answer = await self.caller.client.post(
            self.caller.path("/batch"), json=items, headers={"Authorization": f"Bearer {MODERATOR_KEY}"}
        )
        assert [result["status"] for result in answer.json()] == ["recorded"] * len(items)
        self._remember(result["position"] for result in answer.json())

    # What others do, whether or not they may by now

    async def let(self, member: str, path: str, body: Mapping[str, Any]) -> None:
        answer = await self.caller.post(path, {"actor": member, **body})
        assert answer.status_code in {200, 201, 404, 409}, answer.text
        if answer.is_success and body.get("connector") == ASKER:
            self._remember([int(answer.headers["ledger-position"])])  # It is theirs to answer.

    async def lapse(self, intro: UUID) -> None:
        """The clock has come to it."""
        lapse = Submission(
            community=self.caller.community, operation="intro.lapse", kind="intro", command=LapseIntro(), id=intro
        )
        await Executor(self.ledger.log, lambda: self.ledger.now).execute_all([lapse])

    # What the asker hears

    async def says(
        self,
        what: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        if_match: str | None = None,
    ) -> httpx.Response:
        """The asker says something that may be recorded; where it is, is theirs to know."""
        answer = await self._posts(what, path, body or {}, key, if_match)
        if answer.is_success:
            self._remember([int(answer.headers["ledger-position"])])
        await self._hears(what, answer)
        return answer

    async def tries(
        self,
        what: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        if_match: str | None = None,
    ) -> None:
        """The asker says something that is refused, or known already; or recorded now, if it was refused before."""
        answer = await self._posts(what, path, body or {}, key, if_match)
        if answer.status_code == 201 and "idempotent-replayed" not in answer.headers:
            self._remember([int(answer.headers["ledger-position"])])
        await self._hears(what, answer)

    async def tries_at_once(self, what: str, items: Sequence[Mapping[str, Any]]) -> None:
        await self._hears(what, await self.caller.post("/batch", items))

    async def sees(self, what: str, path: str, **query: str | int) -> httpx.Response:
        answer = await self.caller.get(path, viewer=ASKER, **query)
        await self._hears(what, answer)
        return answer

    async def lists(self, what: str, path: str, **query: str | int) -> None:
        """The asker leafs through a list, to its end, and hears all of it as one."""
        begun, cursor = len(self.heard), dict[str, str]()
        while len(self.heard) - begun < PAGES_MAX:
            page = await self.sees(what, path, **query, **cursor)
            if "next" not in page.json():
                break
            cursor = {"cursor": page.json()["next"]}
        else:
            raise AssertionError(f"{what} has no end")
        pages = self.heard[begun:]
        self.heard[begun:] = [(pages[0][0], b"\n\n".join(said for _, said in pages))]

    async def _posts(
        self, what: str, path: str, body: Mapping[str, Any], key: str | None, if_match: str | None
    ) -> httpx.Response:
        return await self.caller.post(path, {"actor": ASKER, **body}, key=key, if_match=if_match)

    def _remember(self, positions: Iterable[int]) -> None:
        for position in positions:
            self.own.setdefault(position, f"mine, {len(self.own) + 1}")

    async def _hears(self, what: str, answer: httpx.Response) -> None:
        """All of it but `date`: status, headers, body."""
        headers = dict(answer.headers)
        headers.pop("date", None)
        assert int(headers.pop("content-length")) == len(answer.content)  # It counts a position's digits.
        if "ledger-position" in headers:
            headers["ledger-position"] = self._named(int(headers["ledger-position"]))
        if headers.get("etag") == await etag_of(answer.content):
            headers["etag"] = "what the body says"  # And no more than that.
        if "location" in headers:
            headers["location"] = headers["location"].replace(f"/{self.caller.community}/", "/here/")
        if "link" in headers:  # It says what `next` in the body does.
            assert answer.json()["next"] in headers.pop("link")
        head = "\n".join([str(answer.status_code), *(f"{name}: {headers[name]}" for name in sorted(headers))])
        body = POSITION.sub(lambda found: b'"position":' + self._named(int(found[1])).encode(), answer.content)
        body = NEXT.sub(self._opened, body)
        body = ENTRY.sub(self._entered, body)
        for member in (ASKER, *CONNECTORS, *TARGETS):
            body = body.replace(str(membership_id(self.caller.community, member)).encode(), member.encode())
        self.heard.append((f"{self.ledger.now - BEGAN}: {what}", head.encode() + b"\n\n" + body))

    def _opened(self, found: re.Match[bytes]) -> bytes:
        """What a cursor says to whoever opens it: it hides nothing."""
        _, query, community, after = read_cursor(found[1].decode())
        assert community == self.caller.community
        match after.split():
            case [happened_at, position, leg, known]:
                place = f"{happened_at} {self._named(int(position))} {leg}, known {self._named(int(known))}"
            case _:
                place = self._named(int(after))
        return f'"next":"{query} after {place}"'.encode()

    def _entered(self, found: re.Match[bytes]) -> bytes:
        """An event's id is another in every community; what tells is which of them are the same."""
        assert found[1] == found[2]
        self.entries.setdefault(found[1], len(self.entries) + 1)
        return f'"entry":"entry {self.entries[found[1]]}"'.encode()

    def _named(self, position: int) -> str:
        return self.own.get(position, str(position))


# What happens, and when


class Act(Struct, frozen=True):
    """Something that happens in one of the communities, or in all. `rank` is the order of what happens at once."""

    at: timedelta
    rank: int
    do: Callable[[Community], Awaitable[object]]
    where: int | None = None


def id_of(name: str) -> UUID:
    return uuid5(SILENCE_IDS, name)


def the_ask(n: int) -> UUID:
    return id_of(f"ask {n}")


def what_others_do(n: int, wish: Wish, fate: Fate, where: int) -> Iterator[Act]:
    """The fate of an ask, as it is seen by those who know."""
    own = the_ask(n)
    asked_at = HOUR * wish.at

    def act(at: timedelta, member: str, verb: str, **body: object) -> Act:
        return Act(at, 1, partial(Community.let, member=member, path=f"/intros/{own}/{verb}", body=body), where)

    def clock(at: timedelta) -> Iterator[Act]:
        if fate.clock is not None:
            yield Act(at + fate.clock, 1, partial(Community.lapse, intro=own), where)

    yield from clock(asked_at + wish.answers)
    if fate.end == "ignored":
        return
    answered_at = asked_at + wish.answers * fate.answered
    if fate.end == "declined":
        yield act(answered_at, wish.connector, "decline", tell_now=fate.told)
        return
    yield act(answered_at, wish.connector, "accept", level=3)
    yield from clock(answered_at + ACCEPTED)
    then_at = answered_at + ACCEPTED * fate.then
    if fate.end == "refused":
        yield act(then_at, wish.target, "refuse", tell_now=fate.told)
    if fate.end == "never made":
        yield act(then_at, wish.target, "consent")


def what_is_the_same(history: History) -> Iterator[Act]:
    for n, wish in enumerate(history.wishes):
        asks = partial(Community.says, what=f"ask {n}", path="/intros", body=wish.asked(the_ask(n)), key=f"ask-{n}")
        yield Act(HOUR * wish.at, 2, asks)
        if wish.withdrawn is not None:
            yield Act(HOUR * (wish.at + wish.withdrawn), 3, partial(take_back, n=n))
    for n, (at, giver) in enumerate(history.thanks):
        what = f"thanks {n}"
        body = {"giver": giver, "receiver": ASKER, "size": "large", "id": str(id_of(what))}
        yield Act(HOUR * at, 2, partial(Community.says, what=what, path="/favours", body=body))
    for n, (at, connector) in enumerate(history.asked_by_others):
        body = {"asker": OTHER_ASKER, "connector": connector, "target": "tom", "id": str(id_of(f"otto {n}"))}
        yield Act(HOUR * at, 2, partial(Community.let, member=OTHER_ASKER, path="/intros", body=body))
    end = history.wishes[0].visible_until
    moments = {end - AN_INSTANT, end, *(HOUR * look for look in history.looks)}
    for turn, moment in enumerate(sorted(moments)):
        asked = [(n, wish) for n, wish in enumerate(history.wishes) if HOUR * wish.at <= moment]
        yield Act(moment, 4, partial(look_around, asked=asked))
        if asked and turn % 2 == 0:
            _, last = asked[-1]
            body = Wish(0, last.connector, last.target, 50).asked(id_of(f"again {turn}"))
            yield Act(moment, 5, partial(Community.says, what="asking again", path="/intros", body=body))


async def take_back(it: Community, n: int) -> None:
    """As one does who has looked first: with the version that they were shown. And once more."""
    path = f"/intros/{the_ask(n)}"
    seen = await it.sees(f"ask {n}, before it is taken back", path)
    await it.says(f"taking ask {n} back", f"{path}/withdraw", if_match=seen.headers.get("etag"))
    taken = await it.says(f"taking ask {n} back again", f"{path}/withdraw")
    if taken.is_success:
        position = int(taken.headers["ledger-position"])
        await it.sees(f"ask {n}, after it is taken back", path, min_position=position)


async def look_around(it: Community, asked: Sequence[tuple[int, Wish]]) -> None:
    """Everything that the asker may read, and everything that they may try."""
    for what in ("balance", "pairs", "standing", "coach", "matches"):
        await it.sees(what, f"/members/{ASKER}/{what}")
    await it.sees("oneself", f"/members/{ASKER}")
    for clock in ("as_of", "known_at"):
        for days in (0, 7, 30):
            time = (BEGAN + days * 24 * HOUR).isoformat()
            await it.sees(f"balance, {clock} day {days}", f"/members/{ASKER}/balance", explain="true", **{clock: time})
    for order in ("oldest", "newest"):
        await it.lists(f"statement, {order} first", f"/members/{ASKER}/statement", order=order, limit=1)
    for n, wish in asked:
        seen = await it.sees(f"ask {n}", f"/intros/{the_ask(n)}")
        if seen.is_success:
            position: int = seen.json()["position"]
            await it.sees(f"ask {n}, at its own position", f"/intros/{the_ask(n)}", min_position=position)
        for other in (wish.connector, wish.target):
            await it.sees(f"{ASKER} and {other}", f"/members/{ASKER}/pairs/{other}")
            await it.sees(f"{other}'s balance", f"/members/{other}/balance")
            await it.lists(f"statement with {other}", f"/members/{ASKER}/pairs/{other}/statement", limit=1)
        await try_everything(it, n, wish)
    await leaf_through_everything(it, asked)


async def leaf_through_everything(it: Community, asked: Sequence[tuple[int, Wish]]) -> None:
    """Every list that could tell of an ask, narrowed by whatever could: by every state, above all."""
    for kind in ("favours", "referrals", "intros", "disputes", "members"):
        await it.lists(kind, f"/{kind}")
    for state in STATES:
        await it.lists(f"intros {state}", "/intros", state=state)
    for state, order in itertools.product(("pending", "not_now", "declined", "refused"), ("oldest", "newest")):
        await it.lists(f"intros {state}, {order}, one by one", "/intros", state=state, order=order, limit=1)
    for order in ("oldest", "newest"):
        await it.lists(f"intros, {order}, one by one", "/intros", order=order, limit=1)
    for state in ("pending", "not_now", "expired"):
        await it.lists(f"asks {state}", "/intros", member=ASKER, role="asker", state=state, tag="tax")
    for _, wish in asked:
        for role, other in (("connector", wish.connector), ("target", wish.target)):
            for state in ("pending", "accepted", "refused"):
                await it.lists(f"intros {state} with {other}", "/intros", member=other, role=role, state=state, limit=1)
        since = (BEGAN + HOUR * wish.at).isoformat()
        await it.lists("pending since they asked", "/intros", state="pending", since=since, limit=1)


async def try_everything(it: Community, n: int, wish: Wish) -> None:
    """What the asker may send about an ask that goes nowhere, whatever has become of it."""
    own, path = str(the_ask(n)), f"/intros/{the_ask(n)}"
    closing = {"outcome": "no_result"}
    await it.tries("meet", f"{path}/meet")
    for fault in ("none", "asker", "connector"):
        await it.tries(f"close, fault {fault}", f"{path}/close", {**closing, "fault": fault})
    for verb in ("decline", "consent", "refuse", "make"):
        await it.tries(verb, f"{path}/{verb}")
    await it.tries("accept", f"{path}/accept", {"level": 3})
    for version in range(1, 5):
        await it.tries(f"meet version {version}", f"{path}/meet", if_match=f'"{version}"')
    await it.tries("take back version 4", f"{path}/withdraw", if_match='"4"')  # It would be made, and is not.
    again = wish.asked(the_ask(n))
    await it.tries("the same ask", "/intros", again, key=f"ask-{n}")
    await it.tries("another ask with its key", "/intros", {**again, "tags": ["law"]}, key=f"ask-{n}")
    await it.tries("another ask with its id", "/intros", {**again, "tags": ["law"]})
    for entry in ("intro.made", "intro.met", "intro.closed"):
        await it.tries(f"dispute {entry}", "/disputes", {"about": own, "entry": entry, "code": "not_mine"})
    await it.tries_at_once(
        "all at once",
        [
            {"op": "intro.propose", "body": {"actor": ASKER, **again}, "idempotency_key": f"ask-{n}"},
            {"op": "intro.meet", "id": own, "body": {"actor": ASKER}},
            {"op": "intro.close", "id": own, "body": {"actor": ASKER, **closing}},
        ],
    )


# All of it


async def heard_in(ledger: Served, history: History, fates: Sequence[Sequence[Fate]]) -> list[Heard]:
    """What the asker hears where nobody answers, and then for each of these fates of the asks."""
    ledger.now = ONCE
    everywhere = [[SILENCE] * len(history.wishes), *fates]
    communities = [Community(ledger.community(f"here-{next(_communities)}"), ledger) for _ in everywhere]
    await asyncio.gather(*(it.begin(history) for it in communities))
    acts = list(what_is_the_same(history))
    for where, fate_of in enumerate(everywhere):
        for n, (wish, fate) in enumerate(zip(history.wishes, fate_of, strict=False)):
            acts += what_others_do(n, wish, fate, where)
    acts.sort(key=lambda act: (act.at, act.rank))
    for (at, _), together in itertools.groupby(acts, lambda act: (act.at, act.rank)):
        ledger.now = BEGAN + at
        await ledger.shown()  # The guard goes by the books, and so does every look.
        now = list(together)
        await asyncio.gather(*(live(it, where, now) for where, it in enumerate(communities)))
    return [it.heard for it in communities]


async def live(it: Community, where: int, acts: Sequence[Act]) -> None:
    for act in acts:
        if act.where in {None, where}:
            await act.do(it)


def differences(silence: Heard, heard: Heard) -> list[str]:
    """What tells the one from the other; where the asker went on otherwise, up to there and no further."""
    found = [
        f"{what}\nwhere nobody answers:\n{expected.decode()}\nhere:\n{answered.decode()}"
        for (what, expected), (_, answered) in zip(silence, heard, strict=False)
        if expected != answered
    ]
    assert found or len(silence) == len(heard)
    return found
