"""The books as the page of the domain has them: a second fold, in plain Python over the events' JSON.

Written from the page's tables alone. It uses no posting rule, no state machine and no number of an event, except the
numbers of a policy that was published; an envelope says which one it was decided under.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import cache
from itertools import groupby
from typing import Any, Final, NamedTuple
from uuid import UUID

from ledger.envelope import RecordedEvent
from tests.books.shown import Books

DEFAULTS: Final[dict[str, Any]] = {
    "size_points": {"small": 60, "medium": 120, "large": 240},
    "level_points": {"1": 30, "2": 60, "3": 120, "4": 240, "5": 360},
    "band_points": {"S": 60, "M": 120, "L": 240, "XL": 480},
    "parent_points": 60,
    "met_points": 30,
    "asker_fault_points": 60,
    "stake_from_level": 3,
}

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
    **{f"dispute.{word}": word for word in ("opened", "upheld", "rejected", "lapsed")},
    "member.joined": "active",
    "member.paused": "paused",
    "member.resumed": "active",
    "member.left": "left",
    "gathering.held": "held",
    "attendance.attended": "attended",
    "attendance.dues-paid": "paid",
    "contact.made": "made",
    "one-to-one.booked": "booked",
    "one-to-one.cancelled": "cancelled",
    "policy.published": "published",
}
# Silence ends these.
ENDING: Final = {
    "favour": ("claimed",),
    "referral": ("given", "qualified", "contacted"),
    "intro": ("asked", "offered", "accepted", "made", "met"),
    "dispute": ("opened",),
}
PARTIES: Final = {
    "favour": ("giver", "receiver"),
    "referral": ("referrer", "recipient"),
    "intro": ("asker", "connector", "target"),
    "dispute": ("opener",),
    "member": ("member",),
    "gathering": ("host",),
    "attendance": ("member",),
    "contact": ("member", "other"),
    "one-to-one": ("member", "other"),
    "policy": (),
}
# A favour, and an introduction: what builds trust, when it goes both ways.
HELP: Final = ("favour.thanked", "favour.confirmed", "intro.made", "intro.met")
# Whose fault an introduction was, if a moderator agrees. Another entry is wrong, and nobody's fault.
FAULTS: Final = {"asker_ghosted": "asker", "no_consent": "connector", "misdescribed": "connector"}

Leg = tuple[str, str, str | None, int, int, int]  # member, account, counterparty, points, given, received
Row = tuple[Any, ...]


def pays(payer: str, payee: str, points: int, account: str = "main") -> list[Leg]:
    """`payer -> payee`, and the gross tallies of both."""
    return [(payer, account, payee, -points, 0, points), (payee, "main", payer, points, points, 0)] if points else []


def gives_up(payer: str, payee: str, points: int) -> list[Leg]:
    """`payer -> payee` on `main` only."""
    return [(payer, "main", payee, -points, 0, 0), (payee, "main", payer, points, 0, 0)] if points else []


def moves(member: str, source: str, target: str, points: int) -> list[Leg]:
    """A member's own points change account."""
    return [(member, source, None, -points, 0, 0), (member, target, None, points, 0, 0)] if points else []


LANDMARK: Final = datetime(2020, 1, 1, tzinfo=UTC)
HALF_LIFE_HOURS: Final = 180 * 24


def weighed(points: int, at: datetime) -> int:
    """The points, doubled for every 180 days since 2020, in units of 2^-20: an hour counts once it has begun."""
    seconds = Decimal((at - LANDMARK).days * 86_400 + (at - LANDMARK).seconds)
    hours = int((seconds / 3_600).to_integral_value("ROUND_FLOOR"))
    with localcontext() as exact:
        exact.prec = 80
        return int((points * a_point_weighs(hours)).to_integral_value(ROUND_HALF_UP))


@cache
def a_point_weighs(hours: int) -> Decimal:
    with localcontext() as exact:
        exact.prec = 80
        return Decimal(2) ** (20 + Decimal(hours) / HALF_LIFE_HOURS)


class Charge(NamedTuple):
    """What an entry took, from whom and for whom, and when that happened which it was taken for."""

    at: datetime
    transfers: list[tuple[str, str, int]]


@dataclass
class Life:
    """One aggregate: what is known about it by what was said."""

    parties: Row
    began: int
    began_at_us: int
    version: int = 0
    position: int = 0
    state: str = ""
    known: dict[str, Any] = field(default_factory=dict[str, Any])
    charges: dict[str, Charge] = field(default_factory=dict[str, Charge])

    @property
    def gathering(self) -> str | None:
        return self.known.get("gathering")


@dataclass
class Said:
    """One event: its envelope, as far as it matters here."""

    position: int
    event: str
    at: datetime
    community: str
    own: str  # The aggregate's id.
    facts: dict[str, Any]
    policy: dict[str, Any]

    @property
    def reverses(self) -> bool:
        return self.event == "dispute.upheld" and self.facts["remedy"] == "reversal"


@dataclass
class PageBooks:
    """Everything the books must hold after these events."""

    journal: list[Row] = field(default_factory=list[Row])
    legs: dict[int, Counter[Leg]] = field(default_factory=dict[int, Counter[Leg]])
    told: dict[int, Row] = field(
        default_factory=dict[int, Row]
    )  # Of an entry: when it happened, by which rule, and at which gathering.
    balances: dict[tuple[str, str], Counter[str]] = field(default_factory=dict[tuple[str, str], Counter[str]])
    pairs: dict[tuple[str, str, str], Counter[str]] = field(default_factory=dict[tuple[str, str, str], Counter[str]])
    lives: dict[tuple[str, str, str], Life] = field(default_factory=dict[tuple[str, str, str], Life])
    remedies: dict[tuple[str, str, str], str] = field(default_factory=dict[tuple[str, str, str], str])
    policies: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict[tuple[str, int], dict[str, Any]])

    def record(self, events: Iterable[RecordedEvent]) -> "PageBooks":
        for event in events:
            envelope = json.loads(event.body)
            community = envelope["source"].rpartition("/")[2]
            kind, own = envelope["subject"].split("/")
            version = envelope["policyversion"]
            before = self.lives.get((community, kind, own))
            self.journal.append(
                (
                    event.position,
                    event.recorded_at_us,
                    community,
                    before.position if before else 0,
                    envelope["data"]["event"],
                    envelope["id"],
                    event.body.decode(),
                )
            )
            said = Said(
                position=event.position,
                event=envelope["data"]["event"],
                at=datetime.fromisoformat(envelope["time"]),
                community=community,
                own=own,
                facts=envelope["data"],
                policy=DEFAULTS if version == 1 else self.policies[community, version],
            )
            self.take(said, self.live(said, kind, event.recorded_at_us))
        return self

    def live(self, said: Said, kind: str, recorded_at_us: int) -> Life:
        facts, event = said.facts, said.event
        began = Life(tuple(facts.get(role) for role in PARTIES[kind]), said.position, recorded_at_us)
        life = self.lives.setdefault((said.community, kind, said.own), began)
        consents = life.known.get("consents", 0) + (event == "intro.consented")
        says_held = life.known.get("says_held", 0) + (event == "one-to-one.held")
        life.known = {"began": event, **life.known, **facts, "consents": consents, "says_held": says_held}
        life.version, life.position = life.version + 1, said.position
        match event:
            case "intro.consented":
                # An offer needs both.
                offered = life.known["began"] == "intro.offered" and consents < 2
                life.state = "offered" if offered else "consented"
            case "one-to-one.held":
                life.state = "held" if says_held == 2 else "booked"  # It counts when both say so.
            case "member.wants-set" | "member.offers-set" | "member.caps-set":
                life.known[event] = facts.get("tags", [])
            case _:
                life.state = STATES[event]
        return life

    def take(self, said: Said, life: Life) -> None:
        self.value(said, life.known)
        if legs := self.legs_of(said, life):
            self.legs[said.position] = Counter(legs)
            self.told[said.position] = (said.at, said.event, life.gathering)
            self.charge(said, life, legs)
            weigh_at, helps = said.at, said.event in HELP
            if said.reverses:
                weigh_at, helps = self.disputed(said.community, life).at, life.known["entry"] in HELP
            for leg in legs:
                self.post(said, leg, weigh_at, helps=helps)
        match said.event:
            case "intro.closed":
                fault = said.facts["fault"]
                self.holder(said, life.known["connector"])["broken" if fault == "connector" else "kept"] += 1
                if life.known["began"] == "intro.asked":  # Of an offer, no asker could be at fault.
                    self.holder(said, life.known["asker"])["broken" if fault == "asker" else "kept"] += 1
            case "dispute.upheld" if said.facts["remedy"] == "fault":
                about = self.lives[said.community, "intro", life.known["about"]]
                if about.state == "closed":  # It counted as kept when it was closed.
                    at_fault = about.known["asker" if said.facts["fault"] == "asker" else "connector"]
                    self.holder(said, at_fault)["kept"] -= 1
                    self.holder(said, at_fault)["broken"] += 1
            case "contact.made":
                self.pair(said.community, *life.parties)["contacts"] += 1
            case "intro.met":
                self.pair(said.community, life.known["asker"], life.known["target"])["contacts"] += 1
            case "one-to-one.held" if life.state == "held":
                self.pair(said.community, *life.parties)["one_to_ones"] += 1
            case "policy.published":
                self.policies[said.community, said.facts["policy"]["version"]] = said.facts["policy"]
            case "member.left":
                life.known |= {"member.wants-set": [], "member.offers-set": []}
            case _:
                pass

    def value(self, said: Said, known: dict[str, Any]) -> None:
        """What it is worth, by the policy of the day on which that was settled."""
        match said.event:
            case "favour.thanked" | "favour.claimed":
                known["worth"] = said.policy["size_points"][known["size"]]
            case "referral.given" | "intro.offered" | "intro.accepted":
                known["worth"] = said.policy["level_points"][str(known["level"])]
            case "intro.made":
                staked = known["level"] >= said.policy["stake_from_level"]
                known["at_stake"] = known["worth"] // 2 if staked else 0
            case "dispute.opened":
                known["fault_points"] = said.policy["asker_fault_points"]
            case _:
                pass

    def legs_of(self, said: Said, life: Life) -> list[Leg]:
        known = life.known
        match said.event:
            case "favour.thanked" | "favour.confirmed":
                return pays(known["receiver"], known["giver"], known["worth"])
            case "favour.forgiven":
                return gives_up(known["giver"], known["receiver"], known["worth"])
            case "referral.qualified":
                return pays(known["recipient"], known["referrer"], known["worth"])
            case "referral.won":
                return self.won(said, known)
            case "intro.made" | "intro.met":
                return self.introduced(said, known)
            case "intro.closed":
                return self.closed(said, life)
            case "dispute.opened":
                return self.set_aside(said, life, "disputed", "main")
            case "dispute.rejected" | "dispute.lapsed":
                return self.set_aside(said, life, "main", "disputed")
            case "dispute.upheld":
                return self.upheld(said, life)
            case _:
                return []

    def won(self, said: Said, known: dict[str, Any]) -> list[Leg]:
        legs = pays(known["recipient"], known["referrer"], said.policy["band_points"][known["band"]])
        if "parent" in known:
            first = self.lives[said.community, "referral", known["parent"]].known["referrer"]
            if first != known["recipient"]:
                legs += pays(known["recipient"], first, said.policy["parent_points"])
        return legs

    def introduced(self, said: Said, known: dict[str, Any]) -> list[Leg]:
        asker, connector, target, points = known["asker"], known["connector"], known["target"], known["worth"]
        matched = known["began"] == "intro.offered"
        if said.event == "intro.met":
            return [] if matched else pays(asker, target, said.policy["met_points"])
        half = points // 2
        paid = pays(asker, connector, half) + pays(target, connector, half)
        at_risk = moves(connector, "main", "stake", known["at_stake"])
        return (paid if matched else pays(asker, connector, points)) + at_risk

    def closed(self, said: Said, life: Life) -> list[Leg]:
        """A moderator may have settled it before: by the fault rule, and only the stake is left; or by a reversal."""
        known = life.known
        remedy = self.remedies.get((said.community, said.own, "intro.made"))
        back = moves(known["connector"], "stake", "main", known["at_stake"])
        if remedy == "fault":
            return back
        match known["fault"]:
            case "asker":
                points = said.policy["asker_fault_points"]
                return (
                    back
                    + pays(known["asker"], known["target"], points)
                    + pays(known["asker"], known["connector"], points)
                )
            case "connector":
                return made_good(known, 0 if remedy == "reversal" else known["worth"], "stake")
            case _:
                return back

    def set_aside(self, said: Said, life: Life, source: str, target: str) -> list[Leg]:
        """The disputed points of both sides change account: what the payer is charged moves the other way round."""
        legs: list[Leg] = []
        for payer, payee, points in self.disputed(said.community, life).transfers:
            legs += moves(payer, source, target, points) + moves(payee, target, source, points)
        return legs

    def upheld(self, said: Said, life: Life) -> list[Leg]:
        known = life.known
        self.remedies[said.community, known["about"], known["entry"]] = known["remedy"]
        if known["remedy"] == "reversal":
            return [
                leg
                for payer, payee, points in self.disputed(said.community, life).transfers
                for leg in (
                    (payer, "disputed", payee, points, 0, -points),
                    (payee, "disputed", payer, -points, -points, 0),
                )
            ]
        legs = self.set_aside(said, life, "main", "disputed")
        if known["remedy"] == "fault":
            intro = self.lives[said.community, "intro", known["about"]].known
            if FAULTS[known["code"]] == "asker":
                points = known["fault_points"]
                legs += pays(intro["asker"], intro["target"], points) + pays(intro["asker"], intro["connector"], points)
            else:
                legs += made_good(intro, intro["worth"], "main")
        return legs

    def charge(self, said: Said, life: Life, legs: Iterable[Leg]) -> None:
        """Remember what may be disputed."""
        charged = [(member, str(other), received) for member, _, other, _, _, received in legs if received > 0]
        life.charges[said.event] = Charge(said.at, charged)

    def disputed(self, community: str, dispute: Life) -> Charge:
        entry = dispute.known["entry"]
        return self.lives[community, entry.partition(".")[0], dispute.known["about"]].charges[entry]

    def post(self, said: Said, leg: Leg, weigh_at: datetime, *, helps: bool) -> None:
        member, account, counterparty, points, given, received = leg
        tally = self.holder(said, member)
        tally[account] += points
        tally["postings"] += 1
        for side, gross in (("given", given), ("received", received)):
            tally[side] += gross
            tally[f"recent_{side}"] += weighed(gross, weigh_at)
            tally["settled"] += (gross > 0) - (gross < 0)
        if counterparty is not None and given:
            pair = self.pair(said.community, member, counterparty)
            side = "low" if member == min(member, counterparty) else "high"
            pair[f"{side}_gave"] += given
            pair[f"{side}_helped"] += ((given > 0) - (given < 0)) * helps

    def holder(self, said: Said, member: str) -> Counter[str]:
        return self.balances.setdefault((said.community, member), Counter(first=said.position))

    def pair(self, community: str, one: str, other: str) -> Counter[str]:
        return self.pairs.setdefault((community, min(one, other), max(one, other)), Counter())

    @property
    def deadlines(self) -> set[Row]:
        return {
            (*key, datetime.fromisoformat(life.known["lapses_at"]))
            for key, life in self.lives.items()
            if life.state in ENDING.get(key[1], ())
        }

    @property
    def tags(self) -> set[Row]:
        return {
            (community, *life.parties, side, tag)
            for (community, kind, _), life in self.lives.items()
            if kind == "member" and life.state == "active"
            for side in ("want", "offer")
            for tag in life.known.get(f"member.{side}s-set", [])
        }

    @property
    def topics(self) -> set[Row]:
        return {
            (community, kind, tag, life.began)
            for (community, kind, _), life in self.lives.items()
            if kind in ("referral", "intro")
            for tag in life.known.get("tags", [])
        }


def made_good(intro: dict[str, Any], points: int, account: str) -> list[Leg]:
    """The connector's fault: who paid gets it back, and who was let down gets the stake, from this account."""
    asker, connector, target, stake = intro["asker"], intro["connector"], intro["target"], intro["at_stake"]
    if intro["began"] == "intro.asked":
        return pays(connector, asker, points) + pays(connector, target, stake, account)
    first, second = stake // 2, stake - stake // 2
    return (
        pays(connector, asker, points // 2)
        + pays(connector, target, points // 2)
        + pays(connector, asker, first, account)
        + pays(connector, target, second, account)
    )


# Holding the books against it

SUMS: Final = ("main", "stake", "disputed", "given", "received", "recent_given", "recent_received", "settled")
SUMS_MORE: Final = ("kept", "broken", "postings", "first")
PAIR_SUMS: Final = ("low_gave", "high_gave", "low_helped", "high_helped", "contacts", "one_to_ones")


async def held_against_the_page(books: Books, page: PageBooks) -> None:
    position, *_, body = page.journal[-1]
    assert await books.rows("SELECT position, event_id FROM checkpoint") == [(position, UUID(json.loads(body)["id"]))]
    exactly = "(extract(epoch FROM recorded_at) * 1000000)::bigint"
    columns = f"position, {exactly}, community, previous, name, event_id::text, event::text"
    assert await books.rows(f"SELECT {columns} FROM journal ORDER BY position") == page.journal
    await postings_held_against_the_page(books, page)
    await sums_held_against_the_page(books, page)
    exactly = "(extract(epoch FROM began_at) * 1000000)::bigint"
    columns = f"community, kind, id::text, version, position, state, began, {exactly}"
    rows = await books.rows(f"SELECT {columns}, party_1, party_2, party_3, gathering::text FROM aggregate")
    assert {row[:3]: row[3:] for row in rows} == {
        key: (life.version, life.position, life.state, life.began, life.began_at_us, *parties_of(life), life.gathering)
        for key, life in page.lives.items()
    }
    assert set(await books.rows("SELECT community, kind, id::text, due_at FROM deadline")) == page.deadlines
    assert set(await books.rows("SELECT community, member, side, tag FROM tag")) == page.tags
    assert set(await books.rows("SELECT community, kind, tag, began FROM topic")) == page.topics


def parties_of(life: Life) -> Row:
    others = [member for member in life.known.get("parties", []) if member not in life.parties]
    return (*life.parties, *others, None, None, None)[:3]


async def sums_held_against_the_page(books: Books, page: PageBooks) -> None:
    for table, keys, names, expected in (
        ("balance", ("community", "member"), (*SUMS, *SUMS_MORE), page.balances),
        ("pair", ("community", "low", "high"), PAIR_SUMS, page.pairs),
    ):
        rows = await books.rows(f"SELECT {', '.join((*keys, *names))} FROM {table}")
        found = {row[: len(keys)]: dict(zip(names, row[len(keys) :], strict=True)) for row in rows}
        assert found == {key: {name: tally[name] for name in names} for key, tally in expected.items()}


async def postings_held_against_the_page(books: Books, page: PageBooks) -> None:
    found: dict[int, Counter[Any]] = defaultdict(Counter)
    told: dict[int, Row] = {}
    running: Counter[tuple[str, str, str]] = Counter()
    rows = await books.rows(
        "SELECT position, leg, community, member, account, counterparty, points, given, received, balance_after,"
        " happened_at, rule, gathering::text FROM posting ORDER BY position, leg"
    )
    for position, leg, community, member, account, *rest, balance_after, happened_at, rule, gathering in rows:
        counterparty, points, given, received = rest
        assert leg == found[position].total()
        found[position][member, account, counterparty, points, given, received] += 1
        running[community, member, account] += points
        assert balance_after == running[community, member, account]
        assert told.setdefault(position, (happened_at, rule, gathering)) == (happened_at, rule, gathering)
    assert found == page.legs
    assert told == page.told


async def folios_held_against_the_postings(books: Books, lines: int) -> None:
    """Each member's postings in the order in which they came, `lines` a folio, but never an entry in two of them."""
    folios: list[Row] = []
    set_out: list[Row] = []
    columns = "community, member, position, happened_at, leg, counterparty, account, points, given, received"
    rows = await books.rows(f"SELECT {columns} FROM posting ORDER BY community, member, position, leg")
    for (community, member), postings in groupby(rows, key=lambda row: row[:2]):
        theirs = [row[2:] for row in postings]
        after = 0
        for number in range(1, len(theirs) // lines + 1):
            until = theirs[number * lines - 1][0]
            folios.append((community, member, number, after, until))
            sums: Counter[str] = Counter()
            for position, happened_at, leg, counterparty, account, *tallies in sorted(
                (row for row in theirs if after < row[0] <= until), key=lambda row: (row[1], row[0], row[2])
            ):
                sums.update(dict(zip((account, "given", "received"), tallies, strict=True)))
                of_all = (sums[name] for name in ("main", "stake", "disputed", "given", "received"))
                set_out.append((community, member, number, happened_at, position, leg, counterparty, *of_all))
            after = until
    assert await books.rows("SELECT * FROM folio ORDER BY community, member, number") == folios
    keys = "community, member, folio, happened_at, position, leg"
    assert await books.rows(f"SELECT * FROM folio_line ORDER BY {keys}") == set_out
