"""Builder of the documentation site: `python -m deploy.reference.site`, or `make site`."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

CONFIGURATION: Final = "zensical.toml"
PAGES: Final = "build/site"  # `docs_dir` of the configuration.
SITE: Final = "site"  # `site_dir` of the configuration.
LINKED: Final = ("bench", "deploy", "docs", "ledger", "services", "tests", "workers")
"""Folders that pages link to."""


def build_site(project: Path, workplace: Path) -> Path:
    """Build the site of `project` in `workplace`, and return its folder. An earlier site is replaced.

    `workplace` may be the project itself. README.md becomes the home page.

    Raises: CalledProcessError, when a page links to a page or heading that does not exist. The site is incomplete.
    """
    copy_pages(project, workplace / PAGES)
    if workplace != project:
        shutil.copy(project / CONFIGURATION, workplace)
    shutil.rmtree(workplace / SITE, ignore_errors=True)
    command = ["-m", "zensical", "build", "--strict", "--clean", "--config-file", str(workplace / CONFIGURATION)]
    subprocess.run([sys.executable, *command], cwd=workplace, check=True)
    return workplace / SITE


def copy_pages(project: Path, folder: Path) -> None:
    """Copy the pages, and the code that they link to, at the same relative paths.

    Zensical cannot read them in place: on a root that contains `.venv`, its build does not end.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for page in (*project.glob("*.md"), project / "LICENSE"):
        shutil.copy(page, folder)
    for linked in LINKED:
        shutil.copytree(project / linked, folder / linked, ignore=shutil.ignore_patterns("__pycache__"))


if __name__ == "__main__":
    root = Path(__file__).parents[2]
    try:
        build_site(root, root)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
