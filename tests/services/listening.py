"""A listener to the stream: a bare connection, and the event stream read as the HTML standard says."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self

import httpx
import msgspec

from deploy.embedded.ports import HOST, free_port
from deploy.serving import serve
from ledger.runtime.settings import Settings
from services.app import ServicePart, application
from tests.services.caller import until

WITHIN_S: Final = 20.0


@dataclass(frozen=True)
class Message:
    """What an EventSource would dispatch."""

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
class EventSource:
    """Interprets an event stream: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream"""

    messages: list[Message] = field(default_factory=list[Message])
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
            self._line(line.removesuffix("\r"))

    def _line(self, line: str) -> None:
        if not line:
            self._dispatch()
        elif line.startswith(":"):
            self.comments.append(line[1:])
        else:
            name, _, value = line.partition(":")
            self._field(name, value.removeprefix(" "))

    def _field(self, name: str, value: str) -> None:
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
            self.messages.append(Message(self._id, self._type or "message", self._data.removesuffix("\n")))
        self._type = self._data = ""


class Listener:
    """One stream, from its request to its end. It reads all the time, unless it is `deaf`."""

    def __init__(self, port: int, path: str, headers: dict[str, str], *, deaf: bool = False) -> None:
        self.source = EventSource()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False
        self.body = b""
        self._held = b""
        self._port = port
        self._request = "\r\n".join(
            [f"GET {path} HTTP/1.1", f"Host: {HOST}:{port}", *(f"{name}: {value}" for name, value in headers.items())]
        )
        self._deaf = deaf
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._connection = socket.socket()
        self._connection.setblocking(False)
        if self._deaf:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        await asyncio.get_running_loop().sock_connect(self._connection, (HOST, self._port))
        await asyncio.get_running_loop().sock_sendall(self._connection, f"{self._request}\r\n\r\n".encode())
        self._reading: asyncio.Task[None] | None = None
        if not self._deaf:
            self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()

    def listen(self) -> None:
        self._reading = asyncio.create_task(self._read())

    async def hang_up(self) -> None:
        """As if the line was cut."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
        self._connection.close()

    @property
    def messages(self) -> list[Message]:
        return self.source.messages

    @property
    def positions(self) -> list[int]:
        return [message.position for message in self.source.messages]

    async def hears(self, holds: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        """Returns once it holds. Raises: TimeoutError."""
        async with asyncio.timeout(within_s):
            while not holds():
                await self._news.wait()
                self._news.clear()

    async def opened(self) -> Self:
        await self.hears(lambda: bool(self.source.last_event_id) or self.ended)
        return self

    async def count(self, messages: int) -> list[Message]:
        await self.hears(lambda: len(self.messages) >= messages)
        return self.messages

    async def heard(self, position: int) -> None:
        await self.hears(lambda: self.positions[-1:] == [position])

    async def end(self) -> None:
        await self.hears(lambda: self.ended)

    async def _read(self) -> None:
        with suppress(ConnectionError, EOFError):
            head = (await self._until(b"\r\n\r\n")).decode().split("\r\n")
            self.status = int(head[0].split()[1])
            self.headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
            }
            if "content-length" in self.headers:
                self.body = await self._exactly(int(self.headers["content-length"]))
            else:
                while size := int(await self._until(b"\r\n"), 16):
                    self.source.feed((await self._exactly(size + 2))[:-2].decode())
                    self._news.set()
        self.ended = True
        self._news.set()

    async def _until(self, end: bytes) -> bytes:
        while (place := self._held.find(end)) < 0:
            await self._more()
        return await self._exactly(place + len(end))

    async def _exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            await self._more()
        found, self._held = self._held[:size], self._held[size:]
        return found

    async def _more(self) -> None:
        """Raises: EOFError."""
        received = await asyncio.get_running_loop().sock_recv(self._connection, 65_536)
        if not received:
            raise EOFError
        self._held += received


@dataclass(frozen=True)
class Server:
    """A served application, and who listens to it."""

    port: int
    client: httpx.AsyncClient

    def listener(
        self,
        query: str = "",
        *,
        after: int | None = None,
        last_event_id: str | int | None = None,
        community: str = "acme",
        key: str | None = None,
        deaf: bool = False,
    ) -> Listener:
        headers = {"Accept": "text/event-stream"}
        headers |= {"Last-Event-ID": str(last_event_id)} if last_event_id is not None else {}
        headers |= {"Authorization": f"Bearer {key}"} if key is not None else {}
        words = [word for word in (query, f"after={after}" if after is not None else "") if word]
        path = f"/v1/communities/{community}/events{'?' + '&'.join(words) if words else ''}"
        return Listener(self.port, path, headers, deaf=deaf)

    async def streams(self) -> int:
        """How many are open, as the metrics say."""
        text = (await self.client.get("/metrics")).text
        (line,) = [line for line in text.splitlines() if line.startswith("ledger_feed_streams ")]
        return int(float(line.split()[1]))


@asynccontextmanager
async def served(settings: Settings, part: ServicePart = "query") -> AsyncGenerator[Server]:
    """The application behind a real server, in this process."""
    port = free_port()
    serving = asyncio.create_task(serve(application(part, settings), HOST, port))
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=30) as client:

        async def ready() -> bool:
            with suppress(httpx.TransportError):
                return (await client.get("/readyz")).status_code == 200
            return False

        try:
            await until(ready)
            yield Server(port, client)
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving
