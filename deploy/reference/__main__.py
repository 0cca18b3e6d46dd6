"""Write the reference pages into a folder: `python -m deploy.reference docs`."""

import sys
from pathlib import Path

from deploy.reference import events, settings


def write_pages(folder: Path) -> None:
    """Write every generated page into `folder`. An existing page is replaced."""
    for name, page in {"events.md": events.page, "settings.md": settings.page}.items():
        (folder / name).write_text(page())


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
