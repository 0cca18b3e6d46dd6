"""The writer: the rows that a batch of events becomes."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest

from ledger.books.queries import named
from ledger.books.writer import Checkpoint
from ledger.domain.kinds.attendance import Attend
from ledger.domain.kinds.contact import MakeContact
from ledger.domain.kinds.dispute.commands import RejectDispute, UpholdDispute
from ledger.domain.kinds.favour import ConfirmFavour, FavourThanked, ForgiveFavour, RecordFavour, RefuseFavour
from ledger.domain.kinds.gathering import HoldGathering
from ledger.domain.kinds.intro.commands import AcceptIntro, CloseIntro, ProposeIntro
from ledger.domain.kinds.member import JoinMember, LeaveMember, PauseMember, ResumeMember, SetOffers, SetWants
from ledger.domain.kinds.one_to_one import BookOneToOne, HoldOneToOne
from tests.books.books_database import Books
from tests.books.histories import ACME, CommandLog, uuid_of
from tests.books.random_histories import MODERATOR
from tests.books.writer_histories import EMPTY, open_dispute, record_every_entry
from tests.envelopes import NOW

# What a batch becomes


async def test_empty_books_stand_at_zero(books: Books) -> None:
    async with books.writer() as writer:
        assert await writer.checkpoint() == EMPTY


async def test_effects_and_checkpoint_move_together(books: Books, command_log: CommandLog) -> None:
    await record_every_entry(command_log)
    events = await command_log.read_events()
    async with books.writer() as writer:
        await writer.apply(events[:4])
        assert await writer.checkpoint() == Checkpoint(4, events[3].envelope.id)
        assert await books.value("SELECT max(position) FROM journal") == 4
        await writer.apply(events[4:])
        assert await writer.checkpoint() == Checkpoint(10, events[9].envelope.id)
        assert await books.value("SELECT max(position) FROM journal") == 10


async def test_the_journal_keeps_the_bytes_and_the_time_of_recording(books: Books, command_log: CommandLog) -> None:
    await record_every_entry(command_log)
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
    await record_every_entry(command_log)
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
    await record_every_entry(command_log)
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
    await record_every_entry(command_log)
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
    await record_every_entry(command_log)
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


ALL_ACCOUNTS: Final = "SELECT member, main, stake, disputed, given, received, settled FROM balance ORDER BY member"


async def test_disputed_points_are_set_aside_and_come_back(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(1)
    dispute = await open_dispute(command_log)
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
    dispute = await open_dispute(command_log)
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


# Plans

QUERIES: Final = {**named("writer"), **named("changes")}


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
