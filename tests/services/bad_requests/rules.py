"""Well-formed requests that break a rule."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.services.bad_requests.case import THANKED, UNKNOWN_ID, BadRequest, bad_favour, bad_read, new_key
from tests.services.bad_requests.subjects import Subjects
from tests.services.lifecycles import FAVOUR, INTRO, REFERRAL, by


def refused_steps(about: Subjects) -> list[BadRequest]:
    """Return favours, referrals and introductions by the wrong member or in the wrong state."""
    favour, other, referral = f"/favours/{about.claimed}", f"/favours/{about.posted}", f"/referrals/{about.given}"
    late = (datetime.now(UTC) + timedelta(days=15)).isoformat()
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    giver_or_receiver = {"role": "giver or receiver"}

    def proposed(name: str, code: str, facts: dict[str, object], **changes: object) -> BadRequest:
        status = 403 if code == "not_yours" else 422
        return BadRequest(name, status, code, "/intros", facts, INTRO | by("ann") | changes, headers=new_key())

    return [
        BadRequest(
            "a stranger's word", 403, "not_yours", "/favours", giver_or_receiver, FAVOUR | by("eve"), None, new_key()
        ),
        BadRequest("one's own claim", 403, "not_yours", f"{favour}/confirm", {"role": "receiver"}, by("ada")),
        BadRequest("a gift of another's", 403, "not_yours", f"{other}/forgive", {"role": "giver"}, by("bob")),
        BadRequest("another's referral", 403, "not_yours", "/referrals", {"role": "referrer"}, REFERRAL | by("bob")),
        BadRequest("one's own referral", 403, "not_yours", f"{referral}/qualify", {"role": "recipient"}, by("ada")),
        BadRequest("one's own ask", 403, "not_yours", f"/intros/{about.asked}/accept", {}, by("ann", level=1)),
        BadRequest(
            "another's fault",
            403,
            "not_yours",
            f"/intros/{about.made}/close",
            {"role": "connector"},
            by("ann", outcome="no_result", fault="connector"),
        ),
        proposed("an intro by its target", "not_yours", {"role": "asker or connector"}, actor="tom"),
        BadRequest(
            "a gift of what is only claimed",
            409,
            "wrong_state",
            f"{favour}/forgive",
            {"expected": "posted", "found": "claimed"},
            by("ada"),
        ),
        BadRequest("a refusal after thanks", 409, "wrong_state", f"{other}/refuse", {"found": "posted"}, by("bob")),
        BadRequest("won unqualified", 409, "wrong_state", f"{referral}/win", {"found": "given"}, by("bob", band="S")),
        BadRequest(
            "made unasked", 409, "wrong_state", f"/intros/{about.offered}/make", {"found": "offered"}, by("cas")
        ),
        bad_favour("a favour to oneself", 422, "self_dealing", giver="bob"),
        BadRequest("a referral of oneself", 422, "self_dealing", "/referrals", {}, REFERRAL | {"prospect": "ada"}),
        proposed("an intro to oneself", "self_dealing", {"roles": ["asker", "connector", "target"]}, target="ann"),
        proposed("an ask with a level", "level_misplaced", {"field": "level"}, level=3),
        proposed("an offer without one", "level_misplaced", {"field": "level"}, actor="cas"),
        proposed("an answer due too late", "respond_by_out_of_range", {"field": "respond_by"}, respond_by=late),
        proposed("an answer due before it was asked", "respond_by_out_of_range", {}, respond_by=past),
        BadRequest(
            "an asker's fault where nobody asked",
            422,
            "nobody_asked",
            f"/intros/{about.made_match}/close",
            {},
            by("ann", outcome="no_result", fault="asker"),
        ),
        BadRequest("a parent not won", 409, "parent_not_won", "/referrals", {}, child_of(about.given)),
        BadRequest("a parent unknown", 404, "unknown", "/referrals", {"id": UNKNOWN_ID}, child_of(UNKNOWN_ID)),
        BadRequest("an id taken", 409, "already_exists", "/favours", {}, THANKED | {"id": about.claimed}),
        proposed(
            "an offer with a hope",
            "expectation_misplaced",
            {"field": "expects_percent"},
            actor="cas",
            level=1,
            expects_percent=50,
        ),
    ]


def child_of(parent: str) -> dict[str, Any]:
    """Return the body of a referral whose parent is another referral."""
    return REFERRAL | {"prospect": "child", "parent": parent}


def bad_disputes(about: Subjects) -> list[BadRequest]:
    def opened(name: str, status: int, refusal: str, facts: dict[str, object], **changes: object) -> BadRequest:
        body = by("bob", about=about.posted, entry="favour.thanked", code="not_mine") | changes
        return BadRequest(name, status, refusal, "/disputes", facts, body)

    judge, over = f"/disputes/{about.opened}", f"/disputes/{about.rejected}"
    charged: dict[str, object] = {"role": "the one who was charged"}
    return [
        opened(
            "a dispute of what never happened", 404, "unknown", {"kind": "favour", "id": UNKNOWN_ID}, about=UNKNOWN_ID
        ),
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
            BadRequest(f"a judge who is {who}", 403, "party_to_it", f"{judge}/{verb}", {}, by(who))
            for who in ("ada", "bob")
            for verb in ("uphold", "reject")
        ),
        BadRequest("a word too late", 409, "wrong_state", f"{over}/uphold", {"found": "rejected"}, by("mod")),
        BadRequest(
            "a judgement of nothing", 404, "unknown", f"/disputes/{UNKNOWN_ID}/reject", {"kind": "dispute"}, by("mod")
        ),
        BadRequest("a gift under dispute", 409, "under_dispute", f"/favours/{about.disputed}/forgive", {}, by("ada")),
    ]


def bad_members(about: Subjects) -> list[BadRequest]:
    here, gone = f"/members/{about.here}", f"/members/{about.gone}"
    invalid = (400, "invalid_field")
    many = [f"member-{number}" for number in range(101)]
    return [
        BadRequest("joining for another", 403, "not_yours", "/members", {"role": "member"}, by("eve", member="fay")),
        BadRequest("one's own sponsor", 422, "self_dealing", "/members", {}, by("eve", member="eve", sponsor="eve")),
        BadRequest("joining again", 409, "already_exists", "/members", {}, by(about.here, member=about.here)),
        BadRequest("pausing another", 403, "not_yours", f"{here}/pause", {"role": "member"}, by("eve")),
        BadRequest("pausing one who left", 409, "wrong_state", f"{gone}/pause", {"found": "left"}, by(about.gone)),
        BadRequest("resuming one who left", 409, "wrong_state", f"{gone}/resume", {"found": "left"}, by(about.gone)),
        BadRequest("wants of one who left", 409, "wrong_state", f"{gone}/wants", {}, by(about.gone, tags=["law"])),
        BadRequest("leaving before joining", 404, "unknown", "/members/nobody/leave", {"kind": "member"}, by("nobody")),
        BadRequest("wants without tags", *invalid, f"{here}/wants", {"field": "tags"}, by(about.here)),
        BadRequest(
            "an offer in capitals", *invalid, f"{here}/offers", {"field": "tags[0]"}, by(about.here, tags=["Law"])
        ),
        BadRequest("less than no asks", *invalid, f"{here}/caps", {"field": "asks_in"}, by(about.here, asks_in=-1)),
        BadRequest("1,001 asks", *invalid, f"{here}/caps", {"field": "asks_in"}, by(about.here, asks_in=1_001)),
        BadRequest("101 welcome", *invalid, f"{here}/caps", {"field": "welcome"}, by(about.here, welcome=many)),
        BadRequest(
            "the clock welcome", *invalid, f"{here}/caps", {"field": "welcome[0]"}, by(about.here, welcome=["clock"])
        ),
        bad_read("another's balance", "/members/ada/balance?viewer=bob", {"role": "member"}, 403, "not_yours"),
        bad_read("another's coach", "/members/ada/coach?viewer=bob", {"role": "member"}, 403, "not_yours"),
        bad_read("a coach of nobody's", "/members/ada/coach", {"field": "viewer", "source": "query"}),
        bad_read("a viewer of no form", "/members/ada/balance?viewer=a.b", {"field": "viewer", "source": "query"}),
    ]


def bad_meetings(about: Subjects) -> list[BadRequest]:
    """Return gatherings, attendances, contacts and one-to-ones by the wrong member or in the wrong state."""
    there = {"gathering": about.gathering}
    one_to_one = by("ada", member="ada", other="bob")
    return [
        BadRequest(
            "another's gathering",
            403,
            "not_yours",
            "/gatherings",
            {"role": "host"},
            by("bob", host="ada"),
            None,
            new_key(),
        ),
        BadRequest(
            "a gathering taken", 409, "already_exists", "/gatherings", {}, by("eve", host="eve", id=about.gathering)
        ),
        BadRequest("a gathering unkeyed", 400, "idempotency_key_missing", "/gatherings", {}, by("eve", host="eve")),
        BadRequest("attending for another", 403, "not_yours", "/attendances", {}, by("eve", member="bob", **there)),
        BadRequest(
            "attending nothing",
            404,
            "unknown",
            "/attendances",
            {"kind": "gathering", "id": UNKNOWN_ID},
            by("bob", member="bob", gathering=UNKNOWN_ID),
        ),
        BadRequest(
            "dues by oneself", 403, "not_yours", f"/attendances/{about.attended}/pay", {"role": "host"}, by("bob")
        ),
        BadRequest("dues of none", 409, "no_dues", f"/attendances/{about.free}/pay", {}, by("ada")),
        BadRequest(
            "dues of nothing", 404, "unknown", f"/attendances/{UNKNOWN_ID}/pay", {"kind": "attendance"}, by("ada")
        ),
        BadRequest("a contact of others", 403, "not_yours", "/contacts", {}, by("eve", member="ada", other="bob")),
        BadRequest("a contact of oneself", 422, "self_dealing", "/contacts", {}, by("eve", member="eve", other="eve")),
        BadRequest(
            "a contact with the clock", 400, "invalid_field", "/contacts", {}, by("eve", member="eve", other="clock")
        ),
        BadRequest("others' one-to-one", 403, "not_yours", "/one-to-ones", {}, one_to_one | by("eve"), None, new_key()),
        BadRequest(
            "one-to-one alone", 422, "self_dealing", "/one-to-ones", {}, one_to_one | {"other": "ada"}, None, new_key()
        ),
        BadRequest("a stranger's word on it", 403, "not_yours", f"/one-to-ones/{about.booked}/hold", {}, by("eve")),
        BadRequest(
            "held after it was called off",
            409,
            "wrong_state",
            f"/one-to-ones/{about.cancelled}/hold",
            {"expected": "booked", "found": "cancelled"},
            by("bob"),
        ),
    ]


def bad_policies() -> list[BadRequest]:
    def published(name: str, code: str, facts: dict[str, object], starts_in: timedelta, **policy: object) -> BadRequest:
        starts_at = (datetime.now(UTC) + starts_in).isoformat()
        status = 400 if code == "invalid_field" else 422
        return BadRequest(name, status, code, "/policies", facts, by("mod", policy=policy, starts_at=starts_at))

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
        BadRequest(
            "no policy",
            400,
            "invalid_field",
            "/policies",
            {"field": "policy"},
            by("mod", starts_at="2999-01-01T00:00:00Z"),
        ),
        BadRequest("no start", 400, "invalid_field", "/policies", {"field": "starts_at"}, by("mod", policy={})),
    ]
