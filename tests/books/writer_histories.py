"""Histories that reach every table, and batches that the writer refuses."""

from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID

import pytest

from ledger.books.writer import Checkpoint
from ledger.domain.kinds.dispute.commands import OpenDispute
from ledger.domain.kinds.dispute.states import DisputedEntry, dispute_id
from ledger.domain.kinds.favour import ConfirmFavour, RecordFavour
from ledger.domain.kinds.intro.commands import AcceptIntro, ConsentIntro, MakeIntro, MeetIntro, ProposeIntro
from ledger.domain.kinds.referral import GiveReferral, QualifyReferral, WinReferral
from ledger.envelope import RecordedEvent
from tests.books.books_database import Books
from tests.books.histories import CommandLog, uuid_of

EMPTY: Final = Checkpoint(0, None)


async def record_every_entry(command_log: CommandLog) -> None:
    """Record a favour, a referral and an introduction, with every entry that each can post."""
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


async def assert_refused(books: Books, command_log: CommandLog, error: type[Exception], first: int = 1) -> Exception:
    """Check that writing the events from `first` on raises the error and leaves the books as they were. Return it."""
    before = await books.all_rows()
    async with books.writer() as writer:
        with pytest.raises(error) as raised:
            await writer.apply(await command_log.read_events(first))
    assert await books.all_rows() == before
    return raised.value


async def open_dispute(command_log: CommandLog, entry: DisputedEntry = "favour.thanked", actor: str = "ada") -> UUID:
    """Open a dispute of the favour number 1. Return its id."""
    await command_log.execute(OpenDispute(actor=actor, about=uuid_of(1), entry=entry, code="not_mine"))
    return dispute_id(uuid_of(1), entry)


SEEDS: Final = (24, 41)
LENGTH: Final = 700


def batches_of(events: Sequence[RecordedEvent], size: int) -> Iterator[list[RecordedEvent]]:
    return (list(events[start : start + size]) for start in range(0, len(events), size))
