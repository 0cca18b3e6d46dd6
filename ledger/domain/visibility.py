"""Visibility: which events may be known by whom."""

from typing import Final

CONFIDENTIAL: Final = frozenset(
    {"intro.accepted", "intro.consented", "intro.declined", "intro.refused", "intro.expired"}
)
"""The events that `asker_state` hides. Who hears of one of them can tell a no from a silence."""
