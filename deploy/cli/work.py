"""`work`: runs a worker."""

import sys
from typing import Final

import click

from deploy.cli.environment import NEEDS_A_PERSON, Failure, load_settings, run, with_parent
from ledger.runtime.garbage_collector import tune_gc
from ledger.runtime.signals import until_stopped
from workers.table import WORKERS

HELP: Final = "\n\n".join(
    (
        "Run a worker.",
        *(f"{worker.name}: {worker.does}." for worker in WORKERS.values()),
        "The exit status is 3 if a person must act. docs/operations.md describes the cases.",
    )
)


@click.command(help=HELP)
@click.argument("name", metavar="WORKER", type=click.Choice(list(WORKERS)))
@with_parent
def work(name: str, with_parent: bool) -> None:
    from prometheus_client import start_http_server

    from ledger.envelope import Poison
    from ledger.log.connection import Connection
    from ledger.log.event_log import ForeignLog
    from ledger.log.jetstream import JetStreamLog

    settings, worker = load_settings(), WORKERS[name]
    metrics_port = worker.metrics_port(settings)
    if metrics_port is not None:
        try:
            start_http_server(metrics_port, settings.host)
        except OSError as error:
            raise Failure(f"cannot listen on {settings.host}:{metrics_port}: {error}") from None

    async def connect_and_run() -> None:
        tune_gc()
        run_worker = worker.load()
        async with Connection(settings.nats_url, worker.name) as connection:
            await connection.ready()
            await run_worker(JetStreamLog(connection), settings)

    try:
        run(until_stopped(connect_and_run(), with_parent=with_parent))
    except (Poison, ForeignLog) as error:
        click.echo(f"The {worker.name} stopped: {error}", err=True)
        sys.exit(NEEDS_A_PERSON)
