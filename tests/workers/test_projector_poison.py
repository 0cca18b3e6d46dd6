"""Poison stops the projector at its position, with everything before it written."""

from datetime import UTC, datetime
from typing import Final

import msgspec
import pytest

from ledger.domain.kinds.favour import FavourClaimed, FavourConfirmed, FavourThanked
from ledger.envelope import Poison
from ledger.log.connection import Connection
from ledger.runtime.settings import Settings
from tests.books.books_comparison import assert_books_match
from tests.books.books_database import Books
from tests.books.histories import CommandLog, uuid_of
from tests.oracle.expected_books import ExpectedBooks
from tests.workers.projector_runs import message, running_projector, wait_for_failure, wait_for_position


def thanked(points: int) -> FavourThanked:
    return FavourThanked(giver="ada", receiver="bob", size="medium", points=points)


def with_more(more: bytes) -> tuple[str, bytes]:
    """A good event with one more attribute, which CloudEvents allows."""
    subject, body = message()
    return subject, body.removesuffix(b"}") + b',"more":' + more + b"}"


SUBJECT, BODY = message()
POISON: Final[dict[str, tuple[str, bytes]]] = {
    "no JSON": (SUBJECT, b"{"),
    "no envelope": (SUBJECT, b"{}"),
    "another type than its data": (SUBJECT, BODY.replace(b".thanked.v1", b".claimed.v1")),
    "an event that nobody knows": (SUBJECT, BODY.replace(b"favour.thanked", b"favour.hoped")),
    "another aggregate than its subject": (SUBJECT.replace(str(uuid_of(9)), str(uuid_of(8))), BODY),
    "a member that cannot be": (SUBJECT, BODY.replace(b'"giver":"ada"', b'"giver":"clock"')),
    "a step of nothing": message(FavourConfirmed(giver="ada", receiver="bob", points=120)),
    "a step that cannot follow": message(FavourConfirmed(giver="ada", receiver="bob", points=120), of=str(uuid_of(1))),
    "a beginning of what is there": message(of=str(uuid_of(1))),
    "points below zero": message(thanked(-120)),
    "more points than fit": message(thanked(2**63)),
    "a favour to oneself": message(FavourThanked(giver="ada", receiver="ada", size="medium", points=120)),
    "a time before time counts": (SUBJECT, BODY.replace(b'"time":"2026', b'"time":"1969')),
    "a time that cannot be weighed": (SUBJECT, BODY.replace(b'"time":"2026', b'"time":"9999')),
    "a deadline that cannot be kept": message(
        FavourClaimed(
            giver="ada", receiver="bob", size="medium", points=120, lapses_at=datetime(9999, 1, 1, tzinfo=UTC)
        )
    ),
    "an id that is none": message(own="one"),
    "an id that is written otherwise": message(own=f"{{{uuid_of(99)}}}"),
    "an aggregate whose id is none": message(of="one"),
    "bytes that are no UTF-8": with_more(b'"\xff"'),
    "lists in lists in lists": with_more(b"[" * 20_000 + b"]" * 20_000),
}


@pytest.mark.parametrize("what", POISON)
async def test_poison_stops_the_projector_at_its_position_with_everything_before_it_written(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog, what: str
) -> None:
    await command_log.thank_many(3)
    sound = ExpectedBooks().record(await command_log.read_events())
    acknowledged = msgspec.json.decode((await connection.request(*POISON[what])).data)
    assert acknowledged["seq"] == 4
    await command_log.thank_many(2, begin=4)
    async with running_projector(settings) as task:
        error = await wait_for_failure(task)
    assert isinstance(error, Poison), repr(error)
    assert error.position == 4
    assert "position 4" in str(error)
    await assert_books_match(books, sound)


@pytest.mark.parametrize("what", ["no JSON", "a step of nothing", "a beginning of what is there"])
async def test_poison_in_a_batch_of_its_own_is_found_too(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog, what: str
) -> None:
    await command_log.thank_many(3)
    sound = ExpectedBooks().record(await command_log.read_events())
    async with running_projector(settings) as task:
        await wait_for_position(books, 3, task)
        await connection.request(*POISON[what])
        error = await wait_for_failure(task)
    assert isinstance(error, Poison), repr(error)
    assert error.position == 4
    await assert_books_match(books, sound)


async def test_poison_is_met_again_by_the_next_projector(
    settings: Settings, books: Books, connection: Connection, command_log: CommandLog
) -> None:
    await connection.request(*POISON["a step of nothing"])
    for _ in range(2):
        async with running_projector(settings) as task:
            error = await wait_for_failure(task)
        assert isinstance(error, Poison)
        assert error.position == 1
    assert await books.position() == 0
