"""Advice on an ask: the facts that the reciprocity guard weighs, and its result."""

from typing import Annotated, Final, Literal
from uuid import UUID

from msgspec import Meta, Struct

from ledger.domain.values.ids import Instant, MemberId, Tag
from ledger.domain.values.points import Amount, Points

SUGGESTIONS_MAX: Final = 3  # A longer list is read and not acted on.

Count = Annotated[int, Meta(ge=0, le=2**53 - 1, description="A number of items.")]
SignedPoints = Annotated[int, Meta(ge=-(2**53 - 1), le=2**53 - 1)]
Verdict = Literal["ok", "riding", "unavailable"]
Reason = Literal["reciprocity_limit", "open_asks", "inbound_asks", "asked_before"]


class Suggestion(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A way to give now.

    `id` names the ask of `answer_ask` and the favour of `confirm_favour`. `member` and `tag` name the want of
    `meet_want`.
    """

    way: Literal["answer_ask", "confirm_favour", "meet_want", "set_offers", "make_contact"]
    member: MemberId | None = None
    id: UUID | None = None
    tag: Tag | None = None

    def __str__(self) -> str:
        """Return the fields that are set, separated by spaces: `meet_want bob tax`."""
        return " ".join(str(word) for word in (self.way, self.member, self.id, self.tag) if word is not None)


class GuardFacts(Struct, frozen=True, kw_only=True):
    """The figures of the books when `member` asks a connector for an introduction to a target.

    - `received_items` counts the transfers that the member received within the policy's `riding_within`.
    - `attended` counts gatherings in the same period, and `dues_paid` the dues paid for them.
    - `since` is the time at which the member was first seen.
    - `invited`: the connector's `welcome` names the member.
    - `open_asks` counts the asks that the *asker* reads as pending. If a silent decline lowered the number, the number
      would disclose the decline.
    - `inbound_asks` counts the asks that reached the connector within `inbound_within`, in any state.
    - `inbound_max` is the connector's own cap; None means the policy's.
    - `last_same_ask_at` is the time at which the member last asked the same connector for the same target.

    See docs/domain.md#reciprocity-guard.
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
    """The result of the reciprocity guard for one ask.

    `verdict` is about the asker alone, so a riding member stays `riding` when invited. `unavailable` means that the
    books could not be read; nothing is held against the asker. A community that enforces the guard refuses the ask for
    its `reasons`. A riding asker gets `ways` to give.
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
