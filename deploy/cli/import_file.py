"""`import`: sends a file to the API."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import click

from deploy.cli.environment import Failure, console, load_settings, run


def community_id(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Check a community id before it becomes part of a URL, where other characters could change the path."""
    import msgspec

    from ledger.domain.values.ids import CommunityId

    try:
        return msgspec.convert(value, CommunityId)
    except msgspec.ValidationError:
        raise click.BadParameter(
            "expected a lower-case letter, then 1 to 39 lower-case letters, digits or hyphens"
        ) from None


def utf_8(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
    """Check that an option is UTF-8. It can be one text, several, or None."""
    try:
        "".join(value or ()).encode()
    except UnicodeEncodeError:
        raise click.BadParameter("is not UTF-8") from None
    return value


def one_character(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if len(value) != 1 or value in '"\r\n':
        raise click.BadParameter("expected one character, but no quote or line break")
    return value


def assignments(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    """Parse NAME=VALUE, once per option."""
    pairs = [constant.partition("=") for constant in utf_8(context, parameter, value)]
    if malformed := [name for name, equals, _ in pairs if not equals]:
        raise click.BadParameter(f"expected NAME=VALUE, found {malformed[0]!r}")
    return {name: constant for name, _, constant in pairs}


def source_name(context: click.Context, parameter: click.Parameter, value: str) -> str:
    from deploy.importer.lines import SOURCE_BYTES_MAX

    if len(utf_8(context, parameter, value).encode()) > SOURCE_BYTES_MAX:
        raise click.BadParameter(f"expected at most {SOURCE_BYTES_MAX} bytes")
    return value


def refused_file(wanted: Path | None, file: Path, name: str) -> Path:
    """Return the file for refused lines: the wanted one, or one that is named like the imported file."""
    target = wanted or Path(f"{name}.refused.ndjson")
    if target.exists() and file.exists() and target.samefile(file):
        raise click.BadParameter("this is the file to import; name another file", param_hint="--refused")
    return target


@contextmanager
def reported_as_failure(message: str) -> Generator[None]:
    """Turn an error of the operating system in the block into a Failure that begins with `message`."""
    try:
        yield
    except OSError as error:
        raise Failure(f"{message}: {error}") from None


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@click.option("--community", metavar="ID", required=True, callback=community_id, help="Community of every line.")
@click.option(
    "--as",
    "what",
    type=click.Choice(["favours", "referrals", "intros", "commands"]),
    default="commands",
    show_default=True,
    help="Content of the file: NDJSON with one command of POST /batch per line, or a table with one row per line.",
)
@click.option(
    "--delimiter",
    callback=one_character,
    default=",",
    show_default=True,
    help="Character between the columns of a table.",
)
@click.option(
    "--columns",
    callback=utf_8,
    metavar="NAME,NAME,...",
    help="Columns of a table whose first line does not name them, such as giver,receiver,occurred_at.",
)
@click.option(
    "--set",
    "constants",
    callback=assignments,
    multiple=True,
    metavar="NAME=VALUE",
    help="Field with the same value in every row of a table, such as size=medium. Repeat it for more fields.",
)
@click.option(
    "--times",
    type=click.Choice(["iso", "unix"]),
    default="iso",
    show_default=True,
    help="Times of a table: ISO 8601, or seconds since 1970.",
)
@click.option(
    "--source",
    metavar="NAME",
    callback=source_name,
    default="",
    help="Origin of the lines. Give a file the same source at every import. Equal lines without a time, in two files, "
    "count as the same line unless their sources differ.",
)
@click.option("--url", help="Address of the API.  [default: http://LEDGER_HOST:LEDGER_PORT]")
@click.option(
    "--refused",
    type=click.Path(path_type=Path),
    help="File for refused lines.  [default: FILE.refused.ndjson in the current folder]",
)
@click.option(
    "--patience",
    "patience_s",
    metavar="SECONDS",
    default=30.0,
    show_default=True,
    help="Longest wait for an API that is unavailable.",
)
@click.option(
    "--wait/--no-wait", default=True, help="Wait until the books contain every recorded line.  [default: wait]"
)
def import_file(
    file: Path,
    community: str,
    what: str,
    delimiter: str,
    columns: str | None,
    constants: dict[str, str],
    times: str,
    source: str,
    url: str | None,
    refused: Path | None,
    patience_s: float,
    wait: bool,
) -> None:
    """Send a file to the API. FILE can be - for standard input.

    A repeated import records nothing twice: a line that was recorded before counts as repeated. A line that was
    refused, or that changed nothing, is tried again.

    The exit status is 0 if every line was recorded, repeated or refused, and 1 if not every line was sent.
    """
    from deploy.api_client import client_of
    from deploy.importer.client import Importer, write_refused
    from deploy.importer.lines import Layout, NoColumns
    from deploy.importer.screen import name_of, print_refused, print_tally, send_with_progress

    settings = load_settings()
    layout = Layout(
        what=cast("Any", what),
        delimiter=delimiter,
        columns=tuple(columns.split(",")) if columns else (),
        constants=constants,
        times=cast("Any", times),
        source=source,
    )
    target = refused_file(refused, file, name_of(file))

    async def send() -> tuple[Importer, str | None, bool]:
        async with client_of(settings, url) as client:
            importer = Importer(client, community, patience_s)
            failure = await send_with_progress(importer, file, layout, console)
            readable = bool(wait and not failure and importer.tally.position) and await importer.until_readable()
            return importer, failure, readable

    try:
        importer, failure, readable = run(send())
    except NoColumns as error:
        raise Failure(str(error)) from None
    tally = importer.tally
    if tally.refused:
        with reported_as_failure(f"cannot write the refused lines to {target}"):
            write_refused(tally.refused, target)
        print_refused(tally.refused, target, console)
    print_tally(tally, layout, console)
    if failure:
        raise Failure(f"Not every line was sent: {failure}")
    if wait and tally.position:
        state = "contain every recorded line" if readable else "do not contain every recorded line yet"
        console.print(f"The books {state} (position {tally.position:,}).")
