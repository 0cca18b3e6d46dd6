"""Poison: an event that cannot be applied stops the writer, and leaves no trace in the books."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import pytest
from msgspec.structs import replace

from ledger.domain.catalog.kinds import AnyEvent
from ledger.domain.kinds.contact import ContactMade
from ledger.domain.kinds.dispute.events import DisputeOpened, DisputeUpheld
from ledger.domain.kinds.favour import FavourClaimed, FavourConfirmed, FavourThanked
from ledger.domain.kinds.intro.commands import ConsentIntro, MakeIntro, ProposeIntro
from ledger.domain.kinds.intro.events import IntroClosed
from ledger.domain.posting.rules import entry_of
from ledger.domain.values.entries import Entry, Leg, Transfer
from ledger.envelope import Poison
from tests.books.books_comparison import assert_books_match
from tests.books.books_database import Books
from tests.books.histories import CommandLog, renumber, uuid_of
from tests.books.random_histories import RandomHistory
from tests.books.writer_histories import LENGTH, SEEDS, assert_refused, batches_of, open_dispute, record_every_entry
from tests.envelopes import NOW
from tests.oracle.expected_books import ExpectedBooks


async def test_a_confirmation_of_nothing_is_poison_and_its_batch_is_not_written(
    books: Books, command_log: CommandLog
) -> None:
    await command_log.thank_many(2)
    await command_log.append_event(uuid_of(99), FavourConfirmed(giver="ada", receiver="bob", points=120))
    await command_log.thank_many(2, begin=3)
    poison = await assert_refused(books, command_log, Poison)
    assert isinstance(poison, Poison)
    assert poison.position == 3
    assert "favour.confirmed after None" in str(poison)


THANKED: Final = FavourThanked(giver="ada", receiver="bob", size="medium", points=120)


async def test_a_favour_that_begins_twice_in_one_batch_is_poison(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(2)
    await command_log.append_event(uuid_of(1), THANKED)
    poison = await assert_refused(books, command_log, Poison)
    assert isinstance(poison, Poison)
    assert poison.position == 3


async def test_a_favour_that_begins_again_in_a_later_batch_is_poison(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(2)
    await books.write(await command_log.read_events())
    await command_log.thank_many(1, begin=3)
    await command_log.append_event(uuid_of(1), THANKED)
    poison = await assert_refused(books, command_log, Poison, first=3)
    assert isinstance(poison, Poison)
    assert poison.position == 4


async def test_a_step_that_cannot_follow_what_is_written_is_poison(books: Books, command_log: CommandLog) -> None:
    await command_log.thank_many(2)
    await books.write(await command_log.read_events())
    await command_log.thank_many(1, begin=3)
    await command_log.append_event(uuid_of(2), FavourConfirmed(giver="ada", receiver="bob", points=120))
    poison = await assert_refused(books, command_log, Poison, first=3)
    assert isinstance(poison, Poison)
    assert poison.position == 4
    assert "favour.confirmed after posted" in str(poison)


async def closed_for_more_than_was_at_stake(command_log: CommandLog) -> None:
    """An introduction with 120 points at stake is closed, and gives back 500. That is the eleventh event."""
    await record_every_entry(command_log)
    lie = IntroClosed(
        asker="bob", connector="ada", target="dee", outcome="fruitful", fault="none", points=240, stake=500
    )
    await command_log.append_event(uuid_of(3), lie)


async def test_an_entry_that_takes_more_than_is_at_stake_is_poison(books: Books, command_log: CommandLog) -> None:
    await closed_for_more_than_was_at_stake(command_log)
    poison = await assert_refused(books, command_log, Poison)
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
    poison = await assert_refused(books, command_log, Poison)
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
    poison = await assert_refused(books, command_log, Poison, first=3)
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
            poison = await assert_refused(books, command_log, Poison)
            assert isinstance(poison, Poison)
            assert poison.position == 3


@pytest.mark.parametrize("side", ["given", "received"])
async def test_a_reversal_of_more_than_there_was_is_poison(books: Books, command_log: CommandLog, side: str) -> None:
    await command_log.thank_many(1)
    giver, receiver = ("cyd", "ada") if side == "given" else ("bob", "cyd")
    await command_log.thank(giver, receiver, own_id=uuid_of(2))  # So that on the other side there is enough.
    dispute = await open_dispute(command_log)
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
    poison = await assert_refused(books, command_log, Poison)
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
