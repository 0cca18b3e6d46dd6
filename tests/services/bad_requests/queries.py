"""Queries, lists and batches that break a limit or a form."""

from dataclasses import replace
from typing import Final

from ledger.domain.catalog.kinds import KINDS
from services.http.cursor import cursor_after
from services.http.parameters import BODY_MAX_BYTES
from services.query.filters import FILTER_NAMES, LISTED_KINDS
from tests.services.bad_requests.case import NESTING, THANKED, UNKNOWN_ID, BadRequest, bad_query, bad_read

INVALID_MEMBERS: Final = {
    "NUL": "\0",
    "nobody": "",
    "a sentence": "ada and bob",
    "the clock": "clock",
    "a book": "a" * 65,
}


def bad_queries() -> list[BadRequest]:
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
            bad_query(f"limit={limit}", f"/balances?limit={limit}", "limit")
            for limit in ("0", "501", "x", "-1", "1.5", "")
        ),
        *(bad_query(f"min_position={at}", f"/summary?min_position={at}", "min_position") for at in ("-1", "x", "1.5")),
        *(
            bad_query(f"a cursor {name}", f"/balances?cursor={cursor}", "cursor")
            for name, cursor in bad_cursors.items()
        ),
        bad_query("a cursor of another member", f"/members/bob/pairs?cursor={pairs_of_ada}", "cursor"),
        *(
            bad_query(f"a made-up cursor after {name}", f"{path}?cursor={cursor_after(query, 'acme', after)}", "cursor")
            for name, after in INVALID_MEMBERS.items()
            for path, query in (("/balances", "balances"), ("/members/ada/pairs", "pairs ada"))
        ),
        bad_query("a limit of pairs", "/members/ada/pairs?limit=501", "limit"),
    ]


def bad_lists() -> list[BadRequest]:
    """Return lists of every kind with a bad filter, and with filters that the kind does not have."""

    def narrowed(path: str, named: str, reason: str = "") -> BadRequest:
        request = bad_query(f"a list: {path}", path, named)
        return replace(request, facts={**request.facts, **({"reason": reason} if reason else {})})

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
            narrowed(f"/{KINDS[kind].plural}?gathering={UNKNOWN_ID}", "gathering")
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
        bad_read("a list of policies", "/policies", {}, 405, "no_such_method"),
    ]


def bad_batches() -> list[BadRequest]:
    of_the_body = {"field": "body", "source": "body"}
    item = {"op": "favour.record", "idempotency_key": "k", "body": THANKED}
    return [
        BadRequest("an empty batch", 400, "invalid_field", "/batch", of_the_body, []),
        BadRequest("a batch of 1,001", 400, "invalid_field", "/batch", of_the_body, [item] * 1_001),
        BadRequest("a batch that is an object", 400, "invalid_field", "/batch", of_the_body, item),
        BadRequest("a batch that is a number", 400, "invalid_field", "/batch", of_the_body, 7),
        BadRequest("a batch without a body", 400, "malformed_json", "/batch", content=b""),
        BadRequest("a batch of no JSON", 400, "malformed_json", "/batch", content=b"[{]"),
        BadRequest("a deeply nested batch", 400, "malformed_json", "/batch", content=b"[" * NESTING + b"]" * NESTING),
        BadRequest("a batch over 1 MiB", 413, "too_large", "/batch", content=b" " * (BODY_MAX_BYTES + 1)),
        BadRequest("a batch of no community", 400, "invalid_field", "/v1/communities/Acme/batch", {}, [item]),
    ]
