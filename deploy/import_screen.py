"""What a person sees of an import: a bar that moves, what was refused and why, and how it ended."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import httpx
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from deploy.importing import Importer, Layout, Line, Refused, ServerGone, Tally, lines_of

SHOWN_MAX: Final = 10
REDRAW_S: Final = 0.2


async def send_with_bar(importer: Importer, path: Path, layout: Layout, console: Console) -> str | None:
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
        task = bar.add_task(path.name, total=path.stat().st_size, done="")  # noqa: ASYNC240  Nothing else runs yet.
        lines_read = counted_lines(path, layout, bar, task)
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
        return f"the API went away: {error}"
    except httpx.HTTPStatusError as error:
        return f"the API refuses: {error.response.status_code} {error.response.text}"
    return None


def counted_lines(path: Path, layout: Layout, bar: Progress, task: TaskID) -> Iterator[Line]:
    """The lines of a file; the bar moves as they are read."""
    # `replace`: what is not UTF-8 is in no id, and so its line is refused, and told.
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        for line in lines_of(file, layout):
            bar.advance(task, len(line.text.encode()) + 1)
            yield line


def tell_refused(refused: Sequence[Refused], written_to: Path, console: Console) -> None:
    """How many by code, the first of them, and where they all are."""
    for code, count in Counter(one.code for one in refused).most_common():
        console.print(f"  refused {count:,}: {code}")
    for one in refused[:SHOWN_MAX]:
        console.print(f"  line {one.line:,}: {escape(one.detail)}  [dim]{escape(one.text)}[/dim]", soft_wrap=True)
    if len(refused) > SHOWN_MAX:
        console.print("  …")
    console.print(f"  All of them, with reasons: {escape(str(written_to))}", soft_wrap=True)


def tell_tally(tally: Tally, layout: Layout, console: Console) -> None:
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
