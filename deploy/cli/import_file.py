"""`import`: sends a file through the API."""

from pathlib import Path
from typing import Any, cast

import click

from deploy.cli.environment import Failure, console, load_settings, run


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


@click.command("import")
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

    from deploy.importer.client import Importer, write_refused
    from deploy.importer.lines import SOURCE_BYTES_MAX, Layout, NoColumns
    from deploy.importer.screen import name_of, print_refused, print_tally, send_with_progress

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
            gone = await send_with_progress(importer, file, layout, console)
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
        print_refused(tally.refused, target, console)
    print_tally(tally, layout, console)
    if gone:
        raise Failure(f"Not every line was sent: {gone}")
    if wait and tally.position:
        state = "show it all" if readable else "do not show it all yet"
        console.print(f"The books {state} (position {tally.position:,}).")
