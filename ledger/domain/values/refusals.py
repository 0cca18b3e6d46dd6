"""Failures: a refusal is part of the domain, a bug is never caught."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

Fact = str | int | bool | UUID | datetime | list[str] | None


class Bug(Exception):
    """Something that cannot happen did. The process says so and stops; nothing commits."""


class Refusal(Exception):
    """The command is understood and refused; nothing was recorded.

    The first line of a subclass's docstring is what a person reads; `facts` are what a program reads.
    """

    code: ClassVar[str]  # Stable: clients branch on it.

    def __init__(self, **facts: Fact) -> None:
        super().__init__(type(self).says(), facts)
        self.facts = facts

    @classmethod
    def says(cls) -> str:
        return (cls.__doc__ or "").partition("\n")[0].removesuffix(".")


class NotYours(Refusal):
    """Only the member in this role may do this."""

    code = "not_yours"


class WrongState(Refusal):
    """The state it is in does not allow this."""

    code = "wrong_state"


class SelfDealing(Refusal):
    """The parties must be different members."""

    code = "self_dealing"


class AlreadyExists(Refusal):
    """One with this id is already recorded."""

    code = "already_exists"


class Unknown(Refusal):
    """Nothing with this id is recorded in this community."""

    code = "unknown"


class NotDue(Refusal):
    """Its deadline has not passed."""

    code = "not_due"


class TimeInFuture(Refusal):
    """It cannot have happened yet: the time given is too far ahead of the ledger's clock."""

    code = "time_in_future"


class TimeTooEarly(Refusal):
    """It cannot have happened then: the time given is before 1970."""

    code = "time_too_early"


class RespondByOutOfRange(Refusal):
    """The answer must be due after now, and no later than the community allows."""

    code = "respond_by_out_of_range"


class LevelMisplaced(Refusal):
    """An offer names its level; an ask does not, for the connector picks it."""

    code = "level_misplaced"


class ParentNotWon(Refusal):
    """A referral can only grow out of one that was won."""

    code = "parent_not_won"


class NoDues(Refusal):
    """The gathering has no dues to pay."""

    code = "no_dues"


class NobodyAsked(Refusal):
    """Nobody asked for this introduction, so no asker can be at fault."""

    code = "nobody_asked"


class ExpectationMisplaced(Refusal):
    """Only one who asks can say how likely they think a yes; an offer expects nothing."""

    code = "expectation_misplaced"


class TooLate(Refusal):
    """The time in which it could be disputed is over."""

    code = "too_late"


class PartyToIt(Refusal):
    """A dispute is judged by somebody who is party to none of it."""

    code = "party_to_it"


class UnderDispute(Refusal):
    """It is disputed, and has to wait until the dispute is over."""

    code = "under_dispute"


class ReciprocityLimit(Refusal):
    """So much was received, and so little given, that it takes giving before asking again."""

    code = "reciprocity_limit"


class OpenAsks(Refusal):
    """As many asks are open as one member may have at a time."""

    code = "open_asks"


class InboundAsks(Refusal):
    """The connector has been asked often enough for now."""

    code = "inbound_asks"


class AskedBefore(Refusal):
    """The same connector was asked for the same introduction not long ago."""

    code = "asked_before"


class PolicyInvalid(Refusal):
    """A field of the policy is incomplete or out of its range."""

    code = "policy_invalid"


class StartsOutOfRange(Refusal):
    """The policy must start soon enough, and far enough ahead for everybody to know."""

    code = "starts_out_of_range"


class TooManyScheduled(Refusal):
    """As many policies are scheduled as may be; one that starts earlier replaces those after it."""

    code = "too_many_scheduled"


class GuardUnavailable(Refusal):
    """The community enforces the reciprocity guard, and the books that it reads do not respond. Try again."""

    code = "guard_unavailable"
