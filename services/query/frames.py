"""Server-Sent Events on the wire: one frame an event, and chunks of whole frames that are small enough to be sent."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from ledger.books.feed import Entry

CHUNK_MAX_BYTES: Final = 16 * 1024  # What the server holds of a reader who does not read is a few of these.
RETRY_MS: Final = 1_000  # When a client that lost its stream should come back.


class Chunk(Struct, frozen=True, gc=False):
    """Whole frames, one after the other. `ends` says for each its position, and where it ends."""

    data: bytes
    ends: tuple[tuple[int, int], ...]

    @property
    def last(self) -> int:
        return self.ends[-1][0]

    def after(self, position: int) -> bytes:
        """The frames beyond a position."""
        if position < self.ends[0][0]:
            return self.data
        begin = max((end for passed, end in self.ends if passed <= position), default=0)
        return self.data[begin:]


def frame(entry: Entry) -> bytes:
    """An event. A line break of its JSON can only stand between two words, where a space is as good."""
    data = entry.event.replace("\r", " ").replace("\n", " ")
    return f"id: {entry.position}\nevent: {entry.name}\ndata: {data}\n\n".encode()


def checkpoint(position: int) -> bytes:
    """No event, but a place to come back to: everything up to it was sent, or was none that the reader wanted."""
    return f": position {position}\nid: {position}\n\n".encode()


def opening(position: int) -> bytes:
    """The first thing that is sent: the stream is open, and begins after this position."""
    return f"retry: {RETRY_MS}\n".encode() + checkpoint(position)


def chunks(framed: Iterable[tuple[int, bytes]]) -> list[Chunk]:
    """Frames with their positions, put together. A frame that is larger than a chunk may be is one of its own."""
    made: list[Chunk] = []
    held: list[bytes] = []
    ends: list[tuple[int, int]] = []
    size = 0
    for position, one in framed:
        if held and size + len(one) > CHUNK_MAX_BYTES:
            made.append(Chunk(b"".join(held), tuple(ends)))
            held, ends, size = [], [], 0
        held.append(one)
        size += len(one)
        ends.append((position, size))
    if held:
        made.append(Chunk(b"".join(held), tuple(ends)))
    return made
