"""Sample data of `up --demo`: a week of four members with something of most kinds, and the resulting balances."""

import asyncio
from typing import Any, Final

import httpx
from rich.console import Console
from rich.table import Table

COMMUNITY: Final = "demo"
STARTED_WITHIN_S: Final = 30.0
POLL_S: Final = 0.1


async def until_ready(client: httpx.AsyncClient) -> None:
    """Wait until `/readyz` returns 200.

    Raises: TimeoutError, with the last response of `/readyz`.
    """
    reason = "no connection"
    try:
        async with asyncio.timeout(STARTED_WITHIN_S):
            while True:
                try:
                    response = await client.get("/readyz")
                    if response.status_code == 200:
                        return
                    reason = response.text
                except httpx.TransportError:
                    pass
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise TimeoutError(f"the API is not ready after {STARTED_WITHIN_S:g} s: {reason}") from None


class Demo:
    """Records the sample data. Every request has an idempotency key, so a second run records nothing."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._position = 0
        self._requests = 0

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request, and repeat it while the status is 503: the projector may still be starting.

        Raises: httpx.HTTPError, if the request is refused, or if the status is still 503 after 30 s.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STARTED_WITHIN_S
        while True:
            response = await self._client.request(method, f"/v1/communities/{COMMUNITY}/{path}", **options)
            if response.status_code != 503 or loop.time() > deadline:
                response.raise_for_status()
                return response
            await asyncio.sleep(POLL_S)

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        self._requests += 1
        response = await self.request("POST", path, json=body, headers={"Idempotency-Key": f"demo-{self._requests}"})
        self._position = max(self._position, int(response.headers["Ledger-Position"]))
        resource: dict[str, Any] = response.json()
        return resource

    async def record(self) -> int:
        """Record a week of a small community. Return the position of its last event.

        The keys are consecutive numbers. Add new requests at the end, so that a data folder of an older version
        gets only the new ones.
        """
        claim = await self.favours()
        await self.referral()
        await self.intro()
        await self.gathering()
        # Cleo disputes the favour that she confirmed. Its points stay frozen until a moderator judges.
        await self.post("disputes", about=claim, entry="favour.confirmed", code="duplicate", actor="cleo")
        ask = await self.post("intros", asker="bob", connector="cleo", target="dan", expects_percent=30, actor="bob")
        await self.post(f"intros/{ask['id']}/decline", actor="cleo")  # To Bob, it looks like a silence.
        return self._position

    async def favours(self) -> str:
        """Record three favours. Return the id of the claim that was confirmed."""
        await self.post("favours", giver="ada", receiver="bob", size="medium", actor="bob")
        claim = await self.post("favours", giver="bob", receiver="cleo", size="small", actor="bob")
        await self.post(f"favours/{claim['id']}/confirm", actor="cleo")
        await self.post("favours", giver="dan", receiver="ada", size="large", actor="dan")  # A claim without an answer.
        return str(claim["id"])

    async def referral(self) -> None:
        referral = await self.post(
            "referrals", referrer="cleo", recipient="ada", prospect="acme-corp", level=4, actor="cleo"
        )
        await self.post(f"referrals/{referral['id']}/qualify", actor="ada")
        await self.post(f"referrals/{referral['id']}/win", actor="ada", band="M")

    async def intro(self) -> None:
        intro = await self.post("intros", asker="dan", connector="ada", target="cleo", tags=["hiring"], actor="dan")
        await self.post(f"intros/{intro['id']}/accept", actor="ada", level=3)
        await self.post(f"intros/{intro['id']}/consent", actor="cleo")
        await self.post(f"intros/{intro['id']}/make", actor="ada")
        await self.post(f"intros/{intro['id']}/meet", actor="dan")

    async def gathering(self) -> None:
        await self.post("members", member="bob", actor="bob")
        await self.post("members/bob/wants", tags=["tax"], actor="bob")
        await self.post("members", member="dan", sponsor="cleo", actor="dan")
        await self.post("members/dan/offers", tags=["tax"], actor="dan")
        evening = await self.post("gatherings", host="cleo", actor="cleo")
        for guest in ("bob", "cleo"):
            await self.post("attendances", gathering=evening["id"], member=guest, actor=guest)
        await self.post("contacts", member="bob", other="cleo", gathering=evening["id"], actor="bob")
        await self.post("one-to-ones", member="bob", other="cleo", gathering=evening["id"], actor="cleo")

    async def balances(self) -> Table:
        response = await self.request("GET", "balances", params={"min_position": self._position})
        table = Table(title=f"Balances of `{COMMUNITY}` in points, at position {response.headers['Ledger-Position']}")
        columns = ("member", "main", "stake", "disputed", "net", "given", "received", "reciprocity_permille")
        for column in columns:
            table.add_column(column.replace("_permille", " ‰"), justify="left" if column == "member" else "right")
        for balance in response.json()["balances"]:
            table.add_row(*(str(balance[column]) for column in columns))
        return table


async def demonstrate(client: httpx.AsyncClient, console: Console) -> None:
    demo = Demo(client)
    await demo.record()
    console.print(await demo.balances())
