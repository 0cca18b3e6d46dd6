"""The writer: effects and checkpoint together or not at all, the same books in any batch size, one at a time."""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, get_args
from uuid import UUID

import asyncpg
import pytest
from msgspec.structs import replace

from deploy.embedded.postgres import EmbeddedPostgres
from ledger.books.changes import Changes, new_aggregate_row
from ledger.books.connection import BooksUnavailable, SchemaMissing
from ledger.books.queries import named
from ledger.books.rows import AggregateRow
from ledger.books.schema import migrate, require_schema
from ledger.books.writer import CACHED_MAX, Checkpoint, Displaced, Writer
from ledger.commands.executor import Executor
from ledger.commands.submission import Outcome, Submission
from ledger.domain.catalog.kinds import EVENTS, AnyEvent
from ledger.domain.catalog.operations import LAPSES, OPERATIONS
from ledger.domain.kinds.attendance import Attend
from ledger.domain.kinds.contact import ContactMade, MakeContact
from ledger.domain.kinds.dispute.commands import OpenDispute, RejectDispute, UpholdDispute
from ledger.domain.kinds.dispute.events import DisputeOpened, DisputeUpheld
from ledger.domain.kinds.dispute.states import DisputedEntry, dispute_id
from ledger.domain.kinds.favour import (
    ConfirmFavour,
    FavourClaimed,
    FavourConfirmed,
    FavourThanked,
    ForgiveFavour,
    RecordFavour,
    RefuseFavour,
)
from ledger.domain.kinds.gathering import HoldGathering
from ledger.domain.kinds.intro.commands import AcceptIntro, CloseIntro, ConsentIntro, MakeIntro, MeetIntro, ProposeIntro
from ledger.domain.kinds.intro.events import IntroClosed
from ledger.domain.kinds.member import JoinMember, LeaveMember, PauseMember, ResumeMember, SetOffers, SetWants
from ledger.domain.kinds.one_to_one import BookOneToOne, HoldOneToOne
from ledger.domain.kinds.referral import GiveReferral, QualifyReferral, ReferralWon, WinReferral
from ledger.domain.posting.rules import entry_of
from ledger.domain.values.aggregate_types import tag_of
from ledger.domain.values.entries import Entry, Leg, Transfer
from ledger.domain.values.refusals import Bug, Refusal
from ledger.envelope import AggregateRef, Poison, RecordedEvent, encode_state
from ledger.runtime.settings import BooksAddress
from tests.books.books_comparison import assert_books_match, assert_folios_match
from tests.books.books_database import Books
from tests.books.histories import ACME, CommandLog, renumber, uuid_of
from tests.books.random_histories import MODERATOR, RandomHistory
from tests.databases import Databases
from tests.envelopes import NOW
from tests.oracle.expected_books import ExpectedBooks
from tests.polling import wait_until
from workers.projector import FOLDED_MAX, fold_all, write_all

EMPTY: Final = Checkpoint(0, None)
QUERIES: Final = {**named("writer"), **named("changes")}


@pytest.fixture
def command_log() -> CommandLog:
    return CommandLog()


async def told_of_everything(command_log: CommandLog) -> None:
    """A favour, a referral and an introduction, each to its end."""
    await command_log.execute(RecordFavour(actor="ada", giver="ada", receiver="bob", size="large", id=uuid_of(1)))
    await command_log.execute(ConfirmFavour(actor="bob"), uuid_of(1))
    given = GiveReferral(actor="ada", referrer="ada", recipient="cyd", prospect="prospect-7", level=5)
    referral = UUID((await command_log.execute(given)).ref.id)
    await command_log.execute(QualifyReferral(actor="cyd"), referral)
    await command_log.execute(WinReferral(actor="cyd", band="M"), referral)
    await command_log.execute(ProposeIntro(actor="bob", asker="bob", connector="ada", target="dee", id=uuid_of(3)))
    await command_log.execute(AcceptIntro(actor="ada", level=4), uuid_of(3))
    await command_log.execute(ConsentIntro(actor="dee"), uuid_of(3))
    await command_log.execute(MakeIntro(actor="ada"), uuid_of(3))
    await command_log.execute(MeetIntro(actor="bob"), uuid_of(3))


async def refused(books: Books, command_log: CommandLog, error: type[Exception], first: int = 1) -> Exception:
    """Writing everything from `first` on ends in the error, and leaves the books as they were."""
    before = await books.all_rows()
    async with books.writer() as writer:
        with pytest.raises(error) as raised:
            await writer.apply(await command_log.read_events(first))
    assert await books.all_rows() == before
    return raised.value


# What a batch becomes


async def test_empty_books_stand_at_zero(books: Books) -> None:
    async with books.writer() as writer:
        assert await writer.checkpoint() == EMPTY


async def test_effects_and_checkpoint_move_together(books: Books, command_log: CommandLog) -> None:
    await told_of_everything(command_log)
    events = await command_log.read_events()
    async with books.writer() as writer:
        await writer.apply(events[:4])
        assert await writer.checkpoint() == Checkpoint(4, events[3].envelope.id)
        assert await books.value("SELECT max(position) FROM journal") == 4
        await writer.apply(events[4:])
        assert await writer.checkpoint() == Checkpoint(10, events[9].envelope.id)
        assert await books.value("SELECT max(position) FROM journal") == 10


async def test_the_journal_keeps_the_bytes_and_the_time_of_recording(books: Books, command_log: CommandLog) -> None:
    await told_of_everything(command_log)
    events = await command_log.read_events()
    await books.write(events)
    rows = await books.rows("SELECT position, event, recorded_at FROM journal ORDER BY position")
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert rows == [
        (event.position, event.body.decode(), epoch + timedelta(microseconds=event.recorded_at_us)) for event in events
    ]


async def test_every_posting_carries_the_balance_after_it(books: Books, command_log: CommandLog) -> None:
    await command_log.thank("ada", "bob", own_id=uuid_of(1))
    await command_log.thank("ada", "cyd", own_id=uuid_of(2), size="small")
    await command_log.thank("bob", "ada", own_id=uuid_of(3), size="large")
    await books.write(await command_log.read_events(), batch_max=2)
    rows = await books.rows("SELECT member, points, balance_after FROM posting ORDER BY position, leg")
    assert rows == [
        ("bob", -120, -120),
        ("ada", 120, 120),
        ("cyd", -60, -60),
        ("ada", 60, 180),
        ("ada", -240, -60),
        ("bob", 240, 120),
    ]


async def test_the_stake_has_a_running_balance_of_its_own(books: Books, command_log: CommandLog) -> None:
    await told_of_everything(command_log)
    await command_log.execute(CloseIntro(actor="ada", outcome="fruitful"), uuid_of(3))
    await books.write(await command_log.read_events())
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


async def test_what_is_at_stake_goes_back_in_a_later_batch(books: Books, command_log: CommandLog) -> None:
    await told_of_everything(command_log)
    await books.write(await command_log.read_events())
    assert (await books.balances())["ada"] == (840, 120, 960, 0)
    await command_log.execute(CloseIntro(actor="ada", outcome="fruitful"), uuid_of(3))
    await books.write(await command_log.read_events(11))
    assert (await books.balances())["ada"] == (960, 0, 960, 0)


async def test_gross_tallies_never_go_down_and_a_gift_moves_none(books: Books, command_log: CommandLog) -> None:
    await command_log.thank("ada", "bob", own_id=uuid_of(1))
    await command_log.thank("bob", "ada", own_id=uuid_of(2), size="small")
    await command_log.execute(ForgiveFavour(actor="ada"), uuid_of(1))
    await books.write(await command_log.read_events())
    assert await books.balances() == {"ada": (-60, 0, 120, 60), "bob": (60, 0, 60, 120)}
    assert await books.rows("SELECT low, high, low_gave, high_gave, low_helped, high_helped FROM pair") == [
        ("ada", "bob", 120, 60, 1, 1)
    ]


async def test_pairs_add_up_over_batches_and_a_members_own_accounts_make_none(
    books: Books, command_log: CommandLog
) -> None:
    await told_of_everything(command_log)
    await books.write(await command_log.read_events(), batch_max=1)
    rows = await books.rows("SELECT low, high, low_gave, high_gave, low_helped, high_helped FROM pair ORDER BY 1, 2")
    assert rows == [
        ("ada", "bob", 240 + 240, 0, 2, 0),
        ("ada", "cyd", 360 + 120, 0, 0, 0),  # A referral pays, and is no favour.
        ("bob", "dee", 0, 30, 0, 1),
    ]


async def test_a_pair_is_one_row_whoever_gives_and_however_their_names_are_written(
    books: Books, command_log: CommandLog
) -> None:
    await command_log.thank("ada", "Zoe", own_id=uuid_of(1))
    await command_log.thank("Zoe", "ada", own_id=uuid_of(2), size="small")
    await books.write(await command_log.read_events(), batch_max=1)
    assert await books.rows("SELECT low, high, low_gave, high_gave FROM pair") == [("Zoe", "ada", 60, 120)]


async def test_who_has_met_whom_is_counted_once_and_a_one_to_one_when_both_say_so(
    books: Books, command_log: CommandLog
) -> None:
    pair = "SELECT low, high, low_gave, high_gave, contacts, one_to_ones FROM pair"
    await command_log.execute(MakeContact(actor="bob", member="bob", other="ada"))
    await command_log.execute(MakeContact(actor="ada", member="ada", other="bob"))
    await command_log.execute(BookOneToOne(actor="ada", member="ada", other="bob", id=uuid_of(1)))
    await command_log.execute(HoldOneToOne(actor="ada"), uuid_of(1))
    await books.write(await command_log.read_events())
    assert await books.rows(pair) == [("ada", "bob", 0, 0, 1, 0)]
    await command_log.execute(HoldOneToOne(actor="bob"), uuid_of(1))
    await books.write(await command_log.read_events(4))
    assert await books.rows(pair) == [("ada", "bob", 0, 0, 1, 1)]
    assert await books.balances() == {}


async def test_aggregates_stand_in_one_table_with_columns_and_facts(books: Books, command_log: CommandLog) -> None:
    await told_of_everything(command_log)
    referral = UUID((await command_log.read_events(3))[0].ref.id)
    await books.write(await command_log.read_events())
    columns = "kind, id, version, position, began, state, party_1, party_2, party_3, gathering, community"
    assert await books.rows(f"SELECT {columns} FROM aggregate ORDER BY kind") == [
        ("favour", uuid_of(1), 2, 2, 1, "posted", "ada", "bob", None, None, ACME),
        ("intro", uuid_of(3), 5, 10, 6, "met", "bob", "ada", "dee", None, ACME),
        ("referral", referral, 3, 5, 3, "won", "ada", "cyd", None, None, ACME),
    ]
    facts = json.loads(await books.value("SELECT facts FROM referrals"))
    assert facts.items() >= {"state": "won", "band": "M", "prospect": "prospect-7", "level": 5}.items()


async def test_what_came_of_a_gathering_names_it(books: Books, command_log: CommandLog) -> None:
    where = uuid_of(7)
    await command_log.execute(HoldGathering(actor="ada", host="ada", dues=True, id=where))
    await command_log.execute(Attend(actor="bob", gathering=where, member="bob"))
    await command_log.execute(MakeContact(actor="bob", member="bob", other="cyd", gathering=where))
    claimed = RecordFavour(actor="bob", giver="bob", receiver="cyd", size="small", id=uuid_of(1), gathering=where)
    await command_log.execute(claimed)
    await command_log.execute(ConfirmFavour(actor="cyd"), uuid_of(1))
    await command_log.thank("bob", "cyd", own_id=uuid_of(2))
    await books.write((await command_log.read_events())[:4])
    await books.write(await command_log.read_events(5))
    assert await books.rows("SELECT kind, party_1 FROM aggregate WHERE gathering = $1 ORDER BY kind", where) == [
        ("attendance", "bob"),
        ("contact", "bob"),
        ("favour", "bob"),
    ]
    assert await books.rows("SELECT position, member FROM posting WHERE gathering = $1 ORDER BY leg", where) == [
        (5, "cyd"),
        (5, "bob"),
    ]


async def test_an_aggregate_began_when_its_first_event_was_recorded(books: Books, command_log: CommandLog) -> None:
    await command_log.execute(RecordFavour(actor="ada", giver="ada", receiver="bob", size="small", id=uuid_of(1)))
    command_log.now += timedelta(days=3)
    await command_log.execute(ConfirmFavour(actor="bob", occurred_at=NOW - timedelta(days=9)), uuid_of(1))
    await books.write(await command_log.read_events(), batch_max=1)
    assert await books.rows("SELECT began, began_at, position FROM aggregate") == [(1, NOW, 2)]
    assert set(await books.rows("SELECT happened_at FROM posting")) == {(NOW - timedelta(days=9),)}


# Disputes


async def disputed(command_log: CommandLog, entry: DisputedEntry = "favour.thanked", actor: str = "ada") -> UUID:
    """One who was charged for number 1 says that it should not stand."""
    await command_log.execute(OpenDispute(actor=actor, about=uuid_of(1), entry=entry, code="not_mine"))
    return dispute_id(uuid_of(1), entry)


ALL_ACCOUNTS: Final = "SELECT member, main, stake, disputed, given, received, settled FROM balance ORDER BY member"


async def test_disputed_points_are_set_aside_and_come_back(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(1)
    dispute = await disputed(command_log)
    await books.write(await command_log.read_events())
    assert await books.rows(ALL_ACCOUNTS) == [("ada", 0, 0, -120, 0, 120, 1), ("bob", 0, 0, 120, 120, 0, 1)]
    await command_log.execute(RejectDispute(actor=MODERATOR), dispute)
    await books.write(await command_log.read_events(3))
    assert await books.rows(ALL_ACCOUNTS) == [("ada", -120, 0, 0, 0, 120, 1), ("bob", 120, 0, 0, 120, 0, 1)]


async def test_a_reversal_leaves_nothing_of_its_entry_however_much_later_it_comes(
    books: Books, command_log: CommandLog
) -> None:
    await command_log.execute(
        RecordFavour(
            actor="ada",
            giver="bob",
            receiver="ada",
            size="large",
            id=uuid_of(1),
            occurred_at=NOW - timedelta(days=700),
        )
    )
    command_log.now += timedelta(days=50, hours=7)
    dispute = await disputed(command_log)
    command_log.now += timedelta(days=20, hours=7)
    await command_log.execute(UpholdDispute(actor=MODERATOR), dispute)
    await books.write(await command_log.read_events(), batch_max=1)
    nothing = "main, stake, disputed, given, received, recent_given, recent_received, settled"
    assert set(await books.rows(f"SELECT {nothing} FROM balance")) == {(0,) * 8}
    assert await books.rows("SELECT low_gave, high_gave, low_helped, high_helped FROM pair") == [(0, 0, 0, 0)]
    assert await books.rows("SELECT member, first, postings FROM balance ORDER BY member") == [
        ("ada", 1, 4),
        ("bob", 1, 4),
    ]


# Deadlines and tags


async def test_a_deadline_stands_as_long_as_there_is_one_to_wait_for(books: Books, command_log: CommandLog) -> None:
    due = "SELECT kind, id, due_at FROM deadline ORDER BY id"
    for n in (1, 2):
        await command_log.execute(RecordFavour(actor="ada", giver="ada", receiver="bob", size="small", id=uuid_of(n)))
    await command_log.execute(ConfirmFavour(actor="bob"), uuid_of(1))  # In the batch in which it began.
    await command_log.execute(ProposeIntro(actor="bob", asker="bob", connector="ada", target="dee", id=uuid_of(3)))
    await books.write(await command_log.read_events())
    in_14_days = NOW + timedelta(days=14)
    assert await books.rows(due) == [("favour", uuid_of(2), in_14_days), ("intro", uuid_of(3), in_14_days)]
    command_log.now += timedelta(days=1)
    await command_log.execute(RefuseFavour(actor="bob"), uuid_of(2))
    await command_log.execute(AcceptIntro(actor="ada", level=4), uuid_of(3))
    await books.write(await command_log.read_events(5))
    assert await books.rows(due) == [("intro", uuid_of(3), NOW + timedelta(days=11))]


async def test_tags_are_those_of_members_who_are_there(books: Books, command_log: CommandLog) -> None:
    tags = "SELECT member, side, tag FROM tag ORDER BY side, tag"
    ada = UUID((await command_log.execute(JoinMember(actor="ada", member="ada"))).ref.id)
    await command_log.execute(SetWants(actor="ada", tags=("tax", "law")), ada)
    await command_log.execute(SetOffers(actor="ada", tags=("web",)), ada)
    await books.write(await command_log.read_events())
    assert await books.rows(tags) == [("ada", "offer", "web"), ("ada", "want", "law"), ("ada", "want", "tax")]
    await command_log.execute(SetWants(actor="ada", tags=("law", "sales")), ada)
    await books.write(await command_log.read_events(4))
    assert await books.rows(tags) == [("ada", "offer", "web"), ("ada", "want", "law"), ("ada", "want", "sales")]
    await command_log.execute(PauseMember(actor="ada"), ada)
    await books.write(await command_log.read_events(5))
    assert await books.rows(tags) == []
    await command_log.execute(ResumeMember(actor="ada"), ada)
    await books.write(await command_log.read_events(6))
    assert len(await books.rows(tags)) == 3
    await command_log.execute(LeaveMember(actor="ada"), ada)
    await command_log.execute(JoinMember(actor="ada", member="ada", sponsor="bob"))
    await books.write(await command_log.read_events(7))
    assert await books.rows(tags) == []


# Members


async def test_members_of_two_communities_are_told_apart(books: Books, command_log: CommandLog) -> None:
    await command_log.thank("ada", "bob", own_id=uuid_of(1))
    await command_log.thank("bob", "ada", own_id=uuid_of(1), size="small", community="bolt")
    await books.write(await command_log.read_events())
    assert await books.rows("SELECT community, member, main FROM balance ORDER BY community, member") == [
        (ACME, "ada", 120),
        (ACME, "bob", -120),
        ("bolt", "ada", -60),
        ("bolt", "bob", 60),
    ]
    assert await books.rows("SELECT community, giver FROM favours ORDER BY community") == [
        (ACME, "ada"),
        ("bolt", "bob"),
    ]


async def test_a_batch_that_moves_nothing_is_written_down_all_the_same(books: Books, command_log: CommandLog) -> None:
    await command_log.execute(RecordFavour(actor="ada", giver="ada", receiver="bob", size="small", id=uuid_of(1)))
    await books.write(await command_log.read_events())
    assert await books.position() == 1
    assert await books.rows("SELECT state FROM aggregate") == [("claimed",)]
    assert await books.balances() == {}
    assert await books.rows("SELECT * FROM posting") == []


async def test_an_event_that_is_worth_nothing_posts_nothing(books: Books, command_log: CommandLog) -> None:
    await command_log.append_event(uuid_of(99), FavourThanked(giver="ada", receiver="bob", size="medium", points=0))
    await books.write(await command_log.read_events())
    assert await books.rows("SELECT state FROM aggregate") == [("posted",)]
    assert await books.rows("SELECT * FROM posting") == []


async def test_an_aggregate_that_begins_and_goes_on_in_one_batch_is_written_once(
    books: Books, command_log: CommandLog
) -> None:
    await command_log.execute(RecordFavour(actor="ada", giver="ada", receiver="bob", size="small", id=uuid_of(1)))
    await command_log.execute(ConfirmFavour(actor="bob"), uuid_of(1))
    await books.write((await command_log.read_events())[:2])
    await command_log.execute(ForgiveFavour(actor="ada"), uuid_of(1))
    await books.write(await command_log.read_events(3))
    assert await books.rows("SELECT version, position, state FROM aggregate") == [(3, 3, "forgiven")]


# The same books, however they are written

SEEDS: Final = (24, 41)
LENGTH: Final = 700
FOLIO_LINES: Final = 16


@pytest.mark.parametrize("seed", SEEDS)
async def test_any_history_gives_the_books_of_the_page_in_any_batch_size(
    databases: Databases, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.books.fold.FOLIO_LINES", FOLIO_LINES)
    history = RandomHistory(seed)
    events = await history.generate(LENGTH)
    async with (
        databases.empty_books() as by_one,
        databases.empty_books() as by_seven,
        databases.empty_books() as at_once,
    ):
        for size, books in ((1, by_one), (7, by_seven), (1_000, at_once)):
            await books.write(events, batch_max=size)
        one, seven, thousand = [await books.all_rows() for books in (by_one, by_seven, at_once)]
        assert one == seven
        assert seven == thousand
        assert all(one.values()), "a table is empty: the history is too dull"
        await assert_books_match(by_seven, ExpectedBooks().record(events))
        await assert_folios_match(by_seven, FOLIO_LINES)
        await held_against_the_executor(by_seven, history)


def batches_of(events: Sequence[RecordedEvent], size: int) -> Iterator[list[RecordedEvent]]:
    return (list(events[start : start + size]) for start in range(0, len(events), size))


class AsFarAheadAsCanBe(Writer):
    """A batch begins to be written only when as many as there may be are prepared over it."""

    def __init__(self, writer: Writer, count: int) -> None:
        super().__init__(writer._connection, writer._reading)
        self._left = count  # Batches that are not prepared yet.
        self._ahead = 0
        self._moved = asyncio.Condition()
        self.ahead_max = 0

    async def prepare(self, events: Sequence[RecordedEvent]) -> Changes:
        try:
            changes = await super().prepare(events)
            self._left, self._ahead = self._left - 1, self._ahead + 1
        except Exception:
            self._left = 0  # Nothing follows that could be waited for.
            raise
        finally:
            async with self._moved:
                self._moved.notify_all()
        return changes

    async def write(self, changes: Changes) -> None:
        async with self._moved:
            # This one, those that are in the queue, and the one that waits to get in.
            await self._moved.wait_for(lambda: self._ahead == 1 + FOLDED_MAX + 1 or not self._left)
        self.ahead_max = max(self.ahead_max, self._ahead)
        await super().write(changes)
        self._ahead -= 1


async def write_as_the_projector_does(books: Books, events: Sequence[RecordedEvent], size: int) -> None:
    async def batches() -> AsyncGenerator[list[RecordedEvent], None]:
        for batch in batches_of(events, size):
            yield batch

    async with books.writer() as one:
        writer = AsFarAheadAsCanBe(one, -(-len(events) // size))
        folded: asyncio.Queue[Changes] = asyncio.Queue(maxsize=FOLDED_MAX)
        async with asyncio.timeout(60):
            writing = asyncio.create_task(write_all(writer, folded))
            await fold_all(batches(), writer, folded)
            await folded.join()
        writing.cancel()
        assert writer.ahead_max == 3


@pytest.mark.parametrize(
    ("size", "remembered_max"), [(1, 1), (1, 2), (1, 3), (7, 1), (7, 40), (1, CACHED_MAX), (7, CACHED_MAX)]
)
async def test_batches_that_are_folded_while_others_are_written_give_the_same_books(
    books: Books, size: int, remembered_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the projector does: one is being written and one waits, while the next one is folded over both."""
    monkeypatch.setattr("ledger.books.writer.CACHED_MAX", remembered_max)
    events = await RandomHistory(SEEDS[0]).generate(LENGTH // 4)
    await write_as_the_projector_does(books, events, size)
    await assert_books_match(books, ExpectedBooks().record(events))


@pytest.mark.parametrize("remembered_max", [1, 3])
async def test_a_writer_that_remembers_next_to_nothing_gives_the_same_books(
    books: Books, remembered_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.books.writer.CACHED_MAX", remembered_max)
    events = await RandomHistory(SEEDS[1]).generate(LENGTH // 2)
    await books.write(events, batch_max=5)
    await assert_books_match(books, ExpectedBooks().record(events))


async def test_a_writer_that_remembers_everything_reads_no_balance_twice(books: Books, command_log: CommandLog) -> None:
    """Otherwise the tests of what it remembers would prove nothing."""
    await command_log.thank_many(6)
    events = await command_log.read_events()
    async with books.writer() as writer:
        await writer.apply(events[:3])
        await books.execute("UPDATE balance SET main = 1000000")
        await writer.apply(events[3:])
    assert (await books.balances())["bob"] == (720, 0, 720, 0)


async def test_a_writer_that_forgets_reads_again_what_is_written(
    books: Books, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.books.writer.CACHED_MAX", 1)
    await command_log.thank_many(1)
    await command_log.thank("cyd", "dee", own_id=uuid_of(2))
    await command_log.thank("cyd", "dee", own_id=uuid_of(3))
    await command_log.thank_many(1, begin=4)
    events = await command_log.read_events()
    async with books.writer() as writer:
        for event in events[:3]:
            await writer.apply([event])
        await books.execute("UPDATE balance SET main = 1000 WHERE member = 'bob'")
        await writer.apply(events[3:])
    assert (await books.balances())["bob"] == (1_120, 0, 240, 0)


async def held_against_the_executor(books: Books, history: RandomHistory) -> None:
    """The facts are the states that the executor answered with."""
    found = {
        row[:3]: row[3] for row in await books.rows("SELECT kind, community, id::text, facts::text FROM aggregate")
    }
    assert found == {
        (ref.kind, ref.community, ref.id): encode_state(outcome.state).decode() for ref, outcome in history.last.items()
    }


async def test_the_random_histories_tell_of_everything() -> None:
    said = [event.envelope.data for seed in SEEDS for event in await RandomHistory(seed).generate(LENGTH)]
    assert {tag_of(data) for data in said} == set(EVENTS)
    closed = {(data.fault, data.matchmade, data.stake > 0) for data in said if isinstance(data, IntroClosed)}
    assert closed == {
        (fault, matchmade, staked)
        for fault in ("none", "asker", "connector")
        for matchmade in (False, True)
        for staked in (False, True)
        if not (fault == "asker" and matchmade)  # Nobody asked.
    }
    assert any(data.settled for data in said if isinstance(data, IntroClosed))
    assert any(data.parent_referrer for data in said if isinstance(data, ReferralWon))
    opened = {data.entry for data in said if isinstance(data, DisputeOpened)}
    assert opened == set(get_args(DisputedEntry))
    upheld = {(data.remedy, data.fault) for data in said if isinstance(data, DisputeUpheld)}
    assert upheld == {("reversal", "none"), ("none", "none"), ("fault", "asker"), ("fault", "connector")}


async def test_the_random_histories_use_every_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[str] = set()
    execute_all = Executor.execute_all

    async def listen(executor: Executor, submissions: Sequence[Submission]) -> list[Outcome | Refusal]:
        results = await execute_all(executor, submissions)
        recorded = zip(submissions, results, strict=True)
        used.update(said.operation for said, result in recorded if isinstance(result, Outcome))
        return results

    monkeypatch.setattr(Executor, "execute_all", listen)
    for seed in SEEDS:
        await RandomHistory(seed).generate(LENGTH)
    assert used == OPERATIONS.keys() | {f"{kind}.lapse" for kind in LAPSES}


# All or nothing


async def test_the_same_batch_twice_is_displaced_and_writes_nothing(books: Books, command_log: CommandLog) -> None:
    await told_of_everything(command_log)
    await books.write(await command_log.read_events())
    await refused(books, command_log, Displaced)


async def test_a_batch_that_overlaps_what_is_written_is_displaced(books: Books, command_log: CommandLog) -> None:
    await told_of_everything(command_log)
    await books.write((await command_log.read_events())[:5])
    await refused(books, command_log, Displaced, first=5)


async def test_a_step_that_somebody_else_has_written_is_displaced_and_no_poison(
    books: Books, command_log: CommandLog
) -> None:
    await command_log.execute(RecordFavour(actor="ada", giver="ada", receiver="bob", size="large", id=uuid_of(1)))
    await command_log.execute(ConfirmFavour(actor="bob"), uuid_of(1))
    await books.write(await command_log.read_events())
    await refused(books, command_log, Displaced, first=2)


async def test_a_batch_after_a_gap_is_displaced_and_writes_nothing(books: Books, command_log: CommandLog) -> None:
    await told_of_everything(command_log)
    await refused(books, command_log, Displaced, first=2)


async def test_a_batch_with_a_gap_inside_is_refused_and_writes_nothing(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(4)
    events = await command_log.read_events()
    async with books.writer() as writer:
        with pytest.raises(Bug, match="3 events from 1 to 4"):
            await writer.apply([events[0], events[1], events[3]])
        assert await writer.checkpoint() == EMPTY
        await writer.apply(events)
    assert await books.position() == 4


async def test_books_that_somebody_emptied_are_displaced_and_their_next_step_no_poison(
    books: Books, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the writer remembers what the step follows upon, or reads it."""
    for n in (1, 2, 3):
        await command_log.execute(RecordFavour(actor="ada", giver="ada", receiver="bob", size="large", id=uuid_of(n)))
    await command_log.execute(ConfirmFavour(actor="bob"), uuid_of(1))
    events = await command_log.read_events()
    for remembered_max in (CACHED_MAX, 1):
        monkeypatch.setattr("ledger.books.writer.CACHED_MAX", remembered_max)
        async with books.writer() as writer:
            for event in events[:3]:
                await writer.apply([event])
            await books.execute("DELETE FROM aggregate; UPDATE checkpoint SET position = 0, event_id = NULL")
            await books.execute("SET session_replication_role = replica; DELETE FROM journal; DELETE FROM deadline")
            with pytest.raises(Displaced):
                await writer.apply(events[3:])
    assert await books.position() == 0


async def test_of_two_who_write_the_same_at_once_one_is_displaced(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(50)
    events = await command_log.read_events()
    async with books.unlocked_writer() as one, books.unlocked_writer() as other:
        results = await asyncio.gather(*(writer.apply(events) for writer in (one, other)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Displaced", "NoneType"]
    assert await books.balances() == {"ada": (-6_000, 0, 0, 6_000), "bob": (6_000, 0, 6_000, 0)}


async def test_books_without_a_checkpoint_are_a_bug(books: Books) -> None:
    await books.execute("DELETE FROM checkpoint")
    async with books.writer() as writer:
        with pytest.raises(Bug, match="no checkpoint"):
            await writer.checkpoint()


TABLES: Final = ("checkpoint", "journal", "posting", "balance", "pair", "aggregate", "deadline", "tag")


async def told_of_every_table(command_log: CommandLog) -> None:
    await told_of_everything(command_log)
    ada = UUID((await command_log.execute(JoinMember(actor="ada", member="ada"))).ref.id)
    await command_log.execute(SetWants(actor="ada", tags=("law", "tax")), ada)


async def when_written(books: Books, table: str, what: str) -> None:
    """From now on this happens in the transaction that writes the table, right after it did."""
    await books.execute(
        f"CREATE FUNCTION mishap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what}; RETURN NULL; END $$;"
        f"CREATE TRIGGER mishap AFTER INSERT OR UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION mishap()"
    )


@pytest.mark.parametrize("table", TABLES)
async def test_a_connection_that_ends_halfway_leaves_nothing(books: Books, command_log: CommandLog, table: str) -> None:
    await told_of_every_table(command_log)
    await when_written(books, table, "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10)")
    await refused(books, command_log, BooksUnavailable)
    await books.execute("DROP FUNCTION mishap CASCADE")
    await books.write(await command_log.read_events())
    assert await books.position() == 12


@pytest.mark.parametrize("table", TABLES)
async def test_a_statement_that_fails_leaves_nothing_and_the_next_writer_goes_on(
    books: Books, command_log: CommandLog, table: str
) -> None:
    """The one that failed remembers what was never written, and is thrown away."""
    await told_of_every_table(command_log)
    events = await command_log.read_events()
    await books.write(events[:3])
    await when_written(books, table, "RAISE EXCEPTION 'mishap'")
    before = await books.all_rows()
    async with books.writer() as writer:
        with pytest.raises(asyncpg.RaiseError, match="mishap"):
            await writer.apply(events[3:])
    assert await books.all_rows() == before
    await books.execute("DROP FUNCTION mishap CASCADE")
    await books.write(events[3:])
    await assert_books_match(books, ExpectedBooks().record(events))


async def test_a_connection_that_is_ended_while_it_waits_for_another_leaves_nothing(
    books: Books, command_log: CommandLog
) -> None:
    await command_log.thank_many(3)
    before = await books.all_rows()
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'referral-ledger writer'"
        " AND state = 'active' AND wait_event_type = 'Lock'"
    )
    async with books.connection() as other, books.writer() as writer:
        async with other.transaction():
            await other.execute("LOCK TABLE balance IN EXCLUSIVE MODE")
            applying = asyncio.create_task(writer.apply(await command_log.read_events()))
            await wait_until(lambda: books.value(f"SELECT EXISTS ({waiting})"))
            await books.execute(f"SELECT pg_terminate_backend(pid) FROM ({waiting}) w")
            with pytest.raises(BooksUnavailable):
                await applying
        with pytest.raises(BooksUnavailable):
            await writer.checkpoint()
    assert await books.all_rows() == before


async def test_a_writer_that_stood_still_for_too_long_is_unavailable_and_writes_nothing(
    books: Books, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres ends a transaction that is idle for a minute, as of a process that was suspended."""

    def slow(ref: AggregateRef, held: AggregateRow) -> tuple[Any, ...]:
        time.sleep(0.1)
        return new_aggregate_row(ref, held)

    await command_log.thank_many(3)
    before = await books.all_rows()
    monkeypatch.setattr("ledger.books.changes.new_aggregate_row", slow)
    async with books.writer() as writer:
        await writer._connection.execute("SET idle_in_transaction_session_timeout = '20ms'")
        with pytest.raises(BooksUnavailable):
            await writer.apply(await command_log.read_events())
    assert await books.all_rows() == before


async def test_times_are_written_to_the_microsecond_whatever_their_zone(books: Books) -> None:
    times = [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2099, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 3, 29, 3, 0, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    ]
    async with books.writer() as writer:
        rows = await writer._connection.fetch("SELECT at, at::text FROM unnest($1::timestamptz[]) at", times)
    assert [at for at, _ in rows] == times
    assert [datetime.fromisoformat(text) for _, text in rows] == times


# Plans


@pytest.mark.parametrize(
    ("query", "arguments", "along"),
    [
        ("aggregates_of", (["acme"], ["favour"], [UUID(int=1)]), {"one_aggregate_per_id"}),
        ("update_aggregates", (), {"one_aggregate_per_id", "one_deadline_per_aggregate"}),
    ],
)
async def test_the_writer_finds_an_aggregate_by_its_key_also_in_new_books(
    books: Books, command_log: CommandLog, query: str, arguments: tuple[list[Any], ...], along: set[str]
) -> None:
    """Of which nobody has gathered statistics: what is first looked up is looked up as if there were little of it."""
    await command_log.thank_many(500)
    async with books.writer() as writer:
        await writer.apply(await command_log.read_events())
        assert await books.value("SELECT reltuples FROM pg_class WHERE oid = 'aggregate'::regclass") == -1
        plan = await writer._connection.fetch("EXPLAIN " + QUERIES[query], *arguments)
    assert set(re.findall(r"Index Scan using (\w+)", "\n".join(line for (line,) in plan))) == along


# Poison


async def test_a_confirmation_of_nothing_is_poison_and_its_batch_is_not_written(
    books: Books, command_log: CommandLog
) -> None:
    await command_log.thank_many(2)
    await command_log.append_event(uuid_of(99), FavourConfirmed(giver="ada", receiver="bob", points=120))
    await command_log.thank_many(2, begin=3)
    poison = await refused(books, command_log, Poison)
    assert isinstance(poison, Poison)
    assert poison.position == 3
    assert "favour.confirmed after None" in str(poison)


THANKED: Final = FavourThanked(giver="ada", receiver="bob", size="medium", points=120)


async def test_a_favour_that_begins_twice_in_one_batch_is_poison(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(2)
    await command_log.append_event(uuid_of(1), THANKED)
    poison = await refused(books, command_log, Poison)
    assert isinstance(poison, Poison)
    assert poison.position == 3


async def test_a_favour_that_begins_again_in_a_later_batch_is_poison(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(2)
    await books.write(await command_log.read_events())
    await command_log.thank_many(1, begin=3)
    await command_log.append_event(uuid_of(1), THANKED)
    poison = await refused(books, command_log, Poison, first=3)
    assert isinstance(poison, Poison)
    assert poison.position == 4


async def test_a_step_that_cannot_follow_what_is_written_is_poison(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(2)
    await books.write(await command_log.read_events())
    await command_log.thank_many(1, begin=3)
    await command_log.append_event(uuid_of(2), FavourConfirmed(giver="ada", receiver="bob", points=120))
    poison = await refused(books, command_log, Poison, first=3)
    assert isinstance(poison, Poison)
    assert poison.position == 4
    assert "favour.confirmed after posted" in str(poison)


async def closed_for_more_than_was_at_stake(command_log: CommandLog) -> None:
    """An introduction with 120 points at stake is closed, and gives back 500. That is the eleventh event."""
    await told_of_everything(command_log)
    lie = IntroClosed(
        asker="bob", connector="ada", target="dee", outcome="fruitful", fault="none", points=240, stake=500
    )
    await command_log.append_event(uuid_of(3), lie)


async def test_an_entry_that_takes_more_than_is_at_stake_is_poison(books: Books, command_log: CommandLog) -> None:
    await closed_for_more_than_was_at_stake(command_log)
    poison = await refused(books, command_log, Poison)
    assert isinstance(poison, Poison)
    assert poison.position == 11


async def test_a_stake_below_zero_is_refused_in_any_batch_size(books: Books, command_log: CommandLog) -> None:
    """Also when the next event of the batch puts more at stake than was missing."""
    await closed_for_more_than_was_at_stake(command_log)
    parties: dict[str, Any] = {"asker": "bob", "connector": "ada", "target": "dee"}
    for n in (4, 5, 6, 7):
        await command_log.execute(ProposeIntro(actor="ada", level=5, id=uuid_of(n), **parties))
        await command_log.execute(ConsentIntro(actor="dee"), uuid_of(n))
        await command_log.execute(ConsentIntro(actor="bob"), uuid_of(n))
        await command_log.execute(MakeIntro(actor="ada"), uuid_of(n))
    poison = await refused(books, command_log, Poison)
    assert isinstance(poison, Poison)
    assert poison.position == 11


async def test_an_event_that_no_rule_can_post_is_poison(
    books: Books, command_log: CommandLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unbalanced(_event: object) -> Entry:
        return Entry((Leg("ada", "main", 1, "bob"),))

    await command_log.thank_many(2)
    await books.write(await command_log.read_events())
    await command_log.thank_many(1, begin=3)
    monkeypatch.setattr("ledger.books.fold.entry_of", unbalanced)
    poison = await refused(books, command_log, Poison, first=3)
    assert isinstance(poison, Poison)
    assert poison.position == 3


LONG_AGO: Final = datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)
FAR_AHEAD: Final = datetime(2100, 1, 1, tzinfo=UTC)
CLAIMED: Final = FavourClaimed(giver="ada", receiver="bob", size="medium", points=120, lapses_at=NOW)
BREAKS_WHAT_ALWAYS_HOLDS: Final[dict[str, tuple[AnyEvent, datetime]]] = {
    "a favour to oneself": (replace(THANKED, receiver="ada"), NOW),
    "a contact with oneself": (ContactMade(member="ada", other="ada"), NOW),
    "before time began to count": (THANKED, LONG_AGO),
    "before there was time at all": (THANKED, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=10)))),
    "after what can be counted": (THANKED, FAR_AHEAD),
    "due before there was time": (replace(CLAIMED, lapses_at=datetime(1, 1, 1, tzinfo=UTC)), NOW),
    "due after what can be counted": (replace(CLAIMED, lapses_at=FAR_AHEAD), NOW),
}


async def test_an_event_that_breaks_what_always_holds_is_poison(books: Books, subtests: pytest.Subtests) -> None:
    """Found when it is folded: Postgres would refuse it too, but could not say which event it was."""
    for what, (event, at) in BREAKS_WHAT_ALWAYS_HOLDS.items():
        with subtests.test(what):
            command_log = CommandLog()
            await command_log.thank_many(2)
            await command_log.append_event(uuid_of(99), event, at=at)
            await command_log.thank_many(2, begin=3)
            poison = await refused(books, command_log, Poison)
            assert isinstance(poison, Poison)
            assert poison.position == 3


@pytest.mark.parametrize("side", ["given", "received"])
async def test_a_reversal_of_more_than_there_was_is_poison(books: Books, command_log: CommandLog, side: str) -> None:
    await command_log.thank_many(1)
    giver, receiver = ("cyd", "ada") if side == "given" else ("bob", "cyd")
    await command_log.thank(giver, receiver, own_id=uuid_of(2))  # So that on the other side there is enough.
    dispute = await disputed(command_log)
    (opened,) = await command_log.read_events(3)
    facts = opened.envelope.data
    assert isinstance(facts, DisputeOpened)
    lie = DisputeUpheld(
        about=facts.about,
        entry=facts.entry,
        entry_id=facts.entry_id,
        happened_at=facts.happened_at,
        opener=facts.opener,
        parties=facts.parties,
        transfers=(Transfer("ada", "bob", 200),),
        remedy="reversal",
    )
    await command_log.append_event(dispute, lie)
    poison = await refused(books, command_log, Poison)
    assert isinstance(poison, Poison)
    assert poison.position == 4
    assert f"{'bob' if side == 'given' else 'ada'} has given or received" in str(poison)


async def test_what_stands_before_the_poison_can_be_written(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(2)
    await command_log.append_event(uuid_of(99), FavourConfirmed(giver="ada", receiver="bob", points=120))
    events = await command_log.read_events()
    async with books.writer() as writer:
        with pytest.raises(Poison):
            await writer.apply(events)
        await writer.apply(events[:2])
        assert (await writer.checkpoint()).position == 2


NO_STEP: Final = FavourConfirmed(giver="ada", receiver="bob", points=120)  # Found by the fold, after those before it.
NO_ENTRY: Final = FavourThanked(giver="ada", receiver="bob", size="medium", points=13)  # Found before any is folded.


@pytest.mark.parametrize("lie", [NO_STEP, NO_ENTRY], ids=["no step", "no entry"])
@pytest.mark.parametrize("size", [3, 20])
async def test_poison_in_the_middle_of_a_batch_leaves_no_trace_in_what_the_writer_remembers(
    books: Books, lie: AnyEvent, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any place of any batch: what is folded afterwards, before it or in its place, comes out right."""

    def unbalanced(event: AnyEvent) -> Entry:
        return Entry((Leg("ada", "main", 1, "bob"),)) if event == NO_ENTRY else entry_of(event)

    monkeypatch.setattr("ledger.books.fold.entry_of", unbalanced)
    events = await RandomHistory(SEEDS[0]).generate(LENGTH // 4)
    elsewhere = CommandLog()
    await elsewhere.append_event(uuid_of(99), lie)
    (poison,) = await elsewhere.read_events()
    async with books.writer() as writer:
        for n, batch in enumerate(batches_of(events, size)):
            place = n % len(batch)
            sound = batch[:place]
            spoiled = renumber([*sound, poison, *batch[place:]], batch[0].position)
            with pytest.raises(Poison) as raised:
                await writer.prepare(spoiled)
            assert raised.value.position == batch[place].position
            if n % 2 and sound:
                await writer.apply(sound)
                await writer.apply(batch[place:])
            else:
                await writer.apply(batch)
    await assert_books_match(books, ExpectedBooks().record(events))


async def test_poison_behind_what_is_not_written_yet_leaves_that_remembered(books: Books) -> None:
    """As when the projector meets it: one batch is being written, and one waits."""
    events = await RandomHistory(SEEDS[1]).generate(LENGTH // 5)
    elsewhere = CommandLog()
    await elsewhere.append_event(uuid_of(99), NO_STEP)
    first, second, third = events[:40], events[40:80], events[80:]
    spoiled = renumber([*third[:9], *await elsewhere.read_events(), *third[9:]], third[0].position)
    async with books.writer() as writer:
        waiting = [await writer.prepare(first), await writer.prepare(second)]
        with pytest.raises(Poison):
            await writer.prepare(spoiled)
        waiting.append(await writer.prepare(third[:9]))
        for changes in waiting:
            await writer.write(changes)
        await writer.apply(third[9:])
    await assert_books_match(books, ExpectedBooks().record(events))


# One writer


async def test_a_second_writer_waits_until_the_first_is_done(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(4)
    events = await command_log.read_events()
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
        await wait_until(books.has_waiting_writer)
        await writer.apply(events[:2])
        assert not second
    async with asyncio.timeout(5):
        await waiting
    assert [checkpoint.position for checkpoint in second] == [2]
    assert await books.position() == 4


async def test_the_next_writer_takes_over_when_the_connection_of_the_first_ends(
    books: Books, command_log: CommandLog
) -> None:
    await command_log.thank_many(2)
    events = await command_log.read_events()
    async with books.writer() as first:
        await first.apply(events[:1])
        pid = first._connection.get_server_pid()
        taking_over = asyncio.create_task(books.write(events[1:]))
        await wait_until(books.has_waiting_writer)
        assert not taking_over.done()
        await books.execute("SELECT pg_terminate_backend($1)", pid)
        async with asyncio.timeout(5):
            await taking_over
        with pytest.raises((BooksUnavailable, Displaced)):
            await first.apply(events[1:])
    assert await books.position() == 2


@pytest.mark.parametrize("name", ["writer", "writer, reading"])
async def test_a_writer_needs_both_of_its_connections(books: Books, command_log: CommandLog, name: str) -> None:
    await told_of_everything(command_log)
    events = await command_log.read_events()
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
        await wait_until(books.has_waiting_writer)
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


async def test_writers_of_two_schemas_do_not_wait_for_each_other(books: Books, command_log: CommandLog) -> None:
    other = Books(BooksAddress(books.dsn, f"{books.schema}_beside"))
    await migrate(other.address)
    await command_log.thank_many(1)
    async with books.writer(), asyncio.timeout(5):
        await other.write(await command_log.read_events())
    assert await other.position() == 1
    assert await books.position() == 0


async def test_there_is_no_writer_before_there_is_a_schema(postgres: EmbeddedPostgres, schema: str) -> None:
    with pytest.raises(SchemaMissing):
        await Books(BooksAddress(postgres.dsn, schema)).write([])


async def test_a_schema_that_is_dropped_under_the_writer_is_missing(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(1)
    async with books.writer() as writer:
        await books.execute(f"DROP SCHEMA {books.schema} CASCADE")
        with pytest.raises(SchemaMissing):
            await writer.checkpoint()
        with pytest.raises(SchemaMissing):
            await writer.apply(await command_log.read_events())


# Announcing


async def test_a_commit_wakes_whoever_waits_for_its_position(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(3)
    async with books.reader() as reader, books.writer() as writer:
        waiting = asyncio.create_task(reader.wait_for_position(3))
        await writer.apply((await command_log.read_events())[:2])
        assert not waiting.done()
        await writer.apply(await command_log.read_events(3))
        async with asyncio.timeout(2):
            await waiting


async def test_nothing_is_announced_before_it_is_committed(books: Books, command_log: CommandLog) -> None:
    heard: asyncio.Queue[object] = asyncio.Queue()

    def hear(_connection: object, _pid: object, _channel: object, payload: object) -> None:
        heard.put_nowait(payload)

    await command_log.thank_many(2)
    await command_log.append_event(uuid_of(99), FavourConfirmed(giver="ada", receiver="bob", points=120))
    events = await command_log.read_events()
    async with books.connection() as ear:
        await ear.add_listener(f"ledger_{books.schema}", hear)
        async with books.writer() as writer:
            with pytest.raises(Poison):
                await writer.apply(events)
            with pytest.raises(Displaced):
                await writer.apply(renumber(events[:2], 5))
        await books.write(events[:2])
        async with asyncio.timeout(5):
            assert await heard.get() == "2"
        await ear.remove_listener(f"ledger_{books.schema}", hear)
    assert heard.empty()
