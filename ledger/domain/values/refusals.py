"""Failures: refusals are part of the domain, and nothing catches a bug."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

Fact = str | int | bool | UUID | datetime | list[str] | None


class Bug(Exception):
    """A state that cannot happen. The process logs it and stops, and nothing commits."""


class Refusal(Exception):
    """A valid command that is not allowed. Nothing is recorded.

    The first line of a subclass's docstring is its title, for people. `facts` are its values, for programs.
    """

    code: ClassVar[str]  # Stable, because clients branch on it.

    def __init__(self, **facts: Fact) -> None:
        super().__init__(type(self).title(), facts)
        self.facts = facts

    @classmethod
    def title(cls) -> str:
        """Return the first line of the docstring, without its full stop."""
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
    """An aggregate with this id is already recorded."""

    code = "already_exists"


class Unknown(Refusal):
    """Nothing with this id is recorded in this community."""

    code = "unknown"


class NotDue(Refusal):
    """Its deadline has not passed."""

    code = "not_due"


class TimeInFuture(Refusal):
    """The time of the event is too far ahead of the ledger's time."""

    code = "time_in_future"


class TimeTooEarly(Refusal):
    """The time of the event is before 1970."""

    code = "time_too_early"


class RespondByOutOfRange(Refusal):
    """`respond_by` must lie after now, and not after the latest time that the policy allows."""

    code = "respond_by_out_of_range"


class LevelMisplaced(Refusal):
    """An offered intro needs a level, and an ask must not have one, because the connector chooses it."""

    code = "level_misplaced"


class ParentNotWon(Refusal):
    """The parent of a referral must be won."""

    code = "parent_not_won"


class NoDues(Refusal):
    """The gathering has no dues to pay."""

    code = "no_dues"


class NobodyAsked(Refusal):
    """An offered intro has no asker who could be at fault."""

    code = "nobody_asked"


class ExpectationMisplaced(Refusal):
    """Only an asker can state the expected chance of a yes; an offered intro has none."""

    code = "expectation_misplaced"


class TooLate(Refusal):
    """The time to dispute this entry is over."""

    code = "too_late"


class PartyToIt(Refusal):
    """A party to a dispute cannot judge it."""

    code = "party_to_it"


class UnderDispute(Refusal):
    """The entry is under dispute, so this must wait until the dispute ends."""

    code = "under_dispute"


class ReciprocityLimit(Refusal):
    """The asker received much more than they gave, and must give before they ask again."""

    code = "reciprocity_limit"


class OpenAsks(Refusal):
    """The asker has as many open asks as the policy allows."""

    code = "open_asks"


class InboundAsks(Refusal):
    """The connector takes no more asks for now."""

    code = "inbound_asks"


class AskedBefore(Refusal):
    """The asker asked this connector for this target too recently."""

    code = "asked_before"


class PolicyInvalid(Refusal):
    """A field of the policy is incomplete or out of its range."""

    code = "policy_invalid"


class StartsOutOfRange(Refusal):
    """The policy must start between the earliest and the latest time allowed."""

    code = "starts_out_of_range"


class TooManyScheduled(Refusal):
    """The maximum number of policies is scheduled; one with an earlier start replaces those after it."""

    code = "too_many_scheduled"


class GuardUnavailable(Refusal):
    """The community enforces the reciprocity guard, and the books that it reads do not respond. Try again."""

    code = "guard_unavailable"
