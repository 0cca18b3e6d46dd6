"""The time axes `as_of` and `known_at`. Responses are compared with direct sums over a random history."""

import csv
import io
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import httpx
import msgspec
import pytest

from ledger.domain.kinds.favour import RecordFavour
from ledger.runtime.settings import Settings
from services.http.cursor import cursor_after
from services.query.representations import COLUMNS, CSV, JSON, MEDIA_TYPES, NDJSON
from tests.books.books_database import Books
from tests.books.histories import ACME, CommandLog, uuid_of
from tests.books.random_histories import CAST, RandomHistory
from tests.databases import Databases
from tests.envelopes import NOW
from tests.oracle.entries import Entry, EntryHistory, entry_history, legs_of_member, sums_of
from tests.scale import scale
from tests.services.caller import Caller, refused, started
from tests.services.cursors import read_cursor

SEED: Final = 23
LENGTH: Final = 1_200
FOLIO_LINES: Final = 16
POINTS: Final = scale(gate=200, soak=800)
STATEMENTS: Final = scale(gate=20, soak=80)
MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True)
class Past:
    """A history with late and out-of-order events, its books, and its expected entries."""

    caller: Caller
    history: EntryHistory
    books: Books

    def times(self, seed: int) -> Iterator[tuple[datetime | None, datetime | None]]:
        """Yield random times on both axes, some None: at an event, just before it, or between two events."""
        rng = random.Random(seed)
        happened = [entry.happened_at for entry in self.history.entries]
        recorded = [entry.recorded_at for entry in self.history.entries]

        def some(times: Sequence[datetime]) -> datetime | None:
            one, other = rng.choice(times), rng.choice(times)
            return rng.choice([None, one, one, one - MICROSECOND, one + (other - one) / 2])

        while True:
            yield some(happened), some(recorded)


@pytest.fixture(scope="module")
async def past(databases: Databases) -> AsyncIterator[Past]:
    events = await RandomHistory(SEED).generate(LENGTH)
    async with databases.empty_books() as books:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ledger.books.fold.FOLIO_LINES", FOLIO_LINES)
            await books.write(events)
        async with reading(books) as client:
            yield Past(Caller(client), entry_history(events), books)


def reading(books: Books) -> Any:
    """Run a query service over these books. It needs no log."""
    return started("query", Settings(postgres_dsn=books.dsn, postgres_schema=books.schema))


def clocks(as_of: datetime | None, known_at: datetime | None) -> dict[str, str]:
    named = {"as_of": as_of, "known_at": known_at}
    return {name: time.isoformat() for name, time in named.items() if time is not None}


async def read(caller: Caller, path: str, **query: str | int) -> dict[str, Any]:
    answer = await caller.get(path, **query)
    assert answer.status_code == 200, answer.text
    view: dict[str, Any] = answer.json()
    return view


# Sums


async def test_the_history_is_one_that_tries_the_clocks(past: Past) -> None:
    late = [one for one, after in itertools.pairwise(past.history.entries) if after.happened_at < one.happened_at]
    assert len(late) > 30
    assert await past.books.value("SELECT max(number) FROM folio") > 5
    assert {leg.account for entry in past.history.entries for leg in entry.legs} == {"main", "stake", "disputed"}


async def test_a_balance_is_what_had_happened_as_far_as_it_was_known(past: Past) -> None:
    rng = random.Random(SEED)
    for as_of, known_at in itertools.islice(past.times(1), POINTS):
        member, explain = rng.choice(CAST), rng.random() < 0.2
        legs = legs_of_member(past.history.known(known_at, as_of, ACME), member)
        view = await read(past.caller, f"/members/{member}/balance", explain=str(explain), **clocks(as_of, known_at))
        assert {name: view[name] for name in sums_of(legs)} == sums_of(legs), (as_of, known_at)
        assert view.keys() - sums_of(legs) <= {"member", "reciprocity_permille", "explanation"}
        if explain:
            for parts in view["explanation"].values():
                assert sums_of(legs) == {name: sum(part[name] for part in parts) for name in sums_of(legs)}
                assert sum(part["postings"] for part in parts) == len(legs)


async def test_a_pair_is_what_had_happened_as_far_as_it_was_known(past: Past) -> None:
    rng = random.Random(SEED)
    for as_of, known_at in itertools.islice(past.times(2), POINTS):
        member, other = rng.sample(CAST, 2)
        sums = sums_of(legs_of_member(past.history.known(known_at, as_of, ACME), member, other))
        view = await read(past.caller, f"/members/{member}/pairs/{other}", **clocks(as_of, known_at))
        if as_of or known_at:
            assert view == {"member": member, "other": other, "given": sums["given"], "received": sums["received"]}
        else:
            assert (view["given"], view["received"]) == (sums["given"], sums["received"])


async def test_a_summary_is_what_had_happened_as_far_as_it_was_known(past: Past) -> None:
    for as_of, known_at in itertools.islice(past.times(3), POINTS // 2):
        legs = [leg for entry in past.history.known(known_at, as_of, ACME) for leg in entry.legs]
        sums = sums_of(legs)
        view = await read(past.caller, "/summary", **clocks(as_of, known_at))
        proof = {name: sums[name] for name in ("main", "stake", "disputed")}
        assert view["zero_sum"] == {**proof, "sum": 0, "holds": True}
        assert (view["given"], view["received"]) == (sums["given"], sums["received"])
        if as_of or known_at:
            assert view["members"] == len({leg.member for leg in legs})
            assert view.keys() == {"members", "given", "received", "zero_sum"}


async def test_what_was_known_is_what_an_answer_of_that_position_showed(past: Past) -> None:
    """The position of the response covers the entry, and each entry beyond it was recorded later."""
    rng = random.Random(SEED)
    for entry in rng.sample(past.history.entries, 4):
        answer = await past.caller.get("/balances", known_at=entry.recorded_at.isoformat())
        assert answer.status_code == 200
        member = entry.legs[0].member
        then = await past.caller.get(f"/members/{member}/balance", known_at=entry.recorded_at.isoformat())
        position = int(then.headers["ledger-position"])
        assert position >= entry.position
        later = [other for other in past.history.entries if other.position > position]
        assert all(other.recorded_at > entry.recorded_at for other in later)


# Statements


def lines_of(entries: Sequence[Entry], member: str, other: str | None) -> list[tuple[Any, ...]]:
    """Return the lines that a statement must have, in the order of happening. Lines of one entry may have any order."""
    return [
        (entry.happened_at, entry.position, entry.event_id, leg)
        for entry in sorted(entries, key=lambda entry: (entry.happened_at, entry.position))
        for leg in legs_of_member([entry], member, other)
    ]


def told(line: dict[str, Any], member: str) -> tuple[str, Any]:
    counterparty = line.get("counterparty")
    leg = (member, line["account"], counterparty, line["points"], line["given"], line["received"])
    return line["entry"], leg


@pytest.mark.parametrize("order", ["oldest", "newest"])
@pytest.mark.parametrize("between_two", [False, True], ids=["a member", "two members"])
async def test_opening_and_lines_come_to_closing_whatever_the_period(past: Past, order: str, between_two: bool) -> None:
    rng = random.Random(SEED)
    for as_of, known_at in itertools.islice(past.times(4), STATEMENTS):
        member, friend = rng.sample(CAST, 2)
        other = friend if between_two else None
        known = past.history.known(known_at, as_of, ACME)
        begin, end = sorted(rng.choice(past.history.entries).happened_at for _ in range(2))
        if as_of is not None and as_of < begin:
            begin = as_of
        period = {"from": begin.isoformat(), "to": end.isoformat()} if rng.random() < 0.7 else {}
        within = [entry for entry in known if not period or begin <= entry.happened_at < end]
        before = [entry for entry in known if period and entry.happened_at < begin]
        must = lines_of(within, member, other)
        path = f"/members/{member}" + (f"/pairs/{other}" if other else "") + "/statement"
        limit = rng.choice([1, 2, 7, 500])
        asked: dict[str, Any] = {"order": order, "limit": limit, **period, **clocks(as_of, known_at)}
        pages = [await read(past.caller, path, **asked)]
        while "next" in pages[-1]:
            assert len(pages[-1]["lines"]) == limit
            pages.append(await read(past.caller, path, cursor=pages[-1]["next"], **asked))
        lines = [line for page in pages for line in page["lines"]]
        if order == "newest":
            lines.reverse()
        opening, closing = (
            sums_of(legs_of_member(before, member, other)),
            sums_of(legs_of_member(before + within, member, other)),
        )
        for page in pages:
            assert (page["opening"], page["closing"]) == (opening, closing)
        assert [line["entry"] for line in lines] == [event_id for _, _, event_id, _ in must]
        assert Counter(told(line, member) for line in lines) == Counter((own, leg) for _, _, own, leg in must)
        running = opening["net"]
        for line, (happened_at, _, _, _) in zip(lines, must, strict=True):
            running += line["points"]
            assert line["balance_after"] == running
            assert datetime.fromisoformat(line["happened_at"]) == happened_at
        assert running == closing["net"]


async def test_a_late_slip_lands_in_its_own_week_and_last_weeks_statement_is_still_as_it_was(books: Books) -> None:
    command_log = CommandLog()
    week = timedelta(days=7)

    async def slip(own: int, days_ago: int = 0) -> None:
        occurred_at = command_log.now - timedelta(days=days_ago)
        command = RecordFavour(
            actor="bob", giver="ada", receiver="bob", size="medium", id=uuid_of(own), occurred_at=occurred_at
        )
        await command_log.execute(command)

    await slip(1)
    command_log.now += week
    await slip(2)
    reported_at = command_log.now
    command_log.now += week
    await slip(3, days_ago=14)  # This falls in the week of the first.
    await books.write(await command_log.read_events())
    async with reading(books) as client:
        caller = Caller(client)
        period = {"from": (NOW - timedelta(hours=1)).isoformat(), "to": (NOW + week).isoformat()}
        now = await read(caller, "/members/ada/statement", **period)
        then = await read(caller, "/members/ada/statement", **period, known_at=reported_at.isoformat())
        assert [line["balance_after"] for line in now["lines"]] == [120, 240]
        assert [line["balance_after"] for line in then["lines"]] == [120]
        following = await read(caller, "/members/ada/statement", **{"from": (NOW + week).isoformat()})
        assert (following["opening"]["net"], following["closing"]["net"]) == (240, 360)


async def test_the_pages_of_a_statement_agree_while_more_is_recorded(books: Books) -> None:
    command_log = CommandLog()
    await command_log.thank_many(5)
    await books.write(await command_log.read_events())
    async with reading(books) as client:
        caller = Caller(client)
        for query in ({}, {"viewer": "bob"}):
            whole = await read(caller, "/members/bob/statement", **query)
            limit = len(whole["lines"]) - 2
            first = await read(caller, "/members/bob/statement", limit=limit, **query)
            end = await books.position()
            await command_log.thank_many(4, begin=end + 1)
            await books.write(await command_log.read_events(end + 1))
            second = await read(caller, "/members/bob/statement", limit=limit, cursor=first["next"], **query)
            assert [*first["lines"], *second["lines"]] == whole["lines"]
            assert second["opening"] == first["opening"] == whole["opening"]
            assert second["closing"] == first["closing"] == whole["closing"]


# Representations


def accepting(caller: Caller, form: str, path: str, **query: str | int) -> Any:
    return caller.client.get(caller.path(path), params=query, headers={"Accept": form})


async def in_pages(caller: Caller, form: str, path: str, **query: str | int) -> list[httpx.Response]:
    """Return every page, by the links between them."""
    answers: list[httpx.Response] = [await accepting(caller, form, path, **query)]
    while "link" in answers[-1].headers:
        following = answers[-1].links["next"]["url"]
        answers.append(await caller.client.get(following, headers={"Accept": form}))
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert all(answer.headers["content-type"].partition(";")[0] == form for answer in answers)
    return answers


@pytest.mark.parametrize("order", ["oldest", "newest"])
@pytest.mark.parametrize("form", [CSV, NDJSON])
async def test_a_table_has_the_lines_of_the_json_between_opening_and_closing(past: Past, form: str, order: str) -> None:
    whole = await read(past.caller, "/members/bob/statement", order=order, limit=500)
    assert "next" not in whole
    rows: list[dict[str, Any]] = []
    for page in await in_pages(past.caller, form, "/members/bob/statement", order=order, limit=50):
        if form == CSV:
            read_in = csv.DictReader(io.StringIO(page.text, newline=""))
            assert tuple(read_in.fieldnames or ()) == COLUMNS
            rows += [{name: value for name, value in row.items() if value != ""} for row in read_in]
        else:
            rows += [msgspec.json.decode(line) for line in page.text.splitlines()]
    first, *lines, last = rows
    opening = {"row": "opening", "balance_after": whole["opening"]["net"]}
    closing = {"row": "closing", "balance_after": whole["closing"]["net"]}
    must = [{"row": "line", **line} for line in whole["lines"]]
    ends = [opening, closing] if order == "oldest" else [closing, opening]
    if form == CSV:
        must, ends = ([{name: str(value) for name, value in row.items()} for row in rows] for rows in (must, ends))
    assert lines == must
    assert [first, last] == ends


async def test_json_is_linked_from_page_to_page_as_well(past: Past) -> None:
    pages = await in_pages(past.caller, JSON, "/members/bob/statement", limit=50)
    for page, following in itertools.pairwise(pages):
        assert page.json()["next"] in str(following.url)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", JSON),
        ("text/*", CSV),
        ("application/xml, text/csv;q=0.5", CSV),
        ("application/x-ndjson, text/csv;q=0.9", NDJSON),
    ],
)
async def test_accept_chooses(past: Past, accept: str, form: str) -> None:
    answer = await accepting(past.caller, accept, "/members/bob/statement")
    assert answer.headers["content-type"].partition(";")[0] == form
    assert answer.headers["vary"] == "Accept"


async def test_what_is_not_offered_is_said_to_be_not(past: Past) -> None:
    answer = await accepting(past.caller, "application/pdf", "/members/bob/statement")
    refused(answer, 406, "not_acceptable", accept="application/pdf", offered=list(MEDIA_TYPES))


# Cursors


async def test_a_corrupt_cursor_is_refused_or_reads_the_same_statement(past: Past) -> None:
    first = await read(past.caller, "/members/bob/statement", limit=1)
    cursor = first["next"]
    statuses: set[int] = set()
    for place, letter in enumerate(cursor):
        corrupt = cursor[:place] + ("A" if letter != "A" else "B") + cursor[place + 1 :]
        answer = await past.caller.get("/members/bob/statement", limit=1, cursor=corrupt)
        statuses.add(answer.status_code)
        match answer.status_code:
            case 200:
                assert answer.json()["member"] == "bob"
                assert len(answer.json()["lines"]) <= 1
            case 503:  # The cursor names a position that the books have not reached.
                refused(answer, 503, "books_behind")
            case _:
                refused(answer, 400, "invalid_field", field="cursor")
    assert 400 in statuses


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/members/ada/statement", {}),
        ("/members/bob/pairs/ada/statement", {}),
        ("/members/bob/statement", {"order": "newest"}),
        ("/members/bob/statement", {"from": "2026-01-01T00:00:00Z"}),
        ("/members/bob/statement", {"to": "2099-01-01T00:00:00Z"}),
        ("/members/bob/statement", {"as_of": "2099-01-01T00:00:00Z"}),
        ("/members/bob/statement", {"known_at": "2099-01-01T00:00:00Z"}),
        ("/members/bob/statement", {"viewer": "bob"}),
    ],
)
async def test_a_cursor_is_good_for_its_own_statement_alone(past: Past, path: str, query: dict[str, str]) -> None:
    cursor = (await read(past.caller, "/members/bob/statement", limit=1))["next"]
    refused(await past.caller.get(path, cursor=cursor, **query), 400, "invalid_field", field="cursor")
    elsewhere = Caller(past.caller.client, "bolt")
    refused(await elsewhere.get("/members/bob/statement", cursor=cursor), 400, "invalid_field", field="cursor")


@pytest.mark.parametrize(
    "after",
    [
        *("", "x", "1 2 3", "1 2 3 4 5", "-1 2 3 4", "1 2 x 4", "1 2 3 \u0664"),
        *(f"{10**17} 2 3 4", f"1 {10**19} 3 4", f"1 2 {10**5} 4"),
    ],
)
async def test_a_cursor_that_somebody_has_sealed_says_nothing_that_a_statement_cannot_begin_with(
    past: Past, after: str
) -> None:
    """A client may forge a cursor, so the service checks its content."""
    made = (await read(past.caller, "/members/bob/statement", limit=1))["next"]
    _, query, community, _ = read_cursor(made)
    answer = await past.caller.get("/members/bob/statement", limit=1, cursor=cursor_after(query, community, after))
    if after:
        refused(answer, 400, "invalid_field", field="cursor")
    else:
        assert answer.status_code == 200  # An empty cursor starts at the beginning.


# Times


@pytest.mark.parametrize("zone", ["Z", "+14:00", "-12:00"])
@pytest.mark.parametrize("clock", ["as_of", "known_at", "from", "to"])
async def test_there_is_nothing_at_the_ends_of_time(past: Past, clock: str, zone: str) -> None:
    paths = ["/members/bob/statement"]
    if clock in ("as_of", "known_at"):
        paths += ["/members/bob/balance", "/members/bob/pairs/ada", "/summary"]
    for path in paths:
        early = await read(past.caller, path, **{clock: f"0001-01-01T00:00:00{zone}"})
        late = await read(past.caller, path, **{clock: f"9999-12-31T23:59:59.999999{zone}"})
        nothing, everything = (late, early) if clock == "from" else (early, late)
        assert given_in(nothing) == 0
        assert given_in(everything) == given_in(await read(past.caller, path)) > 0


def given_in(view: dict[str, Any]) -> int:
    """Return the points given in the view. For a statement, count its period alone."""
    if "opening" in view:
        return int(view["closing"]["given"] - view["opening"]["given"])
    return int(view["given"])


async def test_a_plus_that_an_address_turned_into_a_blank_is_told_of(past: Past) -> None:
    answer = await past.caller.client.get(past.caller.path("/members/bob/balance?as_of=2026-01-01T00:00:00+00:00"))
    refused(answer, 400, "invalid_field", field="as_of")
    assert answer.json()["reason"].endswith("; in a URL, write %2B for a plus")


async def test_a_cursor_of_a_list_is_none_of_a_statement(past: Past) -> None:
    cursor = cursor_after("balances", ACME, "ada")
    refused(await past.caller.get("/members/bob/statement", cursor=cursor), 400, "invalid_field", field="cursor")


# Conditional reads


@pytest.mark.parametrize(
    "path", ["/members/ada/balance", "/members/ada/statement", "/balances", "/summary", "/members/ada/pairs"]
)
async def test_what_the_caller_has_already_is_not_sent_again_until_it_changes(books: Books, path: str) -> None:
    command_log = CommandLog()
    await command_log.thank_many(2)
    await books.write(await command_log.read_events())
    async with reading(books) as client:
        caller = Caller(client)
        first = await caller.get(path)
        tag = first.headers["etag"]
        again = await client.get(caller.path(path), headers={"If-None-Match": f'"other", W/{tag}'})
        assert (again.status_code, again.content) == (304, b"")
        assert (again.headers["etag"], again.headers["ledger-position"]) == (tag, "2")
        await command_log.thank_many(1, begin=3)
        await books.write(await command_log.read_events(3))
        changed = await client.get(caller.path(path), headers={"If-None-Match": tag})
        assert (changed.status_code, changed.headers["ledger-position"]) == (200, "3")
        assert changed.headers["etag"] != tag


async def test_a_balance_keeps_its_etag_while_others_are_concerned(books: Books) -> None:
    command_log = CommandLog()
    await command_log.thank("ada", "bob", own_id=uuid_of(1))
    await books.write(await command_log.read_events())
    async with reading(books) as client:
        caller = Caller(client)
        tag = (await caller.get("/members/ada/balance")).headers["etag"]
        await command_log.thank("cyd", "dee", own_id=uuid_of(2))
        await books.write(await command_log.read_events(2))
        same = await client.get(caller.path("/members/ada/balance"), headers={"If-None-Match": tag})
        assert (same.status_code, same.headers["ledger-position"]) == (304, "2")


async def test_a_problem_and_a_missing_thing_have_no_etag(books: Books) -> None:
    async with reading(books) as client:
        for path in ("/members/ada/balance?as_of=never", f"/favours/{uuid_of(1)}"):
            answer = await client.get(Caller(client).path(path), headers={"If-None-Match": "*"})
            assert answer.status_code in {400, 404}
            assert "etag" not in answer.headers
