"""Commands of an introduction."""

from uuid import UUID

from ledger.domain.kinds.intro.states import Fault, Outcome, Percent
from ledger.domain.values.aggregate_types import Command, Creation, Lapse
from ledger.domain.values.ids import Instant, MemberId, Tags
from ledger.domain.values.points import Level


class ProposeIntro(Creation, frozen=True, kw_only=True):
    """Ask for an introduction, as the asker, or offer one, as the connector.

    An offered intro needs a `level`; an ask has none, because the connector chooses it. `respond_by` is the end of the
    silence: after now, and at the latest at the end of the policy's time, which is the default. `expects_percent` is
    the chance of a yes that the asker expects; only the asker reads it again.
    """

    asker: MemberId
    connector: MemberId
    target: MemberId
    level: Level | None = None
    tags: Tags = ()
    respond_by: Instant | None = None
    expects_percent: Percent | None = None
    id: UUID | None = None
    gathering: UUID | None = None

    def own_id(self, community: str) -> UUID | None:
        return self.id


class AcceptIntro(Command, frozen=True, kw_only=True):
    """Accept an ask, as the connector, and choose how far to vouch.

    Levels: 1 a contact who expects the call, 2 and information, 3 and a testimonial, 4 an arranged call,
    5 an introduction in person.
    """

    level: Level


class DeclineIntro(Command, frozen=True, kw_only=True):
    """Decline an ask, as the connector. Only `tell_now` discloses it to the asker."""

    tell_now: bool = False


class WithdrawIntro(Command, frozen=True, kw_only=True):
    """Withdraw an ask, as the asker, or an offered intro, as the connector, before it is made.

    An asker can always withdraw, because a refusal would disclose that somebody said no.
    """


class ConsentIntro(Command, frozen=True, kw_only=True):
    """Agree to be introduced, as the target, or as each of the two members of an offered intro."""


class RefuseIntro(Command, frozen=True, kw_only=True):
    """Refuse to be introduced, as the target, or as either member of an offered intro.

    Only `tell_now` discloses it to the asker.
    """

    tell_now: bool = False


class MakeIntro(Command, frozen=True, kw_only=True):
    """Record that the introduction was made, as the connector."""


class MeetIntro(Command, frozen=True, kw_only=True):
    """Record that the members met, as the asker, or as either member of an offered intro."""


class CloseIntro(Command, frozen=True, kw_only=True):
    """Close an intro, as the asker, the connector or the target. A member can only admit their own fault."""

    outcome: Outcome
    fault: Fault = "none"


class LapseIntro(Lapse, frozen=True, kw_only=True):
    """End an intro at its deadline: an unanswered one expires, a made one closes."""


IntroStep = AcceptIntro | DeclineIntro | WithdrawIntro | ConsentIntro | RefuseIntro | MakeIntro | MeetIntro | CloseIntro
IntroCommand = ProposeIntro | IntroStep | LapseIntro
