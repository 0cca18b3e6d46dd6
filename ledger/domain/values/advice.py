"""Advice on an ask: the facts that the reciprocity guard weighs, and its result."""

from typing import Annotated, Final, Literal
from uuid import UUID

from msgspec import Meta, Struct

from ledger.domain.values.ids import Instant, MemberId, Tag
from ledger.domain.values.points import Amount, Points

SUGGESTIONS_MAX: Final = 3  # More is a list to read, not a thing to do.

Count = Annotated[int, Meta(ge=0, le=2**53 - 1, description="How many.")]
SignedPoints = Annotated[int, Meta(ge=-(2**53 - 1), le=2**53 - 1)]
Verdict = Literal["ok", "riding", "unavailable"]
Reason = Literal["reciprocity_limit", "open_asks", "inbound_asks", "asked_before"]


class Suggestion(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Something to give now: an `answer_ask` or `confirm_favour` by its `id`, a want by its `member` and `tag`."""

    way: Literal["answer_ask", "confirm_favour", "meet_want", "set_offers", "make_contact"]
    member: MemberId | None = None
    id: UUID | None = None
    tag: Tag | None = None

    def __str__(self) -> str:
        """Its words in a row: `meet_want bob tax`."""
        return " ".join(str(word) for word in (self.way, self.member, self.id, self.tag) if word is not None)


class GuardFacts(Struct, frozen=True, kw_only=True):
    """What the books say when `member` asks a connector for an introduction to a target.

    `received_items` were received within the policy's `riding_within`; for as long counts what the member has done:
    gatherings `attended`, and `dues_paid` for them. `inbound_asks` reached the connector within `inbound_within`,
    whatever became of them. `open_asks` are those that the *asker* sees as pending: were a silent
    decline to free a place, the count would tell of it. `inbound_max` is the connector's own cap, None the community's.
    `since` is when the member was first seen, `invited` says that the connector's `welcome` names them, and
    `last_same_ask_at` is when the same asker last asked the same connector for the same target.
    """

    member: MemberId
    net: Points = 0
    limit: Points = 0
    given: Points = 0
    received: Points = 0
    received_items: int = 0
    attended: int = 0
    dues_paid: int = 0
    since: Instant | None = None
    paused: bool = False
    invited: bool = False
    open_asks: int = 0
    inbound_asks: int = 0
    inbound_max: int | None = None
    last_same_ask_at: Instant | None = None
    ways: tuple[Suggestion, ...] = ()


class Advice(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the guard has to say of an ask. `reasons` are what a community that enforces refuses it for.

    `verdict` is of the asker alone: one who rides and was invited still rides. `unavailable`: the books could not be
    asked, and nothing is held against anybody. `ways` to give are told to one who rides.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    net: SignedPoints = 0
    limit: Amount = 0
    given: Amount = 0
    received: Amount = 0
    received_items: Count = 0
    attended: Count = 0
    dues_paid: Count = 0
    open_asks: Count = 0
    open_asks_max: Count = 0
    inbound_asks: Count = 0
    inbound_asks_max: Count = 0
    again_at: Instant | None = None
    ways: tuple[Suggestion, ...] = ()
