"""The writer's cache always keeps the last two updates. It never returns an older value instead of a newer one."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.books.cache import RecentCache

updates = st.lists(st.dictionaries(st.integers(0, 9), st.integers(), max_size=6), max_size=30)
KEYS: Final = range(10)


@given(updates=updates, count_max=st.integers(0, 12))
def test_the_last_two_updates_are_remembered_for_certain(updates: list[dict[int, int]], count_max: int) -> None:
    recent = RecentCache[int, int](count_max)
    before: dict[int, int] = {}
    for update in updates:
        recent.update(update)
        for key, value in (before | update).items():
            assert recent.get(key) == value
        before = update


@given(updates=updates, count_max=st.integers(0, 12))
def test_what_is_remembered_is_the_newest_there_was(updates: list[dict[int, int]], count_max: int) -> None:
    recent = RecentCache[int, int](count_max)
    newest: dict[int, int] = {}
    for update in updates:
        recent.update(update)
        newest |= update
        for key in KEYS:
            assert recent.get(key) in (None, newest.get(key))


@given(updates=updates, count_max=st.integers(0, 12))
def test_no_more_is_remembered_than_there_is_room_for(updates: list[dict[int, int]], count_max: int) -> None:
    recent = RecentCache[int, int](count_max)
    largest = max(map(len, updates), default=0)
    for update in updates:
        recent.update(update)
        assert sum(recent.get(key) is not None for key in KEYS) <= 2 * max(count_max, largest)


def test_as_long_as_there_is_room_everything_is_remembered() -> None:
    recent = RecentCache[int, str](3)
    for key in (1, 2, 3):
        recent.update({key: f"value {key}"})
    assert [recent.get(key) for key in (1, 2, 3)] == ["value 1", "value 2", "value 3"]


@pytest.mark.parametrize("others", [1, 2, 3])
def test_an_update_of_nothing_forgets_nothing_of_the_last_two(others: int) -> None:
    recent = RecentCache[int, str](1)
    recent.update(dict.fromkeys(range(others), "one"))
    recent.update({})
    assert all(recent.get(key) == "one" for key in range(others))


def test_what_was_never_said_is_not_known() -> None:
    assert RecentCache[int, str](3).get(1) is None
