"""`work`: runs a worker."""

import sys

import click

from deploy.cli.environment import NEEDS_A_PERSON, Failure, load_settings, run, with_parent
from ledger.runtime.garbage_collector import tune_gc
from ledger.runtime.signals import until_stopped
from workers.table import WORKERS

HELP = "Run a worker.\n\n" + "\n\n".join(f"{worker.name}: {worker.does}." for worker in WORKERS.values())


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

    async def working() -> None:
        tune_gc()
        run_worker = worker.load()
        async with Connection(settings.nats_url, worker.name) as connection:
            await connection.ready()
            await run_worker(JetStreamLog(connection), settings)

    try:
        run(until_stopped(working(), with_parent=with_parent))
    except (Poison, ForeignLog) as error:
        click.echo(f"{worker.stopped}: {error}", err=True)
        sys.exit(NEEDS_A_PERSON)
