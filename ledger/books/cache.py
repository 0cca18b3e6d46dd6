"""A cache of recent rows, so that the writer does not read them again."""

from collections.abc import Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class RecentCache(Generic[Key, Value]):
    """A cache with two generations of about `count_max` values each. It always contains the last two updates.

    When the young generation is full, it becomes the old one, and the old one is dropped.
    """

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._young: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}

    def get(self, key: Key) -> Value | None:
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def update(self, values: Mapping[Key, Value]) -> None:
        if len(self._young) + len(values) > self._count_max:
            self._old, self._young = self._young, {}
        self._young.update(values)
