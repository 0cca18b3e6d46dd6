"""Visibility: the events of an aggregate that a reader may know. See docs/domain.md#confidential-events."""

from typing import Final

from msgspec import Struct

from ledger.domain.kinds.intro.states import Closed, Made, Met
from ledger.domain.values.aggregate_types import State

CONFIDENTIAL: Final = frozenset(
    {"intro.accepted", "intro.consented", "intro.declined", "intro.refused", "intro.expired"}
)
"""Events that distinguish a no from a silence. `asker_state` hides their states from the asker."""


class EventReader(Struct, frozen=True):
    """A reader: a member, or, if `member` is None, a service whose key may have the scope `confidential`."""

    member: str | None
    confidential: bool

    def may_read(self, state: State, event: str) -> bool:
        """Return whether the reader may know the event with this tag, of an aggregate in this state.

        The asker reads the confidential events of an ask only when the introduction is made. By then everybody has
        consented, and every party knows it. Both members of an offered intro read all of its events.
        """
        if event not in CONFIDENTIAL:
            return True
        if self.member is None:
            return self.confidential
        is_asker = self.member == getattr(state, "asker", None)
        return not is_asker or getattr(state, "matchmade", False) or isinstance(state, Made | Met | Closed)
