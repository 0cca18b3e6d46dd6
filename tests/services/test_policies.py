"""Policies: which one is in force, and what is decided by it."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from ledger.domain.values.policy import Policy
from services.app import utc_now
from tests.services.caller import Caller, Clock
from tests.services.lifecycles import by
from tests.services.member_requests import get, post


@pytest.fixture
def ledger(ledger: Caller, projector: None) -> Caller:
    """With books that follow the log."""
    return ledger


def policy_shown(**changes: Any) -> dict[str, Any]:
    policy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(Policy(**changes)))
    return policy


async def test_before_anything_is_published_the_policy_is_the_pages(ledger: Caller) -> None:
    assert await get(ledger, "/policy") == {"policy": policy_shown(), "scheduled": []}


async def test_the_policy_in_force_is_told_with_those_that_are_to_start(ledger: Caller, clock: Clock) -> None:
    now = utc_now()
    starts = [(now + timedelta(days=days)).isoformat().replace("+00:00", "Z") for days in (1, 2)]
    first = await post(ledger, "/policies", by("mod", policy={"met_points": 45}, starts_at=starts[0]))
    second = await post(ledger, "/policies", by("mod", policy={"guard": "off", "version": 99}, starts_at=starts[1]))
    versions = [
        {"starts_at": starts[0], "policy": policy_shown(version=2, met_points=45)},
        {"starts_at": starts[1], "policy": policy_shown(version=3, guard="off")},
    ]
    assert (first["versions"], second["versions"]) == (versions[:1], versions)
    at = second["position"]
    for ahead, policy, scheduled in (
        (timedelta(0), policy_shown(), versions),
        (timedelta(days=1, minutes=1), versions[0]["policy"], versions[1:]),
        (timedelta(days=2, minutes=1), versions[1]["policy"], []),
    ):
        clock.ahead = ahead
        assert await get(ledger, "/policy", at) == {"policy": policy, "scheduled": scheduled}
    third = await post(ledger, "/policies", by("mod", policy={}, starts_at=(clock() + timedelta(hours=1)).isoformat()))
    assert (third["version"], third["versions"][-1]["policy"]["version"]) == (3, 4)


async def test_what_starts_earlier_takes_the_place_of_all_that_were_to_start_later(ledger: Caller) -> None:
    at = 0
    for day in (1, 3, 2):
        body = by("mod", policy={"met_points": day}, starts_at=(utc_now() + timedelta(days=day)).isoformat())
        at = (await post(ledger, "/policies", body))["position"]
    scheduled = (await get(ledger, "/policy", at))["scheduled"]
    assert [version["policy"]["met_points"] for version in scheduled] == [1, 2]


async def test_what_is_worth_what_is_by_the_policy_in_force_and_stays_as_it_was_decided(
    ledger: Caller, clock: Clock
) -> None:
    claim = {"giver": "ada", "receiver": "bob", "size": "medium", "actor": "ada"}
    before = await post(ledger, "/favours", claim)
    sizes = {"size_points": {"small": 1, "medium": 2, "large": 3}}
    start = utc_now() + timedelta(minutes=2)
    await post(ledger, "/policies", by("mod", policy=sizes, starts_at=start.isoformat()))
    clock.ahead = timedelta(minutes=3)
    after = await post(ledger, "/favours", claim)
    assert (before["points"], after["points"]) == (120, 2)
    confirmed = [await ledger.recorded(f"/favours/{view['id']}/confirm", by("bob")) for view in (before, after)]
    assert (await get(ledger, "/members/ada/balance", confirmed[1]["position"]))["main"] == 122
