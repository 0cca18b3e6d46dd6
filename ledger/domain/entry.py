"""Journal entries: legs that sum to zero, and the transfers they are made of."""

from msgspec import Struct

from ledger.domain.refusals import Bug
from ledger.domain.values import Account, MemberId, Points


class Leg(Struct, frozen=True, gc=False):
    """One account moves by `points`: up when the member has given, down when they have received.

    `counterparty` is the member on the other side, or None when a member's own accounts move.
    `given` and `received` are what the leg adds to the member's gross tallies, with the counterparty.
    """

    member: MemberId
    account: Account
    points: Points
    counterparty: MemberId | None
    given: Points = 0
    received: Points = 0


class Entry(Struct, frozen=True, gc=False):
    """Legs that sum to zero. Positive: the member has given; negative: has received."""

    legs: tuple[Leg, ...]

    def __post_init__(self) -> None:
        if sum(leg.points for leg in self.legs):
            raise Bug(f"unbalanced entry: {self.legs}")  # Not `assert`: python -O strips it.

    def __add__(self, other: "Entry") -> "Entry":
        return Entry(self.legs + other.legs)


NOTHING = Entry(())


def transfer(payer: MemberId, payee: MemberId, points: Points, *, payer_account: Account = "main") -> Entry:
    """`points` go from one who received to one who gave, and count in the gross tallies of both. None: nothing."""
    if not points:
        return NOTHING
    return Entry(
        (
            Leg(payer, payer_account, -points, payee, received=points),
            Leg(payee, "main", points, payer, given=points),
        )
    )


def gift(payer: MemberId, payee: MemberId, points: Points) -> Entry:
    """`points` go over on `main` only: the gross tallies stay. None: nothing."""
    if not points:
        return NOTHING
    return Entry((Leg(payer, "main", -points, payee), Leg(payee, "main", points, payer)))


def within(member: MemberId, source: Account, target: Account, points: Points) -> Entry:
    """A member's own points change account. Nothing, when there are none."""
    if not points:
        return NOTHING
    return Entry((Leg(member, source, -points, None), Leg(member, target, points, None)))
