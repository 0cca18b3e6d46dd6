"""Commands of an introduction."""

from uuid import UUID

from ledger.domain.kinds.intro.states import Fault, Outcome, Percent
from ledger.domain.values.aggregate_types import Command, Creation, Lapse
from ledger.domain.values.ids import Instant, MemberId, Tags
from ledger.domain.values.points import Level

# Commands


class ProposeIntro(Creation, frozen=True, kw_only=True):
    """Said by the asker it asks, said by the connector it offers.

    An offer names its `level`; an ask does not, for the connector picks it. `respond_by` is when silence
    ends: after now and not later than the community allows, which is also what it is when left out.
    `expects_percent` is how likely the asker thinks a yes: only they will see it again.
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
    """The connector is willing, and vouches this far.

    Levels: 1 a contact who expects the call, 2 plus information, 3 plus a testimonial, 4 an arranged call,
    5 an introduction in person.
    """

    level: Level


class DeclineIntro(Command, frozen=True, kw_only=True):
    """The connector would rather not. Silent towards the asker, unless `tell_now`."""

    tell_now: bool = False


class WithdrawIntro(Command, frozen=True, kw_only=True):
    """The asker, or the connector of an offer, takes it back before it is made.

    An asker always may, for they cannot know whether somebody has said no.
    """


class ConsentIntro(Command, frozen=True, kw_only=True):
    """The target, or each of the two of an offer, agrees to be introduced."""


class RefuseIntro(Command, frozen=True, kw_only=True):
    """The target, or either of the two of an offer, would rather not. Silent, unless `tell_now`."""

    tell_now: bool = False


class MakeIntro(Command, frozen=True, kw_only=True):
    """The connector has introduced them."""


class MeetIntro(Command, frozen=True, kw_only=True):
    """The asker, or either of the two of an offer, says that they have met."""


class CloseIntro(Command, frozen=True, kw_only=True):
    """It is over. Anyone in it may say so; a fault is owned up to by the one at fault alone."""

    outcome: Outcome
    fault: Fault = "none"


class LapseIntro(Lapse, frozen=True, kw_only=True):
    """Silence ends it: an unanswered one expires, an open one closes."""


IntroStep = AcceptIntro | DeclineIntro | WithdrawIntro | ConsentIntro | RefuseIntro | MakeIntro | MeetIntro | CloseIntro
IntroCommand = ProposeIntro | IntroStep | LapseIntro
