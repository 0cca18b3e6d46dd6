"""The command line: every command does what it says, and whatever may go wrong is told in a sentence."""

from __future__ import annotations

import json
import re
import signal
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import click
import httpx
import nats
import pytest
from click.testing import CliRunner, Result

from deploy.cli.main import main
from deploy.embedded.ports import free_port
from deploy.importer.client import BATCH_COMMANDS
from ledger.books.connection import connect
from ledger.commands.executor import Executor
from ledger.commands.submission import Outcome, Submission
from ledger.domain.kinds.favour import RecordFavour
from ledger.envelope import AggregateRef
from ledger.log.connection import Connection
from ledger.log.jetstream import JetStreamLog
from ledger.log.message import event_subject
from ledger.log.stream import STREAM
from tests.conftest import fresh_stream
from tests.deploy.conftest import CommandLine, Started, answers, get, until, variables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from deploy.embedded.nats import EmbeddedNats
    from ledger.runtime.settings import Settings
    from tests.books.books_database import Books

    Invoke = Callable[..., Result]

NOBODY: Final = {
    "LEDGER_POSTGRES_DSN": "postgresql://postgres@127.0.0.1:1/postgres",
    "LEDGER_NATS_URL": "nats://user:secret@127.0.0.1:1",
}
PROJECTS: Final = "this projector writes the books"
KEEPS_TIME: Final = "this clock records lapses"
LONG_AGO: Final = datetime(2026, 1, 5, tzinfo=UTC)
EVERY_COMMAND: Final = ("up", "serve", "work", "migrate", "provision", "import", "verify")


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run a command in this process, in an empty folder. An exception that isn't told as a sentence fails the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "deploy.cli.environment.configure_logs", str
    )  # Does nothing: logs would go to the runner's outputs, for ever.

    def run(*arguments: str, variables: Mapping[str, str] | None = None, given: bytes | None = None) -> Result:
        environment: dict[str, str | None] = {"COLUMNS": "200", **(variables or {})}
        return CliRunner().invoke(main, arguments, input=given, env=environment, catch_exceptions=False)

    return run


async def thank(settings: Settings, count: int) -> None:
    """Favours of ann for bob."""
    async with Connection(settings.nats_url, "test") as connection:
        await connection.ready()
        outcomes = await Executor(JetStreamLog(connection)).execute_all(
            [
                Submission(
                    community="acme",
                    operation="favour.record",
                    kind="favour",
                    command=RecordFavour(actor="bob", giver="ann", receiver="bob", size="medium", id=UUID(int=n)),
                )
                for n in range(1, count + 1)
            ]
        )
    assert all(isinstance(outcome, Outcome) for outcome in outcomes)


async def claim(settings: Settings, count: int) -> None:
    """Favours that ann said she did for bob, long ago; he has not answered."""
    async with Connection(settings.nats_url, "test") as connection:
        await connection.ready()
        outcomes = await Executor(JetStreamLog(connection), lambda: LONG_AGO).execute_all(
            [
                Submission(
                    community="acme",
                    operation="favour.record",
                    kind="favour",
                    command=RecordFavour(actor="ann", giver="ann", receiver="bob", size="medium", id=UUID(int=n)),
                )
                for n in range(1, count + 1)
            ]
        )
    assert all(isinstance(outcome, Outcome) for outcome in outcomes)


async def execute(settings: Settings, *statements: str) -> None:
    async with connect(settings.books, "test") as connection:
        for statement in statements:
            await connection.execute(statement)


def told(result: Result, code: int = 1) -> str:
    """What a person reads of a failure."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def serve(commands: CommandLine, part: str = "all", **variables: str) -> tuple[Started, str]:
    """A served API, ready; and where it is."""
    port = free_port()
    commands.variables |= {"LEDGER_PORT": str(port), **variables}
    served = commands.start("serve", part)
    url = f"http://127.0.0.1:{port}"
    until(lambda: answers(f"{url}/readyz") or served.popen.poll() is not None, what="/readyz")
    assert served.popen.poll() is None, served.said
    return served, url


# Help


def test_help_lists_every_command(invoke: Invoke) -> None:
    said = invoke("--help").output
    assert set(main.commands) == set(EVERY_COMMAND)
    for command in EVERY_COMMAND:
        assert re.search(rf"^  {command}  +\S", said, re.MULTILINE), command


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_every_command_explains_itself(invoke: Invoke, command: str) -> None:
    result = invoke(command, "-h")
    assert result.exit_code == 0
    assert "--with-parent" not in result.output
    for parameter in main.commands[command].params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.opts[0] in result.output


# Settings


@pytest.mark.parametrize("command", ["migrate", "provision", "verify", "serve all", "work projector", "work clock"])
def test_a_misspelt_or_malformed_variable_is_named(invoke: Invoke, command: str) -> None:
    words = command.split()
    assert "unknown variable LEDGER_NATS_ULR" in told(invoke(*words, variables={"LEDGER_NATS_ULR": "x"}))
    assert "LEDGER_PORT: " in told(invoke(*words, variables={"LEDGER_PORT": "high"}))
    assert "LEDGER_API_KEY: " in told(invoke(*words, variables={"LEDGER_API_KEY": "short"}))


# Set-up


def test_migrate_and_provision_say_what_they_did_and_leave_alone_what_is_so(
    anyio_backend: str, settings: Settings, invoke: Invoke
) -> None:
    variables = variables_of(settings) | {"LEDGER_POSTGRES_SCHEMA": f"cli_{uuid4().hex[:8]}"}
    said = "Applied 0001_baseline.\n"
    assert invoke("migrate", variables=variables).output == said
    assert invoke("migrate", variables=variables).output == "The schema is up to date.\n"
    assert invoke("provision", variables=variables).output == "The stream LEDGER is as defined.\n"


async def test_provision_makes_the_stream_and_names_what_is_otherwise(
    settings: Settings, command_line: CommandLine
) -> None:
    command_line.variables |= variables_of(settings)
    async with Connection(settings.nats_url, "test") as connection:
        await connection.ready()
        await connection.api(f"STREAM.DELETE.{STREAM}")
        assert command_line.run("provision").stdout == "The stream LEDGER was created.\n"
        await connection.api(f"STREAM.DELETE.{STREAM}")
        await connection.api(f"STREAM.CREATE.{STREAM}", {"name": STREAM, "subjects": ["ledger.>"], "max_age": 10**12})
    for command in (("provision",), ("serve", "all")):
        done = command_line.run(*command)
        assert done.returncode == 1
        assert "max_age is 1000000000000 and must be 0" in done.stdout


async def test_a_stream_is_not_made_anew_under_the_books_of_one_that_was_lost(
    settings: Settings, books: Books, beside_servers: CommandLine
) -> None:
    async with Connection(settings.nats_url, "test") as connection:
        await connection.ready()
        await connection.api(f"STREAM.DELETE.{STREAM}")
        await books.execute("UPDATE checkpoint SET position = 1207, event_id = gen_random_uuid()")
        await books.execute("DROP VIEW answer_position")  # Books of an earlier version have none.
        done = beside_servers.run("provision")
        assert done.returncode == 1
        assert "were written from it, up to position 1,207. Restore the log." in done.stdout
        beside_servers.variables["LEDGER_POSTGRES_DSN"] = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
        done = beside_servers.run("provision")
        assert done.returncode == 1
        assert "it is unknown whether the books were written from a lost stream" in done.stdout
        assert "error" in await connection.api(f"STREAM.INFO.{STREAM}")
        beside_servers.variables["LEDGER_POSTGRES_DSN"] = settings.postgres_dsn
        await books.execute(f"DROP SCHEMA {settings.postgres_schema} CASCADE")
        assert beside_servers.run("provision").stdout == "The stream LEDGER was created.\n"


# Nobody there


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("migrate", "Postgres is unavailable"),
        ("provision", "NATS is unavailable at nats://***@127.0.0.1:1"),
        ("verify", "NATS is unavailable at nats://***@127.0.0.1:1"),
    ],
)
def test_servers_that_do_not_answer_are_told(
    invoke: Invoke, command: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.log.connection.CONNECT_WITHIN_S", 0.5)
    said = told(invoke(command, variables=NOBODY))
    assert sentence in said
    assert "secret" not in said


def test_verify_without_postgres_or_books_says_so(anyio_backend: str, settings: Settings, invoke: Invoke) -> None:
    beside = variables_of(settings)
    away = beside | {"LEDGER_POSTGRES_DSN": NOBODY["LEDGER_POSTGRES_DSN"]}
    assert "ConnectionRefusedError" in told(invoke("verify", variables=away))
    empty = beside | {"LEDGER_POSTGRES_SCHEMA": "nothing_here"}
    assert "run `referral-ledger migrate`" in told(invoke("verify", variables=empty))


def test_a_wrong_address_or_database_is_told(anyio_backend: str, settings: Settings, invoke: Invoke) -> None:
    beside = variables_of(settings)
    other = f"{settings.postgres_dsn.rpartition('/')[0]}/elsewhere"
    assert 'database "elsewhere" does not exist' in told(
        invoke("migrate", variables=beside | {"LEDGER_POSTGRES_DSN": other})
    )
    assert 'Postgres refuses: role "nobody" does not exist' in told(
        invoke("migrate", variables=beside | {"LEDGER_POSTGRES_DSN": as_login(settings, "nobody")})
    )
    assert "invalid DSN" in told(invoke("migrate", variables=beside | {"LEDGER_POSTGRES_DSN": "rubbish"}))
    wrong = beside | {"LEDGER_NATS_URL": "nats://127.0.0.1:99999"}
    assert "LEDGER_NATS_URL: invalid connect url" in told(invoke("provision", variables=wrong))


def test_a_right_that_is_lacking_is_told(anyio_backend: str, settings: Settings, stranger: str, invoke: Invoke) -> None:
    variables = variables_of(settings) | {"LEDGER_POSTGRES_DSN": as_login(settings, stranger)}
    for command in ("migrate", "verify"):
        assert "Postgres refuses: permission denied" in told(invoke(command, variables=variables))


def as_login(settings: Settings, name: str) -> str:
    return settings.postgres_dsn.replace("postgres@", f"{name}@")


# Serving


@pytest.mark.parametrize("part", ["all", "command", "query"])
def test_without_a_key_nobody_outside_is_served(invoke: Invoke, part: str) -> None:
    said = told(invoke("serve", part, variables=NOBODY | {"LEDGER_HOST": "0.0.0.0"}))  # noqa: S104  Refused.
    assert "LEDGER_API_KEY is not set, so only loopback addresses are served" in said


@pytest.mark.parametrize("part", ["all", "query"])
def test_a_taken_port_is_told_also_when_another_ledger_has_it(
    invoke: Invoke, beside_servers: CommandLine, part: str
) -> None:
    _, url = serve(beside_servers, "query")
    port = url.rpartition(":")[2]
    said = told(invoke("serve", part, variables=beside_servers.variables))
    assert f"Error: cannot listen on 127.0.0.1:{port}: " in said
    assert "in use" in said
    assert answers(f"{url}/livez")


def test_a_host_that_is_none_of_ours_is_told_and_localhost_is_one(beside_servers: CommandLine) -> None:
    beside_servers.variables["LEDGER_API_KEY"] = "a key of some length"
    for host in ("nowhere.invalid", "192.0.2.1"):
        beside_servers.variables["LEDGER_HOST"] = host
        done = beside_servers.run("serve", "query")
        assert done.returncode == 1
        assert f"Error: cannot listen on {host}:8080: " in done.stdout
    serve(beside_servers, "query", LEDGER_HOST="localhost")


def test_ctrl_c_stops_serving_with_success(beside_servers: CommandLine) -> None:
    served, _ = serve(beside_servers)
    assert served.end() == 0
    assert served.said == ""


@pytest.mark.slow
def test_it_serves_before_its_servers_are_there_and_says_what_is_missing(command_line: CommandLine) -> None:
    port = free_port()
    command_line.variables |= NOBODY | {"LEDGER_PORT": str(port)}
    served = command_line.start("serve", "all")
    url = f"http://127.0.0.1:{port}"
    until(lambda: answers(f"{url}/livez"))
    response = httpx.get(f"{url}/readyz", timeout=10)
    assert response.status_code == 503
    assert response.json()["log"] == "LogUnavailable: no connection to NATS"
    assert response.json()["books"].startswith("BooksUnavailable: ")
    assert served.end() == 0
    assert "Traceback" not in served.said
    assert "secret" not in served.said


# Working


@pytest.mark.parametrize("worker", ["projector", "clock"])
def test_a_metrics_port_that_is_taken_is_told(invoke: Invoke, worker: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        variables = NOBODY | {f"LEDGER_{worker.upper()}_METRICS_PORT": str(port)}
        said = told(invoke("work", worker, variables=variables))
    assert f"Error: cannot listen on 127.0.0.1:{port}: " in said


@pytest.mark.parametrize(("worker", "begins"), [("projector", PROJECTS), ("clock", KEEPS_TIME)])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_is_told_to_stop_ends_with_success(
    beside_servers: CommandLine, worker: str, begins: str, signum: signal.Signals
) -> None:
    working = beside_servers.start("work", worker)
    working.until_said(begins)
    assert working.end(signum) == 0
    assert "Traceback" not in working.said


async def test_the_clock_ends_what_is_overdue_and_shows_its_metrics(
    settings: Settings, beside_servers: CommandLine
) -> None:
    ports = {worker: free_port() for worker in ("projector", "clock")}
    beside_servers.variables |= {f"LEDGER_{worker.upper()}_METRICS_PORT": str(port) for worker, port in ports.items()}
    await claim(settings, 3)
    working = [beside_servers.start("work", worker) for worker in ports]
    until(lambda: "up to position 6." in beside_servers.run("verify").stdout)
    async with httpx.AsyncClient() as client:
        page = (await client.get(f"http://127.0.0.1:{ports['clock']}/metrics")).text
    assert 'ledger_clock_lapses_recorded_total{kind="favour"} 3.0' in page
    assert "\nledger_clock_overdue_seconds " in page
    assert [worker.end() for worker in working] == [0, 0]


async def test_a_poison_event_stops_the_clock_with_3(settings: Settings, beside_servers: CommandLine) -> None:
    await claim(settings, 1)
    projector = beside_servers.start("work", "projector")
    until(lambda: "up to position 1." in beside_servers.run("verify").stdout)
    assert projector.end() == 0
    client = await nats.connect(settings.nats_url)
    subject = event_subject(AggregateRef("acme", "favour", str(UUID(int=1))), "confirmed")
    await client.jetstream().publish(subject, b"not an event")
    await client.close()
    done = beside_servers.run("work", "clock")
    assert done.returncode == 3
    assert "The clock stopped: poison event at position 2: " in done.stdout


async def test_a_foreign_log_stops_the_projector_with_3_and_what_to_do(
    settings: Settings, nats_server: EmbeddedNats, beside_servers: CommandLine
) -> None:
    await thank(settings, 3)
    projector = beside_servers.start("work", "projector")
    until(lambda: "up to position 3." in beside_servers.run("verify").stdout)
    assert projector.end() == 0

    await fresh_stream(nats_server, replicas=1)
    done = beside_servers.run("work", "projector")
    assert done.returncode == 3
    assert "The projector stopped: position 3 was event" in done.stdout
    assert "but the log ends at 0" in done.stdout
    assert "run `referral-ledger migrate`" in done.stdout


async def test_a_poison_event_stops_the_projector_with_3_and_its_position(
    settings: Settings, beside_servers: CommandLine
) -> None:
    await thank(settings, 3)
    client = await nats.connect(settings.nats_url)
    await client.jetstream().publish("ledger.00.acme.favour.x.thanked", b"not an event")
    await client.close()
    done = beside_servers.run("work", "projector")
    assert done.returncode == 3
    assert "The projector stopped: poison event at position 4: " in done.stdout
    verified = beside_servers.run("verify")
    assert verified.returncode == 0, verified.stdout
    assert "up to position 3 (1 behind the log)." in verified.stdout


# Verifying


@pytest.mark.slow
async def test_verify_ends_with_0_over_sound_books_and_with_1_naming_what_was_tampered_with(
    settings: Settings, beside_servers: CommandLine, subtests: pytest.Subtests
) -> None:
    await thank(settings, 3)
    projector = beside_servers.start("work", "projector")
    until(lambda: "up to position 3." in beside_servers.run("verify").stdout)
    assert projector.end() == 0
    done = beside_servers.run("verify")
    assert done.returncode == 0
    assert "Compared 3 events, 6 postings and 2 members up to position 3." in done.stdout
    assert "no difference, and all accounts sum to zero" in done.stdout

    for table, change, named in (
        ("balance", "main = main + 60 WHERE member = 'ann'", "acme/ann: main is 420, must be 360"),
        ("posting", "points = 60 WHERE position = 2 AND leg = 0", "position 2, leg 0: points is 60, must be"),
        ("journal", "event = '{}' WHERE position = 3", "position 3: the journal does not hold the log's bytes"),
        (
            "aggregate",
            "state = 'claimed' WHERE position = 1",
            f"favour {UUID(int=1)} of acme: state is claimed, must be",
        ),
        ("pair", "low_gave = 1 WHERE low = 'ann'", "acme/ann with bob: low_gave is 1, must be 360"),
    ):
        with subtests.test(table):
            await execute(
                settings,
                f"CREATE TABLE sound AS TABLE {table}",
                f"ALTER TABLE {table} DISABLE TRIGGER ALL",
                f"UPDATE {table} SET {change}",
            )
            done = beside_servers.run("verify")
            await execute(settings, f"TRUNCATE {table}", f"INSERT INTO {table} SELECT * FROM sound", "DROP TABLE sound")
            assert done.returncode == 1
            assert f"\n  {named}" in done.stdout, done.stdout
            assert re.search(r"Error: \d differences? between the log and the books\.", done.stdout)
    assert beside_servers.run("verify").returncode == 0


# Importing


def test_wrong_usage_of_import_is_told_before_anything_is_sent(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("giver,receiver\nann,bob\n")
    usual = ("import", "f.csv", "--community", "acme", "--as", "favours")
    for arguments, sentence in (
        ((*usual, "--delimiter", "::"), "Invalid value for --delimiter: expected one character"),
        ((*usual, "--delimiter", '"'), "Invalid value for --delimiter: expected one character"),
        ((*usual, "--delimiter", ""), "Invalid value for --delimiter: expected one character"),
        ((*usual, "--set", "size"), "Invalid value for --set: expected NAME=VALUE, found 'size'"),
        ((*usual, "--source", "ü" * 33), "Invalid value for --source: expected at most 64 bytes"),
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
        assert sentence in told(invoke(*arguments), 2)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "rubbish", "http://["])
def test_an_api_that_is_not_there_is_told_after_the_patience(invoke: Invoke, tmp_path: Path, url: str) -> None:
    (tmp_path / "f.csv").write_text("giver,receiver\nann,bob\n")
    result = invoke(
        *("import", "f.csv", "--community", "acme", "--as", "favours", "--url", url, "--patience", "0.1"),
    )
    said = told(result)
    assert "0 recorded, 0 repeated, 0 refused." in said
    assert "Not every line was sent: the API is unavailable: " in said
    assert "Run the same command again." in said


def test_a_first_line_without_columns_is_told(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text('"giver" ,"receiver"\nann,bob\n')
    said = told(invoke("import", "f.csv", "--community", "acme", "--as", "favours"))
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
