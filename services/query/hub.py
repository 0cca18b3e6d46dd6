"""The hub: one query for what is new, however many readers wait for it, and a bounded queue for each of them."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import structlog

from ledger.books.feed import Entry, Feed, Wanted
from ledger.books.reader import Reader
from ledger.books.schema import SchemaMissing
from ledger.runtime.unavailable import Unavailable
from services.http.deadline import Deadline
from services.query.frames import Chunk, chunks, frame

BATCH_MAX_EVENTS: Final = 500
QUEUE_MAX_BYTES: Final = 256 * 1024  # Of one reader. Who falls further behind reads on from the journal.
RETRY_S: Final = 0.5  # Until Postgres is asked again, after it did not answer.

_log = structlog.get_logger()


class Seat:
    """A reader's place at the hub. While it is `live`, what is new is in its queue, and nothing in between is missing.

    `since` is where it became live, `covered` how far the hub has handed out since: all of it is in the queue, or was
    taken from it. The queue holds references: readers who want the same share the bytes.
    """

    def __init__(self, hub: "Hub", wanted: Wanted) -> None:
        self.wanted = wanted
        self.live = False
        self.since = 0
        self.covered = 0
        self._hub = hub
        self._queue: deque[Chunk] = deque()
        self._queued_bytes = 0
        self._woken = asyncio.Event()
        self._bell = Deadline(self._woken.set)

    def join(self, position: int) -> None:
        """Be live from where the hub is now on; who is before that reads up to `since` from the journal."""
        self.leave()
        self._woken.clear()
        self.since = self.covered = self._hub.admit(self, position)
        self.live = True

    def leave(self) -> None:
        """Be live no longer, and hold nothing."""
        self._hub.dismiss(self)
        self.live = False
        self._queue.clear()
        self._queued_bytes = 0
        self._woken.set()

    def close(self) -> None:
        self.leave()
        self._bell.close()

    def offer(self, new: list[Chunk], size_bytes: int, until: int) -> None:
        """All that is new for this reader up to `until`. One whose queue is full is live no longer."""
        self._queued_bytes += size_bytes
        if self._queued_bytes > QUEUE_MAX_BYTES:
            self.leave()
            return
        self._queue.extend(new)
        self.covered = until
        if new:
            self._woken.set()

    async def next(self, within_s: float) -> Chunk | None:
        """The next in the queue; None when there is none for so long, or the seat is live no longer."""
        if self.live and not self._queue:
            self._bell.move(within_s)
            await self._woken.wait()
        chunk = self._queue.popleft() if self._queue else None
        if chunk is not None:
            self._queued_bytes -= len(chunk.data)
        if self.live and not self._queue:
            self._woken.clear()
        return chunk

    def reached(self, position: int) -> int:
        """How far one has come who has taken everything from the queue and was before at this position."""
        return max(position, self.covered) if self.live and not self._queue else position

    async def woken(self) -> None:
        """Returns once something is in the queue, or the seat is live no longer."""
        await self._woken.wait()


class Hub:
    """Woken by the writer's notice, it reads what is new for all readers at once, and hands it out.

    It asks nothing while nobody waits. While Postgres is away, it waits.
    """

    def __init__(self, reader: Reader, feed: Feed) -> None:
        self._reader = reader
        self._feed = feed
        self._position = 0  # Up to here everything was handed out.
        self._seats: dict[Wanted, set[Seat]] = {}
        self._occupied = asyncio.Event()

    @contextmanager
    def seat(self, wanted: Wanted) -> Generator[Seat]:
        """A place for one reader, who has yet to join."""
        seat = Seat(self, wanted)
        try:
            yield seat
        finally:
            seat.close()

    def admit(self, seat: Seat, position: int) -> int:
        """Hand out to this seat from now on; answers from where."""
        if not self._seats:  # What nobody waited for is in the journal.
            self._position = max(self._position, position)
        self._seats.setdefault(seat.wanted, set()).add(seat)
        self._occupied.set()
        return self._position

    def dismiss(self, seat: Seat) -> None:
        seats = self._seats.get(seat.wanted, set())
        seats.discard(seat)
        if not seats:
            self._seats.pop(seat.wanted, None)
        if not self._seats:
            self._occupied.clear()

    async def run(self) -> None:
        """For as long as the process serves."""
        while True:
            try:
                await self._occupied.wait()
                await self._reader.beyond(self._position)
                if self._seats and self._reader.shown > self._position:
                    await self._hand_out()
            except (Unavailable, SchemaMissing):
                await asyncio.sleep(RETRY_S)
            except Exception as bug:  # noqa: BLE001  Readers would wait for ever: they go on from the journal.
                _log.error("bug", task="hub", exc_info=bug)
                self._send_to_the_journal()
                await asyncio.sleep(RETRY_S)

    async def _hand_out(self) -> None:
        position = self._position
        communities = sorted({wanted.community for wanted in self._seats})
        until, entries = await self._feed.since(position, communities, BATCH_MAX_EVENTS)
        if self._position != position:  # Everybody left meanwhile, and somebody came.
            return
        if until <= position:  # Books that were made anew are further back than we were told.
            await asyncio.sleep(RETRY_S)
            return
        framed: dict[str, list[tuple[Entry, bytes]]] = defaultdict(list)
        for entry in entries:
            framed[entry.community].append((entry, frame(entry)))
        self._position = until
        for wanted, seats in list(self._seats.items()):
            new = chunks((e.position, data) for e, data in framed[wanted.community] if e.name in wanted.names)
            size_bytes = sum(len(chunk.data) for chunk in new)
            for seat in list(seats):
                if wanted.community in communities:
                    seat.offer(new, size_bytes, until)
                else:  # It came while we asked for the others.
                    seat.leave()

    def _send_to_the_journal(self) -> None:
        for seats in list(self._seats.values()):
            for seat in list(seats):
                seat.leave()
