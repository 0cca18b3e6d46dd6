"""The import's screen: a progress bar, the refused lines with their reasons, and the totals."""

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
PRINTED_MAX_CHARACTERS: Final = 200  # Of a line. What a line should be may be a whole file without breaks.
REDRAW_S: Final = 0.2


async def send_with_progress(importer: Importer, path: Path, layout: Layout, console: Console) -> str | None:
    """Send the file under a bar over its bytes; answers why not every line was sent, if so.

    Raises: NoColumns.
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
            bar.update(task, completed=bar.tasks[0].total)  # Heads and quotes are no part of a line.
    try:
        sending.result()
    except ServerGone as error:
        return f"the API went away: {error}. Run the same command again."
    except NotTheApi as error:
        return f"what answers is not the API: {error}"
    except httpx.HTTPStatusError as error:
        return f"the API refuses: {error.response.status_code} {detail_of(error.response)}"
    except OSError as error:
        return f"cannot read {name_of(path)}: {error.strerror}"
    return None


def name_of(path: Path) -> str:
    return "stdin" if path == STANDARD_INPUT else path.name


def size_bytes(path: Path) -> int | None:
    """None, of what has no size beforehand; a pipe, for one."""
    return path.stat().st_size or None if path.is_file() else None


def open_text(path: Path) -> TextIO:
    """The text of a file or of standard input, with the line breaks that it has, and no mark at its beginning."""
    # `replace`: what is not UTF-8 is told by its line.
    if path == STANDARD_INPUT:
        return TextIOWrapper(sys.stdin.buffer, newline="", encoding="utf-8-sig", errors="replace")
    return path.open(newline="", encoding="utf-8-sig", errors="replace")


def detail_of(response: httpx.Response) -> str:
    """What the problem says for a person, if it is one."""
    with suppress(msgspec.DecodeError, KeyError):
        return str(msgspec.json.decode(response.content, type=dict[str, Any])["detail"])
    return response.reason_phrase


def lines_with_progress(path: Path, layout: Layout, bar: Progress, task: TaskID) -> Iterator[Line]:
    """The lines of a file; the bar moves as they are read."""
    with open_text(path) as file:
        for line in lines_of(file, layout):
            bar.advance(task, len(line.text.encode()) + 1)
            yield line


def print_refused(refused: Sequence[Refused], written_to: Path, console: Console) -> None:
    """How many by code, the first of them, and where they all are."""
    for code, count in Counter(one.code for one in refused).most_common():
        console.print(f"  refused {count:,}: {code}")
    for one in refused[:PRINTED_MAX]:
        text = escape(printable(one.text))
        console.print(f"  line {one.line:,}: {escape(one.detail)}  [dim]{text}[/dim]", soft_wrap=True)
    if len(refused) > PRINTED_MAX:
        console.print("  …")
    console.print(f"  All of them, with reasons: {escape(str(written_to))}", soft_wrap=True)


def printable(text: str) -> str:
    """As much of a line as a person reads, and nothing in it that a terminal would obey."""
    cut = text[:PRINTED_MAX_CHARACTERS] + ("…" if len(text) > PRINTED_MAX_CHARACTERS else "")
    return "".join(one if one.isprintable() else " " for one in cut)


def print_tally(tally: Tally, layout: Layout, console: Console) -> None:
    """What became of the lines, in one; and in another that some may have been taken for those of another file."""
    console.print(
        f"[bold]{tally.recorded:,}[/bold] recorded, [bold]{tally.repeated:,}[/bold] repeated, "
        f"[bold]{len(tally.refused):,}[/bold] refused."
    )
    if tally.repeated_undated and not layout.source:
        console.print(
            f"  {tally.repeated_undated:,} of the repeated have no occurred_at. Equal lines without a time are taken "
            "for the same; --source NAME, from a file's first import on, tells files apart.",
            soft_wrap=True,
        )
