"""The command line: imports of files."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import httpx
import pytest

from deploy.importer.client import BATCH_COMMANDS
from tests.deploy.conftest import CommandLine, get
from tests.deploy.invocations import PROJECTS, failure_text, serve

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.conftest import Invoke


def test_wrong_usage_of_import_is_told_before_anything_is_sent(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("giver,receiver\nann,bob\n")
    usual = ("import", "f.csv", "--community", "acme", "--as", "favours")
    for arguments, sentence in (
        ((*usual, "--delimiter", "::"), "Invalid value for '--delimiter': expected one character"),
        ((*usual, "--delimiter", '"'), "Invalid value for '--delimiter': expected one character"),
        ((*usual, "--delimiter", ""), "Invalid value for '--delimiter': expected one character"),
        ((*usual, "--set", "size"), "Invalid value for '--set': expected NAME=VALUE, found 'size'"),
        ((*usual, "--source", "ü" * 33), "Invalid value for '--source': expected at most 64 bytes"),
        ((*usual, "--source", "\udcfc"), "Invalid value for '--source': is not UTF-8"),
        ((*usual, "--set", "size=\udcfc"), "Invalid value for '--set': is not UTF-8"),
        ((*usual, "--columns", "giver,\udcfc"), "Invalid value for '--columns': is not UTF-8"),
        ((*usual, "--refused", "./f.csv"), "Invalid value for --refused: this is the file to import"),
        ((*usual, "--community", "acme/../other"), "Invalid value for '--community': expected a lower-case letter"),
        ((*usual, "--times", "lunar"), "Invalid value for '--times'"),
        ((*usual[:-1], "gifts"), "Invalid value for '--as'"),
        (("import", "f.csv"), "Missing option '--community'"),
        (("import", "g.csv", "--community", "acme"), "'g.csv' does not exist"),
        (("import", ".", "--community", "acme"), "is a directory"),
    ):
        assert sentence in failure_text(invoke(*arguments), 2)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "rubbish", "http://["])
def test_an_api_that_is_not_there_is_told_after_the_patience(invoke: Invoke, tmp_path: Path, url: str) -> None:
    (tmp_path / "f.csv").write_text("giver,receiver\nann,bob\n")
    result = invoke(
        *("import", "f.csv", "--community", "acme", "--as", "favours", "--url", url, "--patience", "0.1"),
    )
    said = failure_text(result)
    assert "0 recorded, 0 repeated, 0 refused." in said
    assert "Not every line was sent: the API is unavailable: " in said
    assert "Run the same command again." in said


def test_a_first_line_without_columns_is_told(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text('"giver" ,"receiver"\nann,bob\n')
    said = failure_text(invoke("import", "f.csv", "--community", "acme", "--as", "favours"))
    assert "Error: the first line does not name the columns" in said


def test_a_file_is_imported_once_and_its_refused_lines_are_told(beside_servers: CommandLine) -> None:
    _, url = serve(beside_servers, LEDGER_API_KEY="a key of some length")
    projector = beside_servers.start("work", "projector")
    projector.until_said(PROJECTS)
    file = beside_servers.folder / "f.csv"
    file.write_bytes(  # As Excel writes it, and with everything in it that may be wrong.
        b"\xef\xbb\xbfgiver,receiver,size\r\nann,bob,medium\r\nann,bob,medium\r\nann,ann,medium\r\nann,b\xfcb,small\r\n"
        b"ann\r\nann,[/red],small\r\nann,cyd,huge\r\ncyd,ann,large\r\n"
    )
    usual = ("import", "f.csv", "--community", "acme", "--as", "favours")
    first = beside_servers.run(*usual)
    assert first.returncode == 0, first.stdout
    assert "3 recorded, 0 repeated, 5 refused." in first.stdout
    assert "The books contain every recorded line (position 3)." in first.stdout
    assert re.search(r"line 4: .+ ann,ann,medium", first.stdout), first.stdout
    assert "[/red]" in first.stdout
    refused = [json.loads(line) for line in (beside_servers.folder / "f.csv.refused.ndjson").read_text().splitlines()]
    assert [(one["line"], one["code"]) for one in refused] == [
        (4, "self_dealing"),
        (5, "malformed_line"),
        (6, "malformed_line"),
        (7, "invalid_field"),
        (8, "invalid_field"),
    ]
    headers = {"Authorization": "Bearer a key of some length"}
    balance = httpx.get(f"{url}/v1/communities/acme/members/ann/balance", headers=headers, timeout=10).json()
    assert (balance["given"], balance["received"], balance["main"]) == (240, 240, 0)

    again = beside_servers.run(*usual, "--refused", "why.ndjson", "--no-wait")
    assert "0 recorded, 3 repeated, 5 refused." in again.stdout
    assert "The books" not in again.stdout
    assert (beside_servers.folder / "why.ndjson").exists()

    unwritable = beside_servers.run(*usual, "--refused", "no/such/folder.ndjson")
    assert unwritable.returncode == 1
    assert "Error: cannot write the refused lines to no/such/folder.ndjson" in unwritable.stdout

    beside_servers.variables["LEDGER_API_KEY"] = "another key of some length"
    locked_out = beside_servers.run(*usual)
    assert locked_out.returncode == 1
    assert "the API refused: 401" in locked_out.stdout


def test_standard_input_is_imported_as_a_file_is(beside_servers: CommandLine, invoke: Invoke) -> None:
    _, url = serve(beside_servers)
    text = b"\xef\xbb\xbfgiver,receiver,size\r\nann,bob,small\r\nann,ann,small\r\n"
    usual = ("import", "-", "--community", "acme", "--as", "favours", "--url", url, "--no-wait")
    said = invoke(*usual, given=text).output
    assert "1 recorded, 0 repeated, 1 refused." in said
    assert "All refused lines with reasons: stdin.refused.ndjson" in said


def test_commands_are_imported_with_their_steps(beside_servers: CommandLine) -> None:
    _, url = serve(beside_servers)
    beside_servers.start("work", "projector")
    own = str(uuid4())
    body: dict[str, Any] = {"giver": "ann", "receiver": "bob", "size": "small", "actor": "ann", "id": own}
    commands = [
        {"op": "favour.record", "body": body},
        {"op": "favour.confirm", "id": own, "body": {"actor": "bob"}},
        {"op": "favour.confirm", "id": own, "body": {"actor": "ann"}},
    ]
    file = beside_servers.folder / "commands.ndjson"
    file.write_text("\n".join(map(json.dumps, commands)) + "\n{\n")
    first = beside_servers.run("import", "commands.ndjson", "--community", "acme")
    assert "2 recorded, 0 repeated, 2 refused." in first.stdout, first.stdout
    assert "refused 1: not_yours" in first.stdout
    assert "refused 1: malformed_line" in first.stdout
    assert get(f"{url}/v1/communities/acme/favours/{own}")["state"] == "posted"
    again = beside_servers.run("import", "commands.ndjson", "--community", "acme")
    assert "0 recorded, 2 repeated, 2 refused." in again.stdout, again.stdout


def test_steps_that_bring_no_keys_are_recorded_once_however_often_they_are_imported(
    beside_servers: CommandLine,
) -> None:
    _, url = serve(beside_servers)
    beside_servers.start("work", "projector")
    own = str(uuid4())
    asked = {"asker": "ann", "connector": "bob", "target": "cyd", "actor": "ann", "id": own}
    commands = [
        {"op": "member.join", "body": {"actor": "ann", "member": "ann"}},
        {"op": "intro.propose", "body": asked},
        *({"op": f"member.{step}", "id": "ann", "body": {"actor": "ann"}} for step in ("pause", "resume", "pause")),
        {"op": "intro.withdraw", "id": own, "body": {"actor": "ann"}},
    ]
    file = beside_servers.folder / "commands.ndjson"
    file.write_text("\n".join(map(json.dumps, commands)))
    said = [beside_servers.run("import", "commands.ndjson", "--community", "acme").stdout for _ in range(3)]
    assert "6 recorded, 0 repeated, 0 refused." in said[0]
    assert all("0 recorded, 6 repeated, 0 refused." in one and "(position 6)" in one for one in said[1:]), said
    assert get(f"{url}/v1/communities/acme/members/ann")["state"] == "paused"


def test_equal_rows_of_two_files_are_one_unless_their_sources_differ(beside_servers: CommandLine) -> None:
    serve(beside_servers)

    def imported(file: str, *options: str) -> str:
        usual = ("--community", "acme", "--as", "favours", "--no-wait")
        return beside_servers.run("import", file, *usual, *options).stdout

    head, timed = "giver,receiver,occurred_at,size\n", "cyd,dee,2025-03-01T09:00:00Z,large\n"
    (beside_servers.folder / "january.csv").write_text(f"{head}ann,bob,,small\n{timed}")
    (beside_servers.folder / "february.csv").write_text(f"{head}bob,ann,,small\nann,bob,,small\n{timed}")
    assert "2 recorded, 0 repeated, 0 refused.\n" in imported("january.csv")
    said = imported("february.csv")
    assert "1 recorded, 2 repeated, 0 refused.\n  1 of the repeated lines have no occurred_at." in said
    assert "--source" in said
    for file in ("march", "april"):
        (beside_servers.folder / f"{file}.csv").write_text(f"{head}eve,fay,,small\n")
        assert "1 recorded, 0 repeated, 0 refused." in imported(f"{file}.csv", "--source", file)
    said = imported("april.csv", "--source", "april")
    assert "0 recorded, 1 repeated, 0 refused." in said
    assert "--source" not in said


def test_a_step_in_a_later_batch_than_its_creation_finds_it(beside_servers: CommandLine) -> None:
    serve(beside_servers)
    claimed = [str(UUID(int=n)) for n in range(1, BATCH_COMMANDS + 1)]
    body = {"giver": "ann", "receiver": "bob", "size": "small", "actor": "ann"}
    commands = [
        *({"op": "favour.record", "body": {**body, "id": own}} for own in claimed),
        *({"op": "favour.confirm", "id": own, "body": {"actor": "bob"}} for own in claimed),
    ]
    (beside_servers.folder / "commands.ndjson").write_text("\n".join(map(json.dumps, commands)))
    done = beside_servers.run("import", "commands.ndjson", "--community", "acme", "--no-wait")
    assert "2,000 recorded, 0 repeated, 0 refused." in done.stdout


@pytest.mark.slow
def test_an_import_without_a_projector_says_that_the_books_lag(beside_servers: CommandLine) -> None:
    serve(beside_servers)
    (beside_servers.folder / "f.csv").write_text("giver,receiver,size\nann,bob,small\n")
    done = beside_servers.run("import", "f.csv", "--community", "acme", "--as", "favours", "--patience", "1")
    assert done.returncode == 0
    assert "The books do not contain every recorded line yet (position 1)." in done.stdout
