"""A client of Server-Sent Events: a bare connection to an event stream, and a parser of its text.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self

import msgspec

TIMEOUT_S: Final = 20.0
SMALL_BUFFER_BYTES: Final = 4_096


@dataclass(frozen=True)
class ServerSentEvent:
    """One event that an EventSource would dispatch."""

    id: str
    event: str
    data: str

    @property
    def position(self) -> int:
        return int(self.id)

    @property
    def envelope(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.data)
        return found


@dataclass
class EventStreamParser:
    """A parser of the text of an event stream, in parts of any size."""

    events: list[ServerSentEvent] = field(default_factory=list[ServerSentEvent])
    comments: list[str] = field(default_factory=list[str])
    last_event_id: str = ""
    retry_ms: int | None = None
    _rest: str = ""
    _id: str = ""
    _type: str = ""
    _data: str = ""

    def feed(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._parse_line(line.removesuffix("\r"))

    def _parse_line(self, line: str) -> None:
        if not line:
            self._dispatch()
        elif line.startswith(":"):
            self.comments.append(line[1:])
        else:
            name, _, value = line.partition(":")
            self._set_field(name, value.removeprefix(" "))

    def _set_field(self, name: str, value: str) -> None:
        match name:
            case "event":
                self._type = value
            case "data":
                self._data += value + "\n"
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry_ms = int(value)
            case _:
                pass

    def _dispatch(self) -> None:
        self.last_event_id = self._id
        if self._data:
            self.events.append(ServerSentEvent(self._id, self._type or "message", self._data.removesuffix("\n")))
        self._type = self._data = ""


class SseClient:
    """One connection to an event stream, from the request to the end of the response.

    It reads continuously. With `reading=False` it sends the request and reads nothing before `start_reading`.
    """

    def __init__(self, host: str, port: int, path: str, headers: dict[str, str], *, reading: bool = True) -> None:
        self.parser = EventStreamParser()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False
        self.body = b""  # The body of a response that is no event stream.
        self._buffer = b""
        self._address = host, port
        self._request = "\r\n".join(
            [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", *(f"{name}: {value}" for name, value in headers.items())]
        )
        self._reads_at_once = reading
        self._task: asyncio.Task[None] | None = None
        self._received = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._socket = socket.socket()
        self._socket.setblocking(False)
        if not self._reads_at_once:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        await asyncio.get_running_loop().sock_connect(self._socket, self._address)
        await asyncio.get_running_loop().sock_sendall(self._socket, f"{self._request}\r\n\r\n".encode())
        if self._reads_at_once:
            self.start_reading()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    def start_reading(self) -> None:
        self._task = asyncio.create_task(self._read())

    async def disconnect(self) -> None:
        """Close the connection without a message, like a cut line."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._socket.close()

    @property
    def events(self) -> list[ServerSentEvent]:
        return self.parser.events

    @property
    def positions(self) -> list[int]:
        return [event.position for event in self.parser.events]

    async def wait_until(self, condition: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
        """Wait until the condition holds. Each received part triggers a check. Raises: TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                await self._received.wait()
                self._received.clear()

    async def wait_for_start(self) -> Self:
        """Wait for the first id of the event stream, or for the end of a response that is none."""
        await self.wait_until(lambda: bool(self.parser.last_event_id) or self.ended)
        return self

    async def wait_for_events(self, count: int) -> list[ServerSentEvent]:
        """Wait until at least `count` events have arrived since the start. Return all of them."""
        await self.wait_until(lambda: len(self.events) >= count)
        return self.events

    async def wait_for_position(self, position: int) -> None:
        """Wait until the last received event is the one at this position."""
        await self.wait_until(lambda: self.positions[-1:] == [position])

    async def wait_for_end(self) -> None:
        await self.wait_until(lambda: self.ended)

    async def _read(self) -> None:
        with suppress(ConnectionError, EOFError):
            head = (await self._read_until(b"\r\n\r\n")).decode().split("\r\n")
            self.status = int(head[0].split()[1])
            self.headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
            }
            if "content-length" in self.headers:
                self.body = await self._read_exactly(int(self.headers["content-length"]))
            else:
                await self._read_chunks()
        self.ended = True
        self._received.set()

    async def _read_chunks(self) -> None:
        """Read a chunked body. Source: RFC 9112, section 7.1."""
        while size := int(await self._read_until(b"\r\n"), 16):
            self.parser.feed((await self._read_exactly(size + 2))[:-2].decode())
            self._received.set()

    async def _read_until(self, end: bytes) -> bytes:
        while (place := self._buffer.find(end)) < 0:
            await self._receive()
        return await self._read_exactly(place + len(end))

    async def _read_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._receive()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    async def _receive(self) -> None:
        """Receive the next bytes. Raises: EOFError, at the end of the connection."""
        received = await asyncio.get_running_loop().sock_recv(self._socket, 65_536)
        if not received:
            raise EOFError
        self._buffer += received
