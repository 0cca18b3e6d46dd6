"""The narrator of `docs/stories.md`. It sends the requests of a chapter, and records them with their responses.

`WRITE_STORIES=1 make test ARGS='tests/stories/test_s?_*.py'` writes the file. Without it, a test fails if its chapter
of the file differs.
"""

import json
import os
import re
import textwrap
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID, uuid5

import httpx

from tests.services.caller import refused
from tests.stories.story_ledger import MODERATOR_KEY, StoryLedger

PAGE: Final = Path(__file__).parents[2] / "docs" / "stories.md"
WRITE: Final = "WRITE_STORIES"
HOW: Final = f"run `{WRITE}=1 make test ARGS='tests/stories/test_s?_*.py'`"
STORY_IDS: Final = UUID("5d6a1f0e-7f53-5c35-9b8e-3d9e6f2b8a10")
COMMUNITY: Final = "riverside"
WIDTH: Final = 110
LINE: Final = 100

PREFACE: Final = """\
# Stories

What the ledger does for the people in it, told five times. Everything below was really asked and really answered:
the tests in `tests/stories` write this page, and fail when the ledger would answer otherwise.

How to read it:

- The grey boxes are what an app sends for somebody (`POST` says something, `GET` asks something) and what it hears
  back. All addresses begin with `/v1/communities/riverside`.
- `viewer` says whose eyes an answer is for. What that person may not know is not in it.
- `{curly brackets}` stand for the long ids of things. `...` stands for what does not matter here.
- Points are not money. One ordinary favour is 120. Above zero, somebody has given more than they received.
"""
CHAPTERS: Final = (
    "The physician who is asked for a colleague",
    "The client who dares to ask again",
    "The one who only ever asked",
    "The matchmaker and the fruitless evening",
    "The partner who never said what he was looking for",
)


class Story:
    """One chapter: prose, requests and responses in the order in which they happen."""

    def __init__(self, ledger: StoryLedger) -> None:
        self._ledger = ledger
        self._caller = ledger.community(COMMUNITY)
        self._parts = [f"*{self.day()}.*"]
        self._names: dict[str, str] = {}

    @property
    def now(self) -> datetime:
        return self._ledger.now

    # Prose

    def narrate(self, prose: str) -> None:
        self._parts.append(wrap(prose))

    def day(self) -> str:
        return f"{self.now:%B} {self.now.day}"

    async def advance(self, days: int, prose: str) -> None:
        """Advance the time of the ledger, and wait until the clock worker has lapsed what is due."""
        self._ledger.now += timedelta(days=days)
        await self._ledger.wait_until_settled()
        self._parts.append(f"*{self.day()}.*")
        self.narrate(prose)

    # Requests

    def new_id(self, name: str) -> str:
        """Return an id that the chapter shows as this name."""
        own = str(uuid5(STORY_IDS, name))
        self.name_id(own, name)
        return own

    def name_id(self, own: str, name: str) -> None:
        self._names[own] = name

    async def post(
        self, path: str, body: dict[str, Any], *, show: str = "state", moderator: bool = False
    ) -> dict[str, Any]:
        """Post a command that is accepted. `show` names the response fields that the chapter includes."""
        answer = await self._post(path, body, moderator=moderator)
        assert answer.status_code in {200, 201}, answer.text
        return self._write_exchange("POST", path, body, answer, show)

    async def post_silently(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Post a command that is accepted, without an entry in the chapter. The prose covers it."""
        answer = await self._post(path, body)
        assert answer.status_code in {200, 201}, answer.text
        view: dict[str, Any] = answer.json()
        return view

    async def post_refused(
        self, path: str, body: dict[str, Any], status: int, code: str, *, show: str
    ) -> dict[str, Any]:
        """Post a command that is refused with this status and code. The chapter includes both."""
        answer = await self._post(path, body)
        refused(answer, status, code)
        return self._write_exchange("POST", path, body, answer, show)

    async def get(self, path: str, *, viewer: str | None = None, show: str) -> dict[str, Any]:
        """Read a resource as `viewer`, and assert that the read succeeds."""
        answer = await self._get(path, viewer)
        assert answer.status_code == 200, answer.text
        return self._write_exchange("GET", path, viewer, answer, show)

    async def get_refused(self, path: str, *, viewer: str) -> None:
        answer = await self._get(path, viewer)
        refused(answer, 403, "not_yours")
        self._write_exchange("GET", path, viewer, answer, "title")

    async def show_stage(self, member: str, other: str, stage: str) -> None:
        """Show the stage of a relationship as `member` reads it."""
        view = await self.get(f"/members/{member}/pairs/{other}", viewer=member, show="given received stage")
        assert view["stage"] == stage

    async def show_balances(self, *members: str) -> dict[str, dict[str, Any]]:
        """Show the balance that each member reads of themselves, in one table."""
        found: dict[str, dict[str, Any]] = {}
        for member in members:
            answer = await self._get(f"/members/{member}/balance", member)
            assert answer.status_code == 200, answer.text
            found[member] = answer.json()
        self._table(
            "`GET /members/{member}/balance?viewer={member}`, each for their own eyes:",
            ["who", "given", "received", "balance", "of it at stake"],
            [
                [name.capitalize(), has["given"], has["received"], has["net"], has["stake"]]
                for name, has in found.items()
            ],
        )
        return found

    async def show_yields(self, *gatherings: str) -> list[dict[str, Any]]:
        """Show the yields of gatherings, side by side."""
        found: list[dict[str, Any]] = []
        for gathering in gatherings:
            answer = await self._get(f"/gatherings/{gathering}/yield", None)
            assert answer.status_code == 200, answer.text
            found.append(answer.json())
        self._table(
            "`GET /gatherings/{id}/yield` of both:",
            ["what came of it", *(self._names[gathering] for gathering in gatherings)],
            [[name.replace("_", " "), *(each[name] for each in found)] for name in found[0] if name != "gathering"],
        )
        return found

    def _table(self, request: str, head: list[str], rows: list[list[Any]]) -> None:
        lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
        self._parts.append("\n".join([request, "", *("| " + " | ".join(map(str, line)) + " |" for line in lines)]))

    async def _post(self, path: str, body: dict[str, Any], *, moderator: bool = False) -> httpx.Response:
        answer = await self._ledger.client.post(
            self._caller.path(path),
            json=body,
            headers={"Authorization": f"Bearer {MODERATOR_KEY}"} if moderator else {},
        )
        await self._ledger.wait_until_settled()
        return answer

    async def _get(self, path: str, viewer: str | None) -> httpx.Response:
        query = {"viewer": viewer} if viewer is not None else {}
        return await self._ledger.client.get(self._caller.path(path), params=query)

    # Format

    def _write_exchange(
        self, method: str, path: str, said: dict[str, Any] | str | None, answer: httpx.Response, show: str
    ) -> dict[str, Any]:
        view: dict[str, Any] = answer.json()
        fields = show.split()
        assert [field for field in fields if field not in view] == [], view
        shown = {field: view[field] for field in fields}
        lines = [self._with_names(f"{method} {path}")]
        if isinstance(said, dict):
            lines.append(format_json(json.loads(self._with_names(json.dumps(said)))))
        elif said is not None:
            lines[0] += f"?viewer={said}"
        lines += ["", f"{answer.status_code} {answer.reason_phrase}"]
        lines.append(format_json(json.loads(self._with_names(json.dumps(shown))), more=shown.keys() < view.keys()))
        self._parts.append("```http\n" + "\n".join(lines) + "\n```")
        return view

    def _with_names(self, text: str) -> str:
        """Return the text with a name in place of every id."""
        for own, name in self._names.items():
            text = text.replace(own, f"{{{name}}}")
        unnamed = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text)
        assert unnamed is None, f"an id without a name in {text}"
        return text

    def finish(self, title: str) -> None:
        """Compare the chapter with the file, word for word. If `WRITE_STORIES` is set, write the file first."""
        chapter = f"## {title}\n\n" + "\n\n".join(self._parts) + "\n"
        if os.environ.get(WRITE):
            PAGE.write_text(page_with(title, chapter))
        assert chapters_of(PAGE.read_text()).get(title) == chapter, HOW


def format_json(value: Any, *, more: bool = False, indent: str = "") -> str:
    """Return JSON on one line, or on one line per element if that is too long. `more` adds an ellipsis."""
    line = json.dumps(value, ensure_ascii=False)
    if more:
        line = f"{line[:-1]}, ...}}"
    if len(indent) + len(line) <= LINE or not isinstance(value, dict | list):
        return line
    deeper = indent + "  "
    things = cast("dict[str, Any] | list[Any]", value)
    if isinstance(things, dict):
        inner = [f"{json.dumps(name)}: {format_json(thing, indent=deeper)}" for name, thing in things.items()]
        opened, closed = "{", "}"
    else:
        inner = [format_json(thing, indent=deeper) for thing in things]
        opened, closed = "[", "]"
    return "\n".join([opened, ",\n".join(deeper + thing for thing in inner + ["..."] * more), indent + closed])


def wrap(prose: str) -> str:
    """Return the paragraphs, each filled to the width of the file."""
    paragraphs = textwrap.dedent(prose).strip().split("\n\n")
    return "\n\n".join(
        textwrap.fill(" ".join(paragraph.split()), WIDTH, break_on_hyphens=False) for paragraph in paragraphs
    )


def chapters_of(page: str) -> dict[str, str]:
    """Return the chapters of the file by title."""
    _, *found = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    return {chapter.partition("\n")[0].removeprefix("## "): chapter.rstrip("\n") + "\n" for chapter in found}


def page_with(title: str, chapter: str) -> str:
    """Return the file with this chapter in its place. Chapters without a test are left out."""
    found = chapters_of(PAGE.read_text()) if PAGE.exists() else {}
    found[title] = chapter
    return page_of({title: found[title] for title in CHAPTERS if title in found})


def page_of(chapters: dict[str, str]) -> str:
    return "\n".join([PREFACE, *chapters.values()])
