"""The report of an audit."""

from msgspec import Struct


class Report(Struct):
    """The extent of an audit, and one sentence for each difference. Without differences, the books are right.

    `position` is the checkpoint of the books, `behind` the number of later events in the log.
    """

    position: int = 0
    events: int = 0
    postings: int = 0
    members: int = 0
    behind: int = 0
    differences: list[str] = []
