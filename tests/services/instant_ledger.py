"""A ledger without services: the books hold each command as soon as it is executed."""

from collections.abc import Sequence

from ledger.domain.kinds.favour import RecordFavour
from ledger.domain.values.aggregate_types import Command
from ledger.runtime.settings import Settings
from tests.books.books_database import Books
from tests.books.histories import ACME, CommandLog, submission, uuid_of


class InstantLedger:
    """A log in memory, and books that are written right after each call, as the projector writes them."""

    def __init__(self, settings: Settings) -> None:
        self.books = Books(settings.books)
        self.command_log = CommandLog()
        self.end = 0
        self._favours = 0

    async def thank_many(self, count: int = 1, community: str = ACME) -> int:
        """Record thanks, one event each. Return the position of the last one."""
        first = self._favours + 1
        self._favours += count
        favours = [
            RecordFavour(actor="ada", giver="bob", receiver="ada", size="medium", id=uuid_of(number))
            for number in range(first, first + count)
        ]
        return await self.execute(*favours, community=community)

    async def execute(self, *commands: Command, of: int | None = None, community: str = ACME) -> int:
        """Execute commands: creations, or steps `of` one aggregate. Return the position of the last event."""
        if of is None:
            submissions = [submission(command, community=community) for command in commands]
            await self.command_log.executor.execute_all(submissions)
        else:
            for command in commands:
                await self.command_log.execute(command, uuid_of(of), community)
        return await self.project()

    async def project(self) -> int:
        """Write the events of the log that the books do not have. Return the position of the last one."""
        await self.project_from(self.end + 1)
        return self.end

    async def project_from(self, first: int = 1) -> None:
        """Write the events from position `first` on."""
        events = await self.command_log.read_events(first)
        await self.books.write(events)
        self.end = events[-1].position if events else self.end

    async def bodies(self, positions: Sequence[int]) -> list[str]:
        """Return the stored text of these events."""
        found = [await self.command_log.log.at(position) for position in positions]
        return [event.body.decode() for event in found if event is not None]
