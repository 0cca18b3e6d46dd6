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
ENVIRONMENT_FILE: Final = "ledger.env"  # In the data folder while `up` runs: its servers, as variables.
NEEDS_A_PERSON: Final = 3  # The exit status of a process that must not simply be restarted.

console = Console(highlight=False)
with_parent = click.option("--with-parent", is_flag=True, hidden=True, help="End when standard input ends.")


class Failure(click.ClickException):
    """A command could not be carried out. The message is for a person."""


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run `work` to its end, and return its result.

    Raises: Failure, when a server refuses the login or an address is malformed; else what `work` raises.
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
    except Unavailable as error:  # A process would wait for a right to be granted; a person is told at once.
        if isinstance(error.__cause__, refusals):
            raise Failure(f"Postgres refuses: {error.__cause__}") from None
        raise
    except nats.errors.Error as error:
        raise Failure(f"NATS: {error}") from None


def load_settings() -> Settings:
    """Return the settings: environment variables first, then those of the servers that `up` runs from this folder.

    Raises: Failure, naming the variable.
    """
    variables = dict(os.environ)
    file = DEFAULT_DATA / ENVIRONMENT_FILE
    if file.exists():
        found = dict(line.split("=", 1) for line in file.read_text().splitlines())
        variables = found | variables
    return settings_of(variables)


def own_settings() -> Settings:
    """Return the settings of the environment variables alone.

    Raises: Failure, naming the variable.
    """
    return settings_of({name: value for name, value in os.environ.items() if name.startswith(PREFIX)})


def settings_of(variables: Mapping[str, str]) -> Settings:
    """Parse the settings, and configure the log's format by them."""
    try:
        settings = settings_from(variables)
    except SettingsError as error:
        raise Failure(str(error)) from None
    configure_logs(settings.log_format)
    return settings
