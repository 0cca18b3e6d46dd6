"""The readers: every question is answered as of a position, and a position can be waited for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import asyncpg
import psutil
import pytest
from structlog.testing import capture_logs

from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books import pool as pool_module
from ledger.books import reader as reader_module
from ledger.books.connection import BooksUnavailable, SchemaMissing, connect
from ledger.books.feed import Feed
from ledger.books.reader import BooksBehind, Due, MemberBalance, PairTally, Reader, StoredAggregate, Summary
from ledger.books.schema import migrate
from ledger.domain.catalog.kinds import KINDS
from ledger.domain.kinds.contact import MakeContact
from ledger.domain.kinds.dispute.commands import OpenDispute
from ledger.domain.kinds.favour import ConfirmFavour, RecordFavour
from ledger.domain.kinds.intro.commands import AcceptIntro, ConsentIntro, MakeIntro, ProposeIntro
from ledger.domain.kinds.member import JoinMember
from ledger.domain.kinds.one_to_one import BookOneToOne, HoldOneToOne
from ledger.domain.kinds.publication import PublishPolicy
from ledger.domain.kinds.referral import GiveReferral
from ledger.domain.values.policy import Policy
from ledger.domain.values.refusals import Bug
from ledger.envelope import AggregateRef
from ledger.runtime.settings import BooksAddress
from tests.books.books_database import Books
from tests.books.histories import ACME, CommandLog, uuid_of
from tests.envelopes import NOW
from tests.polling import wait_until

MANY: Final = 25
NOBODY: Final = MemberBalance("nobody", 0, 0, 0, 0, 0)


@pytest.fixture
def command_log() -> CommandLog:
    return CommandLog()


@pytest.fixture
async def reader(books: Books) -> AsyncIterator[Reader]:
    async with books.reader() as reader:
        yield reader


async def holds(promise: Callable[[], Coroutine[Any, Any, object]]) -> bool:
    """Whether the books answer."""
    try:
        await promise()
    except BooksUnavailable:
        return False
    return True


# Answers


async def test_what_was_never_heard_of_is_zero(reader: Reader) -> None:
    assert await reader.position() == 0
    assert await reader.balance(ACME, "nobody") == (0, NOBODY)
    assert await reader.pair(ACME, "nobody", "noone") == (0, PairTally("noone", 0, 0, "none"))
    assert await reader.balances(ACME, "", 10) == (0, [])
    assert await reader.pairs(ACME, "nobody", "", 10) == (0, [])
    assert await reader.summary(ACME) == (0, Summary(0, 0, 0, 0, 0, 0, {}))
    assert await reader.due(NOW, 10) == (0, [])


@pytest.mark.parametrize("kind", KINDS)
async def test_an_aggregate_that_was_never_heard_of_is_none(reader: Reader, kind: str) -> None:
    assert await reader.aggregate(kind, ACME, uuid_of(404)) == (0, None)


async def test_every_answer_carries_the_position_that_it_shows(
    books: Books, reader: Reader, command_log: CommandLog
) -> None:
    await command_log.thank_many(3)
    await books.write(await command_log.read_events())
    answers = [
        await reader.balance(ACME, "ada"),
        await reader.balances(ACME, "", 10),
        await reader.balances(ACME, "zed", 10),
        await reader.pair(ACME, "ada", "bob"),
        await reader.pairs(ACME, "ada", "", 10),
        await reader.pairs(ACME, "ada", "zed", 10),
        await reader.aggregate("favour", ACME, uuid_of(1)),
        await reader.aggregate("favour", ACME, uuid_of(404)),
        await reader.summary(ACME),
        await reader.summary("nowhere"),
        await reader.due(NOW, 10),
    ]
    assert [position for position, _ in answers] == [3] * len(answers)
    assert await reader.position() == 3


async def test_balances_and_pairs_of_members(books: Books, reader: Reader, command_log: CommandLog) -> None:
    await command_log.thank("ada", "bob", own_id=uuid_of(1))
    await command_log.thank("bob", "ada", own_id=uuid_of(2), size="small")
    await command_log.thank("ada", "cyd", own_id=uuid_of(3), size="large")
    await books.write(await command_log.read_events())
    assert await reader.balance(ACME, "ada") == (3, MemberBalance("ada", 300, 0, 0, 360, 60))
    assert await reader.balance(ACME, "bob") == (3, MemberBalance("bob", -60, 0, 0, 60, 120))
    assert await reader.balance(ACME, "cyd") == (3, MemberBalance("cyd", -240, 0, 0, 0, 240))
    assert await reader.balance("bolt", "ada") == (3, MemberBalance("ada", 0, 0, 0, 0, 0))
    assert await reader.balances(ACME, "", 10) == (
        3,
        [(await reader.balance(ACME, member))[1] for member in ("ada", "bob", "cyd")],
    )
    assert await reader.pair(ACME, "ada", "bob") == (3, PairTally("bob", 120, 60, "trusted"))
    assert await reader.pair(ACME, "bob", "ada") == (3, PairTally("ada", 60, 120, "trusted"))
    assert await reader.pair(ACME, "bob", "cyd") == (3, PairTally("cyd", 0, 0, "none"))
    assert await reader.pairs(ACME, "ada", "", 10) == (
        3,
        [PairTally("bob", 120, 60, "trusted"), PairTally("cyd", 240, 0, "none")],
    )
    assert await reader.pairs(ACME, "cyd", "", 10) == (3, [PairTally("ada", 0, 240, "none")])


async def test_all_accounts_of_a_member_are_shown(books: Books, reader: Reader, command_log: CommandLog) -> None:
    await command_log.execute(ProposeIntro(actor="bob", asker="bob", connector="ada", target="dee", id=uuid_of(1)))
    await command_log.execute(AcceptIntro(actor="ada", level=3), uuid_of(1))
    await command_log.execute(ConsentIntro(actor="dee"), uuid_of(1))
    await command_log.execute(MakeIntro(actor="ada"), uuid_of(1))
    await command_log.execute(OpenDispute(actor="bob", about=uuid_of(1), entry="intro.made", code="not_mine"))
    await books.write(await command_log.read_events())
    assert await reader.balances(ACME, "", 10) == (
        5,
        [MemberBalance("ada", -60, 60, 120, 120, 0), MemberBalance("bob", 0, 0, -120, 0, 120)],
    )


async def test_two_know_each_other_by_the_furthest_step_that_they_took_whoever_asks(
    books: Books, reader: Reader, command_log: CommandLog
) -> None:
    async def stages() -> set[str]:
        await books.write(await command_log.read_events(await books.position() + 1))
        one, other = "Zoe", "ada"
        shown = {(await reader.pair(ACME, *two))[1].stage for two in ((one, other), (other, one))}
        return shown | {pair.stage for asking in (one, other) for pair in (await reader.pairs(ACME, asking, "", 9))[1]}

    await command_log.thank("cyd", "dee", own_id=uuid_of(9))
    assert await stages() == {"none"}
    await command_log.execute(MakeContact(actor="ada", member="ada", other="Zoe"))
    assert await stages() == {"contact"}
    await command_log.execute(BookOneToOne(actor="ada", member="ada", other="Zoe", id=uuid_of(1)))
    await command_log.execute(HoldOneToOne(actor="ada"), uuid_of(1))
    assert await stages() == {"contact"}
    await command_log.execute(HoldOneToOne(actor="Zoe"), uuid_of(1))
    assert await stages() == {"one_to_one"}
    await command_log.thank("ada", "Zoe", own_id=uuid_of(2))
    assert await stages() == {"one_to_one"}
    await command_log.thank("Zoe", "ada", own_id=uuid_of(3))
    assert await stages() == {"trusted"}


async def test_what_is_due_is_shown_the_longest_overdue_first(
    books: Books, reader: Reader, command_log: CommandLog
) -> None:
    refs: list[AggregateRef] = []
    for n in (1, 2, 3):
        claim = RecordFavour(actor="ada", giver="ada", receiver="bob", size="small", id=uuid_of(9 - n))
        refs.append((await command_log.execute(claim)).ref)
        command_log.now += timedelta(days=1)
    await books.write(await command_log.read_events())
    deadlines = [Due(ref, NOW + timedelta(days=14 + n)) for n, ref in enumerate(refs)]
    assert await reader.due(NOW + timedelta(days=13), 10) == (3, [])
    assert await reader.due(NOW + timedelta(days=14), 10) == (3, deadlines[:1])
    assert await reader.due(NOW + timedelta(days=99), 10) == (3, deadlines)
    assert await reader.due(NOW + timedelta(days=99), 2) == (3, deadlines[:2])


async def test_an_aggregate_is_shown_with_its_version_and_whole_state(
    books: Books, reader: Reader, command_log: CommandLog
) -> None:
    favour = await command_log.execute(
        RecordFavour(actor="ada", giver="ada", receiver="bob", size="large", id=uuid_of(1))
    )
    given = GiveReferral(actor="ada", referrer="ada", recipient="cyd", prospect="prospect-7", level=5)
    referral = await command_log.execute(given)
    intro = await command_log.execute(
        ProposeIntro(actor="bob", asker="bob", connector="ada", target="dee", id=uuid_of(3))
    )
    favour = await command_log.execute(ConfirmFavour(actor="bob"), uuid_of(1))
    member = await command_log.execute(JoinMember(actor="ada", member="ada"))
    policy = await command_log.execute(PublishPolicy(actor="ada", policy=Policy(), starts_at=NOW + timedelta(days=1)))
    await books.write(await command_log.read_events())
    for began, outcome in {1: favour, 2: referral, 3: intro, 5: member, 6: policy}.items():
        ref = outcome.ref
        assert await reader.aggregate(ref.kind, ACME, UUID(ref.id)) == (
            6,
            StoredAggregate(UUID(ref.id), outcome.version, outcome.position, began, outcome.state),
        )
        assert await reader.aggregate(ref.kind, "bolt", UUID(ref.id)) == (6, None)
        others = [kind for kind in KINDS if kind != ref.kind]
        assert {(await reader.aggregate(kind, ACME, UUID(ref.id)))[1] for kind in others} == {None}


async def test_the_summary_adds_up_one_community(books: Books, reader: Reader, command_log: CommandLog) -> None:
    await command_log.thank("ada", "bob", own_id=uuid_of(1))
    await command_log.execute(RecordFavour(actor="ada", giver="ada", receiver="bob", size="large", id=uuid_of(2)))
    await command_log.thank("ada", "bob", own_id=uuid_of(3), community="bolt")
    await command_log.execute(ProposeIntro(actor="bob", asker="bob", connector="ada", target="dee", id=uuid_of(4)))
    await command_log.execute(AcceptIntro(actor="ada", level=3), uuid_of(4))
    await command_log.execute(ConsentIntro(actor="dee"), uuid_of(4))
    await command_log.execute(MakeIntro(actor="ada"), uuid_of(4))
    await command_log.execute(JoinMember(actor="ada", member="ada"))
    await command_log.execute(OpenDispute(actor="bob", about=uuid_of(1), entry="favour.thanked", code="not_mine"))
    await books.write(await command_log.read_events())
    assert await reader.summary(ACME) == (
        9,
        Summary(
            members=2,
            main=-60,
            stake=60,
            disputed=0,
            given=240,
            received=240,
            states={
                "favour": {"claimed": 1, "posted": 1},
                "intro": {"made": 1},
                "member": {"active": 1},
                "dispute": {"opened": 1},
            },
        ),
    )


@pytest.mark.parametrize("limit", [1, 7, MANY, MANY + 1])
async def test_pages_of_balances_are_complete_and_repeat_nobody(
    books: Books, reader: Reader, command_log: CommandLog, limit: int
) -> None:
    members = [f"m{n}" for n in range(MANY - 1)]
    for n, member in enumerate(members):
        await command_log.thank("ada", member, own_id=uuid_of(n))
    await command_log.thank("ada", "in-another-community", own_id=uuid_of(1), community="bolt")
    await books.write(await command_log.read_events())
    found: list[MemberBalance] = []
    after = ""
    while (page := (await reader.balances(ACME, after, limit))[1]) and len(found) <= MANY:
        assert len(page) <= limit
        found += page
        after = page[-1].member
    assert [balance.member for balance in found] == sorted(["ada", *members])
    assert sum(balance.main for balance in found) == 0


@pytest.mark.parametrize("limit", [1, 7, MANY, MANY + 1])
async def test_pages_of_pairs_are_complete_and_repeat_nobody(
    books: Books, reader: Reader, command_log: CommandLog, limit: int
) -> None:
    others = [f"{'m' if n % 2 else 'a'}{n}" for n in range(MANY)]  # On either side of the one who asks.
    for n, other in enumerate(others):
        await command_log.thank("ada", other, own_id=uuid_of(n))
    await command_log.thank("m1", "m3", own_id=uuid_of(MANY))
    await command_log.thank("ada", "in-another-community", own_id=uuid_of(1), community="bolt")
    await books.write(await command_log.read_events())
    found: list[PairTally] = []
    after = ""
    while (page := (await reader.pairs(ACME, "ada", after, limit))[1]) and len(found) <= MANY:
        assert len(page) <= limit
        found += page
        after = page[-1].other
    assert found == [PairTally(other, 120, 0, "none") for other in sorted(others)]


async def test_books_without_a_checkpoint_are_a_bug(books: Books, reader: Reader) -> None:
    await books.execute("DELETE FROM checkpoint")
    with pytest.raises(Bug, match="no checkpoint"):
        await reader.position()


# Waiting for a position


async def test_a_position_that_is_shown_already_is_not_waited_for(
    books: Books, reader: Reader, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "MIN_POSITION_WAIT_S", 0.0)
    await command_log.thank_many(3)
    await books.write(await command_log.read_events())
    await reader.wait_for_position(3)
    await books.execute("DROP TABLE checkpoint CASCADE")
    await reader.wait_for_position(3)  # Known by now: Postgres is not even asked.
    await reader.wait_for_position(0)


async def test_a_position_is_waited_for_until_a_commit_shows_it(
    books: Books, reader: Reader, command_log: CommandLog
) -> None:
    await command_log.thank_many(3)
    waiting = [asyncio.create_task(reader.wait_for_position(position)) for position in (1, 2, 3)]
    events = await command_log.read_events()
    async with books.writer() as writer:
        for event in events:
            await writer.apply([event])
    async with asyncio.timeout(2):
        await asyncio.gather(*waiting)
    assert await reader.balance(ACME, "bob") == (3, MemberBalance("bob", 360, 0, 0, 360, 0))


async def test_a_commit_wakes_the_waiting_long_before_their_time_is_over(
    books: Books, reader: Reader, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notice alone can do it: nothing else would look again within the minute."""
    monkeypatch.setattr(reader_module, "MIN_POSITION_WAIT_S", 60.0)
    monkeypatch.setattr(reader_module, "KEEPALIVE_S", 60.0)
    listening = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'referral-ledger watermark')"
    await command_log.thank_many(1)
    async with books.reader() as patient:
        await wait_until(lambda: books.value(listening))
        waiting = asyncio.create_task(patient.wait_for_position(1))
        await books.write(await command_log.read_events())
        async with asyncio.timeout(5):
            await waiting


async def test_books_that_do_not_get_there_in_time_are_behind(
    books: Books, reader: Reader, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "MIN_POSITION_WAIT_S", 0.05)
    await command_log.thank_many(3)
    await books.write(await command_log.read_events())
    with pytest.raises(BooksBehind, match="position 4 is requested, but the books are at 3"):
        await reader.wait_for_position(4)


def test_nobody_is_kept_waiting_for_more_than_two_seconds() -> None:
    assert reader_module.MIN_POSITION_WAIT_S == 2


async def test_what_was_committed_before_anybody_listened_is_seen(
    books: Books, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is committed while the connection that listens is gone."""
    monkeypatch.setattr(reader_module, "KEEPALIVE_S", 0.05)
    monkeypatch.setattr(reader_module, "RECONNECT_WAIT_S", 0.05)
    await command_log.thank_many(2)
    await books.write((await command_log.read_events())[:1])
    async with books.reader() as reader:
        await reader.wait_for_position(1)
        waiting = asyncio.create_task(reader.wait_for_position(2))
        await books.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'referral-ledger watermark'"
        )
        await books.write(await command_log.read_events(2))
        async with asyncio.timeout(2):
            await waiting


async def test_a_commit_whose_notice_got_lost_is_found_when_the_time_is_over(
    books: Books, reader: Reader, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "MIN_POSITION_WAIT_S", 0.5)
    await command_log.thank_many(1)
    assert reader._listening is not None
    reader._listening.cancel()
    await asyncio.wait([reader._listening])
    waiting = asyncio.create_task(reader.wait_for_position(1))
    await books.write(await command_log.read_events())
    async with asyncio.timeout(2):
        await waiting


async def behind(reader: Reader, position: int) -> bool:
    try:
        await reader.wait_for_position(position)
    except BooksBehind:
        return True
    return False


async def test_books_that_begin_anew_are_waited_for_again(
    books: Books, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader outlives the schema that it reads: what was shown before shows nothing now."""
    monkeypatch.setattr(reader_module, "KEEPALIVE_S", 0.02)
    monkeypatch.setattr(reader_module, "RECONNECT_WAIT_S", 0.02)
    monkeypatch.setattr(reader_module, "MIN_POSITION_WAIT_S", 0.1)
    await command_log.thank_many(5)
    await books.write(await command_log.read_events())

    async with books.reader() as reader:
        await reader.wait_for_position(5)
        await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
        await migrate(books.address)
        assert await reader.balance(ACME, "ada") == (0, MemberBalance("ada", 0, 0, 0, 0, 0))
        await wait_until(lambda: behind(reader, 5), timeout_s=3)


# When there is no answer


async def test_a_schema_that_is_not_there_is_missing(postgres: EmbeddedPostgres, schema: str) -> None:
    async with Books(BooksAddress(postgres.dsn, schema)).reader() as reader:
        for ask in (
            reader.position,
            reader.check,
            lambda: reader.wait_for_position(1),
            lambda: reader.balances(ACME, "", 1),
        ):
            with pytest.raises(SchemaMissing):
                await ask()


async def test_reading_begins_once_the_schema_is_there(
    postgres: EmbeddedPostgres, schema: str, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "RECONNECT_WAIT_S", 0.05)
    books = Books(BooksAddress(postgres.dsn, schema))
    await command_log.thank_many(1)
    looked = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'referral-ledger watermark')"
    async with books.reader() as reader:
        await wait_until(lambda: books.value(looked))
        await migrate(BooksAddress(books.dsn, schema))
        await reader.check()
        waiting = asyncio.create_task(reader.wait_for_position(1))
        await books.write(await command_log.read_events())
        async with asyncio.timeout(5):
            await waiting


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often somebody has begun to listen."""
    tried: list[str] = []

    def trying(books: BooksAddress, name: str) -> AbstractAsyncContextManager["asyncpg.Connection[Any]"]:
        tried.append(name)
        return connect(books, name)

    monkeypatch.setattr(reader_module, "connect", trying)
    monkeypatch.setattr(reader_module, "RECONNECT_WAIT_S", 0.05)
    return tried


async def test_a_right_that_is_given_while_we_wait_is_made_use_of(
    books: Books, stranger: str, command_log: CommandLog, tries: list[str]
) -> None:
    await books.execute(f"GRANT USAGE ON SCHEMA {books.schema} TO {stranger}")
    await command_log.thank_many(1)
    async with Reader(BooksAddress(books.dsn.replace("postgres@", f"{stranger}@"), books.schema), 1) as reader:
        for ask in (reader.position, reader.check):
            with pytest.raises(BooksUnavailable, match="permission denied"):
                await ask()
        await wait_until(lambda: holds_by_now(lambda: len(tries) > 2))
        await books.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {books.schema} TO {stranger}")
        waiting = asyncio.create_task(reader.wait_beyond(0))
        await books.write(await command_log.read_events())
        async with asyncio.timeout(5):
            await waiting
        assert await reader.position() == 1


async def test_whatever_goes_wrong_the_books_are_heard_of_again_and_it_is_said_once(
    books: Books, command_log: CommandLog, tries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await command_log.thank_many(1)
    await books.write(await command_log.read_events())
    queries, odd = reader_module.QUERIES, {**reader_module.QUERIES, "position": "SELECT 'a few'"}
    monkeypatch.setattr(reader_module, "QUERIES", odd)
    with capture_logs() as logs:
        async with books.reader() as reader:
            await wait_until(lambda: holds_by_now(lambda: len(tries) > 2))
            monkeypatch.setattr(reader_module, "QUERIES", queries)
            async with asyncio.timeout(5):
                await reader.wait_beyond(0)
    assert [(entry["log_level"], entry["task"]) for entry in logs] == [("error", "watermark")]


async def holds_by_now(condition: Callable[[], bool]) -> bool:
    return condition()


async def test_the_check_is_content_with_a_schema_that_is_up_to_date(reader: Reader) -> None:
    await reader.check()


async def test_the_check_finds_a_schema_that_was_dropped(books: Books, reader: Reader) -> None:
    await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
    with pytest.raises(SchemaMissing):
        await reader.position()
    with pytest.raises(SchemaMissing):
        await reader.check()


async def test_the_check_gives_up_when_every_connection_is_taken(
    books: Books, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "ACQUIRE_MAX_S", 0.05)
    taken = [await reader._pool.acquire() for _ in range(2)]
    with pytest.raises(BooksUnavailable):
        await reader.check()
    for connection in taken:
        await reader._pool.release(connection)
    await reader.check()


async def test_a_reader_that_never_began_ends_quietly(books: Books) -> None:
    reader = Reader(books.address, 1)
    reader._pool = await asyncpg.create_pool(books.dsn, min_size=0, max_size=1)
    await reader.__aexit__()


async def test_postgres_may_stop_and_come_back(
    idle_postgres: EmbeddedPostgres, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "RECONNECT_WAIT_S", 0.05)
    monkeypatch.setattr(reader_module, "KEEPALIVE_S", 0.05)
    books = Books(BooksAddress(idle_postgres.dsn, "books"))
    await command_log.thank_many(2)
    events = await command_log.read_events()
    async with books.reader() as reader:
        with pytest.raises(BooksUnavailable):
            await reader.position()  # Not started yet.
        idle_postgres.start()
        await migrate(BooksAddress(books.dsn, "books"))
        await books.write(events[:1])
        await reader.wait_for_position(1)
        for end in (idle_postgres.stop, idle_postgres.kill):
            end()
            for ask in (reader.position, reader.check, lambda: reader.wait_for_position(99)):
                with pytest.raises(BooksUnavailable):
                    await ask()
            await reader.wait_for_position(1)  # Known already: it does not take Postgres.
            idle_postgres.start()
            await wait_until(lambda: holds(reader.check))
            assert await reader.position() == 1
        waiting = asyncio.create_task(reader.wait_for_position(2))
        await books.write(events[1:])
        async with asyncio.timeout(2):
            await waiting


@contextmanager
def hanging(server: EmbeddedPostgres) -> Generator[None]:
    """Postgres neither answers nor ends, as on a disk that does not come back."""
    postmaster = psutil.Process(server.pid)
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


async def test_while_postgres_hangs_every_read_is_refused_in_time_and_afterwards_answered(
    own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, broken_connections: None
) -> None:
    """Those who have a connection, those who wait for one, and those who need a new one."""
    monkeypatch.setattr(pool_module, "ACQUIRE_MAX_S", 0.2)
    monkeypatch.setattr(pool_module, "QUERY_MAX_S", 0.5)
    books = Books(BooksAddress(own_postgres.dsn, "books"))
    await migrate(books.address)
    async with books.reader() as reader, Feed(books.address) as feed:
        reads: list[Callable[[], Coroutine[Any, Any, object]]] = [
            reader.position,
            lambda: feed.since(0, [ACME], 1),
        ] * 8
        await asyncio.gather(*(read() for read in reads))
        with hanging(own_postgres):
            for _ in range(2):
                async with asyncio.timeout(5):
                    answers = await asyncio.gather(*(read() for read in reads), return_exceptions=True)
                assert {type(answer) for answer in answers} == {BooksUnavailable}
        for read in reads:
            await wait_until(partial(holds, read))


def test_a_read_is_refused_after_fourteen_seconds_at_the_latest() -> None:
    """It waits for a connection, for its answer, and for the connection to be fit for others again."""
    assert pool_module.ACQUIRE_MAX_S + pool_module.QUERY_MAX_S + pool_module.ACQUIRE_MAX_S == 14
