"""Lists: for each query, all pages together equal the result of a plain search through all resources."""

import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import httpx
import msgspec
import pytest

from ledger.books.lists import AFTER_ALL
from ledger.domain.catalog.kinds import KINDS
from ledger.domain.kinds.member import Active
from ledger.domain.values.aggregate_types import State, tag_of
from ledger.envelope import RecordedEvent
from ledger.runtime.settings import Settings
from services.http.cursor import cursor_after
from services.http.resources import Resource, view_of
from services.query import lists
from services.query.filters import FILTER_NAMES, LISTED_KINDS, STATES
from tests.books.books_database import Books
from tests.books.histories import ACME, uuid_of
from tests.books.random_histories import CAST, RandomHistory
from tests.databases import Databases
from tests.envelopes import NOW
from tests.scale import scale
from tests.services.caller import Caller, refused, started

LENGTH: Final = 700
SEED: Final = 10
SIZES: Final = (1, 2, 7, 500)
GROWING_SIZES: Final = scale(gate=[2], soak=[1, 2, 7])  # Page sizes while more is recorded.
ORDERS: Final = ("oldest", "newest")
TAGS: Final = ("law", "tax", "health", "nobody-says-it")
Query = dict[str, str]


@dataclass(frozen=True)
class Thing:
    """A resource as derived from the whole log."""

    held: Resource
    community: str
    began_at: datetime

    @property
    def state(self) -> Any:
        return self.held.state

    def shows(self, query: Query, now: datetime) -> bool:
        """Return whether the list for this query shows it."""
        viewer = query.get("viewer")
        if (
            viewer is not None
            and KINDS[self.held.kind].private
            and viewer not in KINDS[self.held.kind].concerned(self.state)
        ):
            return False
        return all(self.holds(name, value, query, now) for name, value in query.items())

    def holds(self, name: str, value: str, query: Query, now: datetime) -> bool:
        match name:
            case "member" if "role" in query:
                return bool(getattr(self.state, query["role"]) == value)
            case "member":
                return value in KINDS[self.held.kind].concerned(self.state)
            case "state":
                seen: Any = view_of(self.held, query.get("viewer"), now)
                return bool(seen.state == value)
            case "since":
                return self.began_at >= datetime.fromisoformat(value)
            case "gathering":
                return str(getattr(self.state, "gathering", None)) == value
            case "tag":
                return value in tags_of(self.state)
            case _:
                return True


def tags_of(state: Any) -> tuple[str, ...]:
    """Return its tags. For members who are present, these are their wants and offers."""
    if isinstance(state, Active):
        return (*state.wants, *state.offers)
    return () if hasattr(state, "wants") else getattr(state, "tags", ())


def everything_in(events: list[RecordedEvent]) -> list[Thing]:
    """Return all resources in the order in which they began."""
    found: dict[Any, Thing] = {}
    for event in events:
        before = found.get(event.ref)
        state: State = event.kind.evolve(before.state if before else None, event.envelope.data)
        held = Resource(
            kind=event.ref.kind,
            id=UUID(event.ref.id),
            version=before.held.version + 1 if before else 1,
            began=before.held.began if before else event.position,
            position=event.position,
            state=state,
        )
        recorded_at = datetime.fromtimestamp(event.recorded_at_us / 1_000_000, UTC)
        found[event.ref] = Thing(held, event.ref.community, before.began_at if before else recorded_at)
    return sorted(found.values(), key=lambda thing: thing.held.began)


@dataclass(frozen=True)
class Told:
    """A ledger with a long history."""

    caller: Caller
    events: list[RecordedEvent]
    now: datetime
    things: list[Thing]

    def of(self, kind: str) -> list[Thing]:
        return [thing for thing in self.things if (thing.community, thing.held.kind) == (ACME, kind)]

    def expected(self, kind: str, query: Query) -> list[Any]:
        """Return the resources of all pages of a list, in order."""
        things = [
            view_of(thing.held, query.get("viewer"), self.now)
            for thing in self.of(kind)
            if thing.shows(query, self.now)
        ]
        if query.get("order") == "newest":
            things.reverse()
        views: list[Any] = msgspec.json.decode(msgspec.json.encode(things))
        return views


async def page(caller: Caller, kind: str, query: Query, cursor: str | None, limit: int) -> tuple[list[Any], str | None]:
    more = {"cursor": cursor} if cursor else {}
    answer = await caller.get(f"/{KINDS[kind].plural}", limit=limit, **query, **more)
    assert answer.status_code == 200, answer.text
    assert "ledger-position" in answer.headers
    read = answer.json()
    following: str | None = read.pop("next", None)
    (listed,) = read.values()
    assert len(listed) <= limit
    return listed, following


async def walked(caller: Caller, kind: str, query: Query, limit: int) -> list[Any]:
    """Read every page of a list. Return all resources."""
    listed, following = await page(caller, kind, query, None, limit)
    while following:
        more, following = await page(caller, kind, query, following, limit)
        assert more or "viewer" in query, "only a page that is narrowed by what is seen may be empty"
        listed += more
    return listed


@asynccontextmanager
async def reading(books: Books, now: datetime) -> AsyncGenerator[Caller]:
    """Run the query service alone."""
    settings = Settings(postgres_dsn=books.dsn, postgres_schema=books.schema)
    async with started("query", settings, lambda: now) as client:
        yield Caller(client, ACME)


@pytest.fixture(scope="module")
async def told(databases: Databases) -> AsyncIterator[Told]:
    history = RandomHistory(SEED)
    events = await history.generate(LENGTH)
    async with databases.empty_books() as books:
        await books.write(events)
        async with reading(books, history.command_log.now) as caller:
            yield Told(caller, events, history.command_log.now, everything_in(events))


def filters(told: Told, kind: str) -> Iterator[tuple[str, Query]]:
    """Yield every filter with several values, most of which find something. `role` comes with its member."""
    times = [event.recorded_at_us for event in told.events]
    member = CAST[1]
    yield from (("member", {"member": who}) for who in (member, "Eve", "nobody"))
    yield from (("role", {"member": member, "role": role}) for role in KINDS[kind].parties)
    yield from (("state", {"state": state}) for state in STATES[kind])
    for at_us in (times[0], times[len(times) // 2] + 1, times[-10], times[-1] + 1):
        at = datetime.fromtimestamp(at_us / 1_000_000, UTC)
        yield "since", {"since": at.isoformat()}
    if "gathering" in FILTER_NAMES[kind]:
        named = [thing.state.gathering for thing in told.of(kind) if thing.state.gathering is not None]
        yield from (("gathering", {"gathering": str(own)}) for own in (*named[:1], uuid_of(404)))
    if "tag" in FILTER_NAMES[kind]:
        yield from (("tag", {"tag": tag}) for tag in TAGS)


def test_every_kind_is_listed_but_policies() -> None:
    assert set(LISTED_KINDS) == KINDS.keys() - {"policy"}


async def test_the_history_knows_every_kind_and_most_states(told: Told) -> None:
    for kind in LISTED_KINDS:
        states = {tag_of(thing.state) for thing in told.of(kind)}
        assert len(states) >= min(2, len(STATES[kind])), kind
    assert {tag for thing in told.of("member") for tag in tags_of(thing.state)} & set(TAGS)


# Complete and exact results


@pytest.mark.parametrize("kind", LISTED_KINDS)
async def test_every_filter_finds_what_it_says_in_both_orders_in_pages_of_any_size(told: Told, kind: str) -> None:
    found = 0
    for query in ({}, *(query for _, query in filters(told, kind))):
        for order, limit in itertools.product(ORDERS, SIZES):
            asked = query | {"order": order}
            listed = await walked(told.caller, kind, asked, limit)
            assert listed == told.expected(kind, asked), (asked, limit)
            found += bool(query) and bool(listed)
    assert found >= 3 * len(ORDERS) * len(SIZES)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LISTED_KINDS)
async def test_two_filters_find_what_both_say(told: Told, kind: str) -> None:
    ways = itertools.cycle(itertools.product(ORDERS, SIZES))
    for (name, one), (other_name, other) in itertools.combinations(filters(told, kind), 2):
        if name == other_name or {name, other_name} == {"member", "role"}:
            continue
        order, limit = next(ways)
        query = one | other | {"order": order}
        assert await walked(told.caller, kind, query, limit) == told.expected(kind, query), (query, limit)


@pytest.mark.parametrize("kind", LISTED_KINDS)
async def test_all_filters_together_find_what_all_of_them_say(told: Told, kind: str) -> None:
    """The filters come from existing resources, so each query finds at least that one."""
    for thing in told.of(kind)[::5]:
        query = {"state": tag_of(thing.state), "since": thing.began_at.isoformat()}
        query |= {"role": (role := KINDS[kind].parties[-1]), "member": getattr(thing.state, role)}
        query |= {"gathering": str(own)} if (own := getattr(thing.state, "gathering", None)) else {}
        query |= {"tag": tags[0]} if (tags := tags_of(thing.state)) else {}
        listed = await walked(told.caller, kind, query, 7)
        assert listed == told.expected(kind, query), query
        assert str(thing.held.id) in {view["id"] for view in listed}


async def test_what_is_listed_is_what_is_shown_alone(told: Told) -> None:
    for kind in LISTED_KINDS:
        for view in (await walked(told.caller, kind, {}, 500))[:3]:
            address = view["member"] if kind == "member" else view["id"]
            assert (await told.caller.get(f"/{KINDS[kind].plural}/{address}")).json() == view


async def test_a_list_of_what_is_not_there_is_empty(told: Told) -> None:
    nowhere = Caller(told.caller.client, "nowhere")
    for kind in LISTED_KINDS:
        assert await page(nowhere, kind, {}, None, 500) == ([], None)
        answer = await nowhere.get(f"/{KINDS[kind].plural}")
        assert answer.json() == {KINDS[kind].plural.replace("-", "_"): []}
        assert answer.headers["ledger-position"] == str(len(told.events))


# Viewers


@pytest.mark.parametrize("kind", [kind for kind in LISTED_KINDS if KINDS[kind].private])
@pytest.mark.parametrize("viewer", ["ada", "Eve", "nobody"])
async def test_a_viewer_finds_what_they_are_in_by_the_state_that_they_see(told: Told, kind: str, viewer: str) -> None:
    sizes = itertools.cycle(SIZES)
    seen = ("pending", "not_now") if kind == "intro" else ()
    queries = [{}, *(query for _, query in filters(told, kind)), *({"state": state} for state in seen)]
    for query, order in itertools.product(queries, ORDERS):
        asked = query | {"order": order, "viewer": viewer}
        assert await walked(told.caller, kind, asked, next(sizes)) == told.expected(kind, asked), asked
        if "state" not in query:
            asked |= {"state": seen[0] if seen else STATES[kind][0]}
            assert await walked(told.caller, kind, asked, next(sizes)) == told.expected(kind, asked), asked


@pytest.mark.parametrize("kind", sorted(kind for kind in LISTED_KINDS if not KINDS[kind].private))
async def test_what_is_not_private_is_listed_for_everybody(told: Told, kind: str) -> None:
    listed = await walked(told.caller, kind, {"viewer": "ada"}, 7)
    assert listed == told.expected(kind, {"viewer": "ada"}) != []
    assert [view["id"] for view in listed] == [view["id"] for view in await walked(told.caller, kind, {}, 7)]


@pytest.mark.parametrize("examined", [1, 3, 8])
async def test_a_viewer_is_answered_after_so_many_were_looked_at_and_told_where_to_go_on(
    told: Told, monkeypatch: pytest.MonkeyPatch, examined: int
) -> None:
    monkeypatch.setattr(lists, "EXAMINED_MAX", examined)
    for state, order, limit in itertools.product(("not_now", "closed"), ORDERS, (1, 500)):
        query = {"viewer": "ada", "state": state, "order": order}
        assert await walked(told.caller, "intro", query, limit) == told.expected("intro", query) != []


async def test_a_viewer_is_told_the_position_that_they_asked_for(told: Told) -> None:
    for kind, at in itertools.product(LISTED_KINDS, (0, 5)):
        answer = await told.caller.get(f"/{KINDS[kind].plural}", viewer="ada", min_position=at)
        assert answer.headers["ledger-position"] == str(at)
        answer = await told.caller.get(f"/{KINDS[kind].plural}", min_position=at)
        assert answer.headers["ledger-position"] == str(len(told.events))


# Reading while more is recorded


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("limit", GROWING_SIZES)
@pytest.mark.parametrize(
    ("kind", "query"),
    [
        ("favour", {}),
        ("referral", {"tag": "law"}),
        ("intro", {"member": "ada"}),
        ("intro", {"member": "ada", "role": "target", "gathering": str(uuid_of(7))}),
        ("contact", {"gathering": str(uuid_of(7))}),
    ],
)
async def test_pages_have_no_gaps_and_no_repetitions_while_more_is_recorded(
    told: Told, books: Books, kind: str, query: Query, order: str, limit: int
) -> None:
    """From the oldest on, pages include events recorded meanwhile. From the newest on, they do not."""
    step, at = 100, len(told.events) // 2
    began = at
    asked = query | {"order": order}
    async with reading(books, told.now) as caller, books.writer() as writer:
        await writer.apply(told.events[:at])
        listed, following = await page(caller, kind, asked, None, limit)
        while following:
            if more := told.events[at : at + step]:
                await writer.apply(more)
                at += len(more)
            found, following = await page(caller, kind, asked, following, limit)
            listed += found
    things = everything_in(told.events[: at if order == "oldest" else began])
    expected = Told(told.caller, told.events, told.now, things).expected(kind, asked)
    assert [view["id"] for view in listed] == [view["id"] for view in expected]


# Cursors


async def a_cursor(caller: Caller, path: str, **query: str | int) -> str:
    answer = await caller.get(path, limit=1, **query)
    assert answer.status_code == 200, answer.text
    cursor: str = answer.json()["next"]
    return cursor


def not_a_cursor(answer: httpx.Response) -> None:
    refused(answer, 400, "invalid_field", field="cursor", source="query")


async def test_a_corrupt_cursor_is_refused_or_reads_the_same_list(told: Told) -> None:
    query: Query = {"member": "ada", "role": "giver"}
    cursor = await a_cursor(told.caller, "/favours", **query)
    listed = {view["id"] for view in (await told.caller.get("/favours", limit=500, **query)).json()["favours"]}
    corrupted = [
        cursor[:place] + other + cursor[place + 1 :]
        for place, letter in enumerate(cursor)
        for other in sorted({"A", "z", "-", "_", chr(ord(letter) ^ 1)} - {letter})
    ]
    refusals = 0
    for corrupt in (*corrupted, cursor[1:], cursor[:-1], cursor + "A", cursor + "=", cursor * 2, ""):
        answer = await told.caller.get("/favours", cursor=corrupt, **query)
        if answer.status_code == 200:
            assert {view["id"] for view in answer.json()["favours"]} <= listed
        else:
            not_a_cursor(answer)
            refusals += 1
    assert refusals > len(corrupted) // 2


async def test_a_cursor_is_good_for_the_list_that_it_is_of_and_no_other(told: Told) -> None:
    query: Query = {"member": "ada", "tag": "law"}
    cursor = await a_cursor(told.caller, "/referrals", **query)
    assert (await told.caller.get("/referrals", cursor=cursor, limit=500, **query)).status_code == 200
    others: list[Query] = [
        {},
        {"member": "ada"},
        {"tag": "law"},
        query | {"member": "bob"},
        query | {"tag": "tax"},
        query | {"role": "referrer"},
        query | {"state": "given"},
        query | {"since": "2026-01-01T00:00:00Z"},
        query | {"gathering": str(uuid_of(7))},
        query | {"order": "newest"},
        query | {"viewer": "ada"},
    ]
    for other in others:
        not_a_cursor(await told.caller.get("/referrals", cursor=cursor, **other))
    for kind in LISTED_KINDS:
        if kind != "referral":
            not_a_cursor(await told.caller.get(f"/{KINDS[kind].plural}", cursor=cursor))
    not_a_cursor(await told.caller.get("/intros", cursor=cursor, **query))
    not_a_cursor(await Caller(told.caller.client, "bolt").get("/referrals", cursor=cursor, **query))
    not_a_cursor(await told.caller.get("/balances", cursor=cursor))


async def test_the_same_time_said_in_another_zone_is_the_same_list(told: Told) -> None:
    cursor = await a_cursor(told.caller, "/favours", since="2026-03-01T00:00:00Z")
    answer = await told.caller.get("/favours", cursor=cursor, since="2026-03-01T05:30:00+05:30")
    assert answer.status_code == 200


@pytest.mark.parametrize("after", ["", "x", "-1", "1.5", "1e3", " 1", "٣", str(AFTER_ALL + 1), "9" * 400, "null"])
async def test_a_cursor_that_somebody_made_up_is_no_mistake_of_the_ledgers(told: Told, after: str) -> None:
    query = 'favours ["oldest",null,{}]'
    honest = cursor_after(query, ACME, str(told.of("favour")[0].held.began))
    assert honest == await a_cursor(told.caller, "/favours")
    not_a_cursor(await told.caller.get("/favours", cursor=cursor_after(query, ACME, after)))


async def test_a_place_beyond_all_things_is_the_end(told: Told) -> None:
    cursor = cursor_after('favours ["oldest",null,{}]', ACME, str(AFTER_ALL))
    assert (await told.caller.get("/favours", cursor=cursor)).json() == {"favours": []}


# Recording times


async def test_since_means_by_when_it_was_recorded_to_the_microsecond(told: Told) -> None:
    things = told.of("favour")
    for thing in things[:: len(things) // 10]:
        for by, included in ((timedelta(0), True), (timedelta(microseconds=1), False)):
            listed = await walked(told.caller, "favour", {"since": (thing.began_at + by).isoformat()}, 500)
            assert (str(thing.held.id) in {view["id"] for view in listed}) is included


async def test_since_finds_what_was_recorded_by_a_clock_that_was_behind(books: Books) -> None:
    """The clock of a new leader of the log may be somewhat behind the last leader's clock.

    Then a later position has an earlier time.
    """
    history = RandomHistory(SEED)
    events = await history.generate(60)
    steps_s = [0, 1, 2, 50, 51, 0, 1, 49, 60, 61, 62, 30, 31, 90]
    start_us = int(NOW.timestamp()) * 1_000_000
    clocked = [
        msgspec.structs.replace(event, recorded_at_us=start_us + (n // 14 * 91 + steps_s[n % 14]) * 1_000_000)
        for n, event in enumerate(events)
    ]
    await books.write(clocked)
    now = NOW + timedelta(days=1)
    async with reading(books, now) as caller:
        told = Told(caller, clocked, now, everything_in(clocked))
        for seconds, order in itertools.product(range(0, 300, 7), ORDERS):
            query = {"since": (NOW + timedelta(seconds=seconds)).isoformat(), "order": order}
            assert await walked(caller, "intro", query, 7) == told.expected("intro", query), seconds


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z"])
async def test_since_before_all_time_is_since_ever(told: Told, since: str) -> None:
    assert await walked(told.caller, "favour", {"since": since}, 500) == told.expected("favour", {})


@pytest.mark.parametrize("since", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00"])
async def test_since_the_end_of_time_nothing_began(told: Told, since: str) -> None:
    assert await walked(told.caller, "favour", {"since": since}, 500) == []
