"""A cache of recent rows, so that the writer need not read them again."""

from collections.abc import Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class RecentCache(Generic[Key, Value]):
    """Remembers the last two updates for certain, and `count_max` more for as long as there is room.

    Two generations: when the young one is full it becomes the old one, and the old one is forgotten.
    """

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._young: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}

    def get(self, key: Key) -> Value | None:
        found = self._young.get(key)
        return self._old.get(key) if found is None else found

    def update(self, values: Mapping[Key, Value]) -> None:
        if len(self._young) + len(values) > self._count_max:
            self._old, self._young = self._young, {}
        self._young.update(values)
