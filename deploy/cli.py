"""The command line `referral-ledger`."""

import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, cast

import click
from rich.console import Console
from rich.markup import escape

from deploy.up import ENVIRONMENT_FILE
from ledger.runtime.garbage_collector import tune_gc
from ledger.runtime.settings import PREFIX, Settings, SettingsError, settings_from
from ledger.runtime.signals import until_stopped
from ledger.runtime.telemetry import configure_logs

DEFAULT_DATA: Final = Path(".ledger")
SHOWN_MAX: Final = 10
NEEDS_A_PERSON: Final = 3  # The exit status of a process that must not simply be started again.

console = Console(highlight=False)
with_parent = click.option("--with-parent", is_flag=True, hidden=True, help="End when standard input ends.")


class Failure(click.ClickException):
    """What a person reads when a command could not be carried out."""


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Raises: what `work` raises; Failure, when a server will not have us, or an address is none."""
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
    except Unavailable as error:  # A process would wait for what a person is told now.
        if isinstance(error.__cause__, refusals):
            raise Failure(f"Postgres refuses: {error.__cause__}") from None
        raise
    except nats.errors.Error as error:
        raise Failure(f"NATS: {error}") from None


def load_settings() -> Settings:
    """The environment; for what it leaves out, the servers that `up` runs from this folder, if it does."""
    environment = dict(os.environ)
    file = DEFAULT_DATA / ENVIRONMENT_FILE
    if file.exists():
        found = dict(line.split("=", 1) for line in file.read_text().splitlines())
        environment = found | environment
    try:
        settings = settings_from(environment)
    except SettingsError as error:
        raise Failure(str(error)) from None
    configure_logs(settings.log_format)
    return settings


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="referral-ledger")
def main() -> None:
    """Who has given what to whom, and how we know.

    Settings come from variables LEDGER_...; in a folder where `up` runs, its servers are found without any.
    """


@main.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), default=DEFAULT_DATA, show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), help="Of the API. [default: 8080, or any when it is taken]")
@click.option("--demo", is_flag=True, help="Record sample favours and print the balances.")
def up(data: Path, port: int | None, demo: bool) -> None:
    """Run everything here: Postgres, NATS, the API and the workers. Ctrl-C stops; the data is kept."""
    import httpx
    from msgspec.structs import replace

    from deploy.demo import client_of, demonstrate, until_ready
    from deploy.embedded import EmbeddedServerError
    from deploy.provisioning import StreamLost
    from deploy.up import up as run_everything
    from ledger.log.stream import StreamDrift
    from ledger.runtime.unavailable import Unavailable

    try:
        settings = settings_from({n: v for n, v in os.environ.items() if n.startswith(PREFIX)})
    except SettingsError as error:
        raise Failure(str(error)) from None
    configure_logs(settings.log_format)
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

    console.print(f"Starting Postgres, NATS, the API and the workers over {escape(str(data))}/ …")
    fixed = port is not None
    try:
        run(until_stopped(run_everything(settings, data, ready, port_is_fixed=fixed)))
    except* StreamLost as lost:
        said = "; ".join(str(error) for error in lost.exceptions)
        raise Failure(f"{said} If it is lost for good, remove {data}/: everything begins anew.") from None
    except* (
        EmbeddedServerError,
        StreamDrift,
        Unavailable,
        TimeoutError,
        OSError,
        httpx.HTTPError,
    ) as errors:
        raise Failure("; ".join(str(error) for error in errors.exceptions)) from None
    console.print("Stopped.")


@main.command()
@click.argument("part", type=click.Choice(["command", "query", "all"]))
@with_parent
def serve(part: str, with_parent: bool) -> None:
    """Serve HTTP: the commands, the queries, or both."""
    from deploy.serving import serve as serve_app
    from ledger.log.stream import StreamDrift
    from services.app import ServicePart, application
    from services.command.log_access import require_no_drift

    settings = load_settings()

    async def serving() -> None:
        tune_gc()
        app = application(cast("ServicePart", part), settings)
        if part != "query":
            await require_no_drift(settings)
        await serve_app(app, settings.host, settings.port)

    try:
        run(until_stopped(serving(), with_parent=with_parent))
    except (SettingsError, StreamDrift) as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"cannot listen on {settings.host}:{settings.port}: {error}") from None


@main.command()
@click.argument("worker", type=click.Choice(["projector", "clock"]))
@with_parent
def work(worker: str, with_parent: bool) -> None:
    """Run a worker: the projector writes the books, the clock ends what is overdue.

    Started twice, the second projector waits to take over, and the second clock does no harm.
    """
    from prometheus_client import start_http_server

    from ledger.envelope import Poison
    from ledger.log.connection import Connection
    from ledger.log.event_log import ForeignLog
    from ledger.log.jetstream import JetStreamLog
    from workers.clock import keep_time
    from workers.projector import project

    settings = load_settings()
    clock = worker == "clock"
    metrics_port = settings.clock_metrics_port if clock else settings.projector_metrics_port
    if metrics_port is not None:
        try:
            start_http_server(metrics_port, settings.host)
        except OSError as error:
            raise Failure(f"cannot listen on {settings.host}:{metrics_port}: {error}") from None

    async def working() -> None:
        tune_gc()
        async with Connection(settings.nats_url, worker) as connection:
            await connection.ready()
            await (keep_time if clock else project)(JetStreamLog(connection), settings)

    try:
        run(until_stopped(working(), with_parent=with_parent))
    except (Poison, ForeignLog) as error:
        click.echo(f"The {'clock stands' if clock else 'books stand'} still: {error}", err=True)
        sys.exit(NEEDS_A_PERSON)


@main.command()
def migrate() -> None:
    """Bring the books' schema up to date. Leaves alone what is already so."""
    from ledger.books.schema import migrate as bring_up_to_date
    from ledger.runtime.unavailable import Unavailable

    settings = load_settings()
    try:
        applied = run(bring_up_to_date(settings.postgres_dsn, settings.postgres_schema))
    except Unavailable as error:
        raise Failure(f"Postgres does not answer: {error}") from None
    console.print(f"Applied {', '.join(applied)}." if applied else "The books are up to date.")


@main.command()
def provision() -> None:
    """Make the log's stream, or check that it is as it must be. Not made anew under books of one that was lost."""
    from deploy.provisioning import StreamLost, provision_stream
    from ledger.books.schema import BooksUnavailable
    from ledger.log.stream import StreamDrift
    from ledger.runtime.unavailable import Unavailable

    settings = load_settings()
    try:
        created = run(provision_stream(settings))
    except BooksUnavailable as error:
        raise Failure(
            "There is no stream, and Postgres does not answer whether one was lost that books were written from: "
            f"{error}"
        ) from None
    except StreamLost as error:
        raise Failure(
            f"{error} If it is lost for good, drop that schema, and run `referral-ledger migrate` and this once more: "
            "everything begins anew."
        ) from None
    except (StreamDrift, Unavailable, TimeoutError) as error:
        raise Failure(str(error) or "NATS does not answer") from None
    console.print("The stream LEDGER was made." if created else "The stream LEDGER is as it must be.")


def community_id(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Checked before it becomes part of an address, in which it might lead elsewhere."""
    import msgspec

    from ledger.domain.values.ids import CommunityId

    try:
        return msgspec.convert(value, CommunityId)
    except msgspec.ValidationError:
        raise click.BadParameter("2 to 40 of a to z, 0 to 9 and -, a letter first") from None


def utf_8(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
    """Of one text, none, or several."""
    try:
        "".join(value or ()).encode()
    except UnicodeEncodeError:
        raise click.BadParameter("is not UTF-8") from None
    return value


@main.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@click.option("--community", required=True, callback=community_id)
@click.option(
    "--as",
    "what",
    type=click.Choice(["favours", "referrals", "intros", "commands"]),
    default="commands",
    show_default=True,
    help="`commands` is NDJSON, a command of POST /batch a line; the others are tables, a row a line.",
)
@click.option("--delimiter", default=",", show_default=True, help="Between the columns of a table.")
@click.option(
    "--columns",
    callback=utf_8,
    help="Names of the columns, when the first line does not say: giver,receiver,occurred_at",
)
@click.option(
    "--set",
    "constants",
    callback=utf_8,
    multiple=True,
    metavar="NAME=VALUE",
    help="The same for every line: size=medium",
)
@click.option("--times", type=click.Choice(["iso", "unix"]), default="iso", show_default=True)
@click.option(
    "--source",
    metavar="NAME",
    callback=utf_8,
    default="",
    help="Where the lines come from, the same at every import of a file. Equal lines without a time, in two files, "
    "are taken for one unless their sources differ.",
)
@click.option("--url", help="Of the API. [default: where LEDGER_HOST and LEDGER_PORT say]")
@click.option(
    "--refused", type=click.Path(path_type=Path), help="File for refused lines. [default: FILE.refused.ndjson]"
)
@click.option("--patience", "patience_s", default=30.0, show_default=True, help="Seconds to wait for a lost API.")
@click.option("--wait/--no-wait", default=True, help="Wait until the books show it all.  [default: wait]")
def import_file(
    file: Path,
    community: str,
    what: str,
    delimiter: str,
    columns: str | None,
    constants: tuple[str, ...],
    times: str,
    source: str,
    url: str | None,
    refused: Path | None,
    patience_s: float,
    wait: bool,
) -> None:
    """Send a file through the API; - is standard input. Safe to repeat: what is recorded already is met again.

    A line that was refused, or that changed nothing, is tried again.

    Ends with 0 when every line was recorded or refused, with 1 when not every line was sent.
    """
    import httpx

    from deploy.import_screen import name_of, send_with_bar, tell_refused, tell_tally
    from deploy.importing import SOURCE_BYTES_MAX, Importer, Layout, NoColumns, write_refused

    settings = load_settings()
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise click.BadParameter("one character, no quote and no line break", param_hint="--delimiter")
    if malformed := [constant for constant in constants if "=" not in constant]:
        raise click.BadParameter(f"{malformed[0]!r} is not NAME=VALUE", param_hint="--set")
    if len(source.encode()) > SOURCE_BYTES_MAX:
        raise click.BadParameter(f"at most {SOURCE_BYTES_MAX} bytes", param_hint="--source")
    layout = Layout(
        what=cast("Any", what),
        delimiter=delimiter,
        columns=tuple(columns.split(",")) if columns else (),
        constants=dict(cast("Any", constant.split("=", 1)) for constant in constants),
        times=cast("Any", times),
        source=source,
    )
    target = refused or Path(f"{name_of(file)}.refused.ndjson")
    if target.exists() and file.exists() and target.samefile(file):
        raise click.BadParameter("is the file that is imported", param_hint="--refused")
    headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
    base = url or f"http://{settings.host}:{settings.port}"

    async def importing() -> tuple[Importer, str | None, bool]:
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60.0) as client:
            importer = Importer(client, community, patience_s)
            gone = await send_with_bar(importer, file, layout, console)
            readable = bool(wait and not gone and importer.tally.position) and await importer.until_readable()
            return importer, gone, readable

    try:
        importer, gone, readable = run(importing())
    except NoColumns as error:
        raise Failure(str(error)) from None
    tally = importer.tally
    if tally.refused:
        try:
            write_refused(tally.refused, target)
        except OSError as error:
            raise Failure(f"cannot write the refused lines to {target}: {error}") from None
        tell_refused(tally.refused, target, console)
    tell_tally(tally, layout, console)
    if gone:
        raise Failure(f"Not every line was sent: {gone}")
    if wait and tally.position:
        state = "show it all" if readable else "do not show it all yet"
        console.print(f"The books {state} (position {tally.position:,}).")


@main.command()
def verify() -> None:
    """Derive everything anew from the log and hold the books against it. Ends with 1 if anything differs."""
    from ledger.audit import audit
    from ledger.books.schema import SchemaMissing
    from ledger.log.connection import connect_within
    from ledger.log.jetstream import JetStreamLog
    from ledger.runtime.unavailable import Unavailable

    settings = load_settings()

    async def verifying() -> Any:
        async with connect_within(settings.nats_url, "verify") as connection:
            return await audit(JetStreamLog(connection), settings.postgres_dsn, settings.postgres_schema)

    try:
        report = run(verifying())
    except (Unavailable, SchemaMissing) as error:
        raise Failure(str(error)) from None
    except TimeoutError:
        raise Failure(f"NATS does not answer at {settings.nats_url}") from None
    behind = f" ({report.behind:,} behind the log)" if report.behind else ""
    console.print(
        f"Compared {report.events:,} events, {report.postings:,} postings and {report.members:,} members "
        f"up to position {report.position:,}{behind}.",
        soft_wrap=True,
    )
    for sentence in report.differences[:SHOWN_MAX]:
        console.print(f"  {sentence}", soft_wrap=True, markup=False)
    if report.differences:
        raise Failure(f"{len(report.differences):,} differences between the log and the books.")
    console.print("The books are what the log says: no difference, and all accounts sum to zero.")


if __name__ == "__main__":
    main()
