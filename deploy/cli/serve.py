"""`serve`: serves the HTTP API."""

from typing import cast

import click

from deploy.cli.environment import Failure, load_settings, run, with_parent
from ledger.runtime.garbage_collector import tune_gc
from ledger.runtime.settings import SettingsError
from ledger.runtime.signals import until_stopped


@click.command()
@click.argument("part", type=click.Choice(["command", "query", "all"]))
@with_parent
def serve(part: str, with_parent: bool) -> None:
    """Serve the HTTP API.

    command: writes. They need NATS. The reciprocity guard uses Postgres if it is available.

    query: reads and the feed. They need Postgres.

    all: both in one process.
    """
    from deploy.serving import serve as serve_app
    from ledger.log.stream import StreamDrift
    from services.app import ServicePart, application
    from services.command.log_access import require_no_drift

    settings = load_settings()

    async def serve_part() -> None:
        tune_gc()
        app = application(cast("ServicePart", part), settings)
        if part != "query":
            await require_no_drift(settings)
        await serve_app(app, settings.host, settings.port)

    try:
        run(until_stopped(serve_part(), with_parent=with_parent))
    except (SettingsError, StreamDrift) as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"cannot listen on {settings.host}:{settings.port}: {error}") from None
