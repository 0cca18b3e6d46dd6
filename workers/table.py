"""The table of workers, which the command line, `up` and a test of docker-compose.yml read."""

from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final, cast

from msgspec import Struct

from ledger.log.event_log import EventLog
from ledger.runtime.settings import Settings

Run = Callable[[EventLog, Settings], Awaitable[None]]


class Worker(Struct, frozen=True, kw_only=True):
    """A worker. The function `run_<name>` of the module `workers.<name>` runs it until it is cancelled.

    `does` is the predicate of its sentence in the help of `referral-ledger work`.
    """

    name: str
    does: str

    def load(self) -> Run:
        """Import the function that runs the worker. `--help` stays fast, because it does not import the libraries."""
        return cast("Run", getattr(import_module(f"workers.{self.name}"), f"run_{self.name}"))

    def metrics_port(self, settings: Settings) -> int | None:
        """Return the port of the worker's metrics, the setting `<name>_metrics_port`. None disables them."""
        return cast("int | None", getattr(settings, f"{self.name}_metrics_port"))


WORKERS: Final[Mapping[str, Worker]] = MappingProxyType(
    {
        worker.name: worker
        for worker in (
            Worker(
                name="projector",
                does="writes the books from the log; a second one waits to take over",
            ),
            Worker(
                name="clock",
                does="records a lapse for every overdue deadline; a second one does no harm",
            ),
        )
    }
)
