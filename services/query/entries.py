"""The explanation of an entry: `GET /entries/{event id}`."""

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

EntryId = Annotated[str, PathParameter(description="Id of an event: a UUID.", format="uuid")]


class LegView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A leg of the entry, in points. `balance_after` is the balance of its account.

    Without a counterparty, the points moved between two accounts of the member.
    """

    member: str
    account: Account
    counterparty: str | None = None
    points: int
    given: int
    received: int
    balance_after: int


class PastEventView(Struct, frozen=True, kw_only=True):
    """An event in the history of the aggregate."""

    entry: UUID
    event: str
    position: int
    happened_at: Instant
    recorded_at: Instant
    actor: str


class EntryView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry: its event, its posting rule with the numbers, its legs, and the history of the aggregate.

    The legs sum to zero. `reverses` and `reversed_by` name the other entry of a correction. `disputed_by` names the
    entry that set the points aside. `cloudevent` is the event as it was recorded; only a service reads it.
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
    async def get_entry(
        request: Request[Any, Any, Any],
        community: Community,
        id: EntryId,  # noqa: A002  The name in the route.
        viewer: Viewer = None,
        min_position: MinPosition = 0,
    ) -> Response[EntryView]:
        """Explain an entry: its event and actor, its posting rule and numbers, and the history of the aggregate."""
        tenant, event_id = community_of(community), id_of(id)
        event_reader = EventReader(
            viewer_of(viewer) if viewer is not None else None, has_scope(request, "confidential")
        )
        await reader.wait_for_position(min_position)
        position, recorded = await entries.entry(tenant, event_id)
        if recorded is None:
            raise Unknown(kind="entry", id=id)
        ref, fact = recorded.envelope.ref, recorded.envelope.data
        state = await entries.state(ref)
        legs = await entries.legs(recorded)
        if not event_reader.may_read(state, tag_of(fact)):
            raise Unknown(kind="entry", id=id)
        if is_party(event_reader.member, ref.kind, state):
            history = await entries.life(ref, position)
        elif event_reader.member in [leg.member for leg in legs]:
            history = [recorded]  # The viewer is paid by this entry, and is not a party of the aggregate.
        else:
            raise NotYours(role="party")
        disputed_by, reversed_by = corrections(await entries.life(dispute_ref(ref, fact), position))
        view = EntryView(
            entry=event_id,
            event=tag_of(fact),
            kind=ref.kind,
            id=ref.id,
            position=recorded.position,
            happened_at=recorded.envelope.time,
            recorded_at=recorded.recorded_at,
            actor=recorded.envelope.actor,
            policy_version=recorded.envelope.policyversion,
            rule=rule_in_words(fact),
            numbers=numbers_of(fact),
            legs=[LegView(**structs.asdict(leg)) for leg in legs],
            history=[
                past_event_view(event) for event in history if event_reader.may_read(state, tag_of(event.envelope.data))
            ],
            reverses=fact.entry_id if isinstance(fact, DisputeUpheld) and fact.remedy == "reversal" else None,
            disputed_by=disputed_by,
            reversed_by=reversed_by,
            cloudevent=msgspec.json.decode(recorded.body) if event_reader.member is None else None,
        )
        return with_position(view, position, viewer=viewer, min_position=min_position)

    return get_entry


def is_party(member: str | None, kind: str, state: State) -> bool:
    """Return whether the whole history may be read: by a service, by a party, or because the kind is public."""
    return member is None or not KINDS[kind].private or member in KINDS[kind].concerned(state)


def dispute_ref(ref: AggregateRef, fact: Event) -> AggregateRef:
    """Return the address that a dispute of this entry has, even if there is none."""
    return AggregateRef(ref.community, "dispute", str(dispute_id(UUID(ref.id), cast("DisputedEntry", tag_of(fact)))))


def corrections(dispute: list[JournalEvent]) -> tuple[UUID | None, UUID | None]:
    """Return the ids of the events that disputed and reversed the entry, each None if there is none."""
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
    """Return the integers that the posting rule uses. An event that posts nothing has none."""
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
