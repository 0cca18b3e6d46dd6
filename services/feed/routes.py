"""`GET /events`: the events of a community, as pages or as a stream."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import OpenAPIMediaType, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import HeaderParameter, QueryParameter
from msgspec import Struct

from ledger.books.feed import Feed, FeedFilter, FeedPage
from ledger.books.reader import Reader
from ledger.domain.catalog.kinds import EVENTS, KINDS
from ledger.domain.values.aggregate_types import tag_of
from ledger.domain.visibility import CONFIDENTIAL
from services.feed import event_stream, stream
from services.feed.event_stream import EventStream, StreamSlots
from services.feed.hub import Hub
from services.feed.stream import stream_events
from services.http.auth import has_scope
from services.http.parameters import LIMIT_DEFAULT, PREFIX, Community, Limit, MinPosition, community_of
from services.http.position_header import READ_PROBLEMS
from services.http.problems import Confidential, InvalidField, TooManyStreams, problem_responses

LONG_POLL_MAX_S: Final = 30
JSON_POSITION_MAX: Final = 2**53 - 1
PROBLEMS: Final = problem_responses(*READ_PROBLEMS, Confidential, TooManyStreams)

After = Annotated[
    int | None,
    QueryParameter(
        ge=0,
        le=JSON_POSITION_MAX,
        description="`after` of the previous page. Without it, a page starts at the first event, and a stream after "
        "the last.",
    ),
]
Wait = Annotated[
    int, QueryParameter(ge=0, le=LONG_POLL_MAX_S, description="Seconds to wait for an event if the page is empty.")
]
OfKinds = Annotated[
    list[str] | None,
    QueryParameter(name="kind", description=f"Only events of this kind. May be repeated. One of {', '.join(KINDS)}."),
]
EventNames = Annotated[
    list[str] | None,
    QueryParameter(
        name="event", description="Only this event, such as `favour.thanked`, beside those of `kind`. May be repeated."
    ),
]
LastEventId = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID", description="Position after which a stream continues. It takes precedence over `after`."
    ),
]


class EventView(Struct, frozen=True):
    """`event` is the CloudEvent with the exact bytes of the log."""

    position: int
    recorded_at: datetime
    event: Any


class EventsPage(Struct, frozen=True):
    """Events in the order of the log. Continue at `after`, also after an empty page. `more`: there are more already."""

    events: list[EventView]
    after: int
    more: bool


@dataclass
class FeedOperation(Operation):
    """The operation class of the feed. It documents the event stream."""

    def __post_init__(self) -> None:
        stream = OpenAPIMediaType(
            schema=Schema(type=OpenAPIType.STRING, description="Server-Sent Events: `id` is the position.")
        )
        content: Any = (self.responses or {})["200"]
        content.content[event_stream.MEDIA_TYPE] = stream


def feed_route(reader: Reader, feed: Feed, hub: Hub, slots: StreamSlots) -> HTTPRouteHandler:
    @get(
        f"{PREFIX}/events",
        operation_id="listEvents",
        operation_class=FeedOperation,
        tags=["events"],
        responses=PROBLEMS,
    )
    async def events(
        request: Request[Any, Any, Any],
        community: Community,
        after: After = None,
        limit: Limit = LIMIT_DEFAULT,
        wait: Wait = 0,
        of_kinds: OfKinds = None,
        names: EventNames = None,
        last_event_id: LastEventId = None,
        min_position: MinPosition = 0,
    ) -> Response[EventsPage]:
        """List all recorded events in order, without gaps. For services.

        With `Accept: text/event-stream`, the response is an endless stream of Server-Sent Events. Events that
        distinguish a no from a silence need a key with the scope `confidential`.
        """
        confidential = has_scope(request, "confidential")
        wanted = FeedFilter(
            community_of(community), event_names(of_kinds or (), names or (), confidential=confidential)
        )
        await reader.wait_for_position(min_position)
        if not wants_stream(request.headers.get("accept", "")):
            page = await feed.page(wanted, after or 0, limit)
            if wait and not page.entries and not page.more:
                page = await wait_for_page(feed, hub, slots, wanted, page, limit, wait)
            return page_response(page)
        books_position = await reader.position()
        begin = position_of(last_event_id, after if after is not None else books_position)
        slots.acquire()
        chunks = stream_events(feed, hub, wanted, begin, stream.HEARTBEAT_S)
        return EventStream(chunks, slots, {"Ledger-Position": str(books_position)}, event_stream.SEND_WITHIN_S)

    return events


def wants_stream(accept: str) -> bool:
    return any(part.partition(";")[0].strip().lower() == event_stream.MEDIA_TYPE for part in accept.split(","))


def position_of(last_event_id: str | None, otherwise: int) -> int:
    """Return the position of a `Last-Event-ID`, or `otherwise` if there is none.

    Raises: InvalidField, if it is not a position.
    """
    if last_event_id is None:
        return otherwise
    digits = last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= len(str(JSON_POSITION_MAX))
    if not digits or int(last_event_id) > JSON_POSITION_MAX:
        raise InvalidField(field="Last-Event-ID", source="header", reason="must be an `id` of the stream: a position")
    return int(last_event_id)


def event_names(kinds: Sequence[str], events: Sequence[str], *, confidential: bool) -> frozenset[str]:
    """Return the names of the events to read: those that the caller wants and may read.

    Raises: InvalidField; Confidential, if the caller names an event that they may not read.
    """
    require_known("kind", kinds, KINDS)
    require_known("event", events, EVENTS)
    if not confidential and (hidden := sorted(CONFIDENTIAL.intersection(events))):
        raise Confidential(event=hidden[0])
    of_kinds = {tag_of(event) for kind in kinds for event in KINDS[kind].events}
    wanted = of_kinds.union(events) if kinds or events else EVENTS.keys()
    return frozenset(wanted if confidential else wanted - CONFIDENTIAL)


def require_known(field: str, given: Sequence[str], known: Collection[str]) -> None:
    """Check that every word is known.

    Raises: InvalidField, if one is not.
    """
    for word in given:
        if word not in known:
            raise InvalidField(field=field, source="query", reason=f"must be one of {', '.join(known)}")


async def wait_for_page(
    feed: Feed, hub: Hub, slots: StreamSlots, wanted: FeedFilter, page: FeedPage, limit: int, wait_s: float
) -> FeedPage:
    """Wait for the first page with an event. Return an empty page after `wait_s`, or when the process stops."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    with slots.slot(), hub.subscriber(wanted) as subscriber:
        while not slots.stopping.is_set():
            subscriber.subscribe(page.after)
            page = await feed.page(wanted, page.after, limit)  # Events before the subscription.
            if page.entries or page.more:
                break
            ends = {asyncio.create_task(subscriber.wait_woken()), asyncio.create_task(slots.stopping.wait())}
            done, waiting = await asyncio.wait(
                ends, timeout=max(0.0, until - loop.time()), return_when=asyncio.FIRST_COMPLETED
            )
            for task in waiting:
                task.cancel()
            if not done:
                after = subscriber.position_after(page.after)
                return msgspec.structs.replace(page, after=after, shown=max(page.shown, after))
    return page


def page_response(page: FeedPage) -> Response[EventsPage]:
    views = [EventView(entry.position, entry.recorded_at, msgspec.Raw(entry.event.encode())) for entry in page.entries]
    return Response(
        EventsPage(events=views, after=page.after, more=page.more), headers={"Ledger-Position": str(page.shown)}
    )
