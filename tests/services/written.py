"""Books that a test writes itself: a log in memory, applied as the projector applies it."""

from collections.abc import Sequence

from ledger.domain.kinds.favour import RecordFavour
from ledger.domain.values.aggregate_types import Command
from ledger.runtime.settings import Settings
from tests.books.shown import Books
from tests.books.telling import ACME, Chronicle, number, submission


class Written:
    """What is said is in the books at once."""

    def __init__(self, settings: Settings) -> None:
        self.books = Books(settings.books)
        self.chronicle = Chronicle()
        self.end = 0
        self._favours = 0

    async def thanks(self, count: int = 1, community: str = ACME) -> int:
        """So many favours, an event each; answers the last position."""
        first = self._favours + 1
        self._favours += count
        said = [
            RecordFavour(actor="ada", giver="bob", receiver="ada", size="medium", id=number(n))
            for n in range(first, first + count)
        ]
        return await self.say(*said, community=community)

    async def say(self, *commands: Command, of: int | None = None, community: str = ACME) -> int:
        """One event each, of aggregates of their own or all of one; answers the last position."""
        own = number(of) if of is not None else None
        if own is None:
            await self.chronicle.executor.execute_all([submission(one, community=community) for one in commands])
        else:
            for one in commands:
                await self.chronicle.say(one, own, community)
        return await self.write()

    async def write(self) -> int:
        """Apply what the log holds and the books do not."""
        await self.rewrite(self.end + 1)
        return self.end

    async def rewrite(self, first: int = 1) -> None:
        events = await self.chronicle.events(first)
        await self.books.write(events)
        self.end = events[-1].position if events else self.end

    async def stored(self, positions: Sequence[int]) -> list[str]:
        """The exact text of these events."""
        found = [await self.chronicle.log.at(position) for position in positions]
        return [event.body.decode() for event in found if event is not None]
