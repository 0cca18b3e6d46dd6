"""Time axes: what had happened by one time, as far as it was recorded by another."""

from datetime import datetime

from msgspec import Struct

from ledger.books.history import LAST, Place, place_by
from services.http.parameters import instant_of


class TimeAxes(Struct, frozen=True):
    """`as_of` limits the time of happening, `known_at` the time of recording. Both are inclusive; None is no limit."""

    as_of: datetime | None
    known_at: datetime | None

    @property
    def are_now(self) -> bool:
        """Whether there is no limit on either axis."""
        return self.as_of is None and self.known_at is None

    @property
    def end(self) -> Place:
        """The place after the last posting within `as_of`."""
        return LAST if self.as_of is None else place_by(self.as_of)

    @property
    def latest(self) -> datetime:
        """The latest time of happening."""
        return self.end.happened_at


def time_axes_of(as_of: str | None, known_at: str | None) -> TimeAxes:
    """Parse both parameters.

    Raises: InvalidField, with the name of the invalid one.
    """
    return TimeAxes(instant_of(as_of, "as_of"), instant_of(known_at, "known_at"))
