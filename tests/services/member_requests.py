"""Requests about members that must succeed."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from tests.services.caller import Caller
from tests.services.lifecycles import by


async def post(ledger: Caller, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return await ledger.recorded(path, body, key=uuid4().hex)


async def thank(ledger: Caller, giver: str, receiver: str, size: str = "medium", **more: object) -> int:
    """Record a favour that the receiver thanks for. Return its position."""
    body = {"giver": giver, "receiver": receiver, "size": size, "actor": receiver, **more}
    position: int = (await post(ledger, "/favours", body))["position"]
    return position


async def get(ledger: Caller, path: str, at: int = 0, **query: str) -> dict[str, Any]:
    """Return what a query returns once the books have reached the position `at`."""
    answer = await ledger.get(path, min_position=at, **query)
    assert answer.status_code == 200, answer.text
    view: dict[str, Any] = answer.json()
    return view


async def join(ledger: Caller, member: str, *, wants: str = "", offers: str = "") -> int:
    """Record a member with tags, which are separated by spaces. Return the last position."""
    view = await post(ledger, "/members", by(member, member=member))
    for side, tags in {"wants": wants, "offers": offers}.items():
        if tags:
            view = await post(ledger, f"/members/{member}/{side}", by(member, tags=tags.split()))
    position: int = view["position"]
    return position
