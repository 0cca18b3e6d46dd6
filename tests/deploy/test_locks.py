"""Installed packages match the lock files: one version of each package, held by its hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS: Final = ("requirements.lock", "requirements-dev.lock")
NAME: Final = r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*"
PINNED: Final = re.compile(rf"(?P<name>{NAME})==(?P<version>[\w.+!]+)(?: ; [^#;\\]+?)?(?P<hashes>(?: --hash=\S+)+)")
SHA256: Final = re.compile(r" --hash=sha256:[0-9a-f]{64}")


class Pin(NamedTuple):
    version: str
    hashes: frozenset[str]


def plain(name: str) -> str:
    """Return the package name in the normal form that indexes compare."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, Pin]:
    """Return the pins of a lock file. A line without exactly one version and its SHA-256 hashes fails the test."""
    found: dict[str, Pin] = {}
    for line in re.sub(r" *\\\n *", " ", text).splitlines():
        pinned = PINNED.fullmatch(line)
        assert pinned, f"not pinned: {line}"
        hashes = SHA256.findall(pinned["hashes"])
        assert "".join(hashes) == pinned["hashes"], f"not SHA-256: {line}"
        name = plain(pinned["name"])
        assert name not in found, f"named twice: {name}"
        found[name] = Pin(pinned["version"], frozenset(hashes))
    return found


def locked(lock: str) -> dict[str, Pin]:
    return pins((ROOT / lock).read_text())


def names(requirements: list[str]) -> set[str]:
    """Return the package names in these requirements of pyproject.toml."""
    return {plain(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_pins_a_package_to_one_version_and_its_hashes(lock: str) -> None:
    assert locked(lock)


HASH: Final = "--hash=sha256:" + 64 * "0"


@pytest.mark.parametrize(
    "line",
    [
        "rich",
        "rich==15.0.0",
        f"rich>=15.0.0 {HASH}",
        f"rich==15.* {HASH}",
        f"rich==15.0.0,!=15.1 {HASH}",
        "rich==15.0.0 --hash=md5:" + 32 * "0",
        f"rich==15.0.0 {HASH[:-1]}",
        f"rich==15.0.0 {HASH} --no-binary",
        f"rich @ https://example.org/rich-15.0.0.whl {HASH}",
        "https://example.org/rich-15.0.0.whl",
        "git+https://example.org/rich",
        "--index-url https://example.org/simple",
        "--extra-index-url=https://example.org/simple",
        "-i https://example.org/simple",
        "--find-links wheels",
        "-r requirements.txt",
        "-e .",
        "./rich",
        "# a remark",
        f"rich==15.0.0 {HASH}\nRich==14.0.0 {HASH}",
    ],
)
def test_anything_else_in_a_lock_file_is_told(line: str) -> None:
    with pytest.raises(AssertionError, match=r"^(not pinned|not SHA-256|named twice): "):
        pins(f"anyio==4.16.0 {HASH}\n{line}\n")


def test_what_is_developed_with_is_what_runs() -> None:
    run, develop = (locked(lock) for lock in LOCKS)
    assert {name: develop.get(name) for name in run} == run


def test_every_dependency_is_locked() -> None:
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    run = [
        *project["dependencies"],
        *project["optional-dependencies"]["embedded"],
        *groups["build"],
        *PROJECT["build-system"]["requires"],
    ]
    assert (project["optional-dependencies"].keys(), groups.keys()) == ({"embedded"}, {"build", "dev"})
    assert names(run) <= locked("requirements.lock").keys()
    assert names([*run, *groups["dev"]]) <= locked("requirements-dev.lock").keys()
