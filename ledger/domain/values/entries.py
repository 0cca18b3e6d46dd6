"""Journal entries: legs that sum to zero, and the transfers that entries are made of."""

from collections.abc import Callable, Iterable

from msgspec import Struct

from ledger.domain.values.ids import MemberId
from ledger.domain.values.points import Account, Amount, Points
from ledger.domain.values.refusals import Bug


class Transfer(Struct, frozen=True, omit_defaults=True, gc=False):
    """Points that go from one who received to one who gave, and count in the gross tallies of both."""

    payer: MemberId
    payee: MemberId
    points: Amount
    payer_account: Account = "main"


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
        if sum([leg.points for leg in self.legs]):
            raise Bug(f"unbalanced entry: {self.legs}")  # Not `assert`: python -O strips it.

    def __add__(self, other: "Entry") -> "Entry":
        return Entry(self.legs + other.legs)


EMPTY_ENTRY = Entry(())


def transfer(payer: MemberId, payee: MemberId, points: Points, *, payer_account: Account = "main") -> Entry:
    """`points` go from one who received to one who gave, and count in the gross tallies of both. None: nothing."""
    return pay((Transfer(payer, payee, points, payer_account),))


def gift(payer: MemberId, payee: MemberId, points: Points) -> Entry:
    """`points` go over on `main` only: the gross tallies stay. None: nothing."""
    return Entry((Leg(payer, "main", -points, payee), Leg(payee, "main", points, payer))) if points else EMPTY_ENTRY


def between_accounts(member: MemberId, source: Account, target: Account, points: Points) -> Entry:
    """A member's own points change account. Nothing, when there are none."""
    return Entry(move_legs(member, source, target, points)) if points else EMPTY_ENTRY


def move_legs(member: MemberId, source: Account, target: Account, points: Points) -> tuple[Leg, Leg]:
    return Leg(member, source, -points, None), Leg(member, target, points, None)


# What happens to transfers as a whole


def pay(transfers: Iterable[Transfer]) -> Entry:
    """Every transfer is made."""
    return entry_of(
        transfers,
        lambda t: (
            Leg(t.payer, t.payer_account, -t.points, t.payee, received=t.points),
            Leg(t.payee, "main", t.points, t.payer, given=t.points),
        ),
    )


def freeze(transfers: Iterable[Transfer]) -> Entry:
    """What was transferred is set aside on both sides, until it is known whether it stands."""
    return entry_of(
        transfers,
        lambda t: move_legs(t.payer, "disputed", "main", t.points) + move_legs(t.payee, "main", "disputed", t.points),
    )


def release(transfers: Iterable[Transfer]) -> Entry:
    """What was set aside goes back: the transfers stand."""
    return entry_of(
        transfers,
        lambda t: move_legs(t.payer, "main", "disputed", t.points) + move_legs(t.payee, "disputed", "main", t.points),
    )


def reverse(transfers: Iterable[Transfer]) -> Entry:
    """What was set aside is nobody's any more, and the gross tallies are as if it had never been transferred."""
    return entry_of(
        transfers,
        lambda t: (
            Leg(t.payer, "disputed", t.points, t.payee, received=-t.points),
            Leg(t.payee, "disputed", -t.points, t.payer, given=-t.points),
        ),
    )


def entry_of(transfers: Iterable[Transfer], legs: Callable[[Transfer], tuple[Leg, ...]]) -> Entry:
    """One entry of them all; a transfer of nothing has no legs."""
    return Entry(tuple([leg for transfer in transfers if transfer.points for leg in legs(transfer)]))
