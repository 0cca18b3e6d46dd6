"""`up`: runs servers, API and workers on one machine."""

from pathlib import Path

import click
from rich.markup import escape

from deploy.cli.environment import DEFAULT_DATA, ENVIRONMENT_FILE, Failure, console, own_settings, run
from ledger.runtime.settings import Settings
from ledger.runtime.signals import until_stopped


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DATA,
    show_default=True,
    help="Folder for the data of Postgres and NATS.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Port of the API.  [default: LEDGER_PORT, or a free port if that is taken]",
)
@click.option("--demo", is_flag=True, help="Record sample data and print the balances.")
def up(data: Path, port: int | None, demo: bool) -> None:
    """Run Postgres, NATS, the API and the workers on this machine.

    Ctrl-C stops all of them and keeps the data.
    """
    import httpx
    from msgspec.structs import replace

    from deploy.api_client import client_of
    from deploy.demo import demonstrate, until_ready
    from deploy.embedded.child import EmbeddedServerError
    from deploy.provisioning import StreamLost
    from deploy.supervisor import run_everything
    from ledger.books.connection import SchemaMissing
    from ledger.log.stream import StreamDrift
    from ledger.runtime.unavailable import Unavailable

    settings = own_settings()
    if port is not None:
        settings = replace(settings, port=port)

    async def ready(running: Settings) -> None:
        async with client_of(running) as client:
            await until_ready(client)
            if demo:
                await demonstrate(client, console)
        url = f"http://{running.host}:{running.port}"
        console.print(f"\n[bold]The ledger runs.[/bold]  Ctrl-C stops it; its data is kept in {escape(str(data))}/")
        for name, address in {
            "API": f"{url}/v1/communities/{{community}}",
            "Documentation": f"{url}/docs",
            "Ready?": f"{url}/readyz",
            "Postgres": running.postgres_dsn,
            "NATS": running.nats_url,
        }.items():
            console.print(f"  {name:14} {address}", soft_wrap=True)
        if demo:
            console.print(f"\n  Try: curl {url}/v1/communities/demo/members/ada/balance", soft_wrap=True)

    console.print(f"Starting Postgres, NATS, the API and the workers. Data folder: {escape(str(data))}/ …")
    fixed = port is not None
    try:
        run(until_stopped(run_everything(settings, data, data / ENVIRONMENT_FILE, ready, port_is_fixed=fixed)))
    except* StreamLost as lost:
        text = "; ".join(str(error) for error in lost.exceptions)
        raise Failure(
            f"{text} If it is lost for good, remove {data}/: the ledger starts again without events."
        ) from None
    except* (
        EmbeddedServerError,
        SchemaMissing,
        StreamDrift,
        Unavailable,
        TimeoutError,
        OSError,
        httpx.HTTPError,
    ) as errors:
        raise Failure("; ".join(str(error) for error in errors.exceptions)) from None
    console.print("Stopped.")
