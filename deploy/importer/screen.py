"""Output of the import on the console: a progress bar, the refused lines with their reasons, and the totals."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, TextIO

import httpx
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from deploy.importer.client import Importer, NotTheApi, Refused, ServerGone, Tally
from deploy.importer.lines import Layout, Line, lines_of

STANDARD_INPUT: Final = Path("-")
PRINTED_MAX: Final = 10
PRINTED_MAX_CHARACTERS: Final = 200  # Per line. A file without line breaks is one line.
REDRAW_S: Final = 0.2


async def send_with_progress(importer: Importer, path: Path, layout: Layout, console: Console) -> str | None:
    """Send a file, and draw a progress bar over its bytes.

    Return None, or the reason why not every line was sent.

    Raises: NoColumns. Nothing was sent.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[done]}"),
        TimeRemainingColumn(),
        console=console,
    )
    with bar:
        task = bar.add_task(name_of(path), total=size_bytes(path), done="")
        lines_read = lines_with_progress(path, layout, bar, task)
        sending = asyncio.ensure_future(importer.send_all(lines_read, layout.batches_in_flight))
        while not sending.done():
            await asyncio.wait([sending], timeout=REDRAW_S)
            lines = importer.tally.lines
            rate = lines / max(bar.tasks[0].elapsed or 0.0, 0.001)
            bar.update(task, done=f"{lines:,} lines, {rate:,.0f}/s")
        if sending.exception() is None:
            bar.update(task, completed=bar.tasks[0].total)  # The text of a line excludes the first line and quotes.
    try:
        sending.result()
    except ServerGone as error:
        return f"the API is unavailable: {error}. Run the same command again."
    except NotTheApi as error:
        return f"this is not the API of the ledger: {error}"
    except httpx.HTTPStatusError as error:
        return f"the API refused: {error.response.status_code} {detail_of(error.response)}"
    except OSError as error:
        return f"cannot read {name_of(path)}: {error.strerror}"
    return None


def name_of(path: Path) -> str:
    return "stdin" if path == STANDARD_INPUT else path.name


def size_bytes(path: Path) -> int | None:
    """Return the size of a file, or None if it is unknown, as that of a pipe."""
    return path.stat().st_size or None if path.is_file() else None


def open_text(path: Path) -> TextIO:
    """Open a file or standard input as text. Line breaks stay as they are, and a byte order mark is skipped."""
    # `replace`: bytes that are not UTF-8 are reported with their line.
    if path == STANDARD_INPUT:
        return TextIOWrapper(sys.stdin.buffer, newline="", encoding="utf-8-sig", errors="replace")
    return path.open(newline="", encoding="utf-8-sig", errors="replace")


def detail_of(response: httpx.Response) -> str:
    """Return the detail of a problem document, or the name of the status for another response."""
    with suppress(msgspec.DecodeError, KeyError):
        return str(msgspec.json.decode(response.content, type=dict[str, Any])["detail"])
    return response.reason_phrase


def lines_with_progress(path: Path, layout: Layout, bar: Progress, task: TaskID) -> Iterator[Line]:
    """Yield the lines of a file, and advance the progress bar."""
    with open_text(path) as file:
        for line in lines_of(file, layout):
            bar.advance(task, len(line.text.encode()) + 1)
            yield line


def print_refused(refused: Sequence[Refused], written_to: Path, console: Console) -> None:
    """Print the number of refused lines by code, the first lines, and the file that contains all of them."""
    for code, count in Counter(one.code for one in refused).most_common():
        console.print(f"  refused {count:,}: {code}")
    for one in refused[:PRINTED_MAX]:
        text = escape(printable(one.text))
        console.print(f"  line {one.line:,}: {escape(one.detail)}  [dim]{text}[/dim]", soft_wrap=True)
    if len(refused) > PRINTED_MAX:
        console.print("  …")
    console.print(f"  All refused lines with reasons: {escape(str(written_to))}", soft_wrap=True)


def printable(text: str) -> str:
    """Return the first characters of a line. Control characters become spaces, so that no terminal interprets them."""
    cut = text[:PRINTED_MAX_CHARACTERS] + ("…" if len(text) > PRINTED_MAX_CHARACTERS else "")
    return "".join(one if one.isprintable() else " " for one in cut)


def print_tally(tally: Tally, layout: Layout, console: Console) -> None:
    """Print the counts, and a warning if repeated lines may be new facts of another file."""
    console.print(
        f"[bold]{tally.recorded:,}[/bold] recorded, [bold]{tally.repeated:,}[/bold] repeated, "
        f"[bold]{len(tally.refused):,}[/bold] refused."
    )
    if tally.repeated_undated and not layout.source:
        console.print(
            f"  {tally.repeated_undated:,} of the repeated lines have no occurred_at. Equal lines without a time count "
            "as the same line. Use --source NAME from the first import of a file on to distinguish files.",
            soft_wrap=True,
        )
