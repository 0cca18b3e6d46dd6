"""The legs of a journal entry, and the seven movements of points that every entry consists of (docs/domain.md)."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

ACCOUNTS: Final = ("main", "stake", "disputed")


class Leg(NamedTuple):
    """One account of one member changes by `points`: up if the member gave, down if the member received.

    `counterparty` is None if the member's own points change account. `given` and `received` change the gross tallies.
    """

    member: str
    account: str
    counterparty: str | None
    points: int
    given: int = 0
    received: int = 0


Legs = tuple[Leg, ...]


def pay(payer: str, points: int, *, to: str, account: str = "main") -> Legs:
    """`payer -> to`. The payer pays from `account`, and the gross tallies of both rise."""
    return nonzero(Leg(payer, account, to, -points, received=points), Leg(to, "main", payer, points, given=points))


def forgive(giver: str, points: int, *, to: str) -> Legs:
    """`giver -> to` on `main` only: the debt is gone, the gross tallies stay."""
    return nonzero(Leg(giver, "main", to, -points), Leg(to, "main", giver, points))


def put_at_stake(connector: str, points: int) -> Legs:
    """The connector's `main -> stake`."""
    return move(connector, points, "main", "stake")


def return_stake(connector: str, points: int) -> Legs:
    """The connector's `stake -> main`."""
    return move(connector, points, "stake", "main")


def freeze(payer: str, points: int, *, payee: str) -> Legs:
    """The points of a disputed payment move to `disputed`: the debt of the payer and the credit of the payee."""
    return move(payer, points, "disputed", "main") + move(payee, points, "main", "disputed")


def unfreeze(payer: str, points: int, *, payee: str) -> Legs:
    """The points of a disputed payment move back to `main`: the payment stands."""
    return move(payer, points, "main", "disputed") + move(payee, points, "disputed", "main")


def reverse(payer: str, points: int, *, payee: str) -> Legs:
    """A frozen payment is undone, and the gross tallies of both fall."""
    return nonzero(
        Leg(payer, "disputed", payee, points, received=-points), Leg(payee, "disputed", payer, -points, given=-points)
    )


def move(member: str, points: int, source: str, target: str) -> Legs:
    """A member's own points change account."""
    return nonzero(Leg(member, source, None, -points), Leg(member, target, None, points))


def nonzero(*legs: Leg) -> Legs:
    """Return the legs that move points: a movement of no points has none."""
    return tuple(leg for leg in legs if leg.points)


def total_of(legs: Iterable[Leg]) -> Counter[tuple[str, str]]:
    """Sum the legs by member and account, and by member and gross tally (`given`, `received`)."""
    total = Counter[tuple[str, str]]()
    for leg in legs:
        total[leg.member, leg.account] += leg.points
        total[leg.member, "given"] += leg.given
        total[leg.member, "received"] += leg.received
    return total
