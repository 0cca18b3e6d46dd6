"""Importing: batches that are sent, repeated and counted, and what the screen shows."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from rich.console import Console

from deploy.importer.client import BATCH_COMMANDS, Importer, NotTheApi, Refused, ServerGone, write_refused
from deploy.importer.lines import Layout, Line, NoColumns, lines_of
from deploy.importer.screen import print_refused, send_with_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    Later = Coroutine[None, None, httpx.Response]
    Answer = Callable[[httpx.Request], httpx.Response] | Callable[[httpx.Request], Later]


FAVOURS = Layout(what="favours")
COMMANDS = Layout(what="commands")


# Sending


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.importer.client.RETRY_WAIT_S", 0.001)


def importer(answer: Answer, patience_s: float = 30) -> Importer:
    client = httpx.AsyncClient(base_url="http://api", transport=httpx.MockTransport(answer))
    return Importer(client, "acme", patience_s)


def numbered(count: int) -> Iterator[Line]:
    return iter([Line(n, f"line {n}", json.dumps({"n": n}).encode()) for n in range(1, count + 1)])


@pytest.mark.parametrize("batches_in_flight", [1, 2])
async def test_every_line_is_sent_once_and_counted_by_what_became_of_it(batches_in_flight: int) -> None:
    sent: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/communities/acme/batch"
        assert request.headers["Content-Type"] == "application/json"
        numbers = [item["n"] for item in json.loads(request.content)]
        sent.extend(numbers)
        return httpx.Response(200, json=[becomes(number) for number in numbers])

    def becomes(number: int) -> dict[str, Any]:
        if number % 10 == 0:
            return {"status": "refused", "problem": {"code": "self_dealing", "detail": "Giver is receiver.", "x": 1}}
        return {"status": ("recorded", "replayed", "unchanged")[number % 3], "position": number, "kind": "favour"}

    sending = importer(answer)
    await sending.send_all(numbered(2_500), batches_in_flight)
    assert sorted(sent) == list(range(1, 2_501))
    tally = sending.tally
    assert (tally.recorded, tally.repeated, len(tally.refused)) == (750, 1_500, 250)
    assert (tally.lines, tally.position) == (2_500, 2_499)
    assert [one.line for one in tally.refused] == list(range(10, 2_501, 10))
    assert tally.refused[0] == Refused(10, "self_dealing", "Giver is receiver.", "line 10")


@pytest.mark.parametrize(("layout", "at_once"), [(COMMANDS, 1), (FAVOURS, 2)])
async def test_commands_go_one_batch_after_the_other_and_the_rows_of_a_table_two_at_a_time(
    layout: Layout, at_once: int
) -> None:
    """A step in the second batch may need its creation in the first; a row needs no other."""
    in_flight: list[int] = []
    most = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal most
        batch = json.loads(request.content)
        in_flight.append(batch[0]["n"])
        most = max(most, len(in_flight))
        for _ in range(100):  # Whoever else may send has their turn.
            await asyncio.sleep(0)
        in_flight.remove(batch[0]["n"])
        return httpx.Response(200, json=[{"status": "recorded"}] * len(batch))

    await importer(answer).send_all(numbered(4 * BATCH_COMMANDS), layout.batches_in_flight)
    assert most == at_once


async def test_a_batch_that_is_asked_again_holds_up_the_next_one() -> None:
    began: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        batch = json.loads(request.content)
        began.append(batch[0]["n"])
        if len(began) in (1, 2):
            return httpx.Response(503)
        return httpx.Response(200, json=[{"status": "recorded"}] * len(batch))

    await importer(answer).send_all(numbered(2 * BATCH_COMMANDS), COMMANDS.batches_in_flight)
    assert began == [1, 1, 1, BATCH_COMMANDS + 1]


@pytest.mark.parametrize("trouble", [503, 504, "refused", "timeout", "broken"])
async def test_an_api_in_trouble_is_asked_again_until_it_takes_the_lines(trouble: int | str) -> None:
    asked = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        match trouble:
            case _ if asked > 3:
                return httpx.Response(200, json=[{"status": "recorded", "position": 9}])
            case int(status):
                return httpx.Response(status, text="not now")
            case "refused":
                raise httpx.ConnectError("nobody there", request=request)
            case "timeout":
                raise httpx.ReadTimeout("no answer", request=request)
            case _:
                raise httpx.RemoteProtocolError("hung up", request=request)

    sending = importer(answer)
    await sending.send_all(numbered(1))
    assert (sending.tally.recorded, asked) == (1, 4)


@pytest.mark.parametrize("status", [None, 503])
async def test_an_api_that_stays_away_is_given_up_after_the_patience_and_what_it_took_is_counted(
    status: int | None,
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if b'"n": 1}' in request.content:
            return httpx.Response(200, json=[{"status": "recorded"}] * BATCH_COMMANDS)
        if status is None:
            raise httpx.ConnectError("nobody there", request=request)
        return httpx.Response(status, text="the log does not answer")

    sending = importer(answer, patience_s=0.05)
    with pytest.raises(ServerGone, match="nobody there" if status is None else "does not answer"):
        await sending.send_all(numbered(5 * BATCH_COMMANDS), 2)
    assert sending.tally.recorded == BATCH_COMMANDS


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500])
async def test_an_api_that_refuses_the_whole_is_not_asked_again(status: int) -> None:
    asked = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return httpx.Response(status)

    with pytest.raises(httpx.HTTPStatusError):
        await importer(answer).send_all(numbered(1))
    assert asked == 1


@pytest.mark.parametrize("answer", ["<html>", "{}", "[]", '[{"state": "posted"}]'])
async def test_what_is_not_the_api_is_told_and_not_asked_again(answer: str) -> None:
    with pytest.raises(NotTheApi):
        await importer(lambda _: httpx.Response(200, text=answer), patience_s=0).send_all(numbered(1))


async def test_a_file_without_columns_sends_nothing() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise AssertionError("sent")

    with pytest.raises(NoColumns):
        await importer(answer).send_all(lines_of(io.StringIO('"giver" ,x\nann,bob\n', newline=""), FAVOURS))


async def test_the_books_are_waited_for_until_they_show_the_last_position() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["min_position"])
        if len(asked) == 1:
            raise httpx.ConnectError("nobody there", request=request)
        return httpx.Response(200 if len(asked) > 3 else 503)

    sending = importer(answer)
    sending.tally.position = 7
    assert await sending.until_readable()
    assert asked == ["7"] * 4
    assert not await importer(lambda _: httpx.Response(503), patience_s=0.02).until_readable()


# The screen


DRAWN_WITHIN_S = 5.0


async def test_a_file_that_is_gone_before_it_is_read_is_told(tmp_path: Path) -> None:
    sending = importer(lambda _: httpx.Response(200, json=[]))
    said = await send_with_progress(sending, tmp_path / "f.csv", FAVOURS, Console(file=io.StringIO()))
    assert said == "cannot read f.csv: No such file or directory"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            httpx.Response(401, json={"title": "No", "detail": "Send a key."}),
            "the API refused: 401 Send a key.",
        ),
        (httpx.Response(502, text="<html>"), "the API refused: 502 Bad Gateway"),
        (httpx.Response(404, json=["no problem"]), "the API refused: 404 Not Found"),
        (httpx.Response(404, json={"no": "detail"}), "the API refused: 404 Not Found"),
        (
            httpx.Response(200, json={}),
            "this is not the API of the ledger: Expected `array`, got `object`",
        ),
    ],
)
async def test_an_answer_that_ends_it_is_told_in_a_sentence(tmp_path: Path, answer: httpx.Response, told: str) -> None:
    (tmp_path / "f.csv").write_text("giver,receiver\nann,bob\n")
    sending = importer(lambda _: answer)
    assert await send_with_progress(sending, tmp_path / "f.csv", FAVOURS, Console(file=io.StringIO())) == told


async def test_lines_their_rate_and_the_time_that_remains_are_shown_while_a_file_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four and a half batches one was answered after ten seconds; the next waits until that was drawn."""
    monkeypatch.setattr("deploy.importer.client.BATCH_COMMANDS", 100)
    monkeypatch.setattr("deploy.importer.screen.REDRAW_S", 0.01)
    (tmp_path / "f.ndjson").write_text('{"n": 1}\n' * 450)
    drawn = "100 lines, 10/s 0:00:13"
    screen, seconds = io.StringIO(), 0
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + DRAWN_WITHIN_S

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal seconds
        while seconds and drawn not in screen.getvalue() and loop.time() < give_up_at:  # noqa: ASYNC110  A thread draws.
            await asyncio.sleep(0.01)
        seconds = 10
        return httpx.Response(200, json=[{"status": "recorded"}] * len(json.loads(request.content)))

    console = Console(file=screen, force_terminal=True, color_system=None, width=160, get_time=lambda: seconds)
    assert await send_with_progress(importer(answer), tmp_path / "f.ndjson", COMMANDS, console) is None
    assert drawn in screen.getvalue()
    assert "100% 450 lines, 45/s 0:00:00" in screen.getvalue()


def test_of_a_refused_line_as_much_is_shown_as_a_person_reads_and_no_terminal_obeys(tmp_path: Path) -> None:
    screen = io.StringIO()
    lines = [Refused(1, "x", "too long", "a" * 10**6), Refused(2, "x", "coloured", "a\x1b[31m[bold]b")]
    print_refused(lines, tmp_path / "f", Console(file=screen, width=100))
    assert f"  line 1: too long  {'a' * 200}…\n  line 2: coloured  a [31m[bold]b\n" in screen.getvalue()


def test_refused_lines_are_written_with_number_code_reason_and_text(tmp_path: Path) -> None:
    path = tmp_path / "refused.ndjson"
    write_refused([Refused(3, "self_dealing", "Giver is receiver.", "ann,ann"), Refused(4, "x", "ü", '"')], path)
    assert [json.loads(text) for text in path.read_text().splitlines()] == [
        {"line": 3, "code": "self_dealing", "detail": "Giver is receiver.", "text": "ann,ann"},
        {"line": 4, "code": "x", "detail": "ü", "text": '"'},
    ]
