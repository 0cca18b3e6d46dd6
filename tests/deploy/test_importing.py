"""Importing: the commands and keys that the lines of a file become."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import httpx
import msgspec
import pytest

from deploy.importer import lines
from deploy.importer.client import BATCH_BYTES_MAX, BATCH_COMMANDS, Tally, batches_of
from deploy.importer.lines import Layout, Line, NoColumns, lines_of
from ledger.domain.catalog.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

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
