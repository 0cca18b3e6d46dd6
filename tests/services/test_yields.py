"""The yield of a gathering."""

import pytest

from tests.services.bad_requests.case import UNKNOWN_ID
from tests.services.caller import Caller, refused
from tests.services.lifecycles import ACCEPT, ASK, CONSENT, HOLD, MAKE, MEET, REFERRAL, by, run_lifecycle
from tests.services.member_requests import get, post, thank


@pytest.fixture
def ledger(ledger: Caller, projector: None) -> Caller:
    """With books that follow the log."""
    return ledger


async def test_a_gathering_has_a_yield(ledger: Caller) -> None:
    gathering = (await run_lifecycle(ledger, HOLD))["id"]
    there = {"gathering": gathering}
    attendances = [await post(ledger, "/attendances", by(who, member=who, **there)) for who in ("bob", "cyd", "dee")]
    await ledger.recorded(f"/attendances/{attendances[0]['id']}/pay", by("ada"))
    await post(ledger, "/contacts", by("bob", member="bob", other="cyd", **there))
    await post(ledger, "/contacts", by("bob", member="bob", other="dee", **there))
    await post(ledger, "/contacts", by("ada", member="ada", other="bob"))  # Not there.
    for said in (("bob", "cyd"), ("bob",)):
        one_to_one = await post(ledger, "/one-to-ones", by("bob", member="bob", other="cyd", **there))
        for who in said:
            await ledger.recorded(f"/one-to-ones/{one_to_one['id']}/hold", by(who))
    for last in (MEET, CONSENT):  # One is made and meets, one is not made.
        intro = await post(ledger, "/intros", {**ASK.body, **there})
        for request in (ACCEPT, CONSENT, MAKE, MEET):
            await ledger.recorded(request.path(intro["id"]), request.body)
            if request is last:
                break
    won = await post(ledger, "/referrals", REFERRAL | there)
    await ledger.recorded(f"/referrals/{won['id']}/qualify", by("bob"))
    await ledger.recorded(f"/referrals/{won['id']}/win", by("bob", band="S"))
    lost = await post(ledger, "/referrals", REFERRAL | there | {"prospect": "lost", "level": 1})
    await ledger.recorded(f"/referrals/{lost['id']}/qualify", by("bob"))
    await ledger.recorded(f"/referrals/{lost['id']}/lose", by("bob"))
    await post(ledger, "/referrals", REFERRAL | there | {"prospect": "given"})
    await thank(ledger, "ada", "bob", "small", **there)
    at = await thank(ledger, "ada", "bob", "large")  # Of nothing to do with it.
    view = await get(ledger, f"/gatherings/{gathering}/yield", at)
    assert view == {
        "gathering": gathering,
        "attended": 3,
        "paid": 1,
        "contacts": 2,
        "one_to_ones": 1,
        "intros_made": 1,
        "referrals_qualified": 2,
        "referrals_won": 1,
        "points": 540,  # 120 made + 30 met + 240 qualified + 60 won + 30 qualified + 60 thanked
    }


async def test_of_what_nothing_names_nothing_came(ledger: Caller) -> None:
    view = await get(ledger, f"/gatherings/{UNKNOWN_ID}/yield")
    assert view == {
        "gathering": UNKNOWN_ID,
        **dict.fromkeys(
            (
                *("attended", "paid", "contacts", "one_to_ones", "intros_made"),
                *("referrals_qualified", "referrals_won", "points"),
            ),
            0,
        ),
    }
    refused(await ledger.get("/gatherings/7/yield"), 400, "invalid_field", field="id", source="path")


async def test_a_yield_is_of_one_community(ledger: Caller) -> None:
    gathering = (await run_lifecycle(ledger, HOLD))["id"]
    at = await thank(ledger, "ada", "bob", gathering=gathering)
    assert (await get(ledger, f"/gatherings/{gathering}/yield", at))["points"] == 120
    assert (await get(ledger.elsewhere(), f"/gatherings/{gathering}/yield", at))["points"] == 0
