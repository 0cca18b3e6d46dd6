"""The writer: effects and checkpoint together or not at all, the same books in any batch size, one at a time."""

import asyncio
import json
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest

from deploy.embedded import EmbeddedPostgres
from ledger.books.fold import Changes, Held, held_row
from ledger.books.schema import BooksUnavailable, SchemaMissing, migrate, require_schema
from ledger.books.writer import Checkpoint, Displaced, Writer
from ledger.domain.catalog import EVENTS
from ledger.domain.entry import Entry, Leg
from ledger.domain.favour import ConfirmFavour, FavourConfirmed, FavourThanked, ForgiveFavour, RecordFavour
from ledger.domain.intro import (
    AcceptIntro,
    CloseIntro,
    ConsentIntro,
    IntroClosed,
    MakeIntro,
    MeetIntro,
    ProposeIntro,
)
from ledger.domain.referral import GiveReferral, QualifyReferral, ReferralWon, WinReferral
from ledger.domain.refusals import Bug
from ledger.domain.values import tag_of
from ledger.envelope import AggregateRef, Poison, encode_state
from tests.books.page import PageBooks, held_against_the_page
from tests.books.shown import Books, one_stands_by, until
from tests.books.telling import ACME, Chronicle, RandomHistory, number, renumbered

KINDS: Final = ("favour", "referral", "intro")
EMPTY: Final = Checkpoint(0, None)


@pytest.fixture
def chronicle() -> Chronicle:
    return Chronicle()


async def told_of_everything(chronicle: Chronicle) -> None:
    """A favour, a referral and an introduction, each to its end."""
    await chronicle.say(RecordFavour(actor="ada", giver="ada", receiver="bob", size="large", id=number(1)))
    await chronicle.say(ConfirmFavour(actor="bob"), number(1))
    given = GiveReferral(actor="ada", referrer="ada", recipient="cyd", prospect="prospect-7", level=5)
    referral = UUID((await chronicle.say(given)).ref.id)
    await chronicle.say(QualifyReferral(actor="cyd"), referral)
    await chronicle.say(WinReferral(actor="cyd", band="M"), referral)
    await chronicle.say(ProposeIntro(actor="bob", asker="bob", connector="ada", target="dee", id=number(3)))
    await chronicle.say(AcceptIntro(actor="ada", level=4), number(3))
    await chronicle.say(ConsentIntro(actor="dee"), number(3))
    await chronicle.say(MakeIntro(actor="ada"), number(3))
    await chronicle.say(MeetIntro(actor="bob"), number(3))


async def refused(books: Books, chronicle: Chronicle, error: type[Exception], first: int = 1) -> Exception:
    """Writing everything from `first` on ends in the error, and leaves the books as they were."""
    before = await books.everything()
    async with books.writer() as writer:
        with pytest.raises(error) as raised:
            await writer.apply(await chronicle.events(first))
    assert await books.everything() == before
    return raised.value


# What a batch becomes


async def test_empty_books_stand_at_zero(books: Books) -> None:
    async with books.writer() as writer:
        assert await writer.checkpoint() == EMPTY


async def test_effects_and_checkpoint_move_together(books: Books, chronicle: Chronicle) -> None:
    await told_of_everything(chronicle)
    events = await chronicle.events()
    async with books.writer() as writer:
        await writer.apply(events[:4])
        assert await writer.checkpoint() == Checkpoint(4, events[3].envelope.id)
        assert await books.value("SELECT max(position) FROM journal") == 4
        await writer.apply(events[4:])
        assert await writer.checkpoint() == Checkpoint(10, events[9].envelope.id)
        assert await books.value("SELECT max(position) FROM journal") == 10


async def test_the_journal_keeps_the_bytes_and_the_time_of_recording(books: Books, chronicle: Chronicle) -> None:
    await told_of_everything(chronicle)
    events = await chronicle.events()
    await books.write(events)
    rows = await books.rows("SELECT position, event, recorded_at FROM journal ORDER BY position")
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert rows == [
        (event.position, event.body.decode(), epoch + timedelta(microseconds=event.recorded_at_us)) for event in events
    ]


async def test_every_posting_carries_the_balance_after_it(books: Books, chronicle: Chronicle) -> None:
    await chronicle.thank("ada", "bob", own=number(1))
    await chronicle.thank("ada", "cyd", own=number(2), size="small")
    await chronicle.thank("bob", "ada", own=number(3), size="large")
    await books.write(await chronicle.events(), batch_max=2)
    rows = await books.rows("SELECT member, points, balance_after FROM posting ORDER BY position, leg")
    assert rows == [
        ("bob", -120, -120),
        ("ada", 120, 120),
        ("cyd", -60, -60),
        ("ada", 60, 180),
        ("ada", -240, -60),
        ("bob", 240, 120),
    ]


async def test_the_stake_has_a_running_balance_of_its_own(books: Books, chronicle: Chronicle) -> None:
    await told_of_everything(chronicle)
    await chronicle.say(CloseIntro(actor="ada", outcome="fruitful"), number(3))
    await books.write(await chronicle.events())
    rows = await books.rows(
        "SELECT account, points, balance_after FROM posting"
        " WHERE member = 'ada' AND position > 8 ORDER BY position, leg"
    )
    # Before: 240 for the favour, 360 and 120 for the referral.
    assert rows == [
        ("main", 240, 960),
        ("main", -120, 840),
        ("stake", 120, 120),
        ("stake", -120, 0),
        ("main", 120, 960),
    ]


async def test_what_is_at_stake_goes_back_in_a_later_batch(books: Books, chronicle: Chronicle) -> None:
    await told_of_everything(chronicle)
    await books.write(await chronicle.events())
    assert (await books.balances())["ada"] == (840, 120, 960, 0)
    await chronicle.say(CloseIntro(actor="ada", outcome="fruitful"), number(3))
    await books.write(await chronicle.events(11))
    assert (await books.balances())["ada"] == (960, 0, 960, 0)


async def test_gross_tallies_never_go_down_and_a_gift_moves_none(books: Books, chronicle: Chronicle) -> None:
    await chronicle.thank("ada", "bob", own=number(1))
    await chronicle.thank("bob", "ada", own=number(2), size="small")
    await chronicle.say(ForgiveFavour(actor="ada"), number(1))
    await books.write(await chronicle.events())
    assert await books.balances() == {"ada": (-60, 0, 120, 60), "bob": (60, 0, 60, 120)}
    assert await books.rows("SELECT member, other, given, received FROM pair ORDER BY member") == [
        ("ada", "bob", 120, 60),
        ("bob", "ada", 60, 120),
    ]


async def test_pairs_add_up_over_batches_and_a_members_own_accounts_make_none(
    books: Books, chronicle: Chronicle
) -> None:
    await told_of_everything(chronicle)
    await books.write(await chronicle.events(), batch_max=1)
    rows = await books.rows("SELECT member, other, given, received FROM pair ORDER BY member, other")
    assert rows == [
        ("ada", "bob", 240 + 240, 0),
        ("ada", "cyd", 360 + 120, 0),
        ("bob", "ada", 0, 240 + 240),
        ("bob", "dee", 0, 30),
        ("cyd", "ada", 0, 360 + 120),
        ("dee", "bob", 30, 0),
    ]


async def test_aggregates_stand_in_the_table_of_their_kind_with_columns_and_facts(
    books: Books, chronicle: Chronicle
) -> None:
    await told_of_everything(chronicle)
    await books.write(await chronicle.events())
    common = "community, version, position, state"
    assert await books.rows(f"SELECT {common}, id, giver, receiver FROM favour") == [
        (ACME, 2, 2, "posted", number(1), "ada", "bob")
    ]
    assert await books.rows(f"SELECT {common}, referrer, recipient FROM referral") == [
        (ACME, 3, 5, "won", "ada", "cyd")
    ]
    assert await books.rows(f"SELECT {common}, id, asker, connector, target FROM intro") == [
        (ACME, 5, 10, "met", number(3), "bob", "ada", "dee")
    ]
    facts = json.loads(await books.value("SELECT facts FROM referral"))
    assert facts.items() >= {"state": "won", "band": "M", "prospect": "prospect-7", "level": 5}.items()


async def test_members_of_two_communities_are_told_apart(books: Books, chronicle: Chronicle) -> None:
    await chronicle.thank("ada", "bob", own=number(1))
    await chronicle.thank("bob", "ada", own=number(1), size="small", community="bolt")
    await books.write(await chronicle.events())
    assert await books.rows("SELECT community, member, main FROM balance ORDER BY community, member") == [
        (ACME, "ada", 120),
        (ACME, "bob", -120),
        ("bolt", "ada", -60),
        ("bolt", "bob", 60),
    ]
    assert await books.rows("SELECT community, giver FROM favour ORDER BY community") == [
        (ACME, "ada"),
        ("bolt", "bob"),
    ]


async def test_a_batch_that_moves_nothing_is_written_down_all_the_same(books: Books, chronicle: Chronicle) -> None:
    await chronicle.say(RecordFavour(actor="ada", giver="ada", receiver="bob", size="small", id=number(1)))
    await books.write(await chronicle.events())
    assert await books.position() == 1
    assert await books.rows("SELECT state FROM favour") == [("claimed",)]
    assert await books.balances() == {}
    assert await books.rows("SELECT * FROM posting") == []


async def test_an_event_that_is_worth_nothing_posts_nothing(books: Books, chronicle: Chronicle) -> None:
    await chronicle.put(number(99), FavourThanked(giver="ada", receiver="bob", size="medium", points=0))
    await books.write(await chronicle.events())
    assert await books.rows("SELECT state FROM favour") == [("posted",)]
    assert await books.rows("SELECT * FROM posting") == []


async def test_an_aggregate_that_begins_and_goes_on_in_one_batch_is_written_once(
    books: Books, chronicle: Chronicle
) -> None:
    await chronicle.say(RecordFavour(actor="ada", giver="ada", receiver="bob", size="small", id=number(1)))
    await chronicle.say(ConfirmFavour(actor="bob"), number(1))
    await books.write((await chronicle.events())[:2])
    await chronicle.say(ForgiveFavour(actor="ada"), number(1))
    await books.write(await chronicle.events(3))
    assert await books.rows("SELECT version, position, state FROM favour") == [(3, 3, "forgiven")]


# The same books, however they are written

SEEDS: Final = (7, 17)
LENGTH: Final = 400


@pytest.mark.parametrize("seed", SEEDS)
async def test_any_history_gives_the_books_of_the_page_in_any_batch_size(
    postgres: EmbeddedPostgres, schema: str, seed: int
) -> None:
    history = RandomHistory(seed)
    events = await history.tell(LENGTH)
    several = {size: Books(postgres.dsn, f"{schema}_by_{size}") for size in (1, 7, 1_000)}
    for size, books in several.items():
        await migrate(postgres.dsn, books.schema)
        await books.write(events, batch_max=size)
    one, seven, thousand = [await books.everything() for books in several.values()]
    assert one == seven
    assert seven == thousand
    await held_against_the_page(several[7], PageBooks().record(events))
    await held_against_the_executor(several[7], history)


@pytest.mark.parametrize("size", [1, 7])
async def test_batches_that_are_folded_while_others_are_written_give_the_same_books(books: Books, size: int) -> None:
    """As the projector does: one is being written and one waits, while the next one is folded over both."""
    events = await RandomHistory(SEEDS[0]).tell(LENGTH // 2)
    ahead: deque[Changes] = deque(maxlen=2)
    async with books.writer() as writer:
        writing: asyncio.Task[None] | None = None
        for start in range(0, len(events), size):
            changes = await writer.prepare(events[start : start + size], ahead)
            if writing is not None:
                await writing
            if ahead:
                writing = asyncio.create_task(writer.write(ahead[-1]))
            ahead.append(changes)
        if writing is not None:
            await writing
        await writer.write(ahead[-1])
    await held_against_the_page(books, PageBooks().record(events))


async def held_against_the_executor(books: Books, history: RandomHistory) -> None:
    """The facts are the states that the executor answered with."""
    found = {
        (kind, community, own): facts
        for kind in KINDS
        for community, own, facts in await books.rows(f"SELECT community, id::text, facts::text FROM {kind}")
    }
    assert found == {
        (ref.kind, ref.community, ref.id): encode_state(outcome.state).decode() for ref, outcome in history.last.items()
    }


async def test_the_random_histories_tell_of_everything() -> None:
    said = [event.envelope.data for seed in SEEDS for event in await RandomHistory(seed).tell(LENGTH)]
    assert {tag_of(data) for data in said} == set(EVENTS)
    closed = {(data.fault, data.matchmade, data.stake > 0) for data in said if isinstance(data, IntroClosed)}
    assert closed == {
        (fault, matchmade, staked)
        for fault in ("none", "asker", "connector")
        for matchmade in (False, True)
        for staked in (False, True)
        if not (fault == "asker" and matchmade)  # Nobody asked.
    }
    assert any(data.parent_referrer for data in said if isinstance(data, ReferralWon))


# All or nothing


async def test_the_same_batch_twice_is_displaced_and_writes_nothing(books: Books, chronicle: Chronicle) -> None:
    await told_of_everything(chronicle)
    await books.write(await chronicle.events())
    await refused(books, chronicle, Displaced)


async def test_a_batch_that_overlaps_what_is_written_is_displaced(books: Books, chronicle: Chronicle) -> None:
    await told_of_everything(chronicle)
    await books.write((await chronicle.events())[:5])
    await refused(books, chronicle, Displaced, first=5)


async def test_a_step_that_somebody_else_has_written_is_displaced_and_no_poison(
    books: Books, chronicle: Chronicle
) -> None:
    await chronicle.say(RecordFavour(actor="ada", giver="ada", receiver="bob", size="large", id=number(1)))
    await chronicle.say(ConfirmFavour(actor="bob"), number(1))
    await books.write(await chronicle.events())
    await refused(books, chronicle, Displaced, first=2)


async def test_a_batch_after_a_gap_is_displaced_and_writes_nothing(books: Books, chronicle: Chronicle) -> None:
    await told_of_everything(chronicle)
    await refused(books, chronicle, Displaced, first=2)


async def test_a_batch_with_a_gap_inside_is_refused_and_writes_nothing(books: Books, chronicle: Chronicle) -> None:
    await chronicle.thanks(4)
    events = await chronicle.events()
    async with books.writer() as writer:
        with pytest.raises(Bug, match="3 events from 1 to 4"):
            await writer.apply([events[0], events[1], events[3]])
        assert await writer.checkpoint() == EMPTY
        await writer.apply(events)
    assert await books.position() == 4


async def test_of_two_who_write_the_same_at_once_one_is_displaced(books: Books, chronicle: Chronicle) -> None:
    await chronicle.thanks(50)
    events = await chronicle.events()
    async with books.connection() as one, books.connection() as other:
        results = await asyncio.gather(
            *(Writer(connection).apply(events) for connection in (one, other)), return_exceptions=True
        )
    assert sorted(type(result).__name__ for result in results) == ["Displaced", "NoneType"]
    assert await books.balances() == {"ada": (-6_000, 0, 0, 6_000), "bob": (6_000, 0, 6_000, 0)}


async def test_books_without_a_checkpoint_are_a_bug(books: Books) -> None:
    await books.execute("DELETE FROM checkpoint")
    async with books.writer() as writer:
        with pytest.raises(Bug, match="no checkpoint"):
            await writer.checkpoint()


TABLES: Final = ("checkpoint", "journal", "posting", "balance", "pair", "favour", "intro")


async def when_written(books: Books, table: str, what: str) -> None:
    """From now on this happens in the transaction that writes the table, right after it did."""
    await books.execute(
        f"CREATE FUNCTION mishap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what}; RETURN NULL; END $$;"
        f"CREATE TRIGGER mishap AFTER INSERT OR UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION mishap()"
    )


@pytest.mark.parametrize("table", TABLES)
async def test_a_connection_that_ends_halfway_leaves_nothing(books: Books, chronicle: Chronicle, table: str) -> None:
    await told_of_everything(chronicle)
    await when_written(books, table, "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10)")
    await refused(books, chronicle, BooksUnavailable)
    await books.execute("DROP FUNCTION mishap CASCADE")
    await books.write(await chronicle.events())
    assert await books.position() == 10


@pytest.mark.parametrize("table", ["posting", "intro"])
async def test_a_statement_that_fails_leaves_nothing_and_the_writer_goes_on(
    books: Books, chronicle: Chronicle, table: str
) -> None:
    await told_of_everything(chronicle)
    events = await chronicle.events()
    await when_written(books, table, "RAISE EXCEPTION 'mishap'")
    before = await books.everything()
    async with books.writer() as writer:
        with pytest.raises(asyncpg.RaiseError, match="mishap"):
            await writer.apply(events)
        assert await books.everything() == before
        await books.execute("DROP FUNCTION mishap CASCADE")
        await writer.apply(events)
    assert await books.position() == 10


async def test_a_connection_that_is_ended_while_it_waits_for_another_leaves_nothing(
    books: Books, chronicle: Chronicle
) -> None:
    await chronicle.thanks(3)
    before = await books.everything()
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'referral-ledger writer'"
        " AND state = 'active' AND wait_event_type = 'Lock'"
    )
    async with books.connection() as other, books.writer() as writer:
        async with other.transaction():
            await other.execute("LOCK TABLE balance IN EXCLUSIVE MODE")
            applying = asyncio.create_task(writer.apply(await chronicle.events()))
            await until(lambda: books.value(f"SELECT EXISTS ({waiting})"))
            await books.execute(f"SELECT pg_terminate_backend(pid) FROM ({waiting}) w")
            with pytest.raises(BooksUnavailable):
                await applying
        with pytest.raises(BooksUnavailable):
            await writer.apply(await chronicle.events())
    assert await books.everything() == before


async def test_a_writer_that_stood_still_for_too_long_is_unavailable_and_writes_nothing(
    books: Books, chronicle: Chronicle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres ends a transaction that is idle for a minute, as of a process that was suspended."""

    def slow(ref: AggregateRef, held: Held) -> tuple[Any, ...]:
        time.sleep(0.1)
        return held_row(ref, held)

    await chronicle.thanks(3)
    before = await books.everything()
    monkeypatch.setattr("ledger.books.writer.held_row", slow)
    async with books.writer() as writer:
        await writer._connection.execute("SET idle_in_transaction_session_timeout = '20ms'")
        with pytest.raises(BooksUnavailable):
            await writer.apply(await chronicle.events())
    assert await books.everything() == before


# Poison


async def test_a_confirmation_of_nothing_is_poison_and_its_batch_is_not_written(
    books: Books, chronicle: Chronicle
) -> None:
    await chronicle.thanks(2)
    await chronicle.put(number(99), FavourConfirmed(giver="ada", receiver="bob", points=120))
    await chronicle.thanks(2, begin=3)
    poison = await refused(books, chronicle, Poison)
    assert isinstance(poison, Poison)
    assert poison.position == 3
    assert "favour.confirmed after None" in str(poison)


THANKED: Final = FavourThanked(giver="ada", receiver="bob", size="medium", points=120)


async def test_a_favour_that_begins_twice_in_one_batch_is_poison(books: Books, chronicle: Chronicle) -> None:
    await chronicle.thanks(2)
    await chronicle.put(number(1), THANKED)
    poison = await refused(books, chronicle, Poison)
    assert isinstance(poison, Poison)
    assert poison.position == 3


async def test_a_favour_that_begins_again_in_a_later_batch_is_poison(books: Books, chronicle: Chronicle) -> None:
    await chronicle.thanks(2)
    await books.write(await chronicle.events())
    await chronicle.thanks(1, begin=3)
    await chronicle.put(number(1), THANKED)
    poison = await refused(books, chronicle, Poison, first=3)
    assert isinstance(poison, Poison)
    assert poison.position == 4


async def test_a_step_that_cannot_follow_what_is_written_is_poison(books: Books, chronicle: Chronicle) -> None:
    await chronicle.thanks(2)
    await books.write(await chronicle.events())
    await chronicle.thanks(1, begin=3)
    await chronicle.put(number(2), FavourConfirmed(giver="ada", receiver="bob", points=120))
    poison = await refused(books, chronicle, Poison, first=3)
    assert isinstance(poison, Poison)
    assert poison.position == 4
    assert "favour.confirmed after posted" in str(poison)


async def closed_for_more_than_was_at_stake(chronicle: Chronicle) -> None:
    """An introduction with 120 points at stake is closed, and gives back 500. That is the eleventh event."""
    await told_of_everything(chronicle)
    lie = IntroClosed(
        asker="bob", connector="ada", target="dee", outcome="fruitful", fault="none", points=240, stake=500
    )
    await chronicle.put(number(3), lie)


async def test_an_entry_that_takes_more_than_is_at_stake_is_poison(books: Books, chronicle: Chronicle) -> None:
    await closed_for_more_than_was_at_stake(chronicle)
    poison = await refused(books, chronicle, Poison)
    assert isinstance(poison, Poison)
    assert poison.position == 11


async def test_a_stake_below_zero_is_refused_in_any_batch_size(books: Books, chronicle: Chronicle) -> None:
    """Also when the next event of the batch puts more at stake than was missing."""
    await closed_for_more_than_was_at_stake(chronicle)
    parties: dict[str, Any] = {"asker": "bob", "connector": "ada", "target": "dee"}
    for n in (4, 5, 6, 7):
        await chronicle.say(ProposeIntro(actor="ada", level=5, id=number(n), **parties))
        await chronicle.say(ConsentIntro(actor="dee"), number(n))
        await chronicle.say(ConsentIntro(actor="bob"), number(n))
        await chronicle.say(MakeIntro(actor="ada"), number(n))
    poison = await refused(books, chronicle, Poison)
    assert isinstance(poison, Poison)
    assert poison.position == 11


async def test_an_event_that_no_rule_can_post_is_poison(
    books: Books, chronicle: Chronicle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unbalanced(_event: object) -> Entry:
        return Entry((Leg("ada", "main", 1, "bob"),))

    await chronicle.thanks(2)
    await books.write(await chronicle.events())
    await chronicle.thanks(1, begin=3)
    monkeypatch.setattr("ledger.books.fold.entry_of", unbalanced)
    poison = await refused(books, chronicle, Poison, first=3)
    assert isinstance(poison, Poison)
    assert poison.position == 3


async def test_what_stands_before_the_poison_can_be_written(books: Books, chronicle: Chronicle) -> None:
    await chronicle.thanks(2)
    await chronicle.put(number(99), FavourConfirmed(giver="ada", receiver="bob", points=120))
    events = await chronicle.events()
    async with books.writer() as writer:
        with pytest.raises(Poison):
            await writer.apply(events)
        await writer.apply(events[:2])
        assert (await writer.checkpoint()).position == 2


# One writer


async def test_a_second_writer_waits_until_the_first_is_done(books: Books, chronicle: Chronicle) -> None:
    await chronicle.thanks(4)
    events = await chronicle.events()
    waits = asyncio.Event()
    second: list[Checkpoint] = []

    async def take_over() -> None:
        waits.set()
        async with books.writer() as writer:
            second.append(await writer.checkpoint())
            await writer.apply(events[2:])

    async with books.writer() as writer:
        waiting = asyncio.create_task(take_over())
        await waits.wait()
        await until(lambda: one_stands_by(books))
        await writer.apply(events[:2])
        assert not second
    async with asyncio.timeout(5):
        await waiting
    assert [checkpoint.position for checkpoint in second] == [2]
    assert await books.position() == 4


async def test_the_next_writer_takes_over_when_the_connection_of_the_first_ends(
    books: Books, chronicle: Chronicle
) -> None:
    await chronicle.thanks(2)
    events = await chronicle.events()
    async with books.writer() as first:
        await first.apply(events[:1])
        pid = first._connection.get_server_pid()
        taking_over = asyncio.create_task(books.write(events[1:]))
        await until(lambda: one_stands_by(books))
        assert not taking_over.done()
        await books.execute("SELECT pg_terminate_backend($1)", pid)
        async with asyncio.timeout(5):
            await taking_over
        with pytest.raises((BooksUnavailable, Displaced)):
            await first.apply(events[1:])
    assert await books.position() == 2


@pytest.mark.parametrize("name", ["writer", "writer, reading"])
async def test_a_writer_needs_both_of_its_connections(books: Books, chronicle: Chronicle, name: str) -> None:
    await told_of_everything(chronicle)
    events = await chronicle.events()
    async with books.writer() as writer:
        await writer.apply(events[:1])
        await books.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
            f"referral-ledger {name}",
        )
        with pytest.raises(BooksUnavailable):
            await writer.apply(events[1:])
    assert await books.position() == 1
    await books.write(events[1:])
    assert await books.position() == 10


async def test_a_standby_whose_connection_ends_says_so(books: Books) -> None:
    async with books.writer() as first:
        standing_by = asyncio.create_task(books.write([]))
        await until(lambda: one_stands_by(books))
        await books.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'referral-ledger writer' AND query LIKE '%try_advisory%' AND pid <> $1",
            first._connection.get_server_pid(),
        )
        with pytest.raises(BooksUnavailable):
            await standing_by


async def test_a_connection_that_ends_while_the_schema_is_looked_at_says_so(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(connection: "asyncpg.Connection[Any]", schema: str) -> None:
        await books.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        await require_schema(connection, schema)

    monkeypatch.setattr("ledger.books.writer.require_schema", interrupted)
    with pytest.raises(BooksUnavailable):
        await books.write([])


async def test_writers_of_two_schemas_do_not_wait_for_each_other(books: Books, chronicle: Chronicle) -> None:
    other = Books(books.dsn, f"{books.schema}_beside")
    await migrate(other.dsn, other.schema)
    await chronicle.thanks(1)
    async with books.writer(), asyncio.timeout(5):
        await other.write(await chronicle.events())
    assert await other.position() == 1
    assert await books.position() == 0


async def test_there_is_no_writer_before_there_is_a_schema(postgres: EmbeddedPostgres, schema: str) -> None:
    with pytest.raises(SchemaMissing):
        await Books(postgres.dsn, schema).write([])


async def test_a_schema_that_is_dropped_under_the_writer_is_missing(books: Books, chronicle: Chronicle) -> None:
    await chronicle.thanks(1)
    async with books.writer() as writer:
        await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
        with pytest.raises(SchemaMissing):
            await writer.checkpoint()
        with pytest.raises(SchemaMissing):
            await writer.apply(await chronicle.events())


# Announcing


async def test_a_commit_wakes_whoever_waits_for_its_position(books: Books, chronicle: Chronicle) -> None:
    await chronicle.thanks(3)
    async with books.reader() as reader, books.writer() as writer:
        waiting = asyncio.create_task(reader.reach(3))
        await writer.apply((await chronicle.events())[:2])
        assert not waiting.done()
        await writer.apply(await chronicle.events(3))
        async with asyncio.timeout(2):
            await waiting


async def test_nothing_is_announced_before_it_is_committed(books: Books, chronicle: Chronicle) -> None:
    heard: asyncio.Queue[object] = asyncio.Queue()

    def hear(_connection: object, _pid: object, _channel: object, payload: object) -> None:
        heard.put_nowait(payload)

    await chronicle.thanks(2)
    await chronicle.put(number(99), FavourConfirmed(giver="ada", receiver="bob", points=120))
    events = await chronicle.events()
    async with books.connection() as ear, books.writer() as writer:
        await ear.add_listener(f"ledger_{books.schema}", hear)
        with pytest.raises(Poison):
            await writer.apply(events)
        with pytest.raises(Displaced):
            await writer.apply(renumbered(events[:2], 5))
        await writer.apply(events[:2])
        async with asyncio.timeout(5):
            assert await heard.get() == "2"
        await ear.remove_listener(f"ledger_{books.schema}", hear)
    assert heard.empty()
