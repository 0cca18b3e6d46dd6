"""Time axes: what had happened by one time, as it was known at another."""

from datetime import datetime

from msgspec import Struct

from ledger.books.history import LAST, Place, place_by
from services.http.parameters import instant_of


class TimeAxes(Struct, frozen=True):
    """`as_of`: what had happened by then; `known_at`: what had been recorded by then. None: no such limit."""

    as_of: datetime | None
    known_at: datetime | None

    @property
    def are_now(self) -> bool:
        """Whether neither was named: what is asked for is everything there is."""
        return self.as_of is None and self.known_at is None

    @property
    def end(self) -> Place:
        """The place before which it happened."""
        return LAST if self.as_of is None else place_by(self.as_of)

    @property
    def latest(self) -> datetime:
        """When it happened at the latest."""
        return self.end.happened_at


def time_axes_of(as_of: str | None, known_at: str | None) -> TimeAxes:
    """Raises: InvalidField, naming the one that is no time."""
    return TimeAxes(instant_of(as_of, "as_of"), instant_of(known_at, "known_at"))
