"""The books as the page of the domain has them: a second fold, in plain Python over the events' JSON.

Written from the page's tables alone. It uses no posting rule, no state machine and no number of an event.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from ledger.envelope import Recorded
from tests.books.shown import Books

SIZES: Final = {"small": 60, "medium": 120, "large": 240}
LEVELS: Final = {1: 30, 2: 60, 3: 120, 4: 240, 5: 360}
BANDS: Final = {"S": 60, "M": 120, "L": 240, "XL": 480}
PARENT, MET, FAULT, STAKED_FROM = 60, 30, 60, 3

STATES: Final = {
    "favour.thanked": "posted",
    "favour.claimed": "claimed",
    "favour.confirmed": "posted",
    "favour.refused": "refused",
    "favour.lapsed": "lapsed",
    "favour.forgiven": "forgiven",
    **{f"referral.{word}": word for word in ("given", "qualified", "disqualified", "contacted", "won", "lost")},
    "referral.lapsed": "lapsed",
    **{f"intro.{word}": word for word in ("asked", "offered", "accepted", "declined", "withdrawn", "refused")},
    **{f"intro.{word}": word for word in ("expired", "made", "met", "closed")},
}
PARTIES: Final = {
    "favour": ("giver", "receiver"),
    "referral": ("referrer", "recipient"),
    "intro": ("asker", "connector", "target"),
}

Leg = tuple[str, str, str | None, int, int, int]  # member, account, counterparty, points, given, received
Row = tuple[Any, ...]


def pays(payer: str, payee: str, points: int, account: str = "main") -> list[Leg]:
    """`payer -> payee`, and the gross tallies of both."""
    return [(payer, account, payee, -points, 0, points), (payee, "main", payer, points, points, 0)]


def gives_up(payer: str, payee: str, points: int) -> list[Leg]:
    """`payer -> payee` on `main` only."""
    return [(payer, "main", payee, -points, 0, 0), (payee, "main", payer, points, 0, 0)]


def moves(member: str, source: str, target: str, points: int) -> list[Leg]:
    """A member's own points change account."""
    return [(member, source, None, -points, 0, 0), (member, target, None, points, 0, 0)] if points else []


@dataclass
class Life:
    """One aggregate: what is known about it by what was said."""

    parties: Row
    version: int = 0
    position: int = 0
    state: str = ""
    known: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass
class PageBooks:
    """Everything the books must hold after these events."""

    journal: list[Row] = field(default_factory=list[Row])
    legs: dict[int, Counter[Leg]] = field(default_factory=dict[int, Counter[Leg]])
    balances: dict[tuple[str, str], Counter[str]] = field(default_factory=dict[tuple[str, str], Counter[str]])
    pairs: dict[tuple[str, str, str], Counter[str]] = field(default_factory=dict[tuple[str, str, str], Counter[str]])
    lives: dict[str, dict[tuple[str, str], Life]] = field(
        default_factory=lambda: defaultdict[str, dict[tuple[str, str], Life]](dict)
    )

    def record(self, events: Iterable[Recorded]) -> "PageBooks":
        for event in events:
            self.journal.append((event.position, event.recorded_at_us, event.body.decode()))
            said = json.loads(event.body)
            facts = said["data"]
            community = said["source"].rpartition("/")[2]
            kind, _, own = said["subject"].partition("/")
            life = self.live(kind, community, own, facts)
            life.version, life.position = life.version + 1, event.position
            if legs := self.legs_of(community, facts["event"], life.known):
                self.legs[event.position] = Counter(legs)
                for leg in legs:
                    self.post(community, leg)
        return self

    def live(self, kind: str, community: str, own: str, facts: dict[str, Any]) -> Life:
        parties = tuple(facts[role] for role in PARTIES[kind])
        life = self.lives[kind].setdefault((community, own), Life(parties))
        consents = life.known.get("consents", 0) + (facts["event"] == "intro.consented")
        life.known = {"began": facts["event"], **life.known, **facts, "consents": consents}
        if facts["event"] == "intro.consented":
            # An offer needs both.
            life.state = "offered" if life.known["began"] == "intro.offered" and consents < 2 else "consented"
        else:
            life.state = STATES[facts["event"]]
        return life

    def legs_of(self, community: str, event: str, known: dict[str, Any]) -> list[Leg]:
        match event:
            case "favour.thanked" | "favour.confirmed":
                return pays(known["receiver"], known["giver"], SIZES[known["size"]])
            case "favour.forgiven":
                return gives_up(known["giver"], known["receiver"], SIZES[known["size"]])
            case "referral.qualified":
                return pays(known["recipient"], known["referrer"], LEVELS[known["level"]])
            case "referral.won":
                return self.won(community, known)
            case "intro.made" | "intro.met" | "intro.closed":
                return self.introduced(event, known)
            case _:
                return []

    def won(self, community: str, known: dict[str, Any]) -> list[Leg]:
        legs = pays(known["recipient"], known["referrer"], BANDS[known["band"]])
        if "parent" in known:
            first = self.lives["referral"][community, known["parent"]].known["referrer"]
            if first != known["recipient"]:
                legs += pays(known["recipient"], first, PARENT)
        return legs

    def introduced(self, event: str, known: dict[str, Any]) -> list[Leg]:
        asker, connector, target = known["asker"], known["connector"], known["target"]
        points = LEVELS[known["level"]]
        stake = points // 2 if known["level"] >= STAKED_FROM else 0
        matched = known["began"] == "intro.offered"
        match event, known.get("fault"):
            case "intro.made", _:
                half = points // 2
                paid = pays(asker, connector, half) + pays(target, connector, half)
                return (paid if matched else pays(asker, connector, points)) + moves(connector, "main", "stake", stake)
            case "intro.met", _:
                return [] if matched else pays(asker, target, MET)
            case _, "asker":
                owned_up = pays(asker, target, FAULT) + pays(asker, connector, FAULT)
                return moves(connector, "stake", "main", stake) + owned_up
            case _, "connector":
                payers, let_down = ([asker, target],) * 2 if matched else ([asker], [target])
                legs = [leg for member in payers for leg in pays(connector, member, points // len(payers))]
                for member in let_down if stake else []:
                    legs += pays(connector, member, stake // len(let_down), "stake")
                return legs
            case _:
                return moves(connector, "stake", "main", stake)

    def post(self, community: str, leg: Leg) -> None:
        member, account, counterparty, points, given, received = leg
        self.balances.setdefault((community, member), Counter()).update(
            {account: points, "given": given, "received": received}
        )
        if counterparty is not None and (given or received):
            self.pairs.setdefault((community, member, counterparty), Counter()).update(
                {"given": given, "received": received}
            )


# Holding the books against it


async def held_against_the_page(books: Books, page: PageBooks) -> None:
    position, _, body = page.journal[-1]
    assert await books.rows("SELECT position, event_id FROM checkpoint") == [(position, UUID(json.loads(body)["id"]))]
    exactly = "(extract(epoch FROM recorded_at) * 1000000)::bigint"
    assert await books.rows(f"SELECT position, {exactly}, event::text FROM journal ORDER BY position") == page.journal
    await postings_held_against_the_page(books, page)
    assert {
        (community, member): points
        for community, member, *points in await books.rows(
            "SELECT community, member, main, stake, given, received FROM balance"
        )
    } == {
        holder: [tally["main"], tally["stake"], tally["given"], tally["received"]]
        for holder, tally in page.balances.items()
    }
    assert {tuple(row) for row in await books.rows("SELECT community, member, other, given, received FROM pair")} == {
        (*pair, tally["given"], tally["received"]) for pair, tally in page.pairs.items()
    }
    for kind, parties in PARTIES.items():
        columns = f"community, id::text, version, position, state, {', '.join(parties)}"
        assert {tuple(row) for row in await books.rows(f"SELECT {columns} FROM {kind}")} == {
            (*ref, life.version, life.position, life.state, *life.parties) for ref, life in page.lives[kind].items()
        }


async def postings_held_against_the_page(books: Books, page: PageBooks) -> None:
    found: dict[int, Counter[Any]] = defaultdict(Counter)
    running: Counter[tuple[str, str, str]] = Counter()
    rows = await books.rows(
        "SELECT position, leg, community, member, account, counterparty, points, given, received, balance_after"
        " FROM posting ORDER BY position, leg"
    )
    for position, leg, community, member, account, *rest, balance_after in rows:
        counterparty, points, given, received = rest
        assert leg == found[position].total()
        found[position][member, account, counterparty, points, given, received] += 1
        running[community, member, account] += points
        assert balance_after == running[community, member, account]
    assert found == page.legs
