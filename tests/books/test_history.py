"""The known position at a time never falls as the time rises, whichever server's clock set the recording times."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from ledger.books.history import History
from ledger.books.lists import SKEW_MAX
from tests.books.books_database import Books

BEGIN: Final = datetime(2026, 3, 1, tzinfo=UTC)
EVENTS: Final = 400
TERM: Final = 25  # Number of events until another server leads the log.


def seconds(*passed: float) -> list[datetime]:
    return [BEGIN + timedelta(seconds=second) for second in passed]


async def record(books: Books, times: Sequence[datetime]) -> None:
    """Write events that were recorded at these times, in this order."""
    await books.execute(
        "INSERT INTO journal SELECT n, at, 'acme', 0, 'favour.thanked', gen_random_uuid(), '{}'"
        " FROM unnest($1::timestamptz[]) WITH ORDINALITY AS recorded (at, n)",
        times,
    )
    await books.execute("UPDATE checkpoint SET position = $1, event_id = gen_random_uuid()", len(times))


async def known(books: Books, times: Sequence[datetime]) -> list[int]:
    async with books.reader() as reader:
        history = History(reader)
        return [await history.position_known_at(at) for at in times]


def led_by_many(rng: random.Random) -> Iterator[datetime]:
    """Yield the times of a log whose leaders change. Each leader's clock is behind by up to `SKEW_MAX`."""
    at, behind = BEGIN, timedelta()
    for number in range(EVENTS):
        if number % TERM == 0:
            behind = SKEW_MAX * rng.choice([0, 0.01, 0.5, 1])
        at += timedelta(seconds=rng.choice([0, 0.001, 1, 20, 300]))
        yield at - behind


async def test_what_was_known_is_everything_up_to_the_last_that_was_recorded_by_then(books: Books) -> None:
    await record(books, seconds(1, 2, 10, 9.5, 9.6, 11))
    at = seconds(0, 1, 2, 9.4, 9.5, 9.55, 9.6, 9.7, 10, 10.5, 11, 3600)
    assert await known(books, at) == [0, 1, 2, 2, 4, 4, 5, 5, 5, 5, 6, 6]


async def test_at_a_later_time_never_less_was_known_whoever_led_the_log(books: Books) -> None:
    times = list(led_by_many(random.Random("leaders")))
    assert any(later < earlier for earlier, later in pairwise(times)), "no clock is behind another"
    await record(books, times)
    found = await known(books, asked := sorted(times))
    assert found == sorted(found)
    recorded = list(enumerate(times, start=1))
    assert found == [max(position for position, at in recorded if at <= then) for then in asked]
