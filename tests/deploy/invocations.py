"""Commands that run inside the test process, and ledgers for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

from click.testing import Result

from deploy.embedded.ports import free_port
from ledger.commands.executor import Executor
from ledger.commands.submission import Outcome, Submission
from ledger.domain.kinds.favour import RecordFavour
from ledger.log.connection import Connection
from ledger.log.jetstream import JetStreamLog
from tests.deploy.conftest import CommandLine, Started, answers, until

if TYPE_CHECKING:
    from ledger.runtime.settings import Settings


NOBODY: Final = {
    "LEDGER_POSTGRES_DSN": "postgresql://postgres@127.0.0.1:1/postgres",
    "LEDGER_NATS_URL": "nats://user:secret@127.0.0.1:1",
}
PROJECTS: Final = "this projector writes the books"


async def thank(settings: Settings, count: int) -> None:
    """Record favours of ann for bob."""
    async with Connection(settings.nats_url, "test") as connection:
        await connection.ready()
        outcomes = await Executor(JetStreamLog(connection)).execute_all(
            [
                Submission(
                    community="acme",
                    operation="favour.record",
                    kind="favour",
                    command=RecordFavour(actor="bob", giver="ann", receiver="bob", size="medium", id=UUID(int=n)),
                )
                for n in range(1, count + 1)
            ]
        )
    assert all(isinstance(outcome, Outcome) for outcome in outcomes)


def failure_text(result: Result, code: int = 1) -> str:
    """Return what a failed command has printed. It must not be a traceback."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def serve(commands: CommandLine, part: str = "all", **variables: str) -> tuple[Started, str]:
    """Start `serve`, wait until it is ready, and return it with its address."""
    port = free_port()
    commands.variables |= {"LEDGER_PORT": str(port), **variables}
    served = commands.start("serve", part)
    url = f"http://127.0.0.1:{port}"
    until(lambda: answers(f"{url}/readyz") or served.popen.poll() is not None, what="/readyz")
    assert served.popen.poll() is None, served.said
    return served, url
