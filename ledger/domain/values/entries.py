"""Journal entries: legs that sum to zero, and the transfers that they come from. See docs/domain.md#accounts."""

from collections.abc import Callable, Iterable

from msgspec import Struct

from ledger.domain.values.ids import MemberId
from ledger.domain.values.points import Account, Amount, Points
from ledger.domain.values.refusals import Bug


class Transfer(Struct, frozen=True, omit_defaults=True, gc=False):
    """Points from a payer, who received, to a payee, who gave. They count in the gross tallies of both."""

    payer: MemberId
    payee: MemberId
    points: Amount
    payer_account: Account = "main"


class Leg(Struct, frozen=True, gc=False):
    """A change of one account by `points`: positive if the member gave, negative if they received.

    `counterparty` is the member on the other side, or None if points move between accounts of one member. `given` and
    `received` are the points that the leg adds to the member's gross tallies, in total and with the counterparty.
    """

    member: MemberId
    account: Account
    points: Points
    counterparty: MemberId | None
    given: Points = 0
    received: Points = 0


class Entry(Struct, frozen=True, gc=False):
    """Legs that sum to zero. See docs/domain.md#entries-sum-to-zero.

    Raises: Bug, if the legs do not sum to zero. No entry is constructed.
    """

    legs: tuple[Leg, ...]

    def __post_init__(self) -> None:
        if sum([leg.points for leg in self.legs]):
            raise Bug(f"unbalanced entry: {self.legs}")  # Not `assert`: python -O removes it.

    def __add__(self, other: "Entry") -> "Entry":
        return Entry(self.legs + other.legs)


EMPTY_ENTRY = Entry(())


def gift(payer: MemberId, payee: MemberId, points: Points) -> Entry:
    """Return the entry of a gift: it moves points on `main` only, and the gross tallies stay.

    0 points give the empty entry. See docs/domain.md#forgiven-favour.
    """
    return Entry((Leg(payer, "main", -points, payee), Leg(payee, "main", points, payer))) if points else EMPTY_ENTRY


def between_accounts(member: MemberId, source: Account, target: Account, points: Points) -> Entry:
    """Return the entry that moves points between two accounts of a member; 0 points give the empty entry."""
    return Entry(move_legs(member, source, target, points)) if points else EMPTY_ENTRY


def move_legs(member: MemberId, source: Account, target: Account, points: Points) -> tuple[Leg, Leg]:
    """Return the legs that move `points` from one account of a member to another."""
    return Leg(member, source, -points, None), Leg(member, target, points, None)


# Entries of transfers


def pay(transfers: Iterable[Transfer]) -> Entry:
    """Return the entry that makes every transfer."""
    return entry_of_transfers(
        transfers,
        lambda t: (
            Leg(t.payer, t.payer_account, -t.points, t.payee, received=t.points),
            Leg(t.payee, "main", t.points, t.payer, given=t.points),
        ),
    )


def freeze(transfers: Iterable[Transfer]) -> Entry:
    """Return the entry that sets the transferred points aside on both sides while a dispute is open.

    See docs/domain.md#disputed-points-are-set-aside.
    """
    return entry_of_transfers(
        transfers,
        lambda t: move_legs(t.payer, "disputed", "main", t.points) + move_legs(t.payee, "main", "disputed", t.points),
    )


def release(transfers: Iterable[Transfer]) -> Entry:
    """Return the entry that moves the points back that `freeze` set aside. The transfers stand."""
    return entry_of_transfers(
        transfers,
        lambda t: move_legs(t.payer, "main", "disputed", t.points) + move_legs(t.payee, "disputed", "main", t.points),
    )


def reverse(transfers: Iterable[Transfer]) -> Entry:
    """Return the entry that removes the points that `freeze` set aside, and takes them out of the gross tallies.

    See docs/domain.md#dispute-reversal.
    """
    return entry_of_transfers(
        transfers,
        lambda t: (
            Leg(t.payer, "disputed", t.points, t.payee, received=-t.points),
            Leg(t.payee, "disputed", -t.points, t.payer, given=-t.points),
        ),
    )


def entry_of_transfers(transfers: Iterable[Transfer], legs: Callable[[Transfer], tuple[Leg, ...]]) -> Entry:
    """Return one entry with the legs of every transfer. A transfer of 0 points has no legs."""
    return Entry(tuple([leg for transfer in transfers if transfer.points for leg in legs(transfer)]))
