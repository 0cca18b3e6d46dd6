"""Importing: what a file's lines become, in what batches they go, and what happens when nobody takes them."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import httpx
import msgspec
import pytest
from rich.console import Console

from deploy.importer import lines
from deploy.importer.client import (
    BATCH_BYTES_MAX,
    BATCH_COMMANDS,
    Importer,
    NotTheApi,
    Refused,
    ServerGone,
    Tally,
    batches_of,
    write_refused,
)
from deploy.importer.lines import Layout, Line, NoColumns, lines_of
from deploy.importer.screen import print_refused, send_with_progress
from ledger.domain.catalog.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    Later = Coroutine[None, None, httpx.Response]
    Answer = Callable[[httpx.Request], httpx.Response] | Callable[[httpx.Request], Later]

FAVOURS = Layout(what="favours")
COMMANDS = Layout(what="commands")


def read(text: str, layout: Layout) -> list[Line]:
    return list(lines_of(io.StringIO(text, newline=""), layout))


def commands(text: str, layout: Layout) -> list[dict[str, Any]]:
    """What the lines become; none of them is malformed."""
    lines = read(text, layout)
    assert [line.error for line in lines] == [None] * len(lines)
    return [json.loads(line.command) for line in lines]


def bodies(text: str, layout: Layout) -> list[dict[str, Any]]:
    return [command["body"] for command in commands(text, layout)]


def keys(text: str, layout: Layout) -> list[str]:
    return [command["idempotency_key"] for command in commands(text, layout)]


def whys(text: str, layout: Layout) -> dict[int, str]:
    """What is wrong with which line."""
    return {line.number: line.error for line in read(text, layout) if line.error is not None}


# Keys


def test_equal_lines_are_different_favours_and_the_same_file_has_the_same_keys() -> None:
    text = "giver,receiver\nann,bob\nann,bob\nbob,ann\n"
    assert len(set(keys(text, FAVOURS))) == 3
    assert keys(text, FAVOURS) == keys(text, FAVOURS)


def test_order_and_inserted_lines_change_no_key() -> None:
    before = keys("giver,receiver\nann,bob\ncyd,dee\nann,bob\n", FAVOURS)
    after = keys("giver,receiver\neve,fay\nann,bob\nann,bob\ngus,hal\ncyd,dee\n", FAVOURS)
    assert set(before) < set(after)


def test_favours_and_referrals_of_the_same_words_have_different_keys() -> None:
    text = "ann,bob\n"
    columns = ("giver", "receiver")
    assert keys(text, Layout(what="favours", columns=columns)) != keys(text, Layout(what="referrals", columns=columns))


def test_a_value_moved_to_the_next_column_is_another_line() -> None:
    columns = ("giver", "receiver")
    layout = Layout(what="favours", columns=columns)
    assert keys("ab,c\n", layout) != keys("a,bc\n", layout)


@pytest.mark.parametrize(
    ("layout", "text"), [(FAVOURS, "giver,receiver\nann,bob\n"), (COMMANDS, '{"op": "favour.record", "body": {}}\n')]
)
def test_an_equal_line_of_another_source_is_another(layout: Layout, text: str) -> None:
    january, february = (msgspec.structs.replace(layout, source=source) for source in ("january", "february"))
    assert keys(text, january) == keys(text, january)
    assert len({*keys(text, layout), *keys(text, january), *keys(text, february)}) == 3


def test_what_only_its_words_tell_apart_is_known() -> None:
    def undated(text: str, layout: Layout) -> list[bool]:
        return [line.undated for line in read(text, layout)]

    text = "giver,receiver,occurred_at\nann,bob,2025-03-01T09:00:00Z\nann,bob,\n"
    assert undated(text, FAVOURS) == [False, True]
    assert undated(text, msgspec.structs.replace(FAVOURS, constants={"id": str(UUID(int=1))})) == [False, False]
    sent: list[dict[str, Any]] = [
        {"op": "favour.confirm", "id": str(UUID(int=1)), "body": {"actor": "bob"}},
        {"op": "favour.confirm", "id": str(UUID(int=1)), "body": {"actor": "bob"}, "idempotency_key": "mine"},
        {"op": "member.pause", "id": "bob", "body": {"actor": "bob", "occurred_at": "2025-03-01T09:00:00Z"}},
        {"op": "favour.record", "body": {"id": str(UUID(int=1)), "giver": "ann", "receiver": "bob", "actor": "bob"}},
        {"op": "favour.record", "body": None},
    ]
    assert undated("\n".join(map(json.dumps, sent)), COMMANDS) == [True, False, False, False, False]


# Tables


def test_the_first_line_names_the_columns() -> None:
    (command,) = commands("giver,receiver,size\nann,bob,large\n", FAVOURS)
    assert command["op"] == "favour.record"
    assert command["body"] == {"giver": "ann", "receiver": "bob", "size": "large", "actor": "bob"}


def test_named_columns_make_the_first_line_a_row() -> None:
    layout = Layout(what="favours", columns=("giver", "receiver"), constants={"size": "small"})
    assert bodies("ann,bob\ncyd,dee\n", layout) == [
        {"size": "small", "giver": "ann", "receiver": "bob", "actor": "bob"},
        {"size": "small", "giver": "cyd", "receiver": "dee", "actor": "dee"},
    ]


def test_a_row_overrules_what_is_the_same_for_every_line_unless_it_is_empty() -> None:
    layout = Layout(what="favours", constants={"size": "small", "actor": "ann"})
    found = bodies("giver,receiver,size\nann,bob,large\n", layout)
    assert [(body["size"], body["actor"]) for body in found] == [("large", "ann")]
    assert "size" not in bodies("giver,receiver,size\nann,bob,\n", FAVOURS)[0]


@pytest.mark.parametrize("delimiter", [" ", ";", "\t", "|"])
def test_columns_stand_between_any_one_character(delimiter: str) -> None:
    text = f"giver{delimiter}receiver\nann{delimiter}bob\n"
    (body,) = bodies(text, Layout(what="favours", delimiter=delimiter))
    assert (body["giver"], body["receiver"]) == ("ann", "bob")


def test_quotes_empty_lines_and_windows_line_ends_are_understood() -> None:
    found = bodies('giver,receiver\r\n"ann","bob"\r\n\r\ncyd,dee\r\n', FAVOURS)
    assert [body["giver"] for body in found] == ["ann", "cyd"]


@pytest.mark.parametrize(
    ("what", "operation", "columns", "actor"),
    [
        ("favours", "favour.record", "giver,receiver", "two"),
        ("referrals", "referral.give", "referrer,recipient", "one"),
        ("intros", "intro.propose", "asker,connector", "one"),
    ],
)
def test_each_kind_has_its_operation_and_its_usual_actor(
    what: lines.FileContents, operation: str, columns: str, actor: str
) -> None:
    (command,) = commands(f"{columns}\none,two\n", Layout(what=what))
    assert command["op"] == operation
    assert command["body"]["actor"] == actor


def test_levels_are_numbers_and_tags_are_lists() -> None:
    (body,) = bodies("referrer,recipient,level,tags\nann,bob,4,tax|law\n", Layout(what="referrals"))
    assert (body["level"], body["tags"]) == (4, ["tax", "law"])
    (body,) = bodies("asker,connector,target,expects_percent\nann,bob,cyd,20\n", Layout(what="intros"))
    assert body["expects_percent"] == 20


@pytest.mark.parametrize("operation", [operation for operation, _ in lines.OPERATION.values()])
def test_every_field_of_a_row_that_is_no_word_is_known_to_be_none(operation: str) -> None:
    """So that a column of a new field becomes what the API takes."""
    form = msgspec.json.schema(OPERATIONS[operation].command)["$defs"][OPERATIONS[operation].command.__name__]
    forms = {
        name: [schema, *schema.get("anyOf", ())] for name, schema in cast("dict[str, Any]", form["properties"]).items()
    }
    assert {n for n, f in forms.items() if any(one.get("type") == "integer" for one in f)} <= lines.NUMBER_COLUMNS
    assert {n for n, f in forms.items() if any(one.get("format") == "date-time" for one in f)} <= lines.TIME_COLUMNS
    assert {n for n, f in forms.items() if any(one.get("type") == "array" for one in f)} <= {"tags"}


def test_times_are_iso_as_they_are_or_unix_seconds_in_utc() -> None:
    iso = "2009-09-29T02:56:29+00:00"
    assert bodies(f"giver,receiver,occurred_at\nann,bob,{iso}\n", FAVOURS)[0]["occurred_at"] == iso
    unix = Layout(what="favours", times="unix")
    assert bodies("giver,receiver,occurred_at\nann,bob,1254192989\n", unix)[0]["occurred_at"] == iso


@pytest.mark.parametrize("time", ["yesterday", "nan", "inf", "-inf", "1e30", "1e15", "-1e18", "9" * 400])
def test_a_time_that_is_none_is_told_by_its_line_and_the_next_goes_on(time: str) -> None:
    text = f"giver,receiver,occurred_at\nann,bob,{time}\nann,bob,0\n"
    assert whys(text, Layout(what="favours", times="unix")).keys() == {2}


def test_rows_that_are_too_short_too_long_or_no_numbers_are_told_by_their_lines() -> None:
    text = "referrer,recipient,level\nann\nann,bob,3,4\nann,bob,high\nann,bob,3\n"
    assert whys(text, Layout(what="referrals")) == {
        2: "expected 3 columns, found 1",
        3: "expected 3 columns, found 4",
        4: "level: expected a whole number",
    }


def test_a_row_with_a_wrong_quote_is_told_by_its_line_and_the_next_goes_on() -> None:
    text = 'giver,receiver\n"ann"x,bob\ncyd,dee\n'
    lines = read(text, FAVOURS)
    assert [(line.number, line.error is None) for line in lines] == [(2, False), (3, True)]


def test_a_quote_that_is_not_closed_tells_all_the_lines_that_it_takes_in() -> None:
    assert whys('giver,receiver\nann,bob\n"ann,bob\nann,bob\nann,bob\n', FAVOURS) == {
        5: "unexpected end of data, from line 3 on"
    }


def test_a_field_that_is_too_long_is_told_by_its_line_and_the_next_goes_on() -> None:
    text = f"giver,receiver\nann,{'b' * 200_000}\nann,bob\n"
    assert whys(text, FAVOURS) == {2: "field larger than field limit (131072)"}
    assert len(read(text, FAVOURS)) == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('"giver" ,"receiver"\nann,bob\n', "the first line does not name the columns"),
        ("giver,empf\ufffdnger\nann,bob\n", "it is not UTF-8"),
        ("giver,giver,receiver\nann,cyd,bob\n", "two columns have the name 'giver'"),
    ],
)
def test_a_first_line_that_does_not_name_each_column_says_so(text: str, why: str) -> None:
    with pytest.raises(NoColumns, match=why):
        read(text, FAVOURS)


def test_columns_that_are_named_beside_the_file_have_a_name_each() -> None:
    with pytest.raises(NoColumns, match="two columns have the name 'giver'"):
        read("ann,cyd,bob\n", Layout(what="favours", columns=("giver", "giver", "receiver")))


def test_empty_lines_before_the_names_of_the_columns_are_passed_by() -> None:
    assert [body["giver"] for body in bodies("\n\r\ngiver,receiver\nann,bob\n", FAVOURS)] == ["ann"]


def test_a_line_that_is_not_utf_8_is_told_and_the_next_goes_on() -> None:
    assert whys("giver,receiver\nann,b\ufffdb\nann,bob\n", FAVOURS) == {2: "is not UTF-8"}
    assert whys('{"op": "\ufffd"}\n{"op": "x"}\n', COMMANDS) == {1: "is not UTF-8"}


def test_an_empty_file_has_no_lines() -> None:
    assert read("", FAVOURS) == []
    assert read("giver,receiver\n", FAVOURS) == []
    assert read("\n  \n", COMMANDS) == []


# Commands


def test_a_command_goes_as_it_is_and_gets_a_key_unless_it_brings_its_own() -> None:
    create = {"op": "favour.record", "body": {"giver": "ann", "receiver": "bob", "size": "small", "actor": "bob"}}
    step = {"op": "favour.confirm", "id": "5d3c63c6-4b1b-4f0e-8f0c-0a4d3f1f2a10", "body": {"actor": "bob"}}
    keyed = {**create, "idempotency_key": "mine"}
    sent = (create, step, keyed, create, step, {**step, "idempotency_key": None})
    found = commands("\n".join(map(json.dumps, sent)), COMMANDS)
    made = [command.pop("idempotency_key") for command in found]
    assert made.pop(2) == "mine"
    assert len(set(made)) == 5
    assert all(key.startswith("import-") for key in made)
    assert found == [create, step, create, create, step, step]


def test_the_keys_of_a_line_are_the_same_in_every_version() -> None:
    """What one version has imported, the next must not record again."""
    assert keys("giver,receiver\nann,bob\nann,bob\n", FAVOURS) == [
        "import-551b78b4ef84538c22551b41f89fb265-1",
        "import-551b78b4ef84538c22551b41f89fb265-2",
    ]
    assert keys('{"op": "favour.record", "body": {}}\n', COMMANDS) == ["import-f76b1287ddeffc64d0f77ee42eae1f39-1"]


@pytest.mark.parametrize("line", ['{"op": ', "[]", "7", "null", "giver,receiver", '{"a": NaN}', "[" * 10**5])
def test_a_line_that_is_no_json_object_is_told_by_its_number_and_the_next_goes_on(line: str) -> None:
    assert whys(f'{line}\n\n{{"op": "x"}}\n', COMMANDS).keys() == {1}


# Batches


def line(number: int, size: int = 2) -> Line:
    return Line(number, f"line {number}", b"{" + b" " * (size - 2) + b"}")


def test_a_batch_holds_no_more_commands_than_the_api_takes() -> None:
    tally = Tally()
    sizes = [len(batch) for batch in batches_of(iter(map(line, range(2 * BATCH_COMMANDS + 1))), tally)]
    assert sizes == [BATCH_COMMANDS, BATCH_COMMANDS, 1]


def test_a_batch_is_no_larger_than_the_api_takes() -> None:
    size = BATCH_BYTES_MAX // 3
    batches = list(batches_of((line(n, size) for n in range(10)), Tally()))
    assert sum(map(len, batches)) == 10
    assert all(sum(len(one.command) + 1 for one in batch) + 1 <= 1024 * 1024 for batch in batches)


def test_malformed_and_oversized_lines_are_told_apart_and_in_no_batch() -> None:
    tally = Tally()
    bad, large = Line(2, "x", error="no good"), line(3, BATCH_BYTES_MAX + 1)
    (batch,) = batches_of(iter([line(1), bad, large, line(4)]), tally)
    assert [one.number for one in batch] == [1, 4]
    assert [(one.line, one.code) for one in tally.refused] == [(2, "malformed_line"), (3, "malformed_line")]
    assert tally.refused[1].detail == "is larger than 900,000 bytes"


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
