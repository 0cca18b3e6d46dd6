"""A community whose asker sends every read and command that they may. It keeps the responses."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import httpx

from ledger.commands.executor import Executor
from ledger.commands.submission import Submission
from ledger.domain.kinds.intro.commands import LapseIntro
from ledger.domain.kinds.member import membership_id
from tests.services.caller import Caller
from tests.services.cursors import read_cursor
from tests.services.etags import etag_of
from tests.stories.story_ledger import MODERATOR_KEY, StoryLedger

START: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
BEGIN: Final = START + HOUR  # The policy is in force by then, because it needs notice.
ASKER: Final = "ann"
CONNECTORS: Final = ("cas", "cleo")
TARGETS: Final = ("tom", "tess")
POSITION: Final = re.compile(rb'"position":(\d+)')
NEXT: Final = re.compile(rb'"next":"([^"]+)"')
ENTRY: Final = re.compile(rb'"entry":"([0-9a-f-]{36})","link":"[^"]*/entries/([0-9a-f-]{36})"')
PAGES_MAX: Final = 20  # More than any list of the asker has.

Guard = Literal["off", "advise", "enforce"]
Observations = list[tuple[str, bytes]]
"""The act of the asker with its time, and the response: status, headers and body."""


@dataclass
class ObservedCommunity:
    """One of several equal communities, with the observations of its asker, in order."""

    caller: Caller
    ledger: StoryLedger
    observations: Observations = field(default_factory=Observations)
    # By position: the name of a command of the asker, or of an ask whose connector is the asker.
    own: dict[int, str] = field(default_factory=dict[int, str])
    # By event id: the number of its first mention.
    entries: dict[bytes, int] = field(default_factory=dict[bytes, int])

    async def set_up(self, guard: Guard) -> None:
        """Create the community. Ann knows Cas and wants tax advice, and Cas knows Tom.

        Under the policy, one received favour can make Ann riding.
        """
        policy = {
            "guard": guard,
            "open_asks_max": 4,
            "inbound_asks_max": 3,
            "ask_again": "P5D",
            "newcomer": "P1D",
            "riding_received_min": 1,
        }
        starts_at = (self.ledger.now + HOUR / 2).isoformat()
        commands: list[tuple[str, dict[str, Any], str | None]] = [
            ("policy.publish", {"actor": "ida", "policy": policy, "starts_at": starts_at}, None),
            *(("member.join", {"actor": it, "member": it}, None) for it in (ASKER, *CONNECTORS, *TARGETS)),
            ("member.wants", {"actor": ASKER, "tags": ["tax"]}, ASKER),
            *(("member.offers", {"actor": it, "tags": ["tax", "law"]}, it) for it in (CONNECTORS[1], *TARGETS)),
            ("contact.make", {"actor": ASKER, "member": ASKER, "other": CONNECTORS[0]}, None),
            ("contact.make", {"actor": "tom", "member": "tom", "other": CONNECTORS[0]}, None),
        ]
        items = [{"op": op, "body": body, "id": own} for op, body, own in commands]
        answer = await self.caller.client.post(
            self.caller.path("/batch"), json=items, headers={"Authorization": f"Bearer {MODERATOR_KEY}"}
        )
        assert [result["status"] for result in answer.json()] == ["recorded"] * len(items)
        self._remember_positions(result["position"] for result in answer.json())

    # Commands of the others, which may come too late

    async def act_as(self, member: str, path: str, body: Mapping[str, Any]) -> None:
        answer = await self.caller.post(path, {"actor": member, **body})
        assert answer.status_code in {200, 201, 404, 409}, answer.text
        if answer.is_success and body.get("connector") == ASKER:
            self._remember_positions([int(answer.headers["ledger-position"])])  # The asker is its connector.

    async def lapse(self, intro: UUID) -> None:
        """Lapse an introduction as the clock worker does."""
        lapse = Submission(
            community=self.caller.community, operation="intro.lapse", kind="intro", command=LapseIntro(), id=intro
        )
        await Executor(self.ledger.log, lambda: self.ledger.now).execute_all([lapse])

    # Requests and observations of the asker

    async def post(
        self,
        what: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        if_match: str | None = None,
    ) -> httpx.Response:
        """Post a command of the asker that may be recorded. The asker may know its position."""
        answer = await self._post(what, path, body or {}, key, if_match)
        if answer.is_success:
            self._remember_positions([int(answer.headers["ledger-position"])])
        await self._observe(what, answer)
        return answer

    async def attempt(
        self,
        what: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        if_match: str | None = None,
    ) -> None:
        """Post a command of the asker that is refused or replayed. It is recorded only if it was refused before."""
        answer = await self._post(what, path, body or {}, key, if_match)
        if answer.status_code == 201 and "idempotent-replayed" not in answer.headers:
            self._remember_positions([int(answer.headers["ledger-position"])])
        await self._observe(what, answer)

    async def attempt_batch(self, what: str, items: Sequence[Mapping[str, Any]]) -> None:
        await self._observe(what, await self.caller.post("/batch", items))

    async def get(self, what: str, path: str, **query: str | int) -> httpx.Response:
        answer = await self.caller.get(path, viewer=ASKER, **query)
        await self._observe(what, answer)
        return answer

    async def get_all_pages(self, what: str, path: str, **query: str | int) -> None:
        """Read all pages of a list, and keep them as one observation."""
        begun, cursor = len(self.observations), dict[str, str]()
        while len(self.observations) - begun < PAGES_MAX:
            page = await self.get(what, path, **query, **cursor)
            if "next" not in page.json():
                break
            cursor = {"cursor": page.json()["next"]}
        else:
            raise AssertionError(f"{what} has no end")
        pages = self.observations[begun:]
        self.observations[begun:] = [(pages[0][0], b"\n\n".join(answer for _, answer in pages))]

    async def _post(
        self, what: str, path: str, body: Mapping[str, Any], key: str | None, if_match: str | None
    ) -> httpx.Response:
        return await self.caller.post(path, {"actor": ASKER, **body}, key=key, if_match=if_match)

    def _remember_positions(self, positions: Iterable[int]) -> None:
        for position in positions:
            self.own.setdefault(position, f"mine, {len(self.own) + 1}")

    async def _observe(self, what: str, answer: httpx.Response) -> None:
        """Keep status, headers without `date`, and body. Mask everything that differs between equal communities."""
        headers = dict(answer.headers)
        headers.pop("date", None)
        assert int(headers.pop("content-length")) == len(answer.content)  # It varies with the digits of a position.
        if "ledger-position" in headers:
            headers["ledger-position"] = self._mask_position(int(headers["ledger-position"]))
        if headers.get("etag") == await etag_of(answer.content):
            headers["etag"] = "of the body"  # It depends on the body alone.
        if "location" in headers:
            headers["location"] = headers["location"].replace(f"/{self.caller.community}/", "/here/")
        if "link" in headers:  # It equals `next` in the body.
            assert answer.json()["next"] in headers.pop("link")
        head = "\n".join([str(answer.status_code), *(f"{name}: {headers[name]}" for name in sorted(headers))])
        body = POSITION.sub(lambda found: b'"position":' + self._mask_position(int(found[1])).encode(), answer.content)
        body = NEXT.sub(self._mask_cursor, body)
        body = ENTRY.sub(self._mask_entry, body)
        for member in (ASKER, *CONNECTORS, *TARGETS):
            body = body.replace(str(membership_id(self.caller.community, member)).encode(), member.encode())
        self.observations.append((f"{self.ledger.now - BEGIN}: {what}", head.encode() + b"\n\n" + body))

    def _mask_cursor(self, found: re.Match[bytes]) -> bytes:
        """Return the content of a cursor, which anybody can read."""
        _, query, community, after = read_cursor(found[1].decode())
        assert community == self.caller.community
        match after.split():
            case [happened_at, position, leg, known]:
                place = (
                    f"{happened_at} {self._mask_position(int(position))} {leg}, known {self._mask_position(int(known))}"
                )
            case _:
                place = self._mask_position(int(after))
        return f'"next":"{query} after {place}"'.encode()

    def _mask_entry(self, found: re.Match[bytes]) -> bytes:
        """Return the number of an event. Ids differ between communities, but equal ids must stay equal."""
        assert found[1] == found[2]
        self.entries.setdefault(found[1], len(self.entries) + 1)
        return f'"entry":"entry {self.entries[found[1]]}"'.encode()

    def _mask_position(self, position: int) -> str:
        return self.own.get(position, str(position))
