"""The environment of a command: settings, console, failures and the exit status."""

import os
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from ledger.runtime.settings import PREFIX, Settings, SettingsError, settings_from
from ledger.runtime.telemetry import configure_logs

DEFAULT_DATA: Final = Path(".ledger")
ENVIRONMENT_FILE: Final = "ledger.env"  # In the data folder while `up` runs: the settings of its servers, as variables.
NEEDS_A_PERSON: Final = 3  # Exit status of a process that a restart cannot help. See docs/operations.md#exit-status-3

console = Console(highlight=False)
with_parent = click.option("--with-parent", is_flag=True, hidden=True, help="End when standard input ends.")


class Failure(click.ClickException):
    """A command failed. The message is for a person, and the exit status is 1."""


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run `work` to its end, and return its result.

    Raises: Failure, if a server refuses the login or a URL is malformed; otherwise every exception of `work`.
    """
    import asyncpg
    import nats.errors
    import uvloop

    from ledger.runtime.unavailable import Unavailable

    refusals = (
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
        asyncpg.InsufficientPrivilegeError,
    )
    try:
        return uvloop.run(work)
    except refusals as error:
        raise Failure(f"Postgres refuses: {error}") from None
    except Unavailable as error:  # A service waits until the right is granted, but a person needs the reason at once.
        if isinstance(error.__cause__, refusals):
            raise Failure(f"Postgres refuses: {error.__cause__}") from None
        raise
    except nats.errors.Error as error:
        raise Failure(f"LEDGER_NATS_URL: {str(error).removeprefix('nats: ')}") from None


def load_settings() -> Settings:
    """Return the settings from the environment variables and, for others, from the servers that `up` runs here.

    Raises: Failure, with the name of the variable that is wrong.
    """
    variables = dict(os.environ)
    file = DEFAULT_DATA / ENVIRONMENT_FILE
    if file.exists():
        found = dict(line.split("=", 1) for line in file.read_text().splitlines())
        variables = found | variables
    return settings_of(variables)


def own_settings() -> Settings:
    """Return the settings from the environment variables alone.

    Raises: Failure, with the name of the variable that is wrong.
    """
    return settings_of({name: value for name, value in os.environ.items() if name.startswith(PREFIX)})


def settings_of(variables: Mapping[str, str]) -> Settings:
    """Parse the settings, and configure the format of log lines."""
    try:
        settings = settings_from(variables)
    except SettingsError as error:
        raise Failure(str(error)) from None
    configure_logs(settings.log_format)
    return settings
