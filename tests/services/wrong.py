"""Wrong requests, one a row, and what each must be answered: a table for every test that needs one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import httpx

from ledger.domain.catalog.kinds import KINDS
from services.http.cursor import cursor_after
from services.http.parameters import BODY_MAX_BYTES
from services.query.filters import FILTER_NAMES, LISTED_KINDS
from tests.services.caller import Caller
from tests.services.lives import (
    ATTEND,
    BOOK,
    CANCEL,
    CLAIM,
    CONFIRM,
    DISPUTE,
    FAVOUR,
    GATHERING,
    GIVE,
    HOLD,
    INTRO,
    JOIN,
    LEAVE,
    LIVES,
    PAY,
    REFERRAL,
    REJECT,
    THANKS,
    Life,
    Request,
    address_in,
    by,
    lived,
)

NOBODY: Final = "0198c0de-0000-7000-8000-00000000ffff"
NO_MEMBERS: Final = {"NUL": "\0", "nobody": "", "a sentence": "ada and bob", "the clock": "clock", "a book": "a" * 65}
DEEP: Final = 100_000
THANKED: Final = FAVOUR | by("bob")


@dataclass(frozen=True)
class Wrong:
    """A request, and the status, code and facts of the problem that must answer it."""

    name: str
    status: int
    code: str
    path: str
    facts: Mapping[str, object] = field(default_factory=dict[str, object])
    body: object = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    method: str = "POST"

    async def sent_by(self, caller: Caller) -> httpx.Response:
        content = self.content if self.content is not None or self.method == "GET" else json.dumps(self.body).encode()
        headers = {"Content-Type": "application/json", **self.headers}
        path = self.path if self.path.startswith("/v1/") else caller.path(self.path)
        return await caller.client.request(self.method, path, content=content, headers=headers)


@dataclass(frozen=True)
class Recorded:
    """What the wrong requests are about."""

    claimed: str
    posted: str
    given: str
    offered: str
    asked: str
    made: str
    made_match: str
    opened: str
    rejected: str
    disputed: str
    here: str
    gone: str
    gathering: str
    attended: str
    free: str
    paid: str
    booked: str
    cancelled: str


FREE: Final = Request("gathering.hold", by("ada", host="ada"), "held")


async def recorded(caller: Caller) -> Recorded:
    well, match = LIVES["an intro that ends well"], LIVES["a match that is made and meets"]
    lives: dict[str, Life] = {
        "claimed": (CLAIM,),
        "posted": (THANKS,),
        "given": (GIVE,),
        "offered": match[:1],
        "asked": well[:1],
        "made": well[:4],
        "made_match": match[:4],
        "opened": (DISPUTE,),
        "rejected": (DISPUTE, REJECT),
        "here": (JOIN,),
        "gone": (JOIN, LEAVE),
        "gathering": (HOLD,),
        "attended": (ATTEND,),
        "paid": (ATTEND, PAY),
        "booked": (BOOK,),
        "cancelled": (BOOK, CANCEL),
    }
    await caller.recorded("/favours", THANKED, key="used")
    views = {name: await lived(caller, *life) for name, life in lives.items()}
    gathering = await lived(caller, FREE)
    free = await caller.recorded("/attendances", by("bob", member="bob", gathering=gathering["id"]))
    addresses = {name: address_in(view, lives[name][0].kind) for name, view in views.items()}
    return Recorded(**addresses, free=free["id"], disputed=views["opened"]["about"])


def keyed(**more: str) -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex, **more}


def a_favour(name: str, status: int, code: str, named: str | None = None, **changes: object) -> Wrong:
    """A thank-you with something wrong in it. `named`: the field that the answer must name."""
    body = {key: value for key, value in (THANKED | changes).items() if value is not ...}
    return Wrong(name, status, code, "/favours", {"field": named} if named else {}, body, headers=keyed())


def a_body(name: str, code: str, content: bytes) -> Wrong:
    """Something that is no object."""
    facts = {"field": "body", "source": "body"} if code == "invalid_field" else {}
    return Wrong(name, 400, code, "/favours", facts, content=content, headers=keyed())


def a_read(name: str, path: str, facts: Mapping[str, object], status: int = 400, code: str = "invalid_field") -> Wrong:
    return Wrong(name, status, code, path, facts, method="GET")


def a_query(name: str, path: str, named: str) -> Wrong:
    return a_read(name, path, {"field": named, "source": "query"})


def bodies() -> list[Wrong]:
    """What is no command at all."""
    too_long = b" " * (BODY_MAX_BYTES + 1)
    return [
        a_body("truncated JSON", "malformed_json", b'{"giver": "ada"'),
        a_body("no JSON", "malformed_json", b"giver=ada"),
        a_body(
            "more than one document",
            "malformed_json",
            b'{"giver":"ada","receiver":"bob","size":"small","actor":"bob"}{}',
        ),
        a_body("invalid UTF-8 in a string", "malformed_json", b'{"giver": "\xff"}'),
        a_body("a surrogate in UTF-8", "malformed_json", b'{"giver": "\xed\xa0\x80"}'),
        a_body("half of a surrogate pair", "malformed_json", rb'{"giver": "\ud800"}'),
        a_body("UTF-16", "malformed_json", json.dumps(THANKED).encode("utf-16")),
        a_body("deeply nested lists", "invalid_field", b"[" * DEEP + b"]" * DEEP),
        Wrong(
            "a deeply nested field",
            400,
            "invalid_field",
            "/favours",
            {"field": "giver"},
            content=b'{"giver":' * DEEP + b"1" + b"}" * DEEP,
            headers=keyed(),
        ),
        a_body("NaN", "malformed_json", b'{"giver": NaN}'),
        a_body("an empty body", "malformed_json", b""),
        a_body("a list", "invalid_field", b"[]"),
        a_body("a number", "invalid_field", b"7"),
        a_body("a string", "invalid_field", b'"favour"'),
        a_body("null", "invalid_field", b"null"),
        Wrong("a body over 1 MiB", 413, "too_large", "/favours", content=too_long, headers=keyed()),
    ]


def fields() -> list[Wrong]:
    """Commands with one field that is not of its form."""
    invalid = (400, "invalid_field")
    far = (datetime.now(UTC) + timedelta(minutes=6)).isoformat()

    def a_level(name: str, level: object) -> Wrong:
        body = REFERRAL | {"prospect": f"prospect-{uuid4().hex}", "level": level}
        return Wrong(f"a level {name}", 400, "invalid_field", "/referrals", {"field": "level"}, body)

    return [
        a_favour("an unknown field", *invalid, named="colour", colour="red"),
        a_favour("a missing field", *invalid, named="giver", giver=...),
        a_favour("a missing actor", *invalid, named="actor", actor=...),
        a_favour("a member that is a number", *invalid, named="giver", giver=7),
        a_favour("a member that is null", *invalid, named="giver", giver=None),
        a_favour("an empty member", *invalid, named="giver", giver=""),
        a_favour("a member of 65 characters", *invalid, named="giver", giver="a" * 65),
        a_favour("a member with a space", *invalid, named="giver", giver="a b"),
        a_favour("a member called clock", *invalid, named="actor", actor="clock"),
        a_favour("a member with a line break", *invalid, named="actor", actor="bob\n"),
        a_favour("a member with a NUL", *invalid, named="giver", giver="a\0"),
        a_favour("a member of other letters", *invalid, named="giver", giver="ädä"),
        a_favour("a size that is none", *invalid, named="size", size="huge"),
        a_favour("a size that is a huge integer", *invalid, named="size", size=10**400),
        a_favour("an id that is no UUID", *invalid, named="id", id="7"),
        a_favour("a gathering that is no UUID", *invalid, named="gathering", gathering=GATHERING + "0"),
        a_favour("a time without an offset", *invalid, named="occurred_at", occurred_at="2026-01-01T00:00:00"),
        a_favour("a time that is none", *invalid, named="occurred_at", occurred_at="yesterday"),
        a_favour("a time that is a huge integer", *invalid, named="occurred_at", occurred_at=10**400),
        a_favour("a time that is a number", *invalid, named="occurred_at", occurred_at=1_700_000_000),
        a_favour("a time before 1970", 422, "time_too_early", named="occurred_at", occurred_at="1969-12-31T23:59:59Z"),
        a_favour("a time in the future", 422, "time_in_future", named="occurred_at", occurred_at=far),
        a_level("of 0", 0),
        a_level("of 6", 6),
        a_level("that is a string", "3"),
        a_level("that is half", 2.5),
        a_level("that is true", True),
        a_level("of 400 digits", 10**400),
        Wrong("a tag in capitals", *invalid, "/referrals", {"field": "tags[1]"}, REFERRAL | {"tags": ["a", "B"]}),
        Wrong("17 tags", *invalid, "/referrals", {"field": "tags"}, REFERRAL | {"tags": ["a"] * 17}),
        Wrong("a prospect with a slash", *invalid, "/referrals", {"field": "prospect"}, REFERRAL | {"prospect": "a/b"}),
    ]


def keys(about: Recorded) -> list[Wrong]:
    """Headers."""
    confirm = f"/favours/{about.claimed}/confirm"
    bad_key = {"field": "Idempotency-Key", "source": "header"}
    bad_match = {"field": "If-Match", "source": "header"}
    return [
        Wrong("no key", 400, "idempotency_key_missing", "/favours", body=THANKED),
        *(
            Wrong(f"a key {name}", 400, "invalid_field", "/favours", bad_key, THANKED, headers={"Idempotency-Key": key})
            for name, key in {
                "that is empty": "",
                "that is empty between its quotes": '""',
                "of 129 characters": "k" * 129,
                "with a space": "a b",
                "with a quote inside": 'a"b',
                "with a backslash": "a\\b",
            }.items()
        ),
        Wrong(
            "a key of another request",
            422,
            "idempotency_key_reused",
            "/favours",
            {"kind": "favour"},
            THANKED | {"size": "large"},
            headers={"Idempotency-Key": "used"},
        ),
        *(
            Wrong(
                f"If-Match: {etag}", 400, "invalid_field", confirm, bad_match, CONFIRM.body, headers={"If-Match": etag}
            )
            for etag in ("1", '"one"', '"1", "2"', '"-1"', '"1234567890"', "")
        ),
        Wrong(
            "a creation of what must exist already",
            412,
            "version_mismatch",
            "/favours",
            {"if_match": 1, "version": 0},
            THANKED,
            headers=keyed(**{"If-Match": '"1"'}),
        ),
        Wrong(
            "an older version",
            412,
            "version_mismatch",
            f"/intros/{about.made}/meet",
            {"if_match": 3, "version": 4},
            by("ann"),
            headers={"If-Match": '"3"'},
        ),
    ]


def addresses(about: Recorded) -> list[Wrong]:
    """Paths and methods."""
    bad_id, bad_community = {"field": "id", "source": "path"}, {"field": "community", "source": "path"}
    bad_member = {"field": "member", "source": "path"}
    return [
        *(
            Wrong(f"community {name}", 400, "invalid_field", f"/v1/communities/{name}/favours", bad_community, THANKED)
            for name in ("Acme", "a", "7up", "a" * 41, "acme%0A", "a.b", "%2A", "a%20b", "%FF")
        ),
        a_read("a community to read of", "/v1/communities/Acme/summary", bad_community),
        Wrong("no UUID", 400, "invalid_field", "/favours/7/confirm", bad_id, CONFIRM.body),
        Wrong("a wildcard", 400, "invalid_field", "/favours/*/confirm", bad_id, CONFIRM.body),
        *(
            a_read(f"no UUID to read of {plural}", f"/{plural}/7", bad_id)
            for kind, plural in ((name, kind.plural) for name, kind in KINDS.items())
            if kind != "member"
        ),
        a_read("no UUID of a gathering", "/gatherings/7/yield", bad_id),
        Wrong("a member called clock", 400, "invalid_field", "/members/clock/pause", bad_member, by("eve")),
        *(
            a_read(f"member {name}", f"/members/{name}/balance", bad_member)
            for name in ("clock", "a%0A", "a%20b", "-a", "a" * 65, "%00", "%FF", "%F0%9F%98%80")
        ),
        *(
            a_read(f"{what} of no member", f"/members/a.b/{what}?viewer=ada", bad_member)
            for what in ("standing", "coach", "matches", "pairs")
        ),
        a_read("a member of no form", "/members/a.b", bad_member),
        a_read("the other", "/members/a/pairs/a.b", {"field": "other", "source": "path"}),
        *(
            a_read(
                f"an unknown {kind}", f"/{KINDS[kind].plural}/{NOBODY}", {"kind": kind, "id": NOBODY}, 404, "unknown"
            )
            for kind in KINDS
        ),
        Wrong("a step on nothing", 404, "unknown", f"/favours/{NOBODY}/confirm", {"kind": "favour"}, CONFIRM.body),
        Wrong("another kind's id", 404, "unknown", f"/intros/{about.claimed}/meet", {"kind": "intro"}, by("ann")),
        Wrong(
            "another community's id",
            404,
            "unknown",
            f"/v1/communities/zenith/favours/{about.claimed}/confirm",
            {"kind": "favour"},
            CONFIRM.body,
        ),
        Wrong("an unknown step", 404, "no_such_route", f"/favours/{about.claimed}/applaud", body=CONFIRM.body),
        Wrong("an unknown collection", 404, "no_such_route", "/favors", body=THANKED),
        Wrong("no community", 404, "no_such_route", "/v1/communities/", method="GET"),
        a_read("reading a step", f"/favours/{about.claimed}/confirm", {}, 405, "no_such_method"),
        Wrong("editing", 405, "no_such_method", f"/favours/{about.claimed}", method="PUT", body=THANKED),
        Wrong("deleting", 405, "no_such_method", f"/favours/{about.claimed}", method="DELETE"),
    ]


def rules(about: Recorded) -> list[Wrong]:
    """Requests that are well formed, and against a rule."""
    favour, other, referral = f"/favours/{about.claimed}", f"/favours/{about.posted}", f"/referrals/{about.given}"
    late = (datetime.now(UTC) + timedelta(days=15)).isoformat()
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    giver_or_receiver = {"role": "giver or receiver"}

    def proposed(name: str, code: str, facts: dict[str, object], **changes: object) -> Wrong:
        status = 403 if code == "not_yours" else 422
        return Wrong(name, status, code, "/intros", facts, INTRO | by("ann") | changes, headers=keyed())

    return [
        Wrong("a stranger's word", 403, "not_yours", "/favours", giver_or_receiver, FAVOUR | by("eve"), None, keyed()),
        Wrong("one's own claim", 403, "not_yours", f"{favour}/confirm", {"role": "receiver"}, by("ada")),
        Wrong("a gift of another's", 403, "not_yours", f"{other}/forgive", {"role": "giver"}, by("bob")),
        Wrong("another's referral", 403, "not_yours", "/referrals", {"role": "referrer"}, REFERRAL | by("bob")),
        Wrong("one's own referral", 403, "not_yours", f"{referral}/qualify", {"role": "recipient"}, by("ada")),
        Wrong("one's own ask", 403, "not_yours", f"/intros/{about.asked}/accept", {}, by("ann", level=1)),
        Wrong(
            "another's fault",
            403,
            "not_yours",
            f"/intros/{about.made}/close",
            {"role": "connector"},
            by("ann", outcome="no_result", fault="connector"),
        ),
        proposed("an intro by its target", "not_yours", {"role": "asker or connector"}, actor="tom"),
        Wrong(
            "a gift of what is only claimed",
            409,
            "wrong_state",
            f"{favour}/forgive",
            {"expected": "posted", "found": "claimed"},
            by("ada"),
        ),
        Wrong("a refusal after thanks", 409, "wrong_state", f"{other}/refuse", {"found": "posted"}, by("bob")),
        Wrong("won unqualified", 409, "wrong_state", f"{referral}/win", {"found": "given"}, by("bob", band="S")),
        Wrong("made unasked", 409, "wrong_state", f"/intros/{about.offered}/make", {"found": "offered"}, by("cas")),
        a_favour("a favour to oneself", 422, "self_dealing", giver="bob"),
        Wrong("a referral of oneself", 422, "self_dealing", "/referrals", {}, REFERRAL | {"prospect": "ada"}),
        proposed("an intro to oneself", "self_dealing", {"roles": ["asker", "connector", "target"]}, target="ann"),
        proposed("an ask with a level", "level_misplaced", {"field": "level"}, level=3),
        proposed("an offer without one", "level_misplaced", {"field": "level"}, actor="cas"),
        proposed("an answer due too late", "respond_by_out_of_range", {"field": "respond_by"}, respond_by=late),
        proposed("an answer due before it was asked", "respond_by_out_of_range", {}, respond_by=past),
        Wrong(
            "an asker's fault where nobody asked",
            422,
            "nobody_asked",
            f"/intros/{about.made_match}/close",
            {},
            by("ann", outcome="no_result", fault="asker"),
        ),
        Wrong("a parent not won", 409, "parent_not_won", "/referrals", {}, child_of(about.given)),
        Wrong("a parent unknown", 404, "unknown", "/referrals", {"id": NOBODY}, child_of(NOBODY)),
        Wrong("an id taken", 409, "already_exists", "/favours", {}, THANKED | {"id": about.claimed}),
        proposed(
            "an offer with a hope",
            "expectation_misplaced",
            {"field": "expects_percent"},
            actor="cas",
            level=1,
            expects_percent=50,
        ),
    ]


def disputes(about: Recorded) -> list[Wrong]:
    def opened(name: str, status: int, refusal: str, facts: dict[str, object], **changes: object) -> Wrong:
        body = by("bob", about=about.posted, entry="favour.thanked", code="not_mine") | changes
        return Wrong(name, status, refusal, "/disputes", facts, body)

    judge, over = f"/disputes/{about.opened}", f"/disputes/{about.rejected}"
    charged: dict[str, object] = {"role": "the one who was charged"}
    return [
        opened("a dispute of what never happened", 404, "unknown", {"kind": "favour", "id": NOBODY}, about=NOBODY),
        opened(
            "of an entry that it never had",
            404,
            "unknown",
            {"kind": "favour", "entry": "favour.confirmed"},
            entry="favour.confirmed",
        ),
        opened("of another kind's entry", 404, "unknown", {"kind": "intro"}, entry="intro.made"),
        opened("by one who was not charged", 403, "not_yours", charged, actor="ada"),
        opened("by a stranger", 403, "not_yours", charged, actor="eve"),
        opened("of a favour, for a ghost", 403, "not_yours", charged, code="asker_ghosted"),
        opened("a second time", 409, "already_exists", {"kind": "dispute"}, about=about.disputed, code="duplicate"),
        opened("of an entry that there is none of", 400, "invalid_field", {"field": "entry"}, entry="favour.sold"),
        opened("for no known reason", 400, "invalid_field", {"field": "code"}, code="unfair"),
        *(
            Wrong(f"a judge who is {who}", 403, "party_to_it", f"{judge}/{verb}", {}, by(who))
            for who in ("ada", "bob")
            for verb in ("uphold", "reject")
        ),
        Wrong("a word too late", 409, "wrong_state", f"{over}/uphold", {"found": "rejected"}, by("mod")),
        Wrong("a judgement of nothing", 404, "unknown", f"/disputes/{NOBODY}/reject", {"kind": "dispute"}, by("mod")),
        Wrong("a gift under dispute", 409, "under_dispute", f"/favours/{about.disputed}/forgive", {}, by("ada")),
    ]


def members(about: Recorded) -> list[Wrong]:
    here, gone = f"/members/{about.here}", f"/members/{about.gone}"
    invalid = (400, "invalid_field")
    many = [f"member-{number}" for number in range(101)]
    return [
        Wrong("joining for another", 403, "not_yours", "/members", {"role": "member"}, by("eve", member="fay")),
        Wrong("one's own sponsor", 422, "self_dealing", "/members", {}, by("eve", member="eve", sponsor="eve")),
        Wrong("joining again", 409, "already_exists", "/members", {}, by(about.here, member=about.here)),
        Wrong("pausing another", 403, "not_yours", f"{here}/pause", {"role": "member"}, by("eve")),
        Wrong("pausing one who left", 409, "wrong_state", f"{gone}/pause", {"found": "left"}, by(about.gone)),
        Wrong("resuming one who left", 409, "wrong_state", f"{gone}/resume", {"found": "left"}, by(about.gone)),
        Wrong("wants of one who left", 409, "wrong_state", f"{gone}/wants", {}, by(about.gone, tags=["law"])),
        Wrong("leaving before joining", 404, "unknown", "/members/nobody/leave", {"kind": "member"}, by("nobody")),
        Wrong("wants without tags", *invalid, f"{here}/wants", {"field": "tags"}, by(about.here)),
        Wrong("an offer in capitals", *invalid, f"{here}/offers", {"field": "tags[0]"}, by(about.here, tags=["Law"])),
        Wrong("less than no asks", *invalid, f"{here}/caps", {"field": "asks_in"}, by(about.here, asks_in=-1)),
        Wrong("1,001 asks", *invalid, f"{here}/caps", {"field": "asks_in"}, by(about.here, asks_in=1_001)),
        Wrong("101 welcome", *invalid, f"{here}/caps", {"field": "welcome"}, by(about.here, welcome=many)),
        Wrong(
            "the clock welcome", *invalid, f"{here}/caps", {"field": "welcome[0]"}, by(about.here, welcome=["clock"])
        ),
        a_read("another's balance", "/members/ada/balance?viewer=bob", {"role": "member"}, 403, "not_yours"),
        a_read("another's coach", "/members/ada/coach?viewer=bob", {"role": "member"}, 403, "not_yours"),
        a_read("a coach of nobody's", "/members/ada/coach", {"field": "viewer", "source": "query"}),
        a_read("a viewer of no form", "/members/ada/balance?viewer=a.b", {"field": "viewer", "source": "query"}),
    ]


def meetings(about: Recorded) -> list[Wrong]:
    """Gatherings, attendances, contacts and one-to-ones."""
    there = {"gathering": about.gathering}
    one_to_one = by("ada", member="ada", other="bob")
    return [
        Wrong(
            "another's gathering",
            403,
            "not_yours",
            "/gatherings",
            {"role": "host"},
            by("bob", host="ada"),
            None,
            keyed(),
        ),
        Wrong("a gathering taken", 409, "already_exists", "/gatherings", {}, by("eve", host="eve", id=about.gathering)),
        Wrong("a gathering unkeyed", 400, "idempotency_key_missing", "/gatherings", {}, by("eve", host="eve")),
        Wrong("attending for another", 403, "not_yours", "/attendances", {}, by("eve", member="bob", **there)),
        Wrong(
            "attending nothing",
            404,
            "unknown",
            "/attendances",
            {"kind": "gathering", "id": NOBODY},
            by("bob", member="bob", gathering=NOBODY),
        ),
        Wrong("dues by oneself", 403, "not_yours", f"/attendances/{about.attended}/pay", {"role": "host"}, by("bob")),
        Wrong("dues of none", 409, "no_dues", f"/attendances/{about.free}/pay", {}, by("ada")),
        Wrong("dues of nothing", 404, "unknown", f"/attendances/{NOBODY}/pay", {"kind": "attendance"}, by("ada")),
        Wrong("a contact of others", 403, "not_yours", "/contacts", {}, by("eve", member="ada", other="bob")),
        Wrong("a contact of oneself", 422, "self_dealing", "/contacts", {}, by("eve", member="eve", other="eve")),
        Wrong(
            "a contact with the clock", 400, "invalid_field", "/contacts", {}, by("eve", member="eve", other="clock")
        ),
        Wrong("others' one-to-one", 403, "not_yours", "/one-to-ones", {}, one_to_one | by("eve"), None, keyed()),
        Wrong(
            "one-to-one alone", 422, "self_dealing", "/one-to-ones", {}, one_to_one | {"other": "ada"}, None, keyed()
        ),
        Wrong("a stranger's word on it", 403, "not_yours", f"/one-to-ones/{about.booked}/hold", {}, by("eve")),
        Wrong(
            "held after it was called off",
            409,
            "wrong_state",
            f"/one-to-ones/{about.cancelled}/hold",
            {"expected": "booked", "found": "cancelled"},
            by("bob"),
        ),
    ]


def policies() -> list[Wrong]:
    def published(name: str, code: str, facts: dict[str, object], starts_in: timedelta, **policy: object) -> Wrong:
        starts_at = (datetime.now(UTC) + starts_in).isoformat()
        status = 400 if code == "invalid_field" else 422
        return Wrong(name, status, code, "/policies", facts, by("mod", policy=policy, starts_at=starts_at))

    day = timedelta(days=1)
    odd = {"1": 31, "2": 60, "3": 120, "4": 240, "5": 360}
    return [
        published("a policy at once", "starts_out_of_range", {"field": "starts_at"}, timedelta(seconds=50)),
        published("a policy of the past", "starts_out_of_range", {"field": "starts_at"}, -day),
        published("a policy in two years", "starts_out_of_range", {"field": "starts_at"}, 730 * day),
        published("half a table", "policy_invalid", {"field": "band_points"}, day, band_points={"S": 1}),
        published("no time at all", "policy_invalid", {"field": "ask_again"}, day, ask_again="PT0S"),
        published("eleven years", "policy_invalid", {"field": "newcomer"}, day, newcomer="P4015D"),
        published("an odd level", "invalid_field", {}, day, level_points=odd),
        published("points below none", "invalid_field", {"field": "policy.met_points"}, day, met_points=-1),
        published("a guard that is none", "invalid_field", {"field": "policy.guard"}, day, guard="strict"),
        published("a number that is none of ours", "invalid_field", {"field": "bonus"}, day, bonus=1),
        published("a duration that is none", "invalid_field", {"field": "policy.newcomer"}, day, newcomer="90 days"),
        Wrong(
            "no policy",
            400,
            "invalid_field",
            "/policies",
            {"field": "policy"},
            by("mod", starts_at="2999-01-01T00:00:00Z"),
        ),
        Wrong("no start", 400, "invalid_field", "/policies", {"field": "starts_at"}, by("mod", policy={})),
    ]


def child_of(parent: str) -> dict[str, Any]:
    return REFERRAL | {"prospect": "child", "parent": parent}


def queries() -> list[Wrong]:
    elsewhere = cursor_after("balances", "zenith", "ada")
    pairs_of_ada, balances = cursor_after("pairs ada", "acme", "bob"), cursor_after("balances", "acme", "ada")
    bad_cursors = {
        "of no form": "%21%21",
        "that is empty": "",
        "of other letters": "%C3%A9",
        "tampered with": balances[:-4] + "AAAA",
        "cut short": balances[:-2],
        "of another community": elsewhere,
        "of another list": pairs_of_ada,
        "of JSON that is none": "e30",
    }
    return [
        *(
            a_query(f"limit={limit}", f"/balances?limit={limit}", "limit")
            for limit in ("0", "501", "x", "-1", "1.5", "")
        ),
        *(a_query(f"min_position={at}", f"/summary?min_position={at}", "min_position") for at in ("-1", "x", "1.5")),
        *(a_query(f"a cursor {name}", f"/balances?cursor={cursor}", "cursor") for name, cursor in bad_cursors.items()),
        a_query("a cursor of another member", f"/members/bob/pairs?cursor={pairs_of_ada}", "cursor"),
        *(
            a_query(f"a made-up cursor after {name}", f"{path}?cursor={cursor_after(query, 'acme', after)}", "cursor")
            for name, after in NO_MEMBERS.items()
            for path, query in (("/balances", "balances"), ("/members/ada/pairs", "pairs ada"))
        ),
        a_query("a limit of pairs", "/members/ada/pairs?limit=501", "limit"),
    ]


def lists() -> list[Wrong]:
    """Of every kind, and of what one kind has and another has not."""

    def narrowed(path: str, named: str, said: str = "") -> Wrong:
        wrong = a_query(f"a list: {path}", path, named)
        return replace(wrong, facts={**wrong.facts, **({"reason": said} if said else {})})

    states = "must be one of claimed, posted, refused, lapsed, forgiven"
    pending = (
        "must be one of asked, offered, accepted, consented, made, met, closed, declined, refused, withdrawn, expired"
    )
    by_what = "can be listed by member, role, state, since"
    return [
        *(narrowed(f"/{KINDS[kind].plural}?colour=red", "colour") for kind in LISTED_KINDS),
        *(narrowed(f"/{KINDS[kind].plural}?limit=501", "limit") for kind in LISTED_KINDS),
        *(narrowed(f"/{KINDS[kind].plural}?cursor=e30", "cursor") for kind in LISTED_KINDS),
        *(narrowed(f"/{KINDS[kind].plural}?state=sold", "state") for kind in LISTED_KINDS),
        *(narrowed(f"/{KINDS[kind].plural}?role=judge&member=ada", "role") for kind in LISTED_KINDS),
        *(
            narrowed(f"/{KINDS[kind].plural}?tag=law", "tag")
            for kind in LISTED_KINDS
            if "tag" not in FILTER_NAMES[kind]
        ),
        *(
            narrowed(f"/{KINDS[kind].plural}?gathering={NOBODY}", "gathering")
            for kind in LISTED_KINDS
            if "gathering" not in FILTER_NAMES[kind]
        ),
        narrowed("/favours?role=referrer&member=ada", "role", "must be one of giver, receiver"),
        narrowed("/disputes?role=parties&member=ada", "role", "must be one of opener"),
        narrowed("/favours?role=giver", "role", "needs `member`, the member in this role"),
        narrowed("/favours?state=given", "state", states),
        narrowed("/favours?state=", "state", states),
        narrowed("/favours?state=posted%00", "state", states),
        narrowed("/intros?state=pending", "state", pending),
        narrowed("/intros?state=not_now", "state", pending),
        narrowed("/favours?state=pending&viewer=ada", "state", states),
        narrowed("/favours?tag=law", "tag", f"favours {by_what}, gathering"),
        narrowed("/disputes?tag=law", "tag", f"disputes {by_what}"),
        narrowed("/favours?giver=ada", "giver", f"favours {by_what}, gathering"),
        narrowed("/referrals?tag=Law", "tag"),
        narrowed("/members?tag=", "tag"),
        narrowed("/favours?member=clock", "member"),
        narrowed("/favours?member=a.b", "member"),
        narrowed("/favours?viewer=a.b", "viewer"),
        narrowed("/favours?gathering=7", "gathering"),
        narrowed("/favours?order=best", "order"),
        narrowed("/favours?min_position=-1", "min_position"),
        narrowed("/favours?limit=0", "limit"),
        narrowed("/favours?state=posted&state=claimed", "state", "must not be repeated"),
        narrowed("/favours?limit=1&limit=2", "limit", "must not be repeated"),
        *(
            narrowed(f"/favours?since={since}", "since")
            for since in (
                *("", "yesterday", "1700000000", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00 00:00"),
                *("2026-02-30T00:00:00Z", "10000-01-01T00:00:00Z", "2026-01-01T00:00:00%2B25:00"),
            )
        ),
        a_read("a list of policies", "/policies", {}, 405, "no_such_method"),
    ]


def batches() -> list[Wrong]:
    of_the_body = {"field": "body", "source": "body"}
    item = {"op": "favour.record", "idempotency_key": "k", "body": THANKED}
    return [
        Wrong("an empty batch", 400, "invalid_field", "/batch", of_the_body, []),
        Wrong("a batch of 1,001", 400, "invalid_field", "/batch", of_the_body, [item] * 1_001),
        Wrong("a batch that is an object", 400, "invalid_field", "/batch", of_the_body, item),
        Wrong("a batch that is a number", 400, "invalid_field", "/batch", of_the_body, 7),
        Wrong("a batch without a body", 400, "malformed_json", "/batch", content=b""),
        Wrong("a batch of no JSON", 400, "malformed_json", "/batch", content=b"[{]"),
        Wrong("a deeply nested batch", 400, "malformed_json", "/batch", content=b"[" * DEEP + b"]" * DEEP),
        Wrong("a batch over 1 MiB", 413, "too_large", "/batch", content=b" " * (BODY_MAX_BYTES + 1)),
        Wrong("a batch of no community", 400, "invalid_field", "/v1/communities/Acme/batch", {}, [item]),
    ]


def everything(about: Recorded) -> list[Wrong]:
    return [
        *bodies(),
        *fields(),
        *keys(about),
        *addresses(about),
        *rules(about),
        *disputes(about),
        *members(about),
        *meetings(about),
        *policies(),
        *queries(),
        *lists(),
        *batches(),
    ]
