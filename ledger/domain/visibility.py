"""Visibility: which events of an aggregate a reader may know. See docs/domain.md for the rule of silence."""

from typing import Final

from msgspec import Struct

from ledger.domain.kinds.intro.states import Closed, Made, Met
from ledger.domain.values.aggregate_types import State

CONFIDENTIAL: Final = frozenset(
    {"intro.accepted", "intro.consented", "intro.declined", "intro.refused", "intro.expired"}
)
"""The events that `asker_state` hides. A reader of one of them can distinguish a decline from silence."""


class EventReader(Struct, frozen=True):
    """Who reads: a member, or a service, whose key may have the scope `confidential`."""

    member: str | None
    confidential: bool

    def may_read(self, state: State, event: str) -> bool:
        """Return whether the reader may know this event of an aggregate in this state.

        The asker of an introduction reads no confidential event before it is made: then all have consented, and every
        party knows.
        """
        if event not in CONFIDENTIAL:
            return True
        if self.member is None:
            return self.confidential
        is_asker = self.member == getattr(state, "asker", None)
        return not is_asker or getattr(state, "matchmade", False) or isinstance(state, Made | Met | Closed)
