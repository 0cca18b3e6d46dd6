"""The command line: help, settings, set-up and verification."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

import click
import pytest

from deploy.cli.main import main
from deploy.embedded.ports import free_port
from ledger.books.connection import connect
from ledger.log.connection import Connection
from ledger.log.stream import STREAM
from tests.deploy.conftest import CommandLine, until_shown, variables_of
from tests.deploy.invocations import NOBODY, failure_text, thank

if TYPE_CHECKING:
    from ledger.runtime.settings import Settings
    from tests.books.books_database import Books
    from tests.deploy.conftest import Invoke

EVERY_COMMAND: Final = ("up", "serve", "work", "migrate", "provision", "import", "verify")


async def execute(settings: Settings, *statements: str) -> None:
    async with connect(settings.books, "test") as connection:
        for statement in statements:
            await connection.execute(statement)


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
    assert "unknown variable LEDGER_NATS_ULR" in failure_text(invoke(*words, variables={"LEDGER_NATS_ULR": "x"}))
    assert "LEDGER_PORT: " in failure_text(invoke(*words, variables={"LEDGER_PORT": "high"}))
    assert "LEDGER_API_KEY: " in failure_text(invoke(*words, variables={"LEDGER_API_KEY": "short"}))


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
    said = failure_text(invoke(command, variables=NOBODY))
    assert sentence in said
    assert "secret" not in said


def test_verify_without_postgres_or_books_says_so(anyio_backend: str, settings: Settings, invoke: Invoke) -> None:
    beside = variables_of(settings)
    away = beside | {"LEDGER_POSTGRES_DSN": NOBODY["LEDGER_POSTGRES_DSN"]}
    assert "ConnectionRefusedError" in failure_text(invoke("verify", variables=away))
    empty = beside | {"LEDGER_POSTGRES_SCHEMA": "nothing_here"}
    assert "run `referral-ledger migrate`" in failure_text(invoke("verify", variables=empty))


def test_a_wrong_address_or_database_is_told(anyio_backend: str, settings: Settings, invoke: Invoke) -> None:
    beside = variables_of(settings)
    other = f"{settings.postgres_dsn.rpartition('/')[0]}/elsewhere"
    assert 'database "elsewhere" does not exist' in failure_text(
        invoke("migrate", variables=beside | {"LEDGER_POSTGRES_DSN": other})
    )
    assert 'Postgres refuses: role "nobody" does not exist' in failure_text(
        invoke("migrate", variables=beside | {"LEDGER_POSTGRES_DSN": as_login(settings, "nobody")})
    )
    assert "invalid DSN" in failure_text(invoke("migrate", variables=beside | {"LEDGER_POSTGRES_DSN": "rubbish"}))
    wrong = beside | {"LEDGER_NATS_URL": "nats://127.0.0.1:99999"}
    assert "LEDGER_NATS_URL: invalid connect url" in failure_text(invoke("provision", variables=wrong))


def test_a_right_that_is_lacking_is_told(anyio_backend: str, settings: Settings, stranger: str, invoke: Invoke) -> None:
    variables = variables_of(settings) | {"LEDGER_POSTGRES_DSN": as_login(settings, stranger)}
    for command in ("migrate", "verify"):
        assert "Postgres refuses: permission denied" in failure_text(invoke(command, variables=variables))


def as_login(settings: Settings, name: str) -> str:
    return settings.postgres_dsn.replace("postgres@", f"{name}@")


# Verifying


@pytest.mark.slow
async def test_verify_ends_with_0_over_sound_books_and_with_1_naming_what_was_tampered_with(
    settings: Settings, beside_servers: CommandLine, subtests: pytest.Subtests
) -> None:
    await thank(settings, 3)
    projector = beside_servers.start("work", "projector")
    await until_shown(settings, 3)
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
