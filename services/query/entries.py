"""One entry, explained: `GET /entries/{event id}`."""

from typing import Annotated, Any, Final, cast
from uuid import UUID

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter
from msgspec import Struct, structs

from ledger.books.entries import Entries, JournalEvent
from ledger.books.reader import Reader
from ledger.domain.catalog.kinds import KINDS
from ledger.domain.kinds.dispute.events import DisputeOpened, DisputeUpheld
from ledger.domain.kinds.dispute.states import DisputedEntry, dispute_id
from ledger.domain.posting.rules import RULES, rule_in_words
from ledger.domain.values.aggregate_types import Event, State, tag_of
from ledger.domain.values.ids import Instant
from ledger.domain.values.points import Account
from ledger.domain.values.refusals import NotYours, Unknown
from ledger.domain.visibility import EventReader
from ledger.envelope import AggregateRef
from services.http.auth import has_scope
from services.http.parameters import PREFIX, Community, MinPosition, Viewer, community_of, id_of, viewer_of
from services.http.position_header import READ_PROBLEMS, with_position
from services.http.problems import problem_responses

PROBLEMS: Final = problem_responses(*READ_PROBLEMS, NotYours, Unknown)

EntryId = Annotated[str, PathParameter(description="The id of an event: a UUID.", format="uuid")]


class LegView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A leg of the entry in points; `balance_after` is of its account. No counterparty: between a member's accounts."""

    member: str
    account: Account
    counterparty: str | None = None
    points: int
    given: int
    received: int
    balance_after: int


class PastEventView(Struct, frozen=True, kw_only=True):
    """An event of the aggregate's life."""

    entry: UUID
    event: str
    position: int
    happened_at: Instant
    recorded_at: Instant
    actor: str


class EntryView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why: the event, the rule it is posted by, and its numbers; the legs, which sum to zero; what else happened.

    `reverses` and `reversed_by` name the entry on the other side of a correction, `disputed_by` the one that set its
    points aside. `cloudevent` is the event as it was recorded, for services: a member reads what concerns them.
    """

    entry: UUID
    event: str
    kind: str
    id: str
    position: int
    happened_at: Instant
    recorded_at: Instant
    actor: str
    policy_version: int
    rule: str
    numbers: dict[str, int]
    legs: list[LegView]
    history: list[PastEventView]
    reverses: UUID | None = None
    disputed_by: UUID | None = None
    reversed_by: UUID | None = None
    cloudevent: dict[str, Any] | None = None


def entry_route(reader: Reader) -> HTTPRouteHandler:
    entries = Entries(reader)

    @get(f"{PREFIX}/entries/{{id:str}}", operation_id="getEntry", tags=["entries"], responses=PROBLEMS)
    async def show(
        request: Request[Any, Any, Any],
        community: Community,
        id: EntryId,  # noqa: A002  The route says so.
        viewer: Viewer = None,
        min_position: MinPosition = 0,
    ) -> Response[EntryView]:
        """Why the books say so: the rule and its numbers, the event, who said it, and what else happened to it."""
        tenant, event_id = community_of(community), id_of(id)
        reading = EventReader(viewer_of(viewer) if viewer is not None else None, has_scope(request, "confidential"))
        await reader.reach(min_position)
        position, happened = await entries.entry(tenant, event_id)
        if happened is None:
            raise Unknown(kind="entry", id=id)
        ref, fact = happened.envelope.ref, happened.envelope.data
        state = await entries.state(ref)
        legs = await entries.legs(happened)
        if not reading.may_read(state, tag_of(fact)):
            raise Unknown(kind="entry", id=id)
        if is_party(reading.member, ref.kind, state):
            life = await entries.life(ref, position)
        elif reading.member in [leg.member for leg in legs]:
            life = [happened]  # They are owed by it; the rest is not theirs.
        else:
            raise NotYours(role="party")
        disputed_by, reversed_by = corrections(await entries.life(dispute_ref(ref, fact), position))
        view = EntryView(
            entry=event_id,
            event=tag_of(fact),
            kind=ref.kind,
            id=ref.id,
            position=happened.position,
            happened_at=happened.envelope.time,
            recorded_at=happened.recorded_at,
            actor=happened.envelope.actor,
            policy_version=happened.envelope.policyversion,
            rule=rule_in_words(fact),
            numbers=numbers_of(fact),
            legs=[LegView(**structs.asdict(leg)) for leg in legs],
            history=[past_event_view(event) for event in life if reading.may_read(state, tag_of(event.envelope.data))],
            reverses=fact.entry_id if isinstance(fact, DisputeUpheld) and fact.remedy == "reversal" else None,
            disputed_by=disputed_by,
            reversed_by=reversed_by,
            cloudevent=msgspec.json.decode(happened.body) if reading.member is None else None,
        )
        return with_position(view, position, viewer=viewer, asked=min_position)

    return show


def is_party(member: str | None, kind: str, state: State) -> bool:
    """Return whether the reader may read the whole history: a service, a member whom it concerns, or a public kind."""
    return member is None or not KINDS[kind].private or member in KINDS[kind].concerned(state)


def dispute_ref(ref: AggregateRef, fact: Event) -> AggregateRef:
    """The dispute of this entry, whether there is one or not."""
    return AggregateRef(ref.community, "dispute", str(dispute_id(UUID(ref.id), cast("DisputedEntry", tag_of(fact)))))


def corrections(dispute: list[JournalEvent]) -> tuple[UUID | None, UUID | None]:
    """The events that disputed the entry, and that reversed it, if any did."""
    disputed_by = reversed_by = None
    for event in dispute:
        match event.envelope.data:
            case DisputeOpened():
                disputed_by = UUID(event.envelope.id)
            case DisputeUpheld(remedy="reversal"):
                reversed_by = UUID(event.envelope.id)
            case _:
                pass
    return disputed_by, reversed_by


def numbers_of(fact: Event) -> dict[str, int]:
    """The numbers that its posting rule goes by; none of one that moves nothing."""
    if type(fact) not in RULES:
        return {}
    return {name: value for name, value in structs.asdict(fact).items() if type(value) is int}


def past_event_view(event: JournalEvent) -> PastEventView:
    return PastEventView(
        entry=UUID(event.envelope.id),
        event=tag_of(event.envelope.data),
        position=event.position,
        happened_at=event.envelope.time,
        recorded_at=event.recorded_at,
        actor=event.envelope.actor,
    )
