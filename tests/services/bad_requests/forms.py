"""Requests that break the form of bodies, fields, headers or addresses."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from ledger.domain.catalog.kinds import KINDS
from services.http.parameters import BODY_MAX_BYTES
from tests.services.bad_requests.case import (
    NESTING,
    THANKED,
    UNKNOWN_ID,
    BadRequest,
    bad_body,
    bad_favour,
    bad_read,
    new_key,
)
from tests.services.bad_requests.subjects import Subjects
from tests.services.lifecycles import CONFIRM, GATHERING, REFERRAL, by


def bad_bodies() -> list[BadRequest]:
    """Return bodies that are not a command."""
    too_long = b" " * (BODY_MAX_BYTES + 1)
    return [
        bad_body("truncated JSON", "malformed_json", b'{"giver": "ada"'),
        bad_body("no JSON", "malformed_json", b"giver=ada"),
        bad_body(
            "more than one document",
            "malformed_json",
            b'{"giver":"ada","receiver":"bob","size":"small","actor":"bob"}{}',
        ),
        bad_body("invalid UTF-8 in a string", "malformed_json", b'{"giver": "\xff"}'),
        bad_body("a surrogate in UTF-8", "malformed_json", b'{"giver": "\xed\xa0\x80"}'),
        bad_body("half of a surrogate pair", "malformed_json", rb'{"giver": "\ud800"}'),
        bad_body("UTF-16", "malformed_json", json.dumps(THANKED).encode("utf-16")),
        bad_body("deeply nested lists", "invalid_field", b"[" * NESTING + b"]" * NESTING),
        BadRequest(
            "a deeply nested field",
            400,
            "invalid_field",
            "/favours",
            {"field": "giver"},
            content=b'{"giver":' * NESTING + b"1" + b"}" * NESTING,
            headers=new_key(),
        ),
        bad_body("NaN", "malformed_json", b'{"giver": NaN}'),
        bad_body("an empty body", "malformed_json", b""),
        bad_body("a list", "invalid_field", b"[]"),
        bad_body("a number", "invalid_field", b"7"),
        bad_body("a string", "invalid_field", b'"favour"'),
        bad_body("null", "invalid_field", b"null"),
        BadRequest("a body over 1 MiB", 413, "too_large", "/favours", content=too_long, headers=new_key()),
    ]


def bad_fields() -> list[BadRequest]:
    """Return commands with one field of a wrong form."""
    invalid = (400, "invalid_field")
    far = (datetime.now(UTC) + timedelta(minutes=6)).isoformat()

    def a_level(name: str, level: object) -> BadRequest:
        body = REFERRAL | {"prospect": f"prospect-{uuid4().hex}", "level": level}
        return BadRequest(f"a level {name}", 400, "invalid_field", "/referrals", {"field": "level"}, body)

    return [
        bad_favour("an unknown field", *invalid, named="colour", colour="red"),
        bad_favour("a missing field", *invalid, named="giver", giver=...),
        bad_favour("a missing actor", *invalid, named="actor", actor=...),
        bad_favour("a member that is a number", *invalid, named="giver", giver=7),
        bad_favour("a member that is null", *invalid, named="giver", giver=None),
        bad_favour("an empty member", *invalid, named="giver", giver=""),
        bad_favour("a member of 65 characters", *invalid, named="giver", giver="a" * 65),
        bad_favour("a member with a space", *invalid, named="giver", giver="a b"),
        bad_favour("a member called clock", *invalid, named="actor", actor="clock"),
        bad_favour("a member with a line break", *invalid, named="actor", actor="bob\n"),
        bad_favour("a member with a NUL", *invalid, named="giver", giver="a\0"),
        bad_favour("a member of other letters", *invalid, named="giver", giver="ädä"),
        bad_favour("a size that is none", *invalid, named="size", size="huge"),
        bad_favour("a size that is a huge integer", *invalid, named="size", size=10**400),
        bad_favour("an id that is no UUID", *invalid, named="id", id="7"),
        bad_favour("a gathering that is no UUID", *invalid, named="gathering", gathering=GATHERING + "0"),
        bad_favour("a time without an offset", *invalid, named="occurred_at", occurred_at="2026-01-01T00:00:00"),
        bad_favour("a time that is none", *invalid, named="occurred_at", occurred_at="yesterday"),
        bad_favour("a time that is a huge integer", *invalid, named="occurred_at", occurred_at=10**400),
        bad_favour("a time that is a number", *invalid, named="occurred_at", occurred_at=1_700_000_000),
        bad_favour(
            "a time before 1970", 422, "time_too_early", named="occurred_at", occurred_at="1969-12-31T23:59:59Z"
        ),
        bad_favour("a time in the future", 422, "time_in_future", named="occurred_at", occurred_at=far),
        a_level("of 0", 0),
        a_level("of 6", 6),
        a_level("that is a string", "3"),
        a_level("that is half", 2.5),
        a_level("that is true", True),
        a_level("of 400 digits", 10**400),
        BadRequest("a tag in capitals", *invalid, "/referrals", {"field": "tags[1]"}, REFERRAL | {"tags": ["a", "B"]}),
        BadRequest("17 tags", *invalid, "/referrals", {"field": "tags"}, REFERRAL | {"tags": ["a"] * 17}),
        BadRequest(
            "a prospect with a slash", *invalid, "/referrals", {"field": "prospect"}, REFERRAL | {"prospect": "a/b"}
        ),
    ]


def bad_headers(about: Subjects) -> list[BadRequest]:
    """Return headers of a wrong form, and versions and keys that do not match."""
    confirm = f"/favours/{about.claimed}/confirm"
    bad_key = {"field": "Idempotency-Key", "source": "header"}
    bad_match = {"field": "If-Match", "source": "header"}
    return [
        BadRequest("no key", 400, "idempotency_key_missing", "/favours", body=THANKED),
        *(
            BadRequest(
                f"a key {name}", 400, "invalid_field", "/favours", bad_key, THANKED, headers={"Idempotency-Key": key}
            )
            for name, key in {
                "that is empty": "",
                "that is empty between its quotes": '""',
                "of 129 characters": "k" * 129,
                "with a space": "a b",
                "with a quote inside": 'a"b',
                "with a backslash": "a\\b",
            }.items()
        ),
        BadRequest(
            "a key of another request",
            422,
            "idempotency_key_reused",
            "/favours",
            {"kind": "favour"},
            THANKED | {"size": "large"},
            headers={"Idempotency-Key": "used"},
        ),
        *(
            BadRequest(
                f"If-Match: {etag}", 400, "invalid_field", confirm, bad_match, CONFIRM.body, headers={"If-Match": etag}
            )
            for etag in ("1", '"one"', '"1", "2"', '"-1"', '"1234567890"', "")
        ),
        BadRequest(
            "a creation of what must exist already",
            412,
            "version_mismatch",
            "/favours",
            {"if_match": 1, "version": 0},
            THANKED,
            headers=new_key(**{"If-Match": '"1"'}),
        ),
        BadRequest(
            "an older version",
            412,
            "version_mismatch",
            f"/intros/{about.made}/meet",
            {"if_match": 3, "version": 4},
            by("ann"),
            headers={"If-Match": '"3"'},
        ),
    ]


def bad_addresses(about: Subjects) -> list[BadRequest]:
    """Return paths and methods without a route."""
    bad_id, bad_community = {"field": "id", "source": "path"}, {"field": "community", "source": "path"}
    bad_member = {"field": "member", "source": "path"}
    return [
        *(
            BadRequest(
                f"community {name}", 400, "invalid_field", f"/v1/communities/{name}/favours", bad_community, THANKED
            )
            for name in ("Acme", "a", "7up", "a" * 41, "acme%0A", "a.b", "%2A", "a%20b", "%FF")
        ),
        bad_read("a community to read of", "/v1/communities/Acme/summary", bad_community),
        BadRequest("no UUID", 400, "invalid_field", "/favours/7/confirm", bad_id, CONFIRM.body),
        BadRequest("a wildcard", 400, "invalid_field", "/favours/*/confirm", bad_id, CONFIRM.body),
        *(
            bad_read(f"no UUID to read of {plural}", f"/{plural}/7", bad_id)
            for kind, plural in ((name, kind.plural) for name, kind in KINDS.items())
            if kind != "member"
        ),
        bad_read("no UUID of a gathering", "/gatherings/7/yield", bad_id),
        BadRequest("a member called clock", 400, "invalid_field", "/members/clock/pause", bad_member, by("eve")),
        *(
            bad_read(f"member {name}", f"/members/{name}/balance", bad_member)
            for name in ("clock", "a%0A", "a%20b", "-a", "a" * 65, "%00", "%FF", "%F0%9F%98%80")
        ),
        *(
            bad_read(f"{what} of no member", f"/members/a.b/{what}?viewer=ada", bad_member)
            for what in ("standing", "coach", "matches", "pairs")
        ),
        bad_read("a member of no form", "/members/a.b", bad_member),
        bad_read("the other", "/members/a/pairs/a.b", {"field": "other", "source": "path"}),
        *(
            bad_read(
                f"an unknown {kind}",
                f"/{KINDS[kind].plural}/{UNKNOWN_ID}",
                {"kind": kind, "id": UNKNOWN_ID},
                404,
                "unknown",
            )
            for kind in KINDS
        ),
        BadRequest(
            "a step on nothing", 404, "unknown", f"/favours/{UNKNOWN_ID}/confirm", {"kind": "favour"}, CONFIRM.body
        ),
        BadRequest("another kind's id", 404, "unknown", f"/intros/{about.claimed}/meet", {"kind": "intro"}, by("ann")),
        BadRequest(
            "another community's id",
            404,
            "unknown",
            f"/v1/communities/zenith/favours/{about.claimed}/confirm",
            {"kind": "favour"},
            CONFIRM.body,
        ),
        BadRequest("an unknown step", 404, "no_such_route", f"/favours/{about.claimed}/applaud", body=CONFIRM.body),
        BadRequest("an unknown collection", 404, "no_such_route", "/favors", body=THANKED),
        BadRequest("no community", 404, "no_such_route", "/v1/communities/", method="GET"),
        bad_read("reading a step", f"/favours/{about.claimed}/confirm", {}, 405, "no_such_method"),
        BadRequest("editing", 405, "no_such_method", f"/favours/{about.claimed}", method="PUT", body=THANKED),
        BadRequest("deleting", 405, "no_such_method", f"/favours/{about.claimed}", method="DELETE"),
    ]
