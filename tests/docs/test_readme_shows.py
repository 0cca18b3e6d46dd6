"""The documents show real output. The test executes their commands in order, on one ledger that `up` started."""

import re
import shlex
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest

from deploy.embedded.ports import free_port
from tests.deploy.conftest import CommandLine

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text()
DOCUMENTS: Final = (README, *((ROOT / "docs" / name).read_text() for name in ("reading-the-past.md", "import.md")))
(END_OF_RUN,) = re.findall(r"^`make run` ends with:\n\n```\n(.+?)^```$", README, re.MULTILINE | re.DOTALL)
CONSOLES: Final = [
    console
    for document in DOCUMENTS
    for console in re.findall(r"^```console\n(.+?)^```$", document, re.MULTILINE | re.DOTALL)
]
ADDRESS: Final = "http://127.0.0.1:8080"
PROGRAM: Final = ".venv/bin/referral-ledger"
PORT: Final = re.compile(r"(?<=127\.0\.0\.1:)\d+")
LOGGED: Final = re.compile(r"\d{4}-\d\d-\d\dT\S+Z \[")
LEFT_OUT: Final = frozenset({"date", "server", "content-length"})
# Times with a fraction of a second, and UUIDs of version 7, differ from run to run. All other ids follow from a key.
OF_THE_RUN: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z|[\da-f]{8}-[\da-f]{4}-7[\da-f]{3}-[\da-f]{4}-[\da-f]{12}"
)
PACE: Final = re.compile(r"[\d,]+/s \d+:\d\d:\d\d$", re.MULTILINE)


@dataclass(frozen=True)
class Shown:
    """A command in a document, with the output that the document shows."""

    command: str
    output: str


def shown() -> Iterator[Shown]:
    for console in CONSOLES:
        before, *commands = re.split(r"^\$ ", console, flags=re.MULTILINE)
        assert not before, f"an output of no command: {before}"
        for text in commands:
            command, _, output = text.partition("\n")
            yield Shown(command, output)


class Masks:
    """Replaces values that differ between runs by numbers, in order of first appearance. Equal values stay equal."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def lines(self, text: str) -> list[str]:
        masked = PACE.sub("<pace>", OF_THE_RUN.sub(self._number, text.strip("\r\n")))
        return [line for line in masked.splitlines() if line.partition(":")[0] not in LEFT_OUT]

    def _number(self, found: re.Match[str]) -> str:
        return f"<{self._numbers.setdefault(found[0], len(self._numbers) + 1)}>"


CURL: Final = ArgumentParser("curl", allow_abbrev=False)
CURL.add_argument("-s", action="store_true")
CURL.add_argument("-i", action="store_true")
CURL.add_argument("-o")
CURL.add_argument("-X")
CURL.add_argument("-H", action="append", default=[])
CURL.add_argument("--json")
CURL.add_argument("url")


class Shell:
    """The parts of a shell and of curl that the documents use."""

    def __init__(self, commands: CommandLine, address: str) -> None:
        self._commands = commands
        self._address = address
        self._variables: dict[str, str] = {}

    def run(self, shown: Shown) -> str:
        """Return the output of the command.

        Raises: KeyError, ValueError or SystemExit, if a document needs more than this shell has.
        """
        said = re.sub(r"\$(\w+)", lambda found: self._variables[found[1]], shown.command)
        match shlex.split(said):
            case [word] if re.match(r"\w+=", word):
                name, _, value = word.partition("=")
                self._variables[name] = value.replace(ADDRESS, self._address)
                return ""
            case ["cat", name]:  # The reader has this file. The document shows its content.
                (self._commands.folder / name).write_text(shown.output)
                return shown.output
            case [word, *arguments] if word == PROGRAM:
                return self._commands.run(*arguments).stdout
            case ["curl", *arguments]:
                return self._curl(arguments)
            case _:
                raise ValueError(shown.command)

    def _curl(self, arguments: list[str]) -> str:
        asked = CURL.parse_args(arguments)
        headers = dict(header.split(": ", 1) for header in asked.H)
        if asked.json is not None:
            headers = {"Content-Type": "application/json", "Accept": "application/json"} | headers
        method = asked.X or ("GET" if asked.json is None else "POST")
        answer = httpx.request(method, asked.url, headers=headers, content=asked.json, timeout=10)
        if method != "GET" and "ledger-position" in answer.headers:
            self._read_on(answer.headers["ledger-position"])
        if asked.o is not None:
            return ""
        head = "\n".join(
            [
                f"{answer.http_version} {answer.status_code} {answer.reason_phrase}",
                *(f"{name}: {value}" for name, value in answer.headers.items()),
            ]
        )
        return f"{head}\n\n{answer.text}" if asked.i else answer.text

    def _read_on(self, position: str) -> None:
        """Wait until the books show `position`. A person who types the next command takes longer."""
        books = f"{self._variables['L']}/summary"
        assert httpx.get(books, params={"min_position": position}, timeout=10).status_code == 200


def printed_by_the_run(said: str) -> list[str]:
    """Return the lines without the log lines of the processes, and with `PORT` for each port."""
    lines = [line.rstrip() for line in said.splitlines() if not LOGGED.match(line)]
    return [PORT.sub("PORT", line) for line in lines]


@pytest.mark.slow
def test_the_output_in_the_documents_is_the_output_of_a_run(command_line: CommandLine) -> None:
    up = command_line.start("up", "--demo", "--port", str(free_port()))
    up.until_said(f"{END_OF_RUN.rstrip().rpartition('/')[2]}\n")
    end = printed_by_the_run(END_OF_RUN)
    assert printed_by_the_run(up.said)[-len(end) :] == end

    shell = Shell(command_line, up.address("Ready?").removesuffix("/readyz"))
    as_shown, as_printed = Masks(), Masks()
    for command in shown():
        assert as_printed.lines(shell.run(command)) == as_shown.lines(command.output), command.command
    assert up.end() == 0


def test_every_document_shows_commands() -> None:
    assert len(list(shown())) >= 16
    assert all("```console\n$ " in document for document in DOCUMENTS)


def test_no_other_document_shows_commands_that_are_not_executed() -> None:
    others = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert sum("```console" in path.read_text() for path in others) == len(DOCUMENTS)
