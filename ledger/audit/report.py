"""The report of an audit."""

from msgspec import Struct


class Report(Struct):
    """What was compared, and one sentence for everything that differs. No sentence: the books are right."""

    position: int = 0
    events: int = 0
    postings: int = 0
    members: int = 0
    behind: int = 0
    differences: list[str] = []
