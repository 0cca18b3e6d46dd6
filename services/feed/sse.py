"""Server-Sent Events: one frame per event, and chunks of whole frames."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from ledger.books.feed import FeedEvent

CHUNK_MAX_BYTES: Final = 16 * 1024  # The server buffers a few of these for a client that does not read.
RETRY_MS: Final = 1_000  # How long a client waits before it reconnects.


class Chunk(Struct, frozen=True, gc=False):
    """Whole frames, one after the other. `ends` holds the position of each frame and the offset of its end."""

    data: bytes
    ends: tuple[tuple[int, int], ...]

    @property
    def last(self) -> int:
        return self.ends[-1][0]

    def after(self, position: int) -> bytes:
        """Return the frames beyond a position."""
        if position < self.ends[0][0]:
            return self.data
        begin = max((end for sent, end in self.ends if sent <= position), default=0)
        return self.data[begin:]


def event_frame(entry: FeedEvent) -> bytes:
    """Return the frame of an event. JSON has line breaks only between tokens, where a space means the same."""
    data = entry.event.replace("\r", " ").replace("\n", " ")
    return f"id: {entry.position}\nevent: {entry.name}\ndata: {data}\n\n".encode()


def position_frame(position: int) -> bytes:
    """Return a frame without an event: the client has received every wanted event up to this position."""
    return f": position {position}\nid: {position}\n\n".encode()


def opening_frame(position: int) -> bytes:
    """Return the first frame: the stream is open, and begins after this position."""
    return f"retry: {RETRY_MS}\n".encode() + position_frame(position)


def to_chunks(framed: Iterable[tuple[int, bytes]]) -> list[Chunk]:
    """Join frames, each with its position, into chunks. A frame larger than `CHUNK_MAX_BYTES` is a chunk of its own."""
    chunks: list[Chunk] = []
    parts: list[bytes] = []
    ends: list[tuple[int, int]] = []
    size = 0
    for position, frame in framed:
        if parts and size + len(frame) > CHUNK_MAX_BYTES:
            chunks.append(Chunk(b"".join(parts), tuple(ends)))
            parts, ends, size = [], [], 0
        parts.append(frame)
        size += len(frame)
        ends.append((position, size))
    if parts:
        chunks.append(Chunk(b"".join(parts), tuple(ends)))
    return chunks
