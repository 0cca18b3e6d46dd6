"""The operations that a caller can send, by name, and the lapse of each kind."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from msgspec import Struct

from ledger.domain.catalog.kinds import (
    ATTENDANCE,
    CONTACT,
    DISPUTE,
    FAVOUR,
    GATHERING,
    INTRO,
    MEMBER,
    ONE_TO_ONE,
    POLICY,
    REFERRAL,
    Kind,
)
from ledger.domain.kinds import attendance, contact, favour, gathering, member, one_to_one, publication, referral
from ledger.domain.kinds.dispute import commands as dispute_commands
from ledger.domain.kinds.intro import commands as intro_commands
from ledger.domain.values.aggregate_types import Command, Creation, Lapse
from ledger.domain.values.refusals import (
    AskedBefore,
    ExpectationMisplaced,
    GuardUnavailable,
    InboundAsks,
    LevelMisplaced,
    NobodyAsked,
    NoDues,
    OpenAsks,
    ParentNotWon,
    PartyToIt,
    PolicyInvalid,
    ReciprocityLimit,
    Refusal,
    RespondByOutOfRange,
    SelfDealing,
    StartsOutOfRange,
    TooLate,
    TooManyScheduled,
    UnderDispute,
    Unknown,
    WrongState,
)

Scope = Literal["moderate"]


class Operation(Struct, frozen=True, kw_only=True):
    """A command on a kind of aggregate, which a caller names, such as `favour.confirm`."""

    kind: Kind
    command: type[Command]
    refuses: tuple[type[Refusal], ...] = ()  # In addition to those of every creation or step.
    scope: Scope | None = None  # The scope that a key needs in addition to the right to write.

    @property
    def creates(self) -> bool:
        return issubclass(self.command, Creation)


OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType(
    {
        "favour.record": Operation(kind=FAVOUR, command=favour.RecordFavour, refuses=(SelfDealing,)),
        "favour.confirm": Operation(kind=FAVOUR, command=favour.ConfirmFavour),
        "favour.refuse": Operation(kind=FAVOUR, command=favour.RefuseFavour),
        "favour.forgive": Operation(kind=FAVOUR, command=favour.ForgiveFavour, refuses=(UnderDispute,)),
        "referral.give": Operation(
            kind=REFERRAL,
            command=referral.GiveReferral,
            refuses=(
                SelfDealing,
                Unknown,
                ParentNotWon,
            ),
        ),
        "referral.qualify": Operation(kind=REFERRAL, command=referral.QualifyReferral),
        "referral.disqualify": Operation(kind=REFERRAL, command=referral.DisqualifyReferral),
        "referral.contact": Operation(kind=REFERRAL, command=referral.ContactReferral),
        "referral.win": Operation(kind=REFERRAL, command=referral.WinReferral),
        "referral.lose": Operation(kind=REFERRAL, command=referral.LoseReferral),
        "intro.propose": Operation(
            kind=INTRO,
            command=intro_commands.ProposeIntro,
            refuses=(
                SelfDealing,
                LevelMisplaced,
                ExpectationMisplaced,
                RespondByOutOfRange,
                ReciprocityLimit,
                OpenAsks,
                InboundAsks,
                AskedBefore,
                GuardUnavailable,
            ),
        ),
        "intro.accept": Operation(kind=INTRO, command=intro_commands.AcceptIntro),
        "intro.decline": Operation(kind=INTRO, command=intro_commands.DeclineIntro),
        "intro.withdraw": Operation(kind=INTRO, command=intro_commands.WithdrawIntro),
        "intro.consent": Operation(kind=INTRO, command=intro_commands.ConsentIntro),
        "intro.refuse": Operation(kind=INTRO, command=intro_commands.RefuseIntro),
        "intro.make": Operation(kind=INTRO, command=intro_commands.MakeIntro),
        "intro.meet": Operation(kind=INTRO, command=intro_commands.MeetIntro),
        "intro.close": Operation(
            kind=INTRO,
            command=intro_commands.CloseIntro,
            refuses=(
                NobodyAsked,
                UnderDispute,
            ),
        ),
        "dispute.open": Operation(
            kind=DISPUTE,
            command=dispute_commands.OpenDispute,
            refuses=(
                Unknown,
                WrongState,
                TooLate,
            ),
        ),
        "dispute.uphold": Operation(
            kind=DISPUTE, command=dispute_commands.UpholdDispute, refuses=(PartyToIt,), scope="moderate"
        ),
        "dispute.reject": Operation(
            kind=DISPUTE, command=dispute_commands.RejectDispute, refuses=(PartyToIt,), scope="moderate"
        ),
        "member.join": Operation(kind=MEMBER, command=member.JoinMember, refuses=(SelfDealing,)),
        "member.pause": Operation(kind=MEMBER, command=member.PauseMember),
        "member.resume": Operation(kind=MEMBER, command=member.ResumeMember),
        "member.wants": Operation(kind=MEMBER, command=member.SetWants),
        "member.offers": Operation(kind=MEMBER, command=member.SetOffers),
        "member.caps": Operation(kind=MEMBER, command=member.SetCaps),
        "member.leave": Operation(kind=MEMBER, command=member.LeaveMember),
        "gathering.hold": Operation(kind=GATHERING, command=gathering.HoldGathering),
        "attendance.attend": Operation(kind=ATTENDANCE, command=attendance.Attend, refuses=(Unknown,)),
        "attendance.pay": Operation(kind=ATTENDANCE, command=attendance.PayDues, refuses=(NoDues,)),
        "contact.make": Operation(kind=CONTACT, command=contact.MakeContact, refuses=(SelfDealing,)),
        "one-to-one.book": Operation(kind=ONE_TO_ONE, command=one_to_one.BookOneToOne, refuses=(SelfDealing,)),
        "one-to-one.hold": Operation(kind=ONE_TO_ONE, command=one_to_one.HoldOneToOne),
        "one-to-one.cancel": Operation(kind=ONE_TO_ONE, command=one_to_one.CancelOneToOne),
        "policy.publish": Operation(
            kind=POLICY,
            command=publication.PublishPolicy,
            refuses=(
                PolicyInvalid,
                StartsOutOfRange,
                TooManyScheduled,
            ),
            scope="moderate",
        ),
    }
)

LAPSES: Final[Mapping[str, type[Lapse]]] = MappingProxyType(
    {
        "favour": favour.LapseFavour,
        "referral": referral.LapseReferral,
        "intro": intro_commands.LapseIntro,
        "dispute": dispute_commands.LapseDispute,
    }
)
"""The command of the clock worker for each kind with deadlines."""
