"""The legs of an entry, and the seven movements of points that every entry consists of (docs/domain.md)."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

ACCOUNTS: Final = ("main", "stake", "disputed")


class Leg(NamedTuple):
    """A change of one account of one member by `points`: positive for a giver, negative for a receiver.

    `counterparty` is None if the points move between two accounts of the member. `given` and `received` change the
    gross tallies.
    """

    member: str
    account: str
    counterparty: str | None
    points: int
    given: int = 0
    received: int = 0


Legs = tuple[Leg, ...]


def pay(payer: str, points: int, *, to: str, account: str = "main") -> Legs:
    """Move points from `payer` to `to`. The payer pays from `account`, and the gross tallies of both rise."""
    return nonzero(Leg(payer, account, to, -points, received=points), Leg(to, "main", payer, points, given=points))


def forgive(giver: str, points: int, *, to: str) -> Legs:
    """Move points from `giver` to `to` on `main` only. The debt ends, and the gross tallies stay."""
    return nonzero(Leg(giver, "main", to, -points), Leg(to, "main", giver, points))


def put_at_stake(connector: str, points: int) -> Legs:
    """Move the connector's points from `main` to `stake`."""
    return move(connector, points, "main", "stake")


def return_stake(connector: str, points: int) -> Legs:
    """Move the connector's points from `stake` to `main`."""
    return move(connector, points, "stake", "main")


def freeze(payer: str, points: int, *, payee: str) -> Legs:
    """Move the points of a disputed payment to `disputed`: the payer's debt and the payee's credit."""
    return move(payer, points, "disputed", "main") + move(payee, points, "main", "disputed")


def unfreeze(payer: str, points: int, *, payee: str) -> Legs:
    """Move the points of a disputed payment back to `main`. The payment stands."""
    return move(payer, points, "main", "disputed") + move(payee, points, "disputed", "main")


def reverse(payer: str, points: int, *, payee: str) -> Legs:
    """Undo a frozen payment. The gross tallies of both fall."""
    return nonzero(
        Leg(payer, "disputed", payee, points, received=-points), Leg(payee, "disputed", payer, -points, given=-points)
    )


def move(member: str, points: int, source: str, target: str) -> Legs:
    """Move a member's points from one account to another."""
    return nonzero(Leg(member, source, None, -points), Leg(member, target, None, points))


def nonzero(*legs: Leg) -> Legs:
    """Return the legs that move points, without those of 0 points."""
    return tuple(leg for leg in legs if leg.points)


def total_of(legs: Iterable[Leg]) -> Counter[tuple[str, str]]:
    """Sum the legs by member and account, and by member and gross tally (`given`, `received`)."""
    total = Counter[tuple[str, str]]()
    for leg in legs:
        total[leg.member, leg.account] += leg.points
        total[leg.member, "given"] += leg.given
        total[leg.member, "received"] += leg.received
    return total
